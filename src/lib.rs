//! The Streamkeeper operator: keeps stateful streaming jobs alive on Kubernetes.
//!
//! In reading order; left may not import right, and `tests/dependencies.rs` fails when it does:
//!
//! `api` <- `lifecycle` <- `resources` <- {`coordinator_client`, `buckets`, `kube_ext`} <-
//! `controller` <- `main`
//!
//! * [`api`]: what users write and read: `StreamJob` v1alpha1, its rules, conditions, names.
//! * [`lifecycle`]: `plan(&Input) -> Plan`, the one pure function that decides everything.
//! * [`resources`]: the Kubernetes objects of a revision: pure builders.
//! * [`leader`]: which replica writes, and what holds every write to it.
//! * [`config`]: flags and environment of the operator, validated once.
//!
//! `api`, `lifecycle` and `resources` never name a client, tokio, a clock or a random source.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod api;
pub mod buckets;
pub mod clock;
pub mod config;
pub mod controller;
pub mod coordinator_client;
pub mod events;
pub mod health;
pub mod kube_ext;
pub mod leader;
pub mod lifecycle;
pub mod metrics;
pub mod resources;
pub mod security;
pub mod self_test;
pub mod telemetry;
