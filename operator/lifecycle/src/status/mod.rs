//! What the status of a job says. In reading order:
//! * `observations`: workers, checkpoints, restarts, pauses.
//! * `failures`: what failed, as the coordinator and the kubelet report it.
//! * `health`: how the running revision does.
//! * `conditions`: the conditions, by the rules of kstatus.

pub(crate) mod conditions;
pub(crate) mod failures;
pub(crate) mod health;
pub(crate) mod observations;
