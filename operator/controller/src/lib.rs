//! The part of the operator that does I/O: watches, status writes, calls. `lifecycle::plan`
//! decides.
//!
//! In reading order:
//! * [`run`](mod@run): the controller: watches, and one reconcile loop for each kind.
//! * [`reconcile`]: the loop body: observe, plan, persist, execute.
//! * `jobs`, `snapshots`: the two kinds, as the loop sees them.
//! * `watches`: what the watches have seen. [`context`]: what all reconciles share.
//! * [`coordinator_client`]: calls of the Job API; [`buckets`]: reads of object stores.
//! * [`kube_ext`]: reads and writes of Kubernetes objects; [`events`]: Kubernetes events.
//! * [`leader`]: which replica writes, and what holds every write to it.
//! * [`keyring`]: the operator's master keys.
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
pub mod context;
pub mod coordinator_client;
pub mod events;
pub mod health;
mod jobs;
pub mod keyring;
pub mod kube_ext;
pub mod leader;
pub mod metrics;
pub mod reconcile;
pub mod run;
pub mod self_test;
mod snapshots;
pub mod telemetry;
mod watches;

pub use self::{
    context::shared::{Context, Ports, Remembered},
    reconcile::error::ReconcileError,
    run::run,
    watches::caches::Caches,
};
