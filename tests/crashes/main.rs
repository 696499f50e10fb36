//! Crash plans: the operator's real binary against a real API server, killed at every one of its
//! writes; whoever comes next finishes what it began, and nobody can tell from the result.
//!
//! A run of each transition without faults tells which writes there are and what the end is like. A
//! plan is one of these writes and a [`trap::Cut`]: before it, after it and before the answer,
//! after the answer and before the next request. Then another operator starts. A plan passes when
//! its end equals that of the run without faults (Sieve's oracle), no object was made or deleted
//! twice, HEAD only grew, and never did two coordinators run the job.
//!
//! * [`control_plane`]: etcd, API server, StatefulSet and garbage-collector controllers, as
//!   processes.
//! * [`operator`], [`proxy`], [`trap`]: the operator's process, what it takes for its API server,
//!   and where it ends.
//! * [`cluster_sync`], [`coordinators`], [`object_cache`]: the scheduler, the kubelets and the
//!   coordinators of stories, living on real objects and serving real HTTP at addresses in
//!   127.0.0.0/8.
//! * [`bucket`]: what they leave in S3.
//! * [`sandbox`], [`actions`], [`scenarios`], [`saving`], [`end`], [`plans`]: one plan.
//! * [`killing`], [`oracle`]: the tests. [`conformance`]: the API server of the stories against the
//!   real one.
//!
//! `make crash-plans` plays all plans; `CRASH_PLANS` (a number, or `all`), `CRASH_SEED`,
//! `CRASH_ONLY` (part of a scenario's name) and `CRASH_AT_ONCE` (stages played at the same time)
//! choose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    clippy::format_push_string,
    clippy::format_collect,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

mod actions;
mod bucket;
mod cluster_sync;
mod conformance;
mod control_plane;
mod coordinators;
mod end;
mod killing;
mod object_cache;
mod operator;
mod oracle;
mod plans;
mod proxy;
mod sandbox;
mod saving;
mod scenarios;
mod server;
mod trap;
