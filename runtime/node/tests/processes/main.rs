//! A job as it runs in pods: every worker a process of its own, killed, frozen and cut off from a
//! real S3 server, and a ledger at the end.
//!
//! `dev/s3/local -- cargo test -p streamkeeper-node --features test-unfenced --test processes`. In
//! reading order:
//! * [`harness`]: processes, their ports, S3 and what goes wrong with it, a job with its input, the
//!   ledger.
//! * [`kills`], [`steps`]: processes die at random, and at every step of a checkpoint and of a
//!   hand-over.
//! * [`zombie`]: a coordinator wakes up after its successor took over; [`faults`]: S3 fails.
//! * [`changes`]: rescale, hand-over, stop and resume; [`restores`]: a job goes back to a
//!   savepoint, or another one goes on from it.
//! * [`drains`]: pods are asked to end.
//! * [`tls`]: who may talk to a job, and for how long; [`token`]: the same without TLS, and what a
//!   caller can make a coordinator do.
//! * [`local`]: `check` and `run`, without S3.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod changes;
mod drains;
mod faults;
mod harness;
mod kills;
mod local;
mod restores;
mod steps;
mod tls;
mod token;
mod zombie;
