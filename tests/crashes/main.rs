//! Crash plans: the operator's binary runs against a real API server and is killed at every one of
//! its writes. The next operator finishes what it began, and the result shows no trace of the
//! crash.
//!
//! A run of each transition without faults shows which writes there are and what the outcome is. A
//! plan is one of these writes and a [`crash_injector::CrashPoint`]: before the write, after it and
//! before the answer, after the answer and before the next request. Then another operator starts. A
//! plan passes under four conditions. Its outcome equals that of the run without faults (the oracle
//! of Sieve). No object was created or deleted twice. HEAD only grew. Two coordinators never ran
//! the job at once.
//!
//! * [`control_plane`]: etcd, API server, StatefulSet and garbage-collector controllers, as
//!   processes.
//! * [`operator`], [`proxy`], [`crash_injector`]: the operator's process, the proxy in front of its
//!   API server, and the write at which it is killed.
//! * [`cluster_sync`], [`job_api_server`], [`object_cache`]: the scheduler, the kubelets and the
//!   coordinators of the harness. They live on real objects and serve real HTTP at addresses in
//!   127.0.0.0/8.
//! * [`bucket`]: what coordinators leave in S3.
//! * [`sandbox`], [`actions`], [`scenarios`], [`snapshot_scenarios`], [`outcome`], [`plans`]: one
//!   plan.
//! * [`killing`], [`negative_controls`]: the tests. [`conformance`]: the API server of the harness
//!   beside the real one.
//!
//! `make crash-plans` plays all plans. These variables choose: `CRASH_PLANS` (a number, or `all`),
//! `CRASH_SEED`, `CRASH_ONLY` (part of a scenario's name) and `CRASH_AT_ONCE` (plans played at the
//! same time).
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
mod crash_injector;
mod job_api_server;
mod killing;
mod negative_controls;
mod object_cache;
mod operator;
mod outcome;
mod plans;
mod proxy;
mod sandbox;
mod scenarios;
mod server;
mod snapshot_scenarios;
