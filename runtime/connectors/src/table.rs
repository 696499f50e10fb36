//! How a job uses a table, and what the planner learns about it.

use streamkeeper_protocol::plan::ChangelogMode;

/// How a table is used by a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableUse {
    /// Read.
    Source,
    /// Written.
    Sink,
}

/// Traits of a table that the planner needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableTraits {
    /// For a sink: the richest changelog it accepts.
    pub accepts: ChangelogMode,
    /// For a source: whether it ends.
    pub bounded: bool,
}
