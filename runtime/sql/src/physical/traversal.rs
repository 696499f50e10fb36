//! Which relations of a graph lead to a sink, and how many read each.

use crate::graph::{Operation, Relation};

/// Which relations lead to a sink.
pub(super) fn reachable(relations: &[Relation]) -> Vec<bool> {
    let mut reachable = vec![false; relations.len()];
    for (id, relation) in relations.iter().enumerate().rev() {
        if matches!(relation.operation, Operation::Sink { .. }) {
            reachable[id] = true;
        }
        if reachable[id] {
            for input in relation.operation.inputs() {
                reachable[input] = true;
            }
        }
    }
    reachable
}

/// How many reachable relations read each.
pub(super) fn consumers(relations: &[Relation], reachable: &[bool]) -> Vec<usize> {
    let mut consumers = vec![0; relations.len()];
    for (_, relation) in relations
        .iter()
        .enumerate()
        .filter(|(id, _)| reachable[*id])
    {
        for input in relation.operation.inputs() {
            consumers[input] += 1;
        }
    }
    consumers
}
