//! One subtask: one instance of every node of the plan, driven by one thread.
//!
//! Nodes joined by `Forward` edges call each other directly; exchanges go through channels. A
//! subtask is driven step by step and never waits inside a step, so that tests drive it without
//! threads, sockets or time.
//!
//! * [`topology`]: which node calls which, which edges need channels, which nodes align together.
//! * [`subtask`]: the subtask and its step; `build`: from its parts; `flow`: rows and watermarks
//!   from node to node; `barrier`: checkpoints; `watermark_tracker`, `alignment`: watermarks and
//!   barriers over several inputs.
//! * `source`, `rate_limiter`: a source with its positions, rate and idleness.
//! * [`event`]: what goes in (commands) and comes out (snapshots, failures).
//! * [`thread`]: a thread that steps a subtask until it is stopped.
//! * [`clock`], [`counters`]: time as the subtask sees it, and what it counts.

mod alignment;
mod barrier;
mod build;
pub mod clock;
pub mod counters;
pub mod event;
mod flow;
mod rate_limiter;
mod source;
pub mod subtask;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod topology;
mod watermark_tracker;

pub use clock::*;
pub use counters::*;
pub use event::*;
pub use source::splits_of;
pub use subtask::*;
pub use thread::*;
pub use topology::*;
