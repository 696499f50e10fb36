//! Flink SQL text to a [`StreamPlan`](streamkeeper_protocol::plan::StreamPlan), or a refusal with
//! line and column. The only crate that sees a SQL library.
//!
//! [`compile`] goes through these modules in order:
//! * `dialect`, `script`: tokens and syntax trees, cut into statements. Everything unknown is
//!   refused here or where it is met; nothing is skipped.
//! * `settings`, `catalog`: `SET`, tables and views. [`connectors`] answers what a table can do.
//! * `types`, `coercion`, `expression`, `scope`: Flink's types, names and conversions; expressions
//!   without anything left to infer.
//! * `query`, `insert`: queries to a graph of relations (`graph`), every column with its `lineage`.
//! * `physical`: unused columns go, calculations fuse, exchanges and kinds of change come in.
//! * `explain`: the plan as text.
//!
//! Pure: no I/O, no clock, no random source. May depend on the protocol crate, on sqlparser's
//! tokenizer and syntax tree, and on jiff for the calendar.
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

mod catalog;
mod coercion;
mod compile;
pub mod connectors;
mod dialect;
mod error;
mod explain;
mod expression;
mod graph;
mod insert;
mod lineage;
mod physical;
mod query;
mod scope;
mod script;
mod settings;
mod suggest;
mod types;

pub use compile::{Compiled, compile};
pub use connectors::{Connectors, OptionProblem, TableTraits, TableUse};
pub use error::{SqlError, SqlWarning};
pub use explain::explain;
