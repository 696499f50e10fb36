//! What operator, coordinator, workers and stored state agree on.
//!
//! Records, names and decisions, never I/O: facts in, decision out. In reading order:
//! * [`types`]: Flink's data types and schemas.
//! * [`calendar`]: days and civil dates.
//! * [`expr`] and [`plan`]: the `StreamPlan` IR that the SQL front end writes and the engine runs.
//! * [`aggregate`]: aggregate calls and the columns of their partial accumulators.
//! * [`key_group`]: key hash, key groups, their assignment to subtasks.
//! * [`paths`], [`head`], [`manifest`]: state layout v1 on the object store.
//! * [`compatibility`]: can this plan continue from that checkpoint?
//! * [`job_api`]: Job API v1, JSON over HTTP, between operator and coordinator.
//!
//! This crate depends on serde and a hash function; it may never name a client, a clock or a random
//! source.
#![deny(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

#[cfg(test)]
extern crate self as streamkeeper_protocol;

pub mod aggregate;
pub mod calendar;
pub mod compatibility;
pub mod expr;
pub mod head;
pub mod job_api;
pub mod key_group;
pub mod manifest;
pub mod paths;
pub mod plan;
pub mod types;
