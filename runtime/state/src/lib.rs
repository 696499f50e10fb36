//! Keyed state, dirty sets, delta runs, snapshots.
//!
//! * [`frozen`]: what an operator hands over at a barrier, and gets back at a restore.

pub mod frozen;

pub use frozen::*;
