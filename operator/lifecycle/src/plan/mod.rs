//! Input and output of a decision about a StreamJob. In reading order:
//! * [`input`]: everything that a decision may depend on; [`required_reads`]: what has to be read
//!   for it.
//! * [`ownership`]: who has the job, and what the spec asks for.
//! * [`preparation`]: how far a revision in standby is, and what is wrong with its pods.
//! * [`spec_change`]: what an edit of the spec means.
//! * [`action`]: the effects that a plan can ask for; each is idempotent.
//! * `reasons`: why a job waits or needs help, and the sentences that say so.
//! * `plan_builder`: a plan while it is made; `units`: times and sizes in it.

pub mod action;
pub mod input;
pub mod ownership;
pub(crate) mod plan_builder;
pub mod preparation;
pub(crate) mod reasons;
pub mod required_reads;
pub mod spec_change;
pub(crate) mod units;
