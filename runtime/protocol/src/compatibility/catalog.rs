//! The states that a plan keeps, and their descriptors.

use super::CatalogEntry;
use crate::{
    aggregate::{AggregateCall, AggregateFunction, widened},
    manifest::{AccumulatorDescriptor, StateDescriptor, StateKind},
    plan::{ChangelogMode, Operator, Phase, PlanNode, StreamPlan},
    types::{DataType, Field, LogicalType},
};

/// Version of states whose entries are whole.
const WHOLE: u32 = 1;
/// Version of states that keep values of their groups as entries of their own.
const APART: u32 = 2;

/// Newest version of a kind of state that this release reads. The state's layout decides which
/// version is written, so that a state without use for the newer layout stays readable by older
/// releases.
pub fn newest(kind: StateKind) -> u32 {
    match kind {
        StateKind::Splits => WHOLE,
        StateKind::Groups | StateKind::WindowSlices => APART,
    }
}

/// Every state that `plan` keeps, in the order of its nodes.
pub fn catalog(plan: &StreamPlan) -> Vec<CatalogEntry> {
    let entry = |node: &PlanNode| {
        descriptor_of(plan, node).map(|descriptor| CatalogEntry {
            state_uid: node.state_uid.clone(),
            label: node.label.clone(),
            descriptor,
        })
    };
    plan.nodes.iter().filter_map(entry).collect()
}

fn descriptor_of(plan: &StreamPlan, node: &PlanNode) -> Option<StateDescriptor> {
    let input = node
        .inputs
        .first()
        .and_then(|input| plan.nodes.get(input.node));
    // A plan's own columns exist; one that does not would be a defect that the engine reports.
    let keys = |positions: &[usize]| -> Vec<LogicalType> {
        let column = |&position: &usize| input.and_then(|input| input.schema.fields.get(position));
        positions
            .iter()
            .filter_map(column)
            .map(|field| field.ty.clone())
            .collect()
    };
    match &node.operator {
        Operator::Source(_) => Some(splits_descriptor()),
        Operator::WindowAggregate(window) => match window.phase {
            Phase::Local => None,
            Phase::Single | Phase::Global => {
                Some(slices_descriptor(keys(&window.keys), &window.aggregates))
            }
        },
        Operator::GroupAggregate {
            keys: positions,
            aggregates,
        } => {
            let retractable =
                input.is_some_and(|input| input.changelog != ChangelogMode::InsertOnly);
            Some(groups_descriptor(keys(positions), aggregates, retractable))
        }
        Operator::Calc { .. }
        | Operator::WatermarkAssigner { .. }
        | Operator::Union
        | Operator::Sink(_) => None,
    }
}

/// State `splits` of a source: positions by split.
pub fn splits_descriptor() -> StateDescriptor {
    StateDescriptor {
        name: "splits".to_owned(),
        kind: StateKind::Splits,
        key: vec![LogicalType::not_null(DataType::STRING)],
        value: vec![Field::new(
            "position",
            LogicalType::not_null(DataType::Bytes),
        )],
        accumulators: Vec::new(),
        version: WHOLE,
    }
}

/// State `slices` of a window aggregation: accumulators by end of the slice (epoch milliseconds)
/// and `keys`.
pub fn slices_descriptor(keys: Vec<LogicalType>, aggregates: &[AggregateCall]) -> StateDescriptor {
    let mut key = vec![LogicalType::not_null(DataType::BigInt)];
    key.extend(keys);
    StateDescriptor {
        name: "slices".to_owned(),
        kind: StateKind::WindowSlices,
        key,
        value: Vec::new(),
        accumulators: aggregates
            .iter()
            .map(|call| accumulator(call, false))
            .collect(),
        version: layout(aggregates, false),
    }
}

/// State `groups` of an unbounded aggregation: number of rows and accumulators by `keys`.
/// `retractable`: its input may retract rows.
pub fn groups_descriptor(
    keys: Vec<LogicalType>,
    aggregates: &[AggregateCall],
    retractable: bool,
) -> StateDescriptor {
    StateDescriptor {
        name: "groups".to_owned(),
        kind: StateKind::Groups,
        key: keys,
        value: vec![Field::new("rows", LogicalType::not_null(DataType::BigInt))],
        accumulators: aggregates
            .iter()
            .map(|call| accumulator(call, retractable))
            .collect(),
        version: layout(aggregates, retractable),
    }
}

fn layout(aggregates: &[AggregateCall], retractable: bool) -> u32 {
    let apart = aggregates
        .iter()
        .any(|call| keeps_values(call, retractable));
    if apart { APART } else { WHOLE }
}

/// Whether a call is the smallest or largest value.
fn is_extreme(call: &AggregateCall) -> bool {
    matches!(
        call.function,
        AggregateFunction::Min | AggregateFunction::Max
    )
}

/// Whether single values must be kept. The extreme of a set is that of its distinct values, so
/// DISTINCT alone does not require it.
fn keeps_values(call: &AggregateCall, retractable: bool) -> bool {
    if is_extreme(call) {
        retractable
    } else {
        call.distinct
    }
}

/// What is kept for a call: a COUNT its number; a SUM or AVG the widened sum and the number of
/// values in it; MIN and MAX the value. Where single values must be kept (DISTINCT; MIN and MAX
/// over rows that may be retracted) it is every value with its count.
pub fn accumulator(call: &AggregateCall, retractable: bool) -> AccumulatorDescriptor {
    let count = LogicalType::not_null(DataType::BigInt);
    let arg = call.arg_type.as_ref().map(|ty| ty.data.clone());
    let data = arg.clone().unwrap_or(DataType::BigInt);
    let distinct = call.distinct && !is_extreme(call);
    let multiset = keeps_values(call, retractable);
    let columns = match call.function {
        _ if multiset => vec![LogicalType::not_null(data), count],
        AggregateFunction::Count => vec![count],
        AggregateFunction::Sum | AggregateFunction::Avg => {
            vec![LogicalType::nullable(widened(&data)), count]
        }
        AggregateFunction::Min | AggregateFunction::Max => vec![LogicalType::nullable(data)],
    };
    let function = match call.function {
        AggregateFunction::Count => "COUNT",
        AggregateFunction::Sum => "SUM",
        AggregateFunction::Avg => "AVG",
        AggregateFunction::Min => "MIN",
        AggregateFunction::Max => "MAX",
    };
    let arg = arg.map_or_else(|| "*".to_owned(), |arg| arg.to_string());
    let label = format!(
        "{function}({}{arg}){}{}",
        if distinct { "DISTINCT " } else { "" },
        if call.filter.is_some() { " FILTER" } else { "" },
        if multiset {
            " as a multiset of values"
        } else {
            ""
        },
    );
    AccumulatorDescriptor {
        uid: call.uid.clone(),
        label,
        columns,
    }
}
