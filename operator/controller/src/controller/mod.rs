//! observe -> plan -> persist -> execute, whenever something changed.
//!
//! * [`context`]: what every reconcile shares.
//! * [`watch`]: the watches, and which job a change belongs to; [`cache`] and
//!   [`multi_namespace_store`]: what they have seen; [`watch_progress`]: how far they have come.
//! * [`expectations`]: what was written and not seen yet; [`rate_limiter`]: how often one job is
//!   looked at.
//! * [`observe`]: caches, Job API and S3 into [`streamkeeper_lifecycle::Observed`].
//! * [`execute`]: one call per action.
//! * [`reconcile`]: the loop body; decides nothing.
//! * [`snapshots`]: the same for StreamSnapshots.
//! * `acting_first`: what [`reconcile`] must never do, for a negative control; no image has it.

#[cfg(feature = "test-acts-first")]
mod acting_first;
mod cache;
mod context;
mod error;
mod execute;
mod expectations;
mod lost_nodes;
mod multi_namespace_store;
mod observe;
mod rate_limiter;
mod reconcile;
mod snapshots;
mod turns;
mod unreadable;
mod watch;
mod watch_progress;

pub use context::{Context, Ports, Remembered};
pub use error::ReconcileError;
pub use watch::{Caches, run};
