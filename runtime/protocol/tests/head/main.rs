//! HEAD: who may claim a job, what its owner may write, how it is stored, and that no interleaving of it all makes two owners.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod change;
mod claim;
mod golden;
mod model;
mod records;
