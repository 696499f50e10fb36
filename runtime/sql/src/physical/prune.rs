//! Removes unused columns, so that they are not computed, kept in state or sent.

use std::collections::{BTreeSet, HashMap};

use streamkeeper_protocol::{aggregate::AggregateCall, expr::Expr};

use super::traversal::reachable;
use crate::{
    expression::{columns_of, map_columns},
    graph::{Operation, Relation},
};

/// New positions of the columns that stay.
type Kept = HashMap<usize, usize>;

/// Returns the relations at their ids, without unused columns.
pub(super) fn prune(relations: Vec<Relation>) -> Vec<Relation> {
    let needed = needed(&relations);
    let mut kept: Vec<Kept> = Vec::new();
    let mut pruned = Vec::new();
    for (relation, needed) in relations.into_iter().zip(needed) {
        let columns: Vec<usize> = match &relation.operation {
            Operation::Source(_) | Operation::Sink { .. } => (0..relation.columns.len()).collect(),
            // Rows pass a watermark unchanged.
            Operation::Watermark { input, .. } => sorted(&kept[*input]),
            Operation::Calc { .. } | Operation::Union { .. } => needed.into_iter().collect(),
            Operation::WindowAggregate { keys, calls, .. } => {
                let properties = keys.len() + calls.len();
                aggregate_columns(keys.len(), calls.len(), &needed)
                    .chain(properties..properties + 3)
                    .collect()
            }
            Operation::GroupAggregate { keys, calls, .. } => {
                aggregate_columns(keys.len(), calls.len(), &needed).collect()
            }
        };
        pruned.push(rewrite(relation, &columns, &kept));
        kept.push(
            columns
                .iter()
                .enumerate()
                .map(|(new, old)| (*old, new))
                .collect(),
        );
    }
    pruned
}

fn sorted(kept: &Kept) -> Vec<usize> {
    kept.keys()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Keys, and the aggregates that are read.
fn aggregate_columns(
    keys: usize,
    calls: usize,
    needed: &BTreeSet<usize>,
) -> impl Iterator<Item = usize> {
    (0..keys).chain((keys..keys + calls).filter(|column| needed.contains(column)))
}

/// Columns of each relation that are read by relations which lead to a sink.
fn needed(relations: &[Relation]) -> Vec<BTreeSet<usize>> {
    let reachable = reachable(relations);
    let mut needed: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); relations.len()];
    for (id, relation) in relations.iter().enumerate().rev() {
        if !reachable[id] {
            continue;
        }
        if needed[id].is_empty() && !relation.columns.is_empty() {
            // Rows that are only counted still need a column.
            needed[id].insert(0);
        }
        let own = needed[id].clone();
        match &relation.operation {
            Operation::Source(_) => {}
            Operation::Sink { input, .. } => needed[*input].extend(0..relation.columns.len()),
            Operation::Watermark {
                input,
                column,
                expr,
            } => {
                needed[*input].extend(own);
                needed[*input].insert(*column);
                needed[*input].extend(columns_of(expr));
            }
            Operation::Calc {
                input,
                filter,
                project,
            } => {
                needed[*input].extend(own.iter().flat_map(|column| columns_of(&project[*column])));
                needed[*input].extend(filter.iter().flat_map(columns_of));
            }
            Operation::Union { inputs } => {
                for input in inputs {
                    needed[*input].extend(own.iter().copied());
                }
            }
            Operation::WindowAggregate {
                input,
                time,
                keys,
                calls,
                ..
            } => {
                needed[*input].insert(*time);
                needed[*input].extend(read_by(keys, calls, &own));
            }
            Operation::GroupAggregate { input, keys, calls } => {
                needed[*input].extend(read_by(keys, calls, &own));
            }
        }
    }
    needed
}

fn read_by(keys: &[usize], calls: &[AggregateCall], needed: &BTreeSet<usize>) -> BTreeSet<usize> {
    let calls = calls
        .iter()
        .enumerate()
        .filter(|(index, _)| needed.contains(&(keys.len() + index)));
    let read = calls
        .flat_map(|(_, call)| [call.arg, call.filter])
        .flatten();
    keys.iter().copied().chain(read).collect()
}

fn rewrite(mut relation: Relation, columns: &[usize], kept: &[Kept]) -> Relation {
    relation.operation = match relation.operation {
        Operation::Watermark {
            input,
            column,
            expr,
        } => Operation::Watermark {
            input,
            column: moved(&kept[input], column),
            expr: remapped(&expr, &kept[input]),
        },
        Operation::Calc {
            input,
            filter,
            project,
        } => Operation::Calc {
            input,
            filter: filter.map(|filter| remapped(&filter, &kept[input])),
            project: columns
                .iter()
                .map(|column| remapped(&project[*column], &kept[input]))
                .collect(),
        },
        Operation::WindowAggregate {
            input,
            window,
            time,
            keys,
            calls,
        } => {
            let calls = kept_calls(calls, keys.len(), columns, &kept[input]);
            let keys = keys.iter().map(|key| moved(&kept[input], *key)).collect();
            Operation::WindowAggregate {
                input,
                window,
                time: moved(&kept[input], time),
                keys,
                calls,
            }
        }
        Operation::GroupAggregate { input, keys, calls } => {
            let calls = kept_calls(calls, keys.len(), columns, &kept[input]);
            let keys = keys.iter().map(|key| moved(&kept[input], *key)).collect();
            Operation::GroupAggregate { input, keys, calls }
        }
        other => other,
    };
    relation.columns = columns
        .iter()
        .map(|column| relation.columns[*column].clone())
        .collect();
    relation
}

fn moved(kept: &Kept, column: usize) -> usize {
    // A column that is not kept belongs to a relation that leads to no sink.
    kept.get(&column).copied().unwrap_or(0)
}

fn remapped(expr: &Expr, kept: &Kept) -> Expr {
    map_columns(expr, &|index, ty| {
        Expr::column(moved(kept, index), ty.clone())
    })
}

fn kept_calls(
    calls: Vec<AggregateCall>,
    keys: usize,
    columns: &[usize],
    kept: &Kept,
) -> Vec<AggregateCall> {
    let calls = calls
        .into_iter()
        .enumerate()
        .filter(|(index, _)| columns.contains(&(keys + index)));
    calls
        .map(|(_, call)| AggregateCall {
            arg: call.arg.map(|arg| moved(kept, arg)),
            filter: call.filter.map(|filter| moved(kept, filter)),
            ..call
        })
        .collect()
}
