//! Builds the plan of a job, step by step.

use streamkeeper_protocol::plan::{Settings, StreamPlan};

use super::{changelog, depth, fuse, nodes, prune};
use crate::{error::SqlError, query::Planner};

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
