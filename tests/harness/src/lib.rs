//! A cluster in memory for the operator's tests. Hours pass in milliseconds.
//!
//! * [`api_server`]: the Kubernetes API.
//! * [`cluster`], [`kubelet`]: what controllers and nodes do about its objects.
//! * [`coordinator`], [`script`]: the fake coordinator in pod 0, and the faults a test gives it.
//! * [`world`]: all of that, under one lock, one step at a time.
//! * [`interference`]: calls that are refused or lost, and the end of the operator during a call.
//! * [`user`]: what users ask of the API server, as data.
//! * [`story`]: a real controller in that world, and what a test does and sees.
//! * [`helm`]: the chart, rendered.
//!
//! Stories (`tests/stories`) use all of it. Crash plans (`tests/crashes`) run the kubelets and
//! coordinators on the objects of a real API server, and send it the requests of [`user`]. The
//! chart tests use [`helm`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

pub mod api_server;
pub mod cluster;
pub mod coordinator;
pub mod helm;
pub mod interference;
pub mod kubelet;
pub mod script;
pub mod story;
pub mod user;
pub mod world;
