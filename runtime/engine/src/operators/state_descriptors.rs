//! Descriptors of the operators' states, as the compatibility check compares them.

use streamkeeper_protocol::{
    compatibility::catalog,
    manifest::StateDescriptor,
    plan::{PlanNode, StreamPlan},
    types::DataType,
};

use super::OperatorContext;
use crate::EngineError;

/// State of an unbounded `GROUP BY`.
pub(super) const GROUPS: &str = "groups";
/// State of a window aggregation.
pub(super) const SLICES: &str = "slices";

/// Descriptor of state `name` of `node`.
pub(super) fn descriptor(
    context: &OperatorContext,
    node: &PlanNode,
    plan: &StreamPlan,
    name: &str,
) -> Result<StateDescriptor, EngineError> {
    let entries = catalog(plan).into_iter();
    let mut own =
        entries.filter(|entry| entry.state_uid == node.state_uid && entry.descriptor.name == name);
    match (own.next(), own.next()) {
        (Some(entry), None) => Ok(entry.descriptor),
        (None, _) => {
            Err(context.refused(format!("the plan's catalog has no state '{name}' for it")))
        }
        (Some(_), Some(_)) => Err(context.refused(format!(
            "two operators have the identity {}",
            node.state_uid
        ))),
    }
}

/// Types of the key columns.
pub(super) fn key_types(descriptor: &StateDescriptor) -> Vec<DataType> {
    descriptor.key.iter().map(|ty| ty.data.clone()).collect()
}
