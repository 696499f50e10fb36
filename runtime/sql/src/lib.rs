//! Compiles Flink SQL to a [`StreamPlan`](streamkeeper_protocol::plan::StreamPlan), or refuses it
//! with line and column. The only crate that depends on a SQL library.
//!
//! In reading order, which is the order of compilation ([`compile`]):
//! * `dialect`, `script`: tokens and syntax trees, cut into statements. Anything unknown is an
//!   error, here or in a later module; nothing is skipped.
//! * `settings`, `catalog`: `SET`, tables and views; [`connectors`]: what a table can do.
//! * `types`, `coercion`, `expression`, `scope`: Flink's types, names and conversions; fully typed
//!   expressions.
//! * `query`, `insert`: queries to a graph of relations (`graph`), every column with its `lineage`.
//! * `physical`: removes unused columns, fuses calculations, adds exchanges and kinds of change.
//! * `explain`: the plan as text; `error`, `suggest`: errors with their position, and a similar
//!   name for a misspelt one.
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
