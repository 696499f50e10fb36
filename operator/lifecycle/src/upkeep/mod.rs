//! What is due in every state of a job.
//! * `lost_node`: pods of a node that is lost.
//! * `cleanup`: objects of old revisions.
//! * `network_policy`, `disruption_budget`: the objects that a job has once.

pub(crate) mod cleanup;
pub(crate) mod disruption_budget;
pub(crate) mod lost_node;
pub(crate) mod network_policy;
