//! The operator's side of the world: watches, status writes, calls. `lifecycle::plan` decides.
//!
//! In reading order:
//! * [`controller`]: watches, caches and the reconcile loop.
//! * [`coordinator_client`]: calls of the Job API; [`buckets`]: reads of object stores.
//! * [`kube_ext`]: reads and writes of Kubernetes objects; [`events`]: Kubernetes events.
//! * [`leader`]: which replica writes, and what holds every write to it.
//! * [`security`]: the operator's master keys.
//! * [`config`]: flags and environment of the operator, validated once.
//! * [`health`], [`metrics`], [`telemetry`]: probes, metrics and logs.
//! * [`clock`]: the only place that reads the system clock.
//! * [`self_test`]: `streamkeeper self-test`.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod buckets;
pub mod clock;
pub mod config;
pub mod controller;
pub mod coordinator_client;
pub mod events;
pub mod health;
pub mod kube_ext;
pub mod leader;
pub mod metrics;
pub mod security;
pub mod self_test;
pub mod telemetry;
