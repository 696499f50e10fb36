//! Limits how many operators follow each other.

use streamkeeper_protocol::{aggregate::AggregateCall, plan::MAX_DEPTH};

use super::traversal::reachable;
use crate::{
    error::SqlError,
    graph::{Operation, Relation},
};

/// Refuses a plan that is too deep to run, at the first query that makes it so.
pub(super) fn check(relations: &[Relation]) -> Result<(), Vec<SqlError>> {
    let alive = reachable(relations);
    let mut depths = vec![0_usize; relations.len()];
    for (id, relation) in relations.iter().enumerate().filter(|(id, _)| alive[*id]) {
        let inputs = relation.operation.inputs();
        let below = inputs.iter().map(|&input| depths[input]).max();
        depths[id] = below.unwrap_or(0) + operators(&relation.operation);
        if depths[id] > MAX_DEPTH {
            let message = format!(
                "the plan is too deep: more than {MAX_DEPTH} operators follow each other from a source up to here"
            );
            return Err(vec![
                SqlError::at(relation.position, message).hint(
                    "join some of the views into one query, or write what they have in common to a table that a second job reads",
                ),
            ]);
        }
    }
    Ok(())
}

/// Largest number of operators that a relation becomes.
fn operators(operation: &Operation) -> usize {
    match operation {
        Operation::WindowAggregate { calls, .. }
            if calls.iter().all(AggregateCall::is_splittable) =>
        {
            2
        }
        _ => 1,
    }
}
