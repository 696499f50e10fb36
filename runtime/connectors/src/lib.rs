//! Sources and sinks, one folder each, behind two traits.
//!
//! * [`batch`]: rows in flight and their Arrow types.
//! * [`source`]: replayable input whose positions are state.
//! * [`sink`]: output that is prepared for a checkpoint and committed after it.
//! * `options`: a table's options, read into types; unknown ones are refused.
//! * `datagen`, `filesystem`, `print`, `blackhole`: the connectors. Each checks its options, opens
//!   its source or sink, and knows the encoding of its positions and committables.
//! * `format`: `json`, `csv`, `raw`, `debezium-json`: bytes to rows and back.
//! * `column`, `view`, `text`: values while they are read and written, and how they look as text.
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
mod column;
mod datagen;
mod filesystem;
mod format;
mod options;
mod print;
pub mod sink;
pub mod source;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::{future::Future, pin::Pin, sync::Arc};

use streamkeeper_protocol::plan::{ChangelogMode, TableRef};

use crate::{
    options::Options,
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

/// Checks connector, format, options and column types of a table without any I/O. Values that still
/// hold a variable (`${NAME}`) are not judged.
pub fn check(table: &TableRef, table_use: TableUse) -> Result<TableTraits, ConnectorError> {
    let options = Options::new(table);
    // Accepts any changelog, and as a source would have no end.
    let any = TableTraits {
        accepts: ChangelogMode::Retract,
        bounded: false,
    };
    match (table.connector.as_str(), table_use) {
        (FILESYSTEM, _) => filesystem::check(options, table_use),
        (DATAGEN, TableUse::Source) => Ok(TableTraits {
            bounded: datagen::check(options)?,
            ..any
        }),
        (PRINT, TableUse::Sink) => print::check(options).map(|()| any),
        (BLACKHOLE, TableUse::Sink) => blackhole::check(options).map(|()| any),
        _ => Err(not_for(table, table_use)),
    }
}

/// Opens a source. I/O starts on the context's runtime; what goes wrong there is the error of a
/// later poll.
pub fn open_source(context: SourceContext) -> Result<Box<dyn Source>, ConnectorError> {
    match context.table.connector.as_str() {
        FILESYSTEM => filesystem::open_source(context),
        DATAGEN => datagen::open(context),
        _ => Err(not_for(&context.table, TableUse::Source)),
    }
}

/// Values that all sources of this process read so far and that were cut, or are NULL because they
/// do not fit their column.
pub fn misfit_values() -> u64 {
    filesystem::misfit_values()
}

/// Opens a sink in one subtask.
pub fn open_sink(context: SinkContext) -> Result<Box<dyn Sink>, ConnectorError> {
    match context.table.connector.as_str() {
        FILESYSTEM => filesystem::open_sink(context),
        PRINT => print::open(context),
        BLACKHOLE => {
            blackhole::check(Options::new(&context.table))?;
            Ok(Box::new(blackhole::Blackhole))
        }
        _ => Err(not_for(&context.table, TableUse::Sink)),
    }
}

/// Opens the committer of a sink; the subtask of the context does not matter.
pub fn open_committer(context: SinkContext) -> Result<Arc<dyn Committer>, ConnectorError> {
    match context.table.connector.as_str() {
        FILESYSTEM => filesystem::open_committer(context),
        PRINT | BLACKHOLE => Ok(Arc::new(NothingToCommit)),
        _ => Err(not_for(&context.table, TableUse::Sink)),
    }
}

const FILESYSTEM: &str = "filesystem";
const DATAGEN: &str = "datagen";
const PRINT: &str = "print";
const BLACKHOLE: &str = "blackhole";

fn not_for(table: &TableRef, table_use: TableUse) -> ConnectorError {
    let name = &table.connector;
    let detail = match (name.as_str(), table_use) {
        (DATAGEN, _) => "connector 'datagen' can be read, not written".to_owned(),
        (PRINT | BLACKHOLE, _) => format!("connector '{name}' can be written, not read"),
        (_, TableUse::Source) => {
            format!("unknown connector '{name}'; sources are: {FILESYSTEM}, {DATAGEN}")
        }
        (_, TableUse::Sink) => {
            format!("unknown connector '{name}'; sinks are: {FILESYSTEM}, {PRINT}, {BLACKHOLE}")
        }
    };
    ConnectorError::Option {
        table: table.name.clone(),
        option: Some("connector".to_owned()),
        detail,
    }
}

fn refuse_sink_parallelism(options: Options<'_>) -> Result<(), ConnectorError> {
    if options.has("sink.parallelism") {
        return Err(options.wrong(
            "sink.parallelism",
            "is not supported: a sink runs on every worker of the job; remove it",
        ));
    }
    Ok(())
}

/// Committer of sinks that prepare nothing.
struct NothingToCommit;

impl Committer for NothingToCommit {
    fn commit<'a>(
        &'a self,
        _meta: &'a serde_json::Value,
        _staged: Option<bytes::Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<(), ConnectorError>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
