//! observe -> plan -> persist -> execute, whenever something changed.
//!
//! * [`context`]: what every reconcile shares.
//! * [`watch`]: the watches, their caches, and which job a change belongs to.
//! * [`observe`]: caches, Job API and S3 into [`crate::lifecycle::Observed`].
//! * [`execute`]: one call per action.
//! * [`reconcile`]: the loop body; decides nothing.
//! * [`snapshots`]: the same for StreamSnapshots.

mod context;
mod error;
mod execute;
mod observe;
mod reconcile;
mod snapshots;
mod watch;

pub use context::{Context, Ports};
pub use error::ReconcileError;
pub use watch::{Caches, run};
