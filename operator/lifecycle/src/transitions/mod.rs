//! The transitions of a job. In reading order:
//! * [`edges`]: transitions, their steps and the legal edges between them.
//! * `steady`: no transition is in progress; which one begins?
//! * `deploy` (and resume), `upgrade`, `rollback`, `restore`, `rescale`, `stop` (suspend and
//!   delete): one file or folder for each. `upgrade/savepoint` decides about the savepoint.
//! * `standby`: the start of a revision, which several transitions share.

pub(crate) mod deploy;
pub mod edges;
pub(crate) mod rescale;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod standby;
pub(crate) mod steady;
pub(crate) mod stop;
pub(crate) mod upgrade;
