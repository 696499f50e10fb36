//! Relations to the nodes of a plan: fewer columns, fewer steps, then exchanges and kinds of
//! change.

mod changelog;
mod depth;
mod fuse;
mod label;
mod nodes;
mod prune;

pub(crate) use label::{call_text, window_text};
use streamkeeper_protocol::plan::{Settings, StreamPlan};

use crate::{
    error::SqlError,
    graph::{Operation, Relation},
    query::Planner,
};

/// The plan of a job. Errors are about changes that a consumer cannot take.
pub(crate) fn build(
    planner: &mut Planner<'_>,
    settings: Settings,
) -> Result<StreamPlan, Vec<SqlError>> {
    let graph = std::mem::take(&mut planner.graph);
    let relations = fuse::fuse(prune::prune(graph.relations));
    depth::check(&relations)?;
    let modes = changelog::infer(&relations, planner)?;
    Ok(nodes::emit(&relations, &modes, settings))
}

/// Which relations lead to a sink.
fn reachable(relations: &[Relation]) -> Vec<bool> {
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
fn consumers(relations: &[Relation], reachable: &[bool]) -> Vec<usize> {
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
