//! Finds the connector of a table: checks the table, opens its source, sink or committer.

use std::{future::Future, pin::Pin, sync::Arc};

use streamkeeper_protocol::plan::{ChangelogMode, TableRef};

use crate::{
    ConnectorError, TableTraits, TableUse, blackhole, datagen, filesystem,
    options::Options,
    print,
    sink::{Committer, Sink, SinkContext},
    source::{Source, SourceContext},
};

const FILESYSTEM: &str = "filesystem";
const DATAGEN: &str = "datagen";
const PRINT: &str = "print";
const BLACKHOLE: &str = "blackhole";

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

/// Opens a source. I/O starts on the context's runtime; a failure there is the error of a later
/// poll.
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
