//! `streamjob-runtime`: the worker and coordinator roles of a job, and the tools around them.
//!
//! In reading order:
//! * [`cli`]: the commands of the binary and their flags; `main.rs` only calls it.
//! * [`coordinator`]: owns HEAD, supervises workers, takes checkpoints, carries out the operations
//!   of the Job API.
//! * [`worker`]: runs the graph; [`data_plane`]: rows between workers; [`control`]: what
//!   coordinator and workers say to each other.
//! * [`http`]: Job API v1, health, metrics. [`transport`]: connections, with or without TLS, and
//!   who is at their other end.
//! * [`variables`], [`stores`]: `${VAR}` in table options, and the stores that tables name;
//!   [`access`]: which of them SQL may reach.
//! * [`failpoint`]: steps at which a test lets the process die.
//! * [`metrics`], [`telemetry`], [`clock`]: what the process tells, and the one place that reads
//!   the time.
//!
//! It may depend on every other crate of `runtime/`; nothing depends on it.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod access;
pub mod cli;
pub mod clock;
pub mod control;
pub mod coordinator;
pub mod data_plane;
pub mod failpoint;
pub mod http;
pub mod metrics;
pub mod stores;
pub mod telemetry;
pub mod transport;
pub mod variables;
pub mod worker;
