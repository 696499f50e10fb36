//! What the tables of a job may use in the process that runs it.
//!
//! In reading order:
//! * [`access`]: the environment variables and files that the SQL of a job may reach.
//! * [`variables`]: `${VAR}` in the options of a table, expanded in the process that opens it.
//! * [`stores`]: the object stores that tables name, each opened once.
//!
//! It may depend on `protocol`, `storage` and `connectors`.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod access;
pub mod stores;
pub mod variables;
