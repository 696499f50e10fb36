//! What the planner asks and learns about a table.

use streamkeeper_protocol::plan::ChangelogMode;

/// How a table is used by a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableUse {
    /// Read.
    Source,
    /// Written.
    Sink,
}

/// What the planner must know about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableTraits {
    /// For a sink: the richest changelog it accepts.
    pub accepts: ChangelogMode,
    /// For a source: whether it ends.
    pub bounded: bool,
}
