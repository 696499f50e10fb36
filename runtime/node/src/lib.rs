//! `streamjob-runtime`: the worker and coordinator roles of a job, and the tools around them.
//!
//! In reading order:
//! * [`cli`]: the commands of the binary and their flags; `main.rs` only calls it.
//! * [`worker`]: runs the graph; [`data_plane`]: rows between workers.
//! * [`solo`]: a whole job in one process, for `run`, `bench` and tests.
//! * [`http`]: Job API v1, health, metrics.
//! * [`telemetry`]: the format of logs, and what they leave out.
//!
//! The coordinator is the crate `coordinator`, which owns HEAD and supervises workers. This crate
//! may depend on every other crate of `runtime/`; nothing depends on it.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod cli;
pub mod data_plane;
pub mod http;
pub mod solo;
pub mod telemetry;
pub mod worker;
