//! A world for the operator to live in: everything in memory, hours in milliseconds.
//!
//! * [`api_server`]: the Kubernetes API.
//! * [`cluster`], [`kubelet`]: what controllers and nodes do about its objects.
//! * [`coordinator`], [`script`]: what runs in pod 0, and how it is told to misbehave.
//! * [`world`]: all of that, one lock, one step at a time.
//! * [`interference`]: calls refused, calls lost, the operator ended in the middle of one.
//! * [`story`]: a real controller in that world, and what a test does and sees.

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
pub mod world;
