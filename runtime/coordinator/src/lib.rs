//! The coordinator: a role inside pod 0.
//!
//! It owns HEAD, supervises workers, takes checkpoints and carries out the operations of the Job
//! API. In reading order:
//! * [`config`], [`commands`], [`events`]: what the process gives it, what the Job API asks of it,
//!   what it handles. [`published_status`]: what it shows.
//! * [`start`]: its tasks, and its life from standby to the end of the job.
//! * [`worker_connections`], [`worker_link`], [`worker_registry`], [`coordinator_context`]: its
//!   workers and its event loop.
//! * [`compiled_job`], [`restore_point`], [`preflight`]: can this process run the job?
//! * [`standby`]: waits for the job and claims it; [`savepoint_preflight`], [`import`]: from a
//!   savepoint.
//! * [`head_writer`]: the writes of HEAD.
//! * [`job_leader`]: attempt after attempt, on what the owner of HEAD has ([`head_ownership`],
//!   [`attempt`]); [`deployment`]: a graph that runs; [`attempt_run`]: records flow; [`job_end`]:
//!   the write that ends it, and the parts of such writes ([`head_changes`]).
//! * [`checkpoints`]: one checkpoint from its first share until it is durable;
//!   [`progress_deadline`], [`checkpoint_failures`]: those that take too long or fail.
//! * [`operations`]: the operations of the Job API and what they may name ([`allowed_targets`]);
//!   [`savepoints`]: copies of pinned checkpoints; [`commit_replay`]: output that a predecessor did
//!   not commit.
//! * [`job_report`], [`processing_pauses`], [`attempt_failure`]: what it reports; [`metrics`],
//!   [`liveness`]: what `/metrics` and the probes read.
//!
//! It may depend on `control`, `tables`, `engine` and the crates below them, and opens no HTTP
//! server: the node does, and hands in calls as events.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod allowed_targets;
mod attempt;
mod attempt_failure;
mod attempt_run;
mod checkpoint_failures;
mod checkpoints;
mod commands;
mod commit_replay;
mod compiled_job;
mod config;
mod coordinator_context;
mod deployment;
mod events;
mod head_changes;
mod head_ownership;
mod head_writer;
mod import;
mod job_end;
mod job_leader;
mod job_report;
pub mod liveness;
pub mod metrics;
mod operations;
mod preflight;
mod processing_pauses;
mod progress_deadline;
mod published_status;
mod restore_point;
mod savepoint_preflight;
mod savepoints;
mod standby;
mod start;
mod worker_connections;
mod worker_link;
mod worker_registry;

pub use commands::{Call, Refusal};
pub use compiled_job::{CompileError, CompiledJob, JobText, compile};
pub use config::{
    BackOff, CheckpointPolicy, CoordinatorConfig, JobIdentity, StandbyScope, StartMode,
};
pub use events::CoordinatorEvent;
pub use published_status::PublishedStatus;
pub use start::{Coordinator, CoordinatorEnd};
pub use worker_link::WorkerLink;
