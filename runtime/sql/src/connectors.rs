//! What the front end needs from connectors. It contains no connector itself.

use streamkeeper_protocol::plan::{ChangelogMode, TableRef};

/// How a statement uses a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableUse {
    /// A query reads it.
    Source,
    /// `INSERT INTO` writes it.
    Sink,
}

/// Traits of a table, as its connector defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableTraits {
    /// Changes that a sink takes: `InsertOnly` only new rows; `Retract` any change, updates as old
    /// and new row; `Upsert` inserts, new values and deletions by the table's PRIMARY KEY. Unused
    /// for sources.
    pub accepts: ChangelogMode,
    /// Whether a source ends by itself. Unused for sinks.
    pub bounded: bool,
}

/// An option that the connector refuses, or one that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// The key at fault, where there is one.
    pub option: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The connectors that a job may use.
pub trait Connectors {
    /// Checks the connector's name and every option of a table, for one use of it.
    fn check(&self, table: &TableRef, table_use: TableUse) -> Result<TableTraits, OptionProblem>;
}
