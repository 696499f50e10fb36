//! Sources and sinks, one folder each, behind two traits. In reading order:
//!
//! * [`batch`]: rows in flight and their Arrow types; `table`, `error`: what the planner learns
//!   about a table, and why a connector fails.
//! * [`source`]: replayable input whose positions are state.
//! * [`sink`]: output that is prepared for a checkpoint and committed after it.
//! * `registry`: the connectors by name; `options`: a table's options, read into types. Unknown
//!   options are refused.
//! * `datagen`, `filesystem`, `print`, `blackhole`: the connectors. Each checks its options, opens
//!   its source or sink, and defines the encoding of its positions and committables.
//! * `format`: `json`, `csv`, `raw`, `debezium-json`: decode bytes to rows, and encode rows.
//! * `column_builder`, `column_reader`: columns while they are decoded and while they are written;
//!   `text`: values as text.
//!
//! Depends on the protocol (plans, types, key groups) and on the object store's trait; never on the
//! engine, a server or a clock of its own.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod batch;
mod blackhole;
mod column_builder;
mod column_reader;
mod datagen;
mod error;
mod filesystem;
mod format;
mod options;
mod print;
mod registry;
pub mod sink;
pub mod source;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;

pub use error::ConnectorError;
pub use registry::{check, misfit_values, open_committer, open_sink, open_source};
pub use table::{TableTraits, TableUse};
