//! What was seen of a job. In reading order:
//! * [`facts`]: the facts; every fact is `Known` or `Unknown`.
//! * [`from_kubernetes`]: facts made from Kubernetes objects.
//! * `head_from_pods`: HEAD as pods of the job report it, where the operator does not read the
//!   store.

pub mod facts;
pub mod from_kubernetes;
pub(crate) mod head_from_pods;
