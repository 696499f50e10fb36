//! Converts relations to the nodes of the plan, with their exchanges.

use std::collections::HashMap;

use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    plan::{
        ChangelogMode, Exchange, Input, NodeId, Operator, PLAN_FORMAT, Phase, PlanNode, Settings,
        StreamPlan, Window, WindowAggregate,
    },
    types::{DataType, Field, LogicalType, Schema},
};

use super::{changelog, label::label, traversal::reachable};
use crate::{
    graph::{Operation, Relation, RelationId},
    lineage::digest,
};

/// Writes the relations that lead to a sink as nodes.
pub(super) fn emit(
    relations: &[Relation],
    modes: &[ChangelogMode],
    settings: Settings,
) -> StreamPlan {
    let alive = reachable(relations);
    let mut emitter = Emitter {
        relations,
        modes,
        nodes: Vec::new(),
        levels: Vec::new(),
        of: HashMap::new(),
        uids: HashMap::new(),
    };
    for id in (0..relations.len()).filter(|id| alive[*id]) {
        emitter.relation(id);
    }
    StreamPlan {
        format: PLAN_FORMAT,
        nodes: emitter.nodes,
        settings,
    }
}

struct Emitter<'r> {
    relations: &'r [Relation],
    modes: &'r [ChangelogMode],
    nodes: Vec<PlanNode>,
    /// Most exchanges on a way from a source to each node.
    levels: Vec<usize>,
    /// The node whose output is a relation's.
    of: HashMap<RelationId, NodeId>,
    /// How often each uid of a stateless node was wanted.
    uids: HashMap<String, usize>,
}

impl Emitter<'_> {
    fn relation(&mut self, id: RelationId) {
        let relation = &self.relations[id];
        let inputs = relation.operation.inputs();
        let hash = |keys: &[usize]| Exchange::Hash {
            keys: keys.to_vec(),
        };
        let (operator, exchange) = match relation.operation.clone() {
            Operation::Source(table) => (Operator::Source(table), Exchange::Forward),
            Operation::Watermark { column, expr, .. } => (
                Operator::WatermarkAssigner { column, expr },
                Exchange::Forward,
            ),
            Operation::Calc {
                filter, project, ..
            } => (Operator::Calc { filter, project }, Exchange::Forward),
            Operation::Union { .. } => (Operator::Union, Exchange::Forward),
            Operation::Sink { table, .. } => (Operator::Sink(table), Exchange::Forward),
            Operation::GroupAggregate { keys, calls, .. } => {
                let exchange = hash(&keys);
                (
                    Operator::GroupAggregate {
                        keys,
                        aggregates: calls,
                    },
                    exchange,
                )
            }
            Operation::WindowAggregate {
                input,
                window,
                time,
                keys,
                calls,
            } => {
                if calls.iter().all(AggregateCall::is_splittable) {
                    return self.two_phases(id, input, window, time, keys, calls);
                }
                let exchange = hash(&keys);
                let single = WindowAggregate {
                    phase: Phase::Single,
                    window,
                    time,
                    keys,
                    aggregates: calls,
                };
                (Operator::WindowAggregate(single), exchange)
            }
        };
        let inputs = inputs
            .iter()
            .map(|input| Input {
                node: self.of[input],
                exchange: exchange.clone(),
            })
            .collect();
        let inputs = self.levelled(&relation.operation, inputs);
        let node = self.node(id, label(self.relations, id), operator, inputs);
        self.of.insert(id, node);
    }

    /// Partial accumulators before the shuffle, their merge after it.
    fn two_phases(
        &mut self,
        id: RelationId,
        input: RelationId,
        window: Window,
        time: usize,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
    ) {
        let relation = &self.relations[id];
        let count = keys.len();
        let mut fields = relation.schema().fields;
        fields.truncate(count);
        for (index, call) in calls.iter().enumerate() {
            for (part, ty) in call.partial_types().into_iter().enumerate() {
                fields.push(Field::new(
                    format!("{}${index}${part}", partial_name(call.function)),
                    ty,
                ));
            }
        }
        // Late records are counted by it.
        let number = LogicalType::not_null(DataType::BigInt);
        fields.push(Field::new("records", number.clone()));
        let slice_end = fields.len();
        fields.push(Field::new("slice_end", number));
        let text = label(self.relations, id);
        let uid = relation.state_uid.clone().unwrap_or_default();
        let local = self.nodes.len();
        self.push(PlanNode {
            id: local,
            state_uid: digest(&format!("local {uid}")),
            label: format!("Local{text}"),
            operator: Operator::WindowAggregate(WindowAggregate {
                phase: Phase::Local,
                window,
                time,
                keys,
                aggregates: calls.clone(),
            }),
            inputs: vec![Input {
                node: self.of[&input],
                exchange: Exchange::Forward,
            }],
            schema: Schema::new(fields),
            changelog: ChangelogMode::InsertOnly,
        });
        let keys: Vec<usize> = (0..count).collect();
        let exchange = Exchange::Hash { keys: keys.clone() };
        let global = WindowAggregate {
            phase: Phase::Global,
            window,
            time: slice_end,
            keys,
            aggregates: calls,
        };
        let inputs = vec![Input {
            node: local,
            exchange,
        }];
        let node = self.node(
            id,
            format!("Global{text}"),
            Operator::WindowAggregate(global),
            inputs,
        );
        self.of.insert(id, node);
    }

    fn node(
        &mut self,
        id: RelationId,
        label: String,
        operator: Operator,
        inputs: Vec<Input>,
    ) -> NodeId {
        let relation = &self.relations[id];
        let node = self.nodes.len();
        let state_uid = match &relation.state_uid {
            Some(uid) => uid.clone(),
            None => self.stateless_uid(&operator, &inputs),
        };
        self.push(PlanNode {
            id: node,
            state_uid,
            label,
            operator,
            inputs,
            schema: relation.schema(),
            changelog: self.modes[id],
        });
        node
    }

    fn push(&mut self, node: PlanNode) {
        let level = node.inputs.iter().map(|input| {
            let exchanges = usize::from(input.exchange != Exchange::Forward);
            self.levels[input.node] + exchanges
        });
        let level = level.max().unwrap_or(0);
        self.levels.push(level);
        self.nodes.push(node);
    }

    /// A subtask aligns barriers for all nodes that call each other directly, so rows that were
    /// exchanged and rows that were not cannot meet in a union: its nearer inputs are exchanged,
    /// too. A relation with updates is exchanged by the key of its updates, any other by all
    /// columns.
    fn levelled(&self, operation: &Operation, mut inputs: Vec<Input>) -> Vec<Input> {
        let Operation::Union { inputs: relations } = operation else {
            return inputs;
        };
        let level = |input: &Input| self.levels[input.node];
        let furthest = inputs.iter().map(level).max().unwrap_or(0);
        for (input, relation) in inputs.iter_mut().zip(relations) {
            if self.levels[input.node] < furthest {
                let all = || (0..self.relations[*relation].columns.len()).collect();
                let keys = changelog::key(self.relations, *relation).unwrap_or_else(all);
                input.exchange = Exchange::Hash { keys };
            }
        }
        inputs
    }

    /// No state is found by it; it only has to be unique.
    fn stateless_uid(&mut self, operator: &Operator, inputs: &[Input]) -> String {
        let kind = if matches!(operator, Operator::Union) {
            "union"
        } else {
            "calc"
        };
        let inputs: Vec<&str> = inputs
            .iter()
            .map(|input| self.nodes[input.node].state_uid.as_str())
            .collect();
        let description = format!("{kind} {}", inputs.join(","));
        let ordinal = self.uids.entry(description.clone()).or_default();
        *ordinal += 1;
        digest(&format!("{description}#{ordinal}"))
    }
}

fn partial_name(function: AggregateFunction) -> &'static str {
    match function {
        AggregateFunction::Count => "count",
        AggregateFunction::Sum => "sum",
        AggregateFunction::Avg => "avg",
        AggregateFunction::Min => "min",
        AggregateFunction::Max => "max",
    }
}
