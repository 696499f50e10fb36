//! The front end from outside: plans, refusals, Flink's types, identities, and that no text can
//! break it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod connectors;
mod golden;
mod hostile;
mod identity;
mod plans;
mod reference;
mod refusals;
mod types;
mod warnings;
