//! Operators, channels, barriers, watermarks; deterministic under an injected clock. In reading
//! order:
//! * [`operator`]: the contract between an operator and the subtask that drives it.
//! * [`exchange`]: how rows travel between subtasks.
//! * [`task`]: the subtask and its thread.
//! * [`expr`]: scalar expressions over batches.
//! * [`aggregate`]: accumulators of aggregate calls.
//! * [`operators`]: the nodes of a plan between sources and sinks.
//! * `error`: why a subtask fails.
//!
//! It may depend on the protocol, the storage, the state and the connectors.
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
