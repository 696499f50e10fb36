//! Checkpoints: one under way, and how it becomes the restore point.
//!
//! * [`state`]: the checkpoint under way, from its trigger until its output is committed.
//! * [`pending`]: shares of workers, until all are there.
//! * [`publish`]: a complete checkpoint becomes durable: its manifest, then HEAD.
//! * [`garbage`]: objects that no checkpoint needs any more.

pub(crate) mod garbage;
pub(crate) mod pending;
pub(crate) mod publish;
pub(crate) mod state;
