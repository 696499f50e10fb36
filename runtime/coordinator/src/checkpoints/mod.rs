//! Checkpoints: one under way, and how it becomes the restore point.
//!
//! * [`pending`]: shares of workers, until all are there.
//! * [`publish`]: a complete checkpoint becomes durable: its manifest, then HEAD.

pub(crate) mod pending;
pub(crate) mod publish;
