//! Sources and sinks, one folder each, behind two traits.
//!
//! * [`batch`]: rows in flight and their Arrow types.
//! * [`source`]: replayable input whose positions are state.
//! * [`sink`]: output that is prepared for a checkpoint and committed after it.

pub mod batch;
pub mod sink;
pub mod source;

use std::sync::Arc;

use streamkeeper_protocol::plan::{ChangelogMode, TableRef};

use crate::{
    sink::{Committer, Sink, SinkContext},
    source::{Source, SourceContext},
};

/// Why a connector failed. Messages say what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// An option of the table is unknown, missing or wrong.
    #[error("table '{table}': {detail}")]
    Option {
        /// Table name.
        table: String,
        /// The option at fault, if one is.
        option: Option<String>,
        /// What is wrong and what is possible.
        detail: String,
    },
    /// A record cannot be decoded.
    #[error("table '{table}': {object} line {line}: {detail}")]
    Record {
        /// Table name.
        table: String,
        /// Object or split.
        object: String,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The store failed.
    #[error("table '{table}': {source}")]
    Storage {
        /// Table name.
        table: String,
        /// What happened.
        source: streamkeeper_storage::StorageError,
    },
    /// A row cannot be written.
    #[error("table '{table}': {detail}")]
    Write {
        /// Table name.
        table: String,
        /// Why.
        detail: String,
    },
}

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

/// Checks connector, format and options of a table without any I/O.
pub fn check(_table: &TableRef, _table_use: TableUse) -> Result<TableTraits, ConnectorError> {
    Ok(TableTraits { accepts: ChangelogMode::Retract, bounded: false })
}

/// Opens a source. I/O starts on the context's runtime; what goes wrong there is the error of a later poll.
pub fn open_source(context: SourceContext) -> Result<Box<dyn Source>, ConnectorError> {
    Err(unknown(&context.table))
}

/// Opens a sink in one subtask.
pub fn open_sink(context: SinkContext) -> Result<Box<dyn Sink>, ConnectorError> {
    Err(unknown(&context.table))
}

/// Opens the committer of a sink; `subtask` of the context does not matter.
pub fn open_committer(context: SinkContext) -> Result<Arc<dyn Committer>, ConnectorError> {
    Err(unknown(&context.table))
}

fn unknown(table: &TableRef) -> ConnectorError {
    ConnectorError::Option {
        table: table.name.clone(),
        option: Some("connector".to_owned()),
        detail: format!("unknown connector '{}'", table.connector),
    }
}
