//! Output that is prepared for a checkpoint and committed after HEAD names it.
//!
//! `write` and `prepare` run on the slot's thread and do no I/O for staged sinks: the rows of an
//! epoch stay in memory until `prepare` hands them over as bytes, which become part of the
//! checkpoint. `commit` runs on the tokio runtime, at least once, possibly in another process: it
//! must be idempotent.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use streamkeeper_protocol::plan::{ChangelogMode, TableRef};

use crate::{ConnectorError, batch::Batch, source::Stores};

/// What a sink gets from its subtask.
#[derive(Clone)]
pub struct SinkContext {
    /// The table, `${VAR}` already expanded.
    pub table: TableRef,
    /// Identity of the sink across plan changes.
    pub sink_uid: String,
    /// Lineage of HEAD: names and markers in the target are keyed by it.
    pub lineage: String,
    /// This subtask.
    pub subtask: u32,
    /// Subtasks of the job.
    pub parallelism: u32,
    /// Kinds of change it will see.
    pub changelog: ChangelogMode,
    /// Opens object stores.
    pub stores: Arc<dyn Stores>,
}

impl fmt::Debug for SinkContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkContext")
            .field("table", &self.table.name)
            .field("subtask", &self.subtask)
            .finish_non_exhaustive()
    }
}

/// Output of one subtask and one checkpoint, ready to be committed.
#[derive(Debug, Clone)]
pub struct Committable {
    /// What the connector needs to commit it again, in its own versioned form; holds no secret.
    pub meta: serde_json::Value,
    /// Staged rows; they travel with the checkpoint.
    pub staged: Option<Bytes>,
}

impl Committable {
    /// Bytes of the staged rows.
    pub fn staged_bytes(&self) -> usize {
        self.staged.as_ref().map_or(0, Bytes::len)
    }
}

/// A sink in one subtask.
pub trait Sink: Send {
    /// Takes rows.
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;

    /// Bytes of the rows that were taken since the last [`Sink::prepare`] and are kept in memory.
    /// The subtask stops its sources once they reach its budget.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Closes the epoch that ends with `checkpoint`; none when there is nothing to commit.
    fn prepare(&mut self, checkpoint: u64) -> Result<Option<Committable>, ConnectorError>;
}

/// Commits prepared output. One per sink and process.
pub trait Committer: Send + Sync {
    /// Makes `committable` visible, exactly once for any number of calls. `staged` is what
    /// [`Committable::staged`] held.
    fn commit<'a>(
        &'a self,
        meta: &'a serde_json::Value,
        staged: Option<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<(), ConnectorError>> + Send + 'a>>;
}
