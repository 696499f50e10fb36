//! Operators, channels, barriers, watermarks; deterministic under an injected clock.
//!
//! * [`operator`]: the contract between an operator and the subtask that drives it.
//! * [`exchange`]: how rows travel between subtasks.
//! * [`task`]: the subtask and its thread.
//! * [`expr`]: scalar expressions over batches.
//! * [`aggregate`]: accumulators of aggregate calls.
//! * [`operators`]: the nodes of a plan between sources and sinks.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod aggregate;
mod error;
pub mod exchange;
pub mod expr;
pub mod operator;
pub mod operators;
pub mod task;

pub use error::EngineError;
