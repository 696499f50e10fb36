//! Replayable input whose positions are state.
//!
//! A source consists of splits (an object, a partition, a range of a sequence). Every split belongs
//! to a key group, and the subtask that owns the key group reads it: so positions are ordinary
//! keyed state, and a rescale moves splits like any other state. The engine calls a [`Source`] from
//! the thread of its slot, which never waits: I/O runs on the tokio runtime of [`SourceContext`],
//! and the source wakes the slot when something arrived.

use std::{fmt, sync::Arc};

use streamkeeper_protocol::{key_group::Assignment, plan::TableRef};
use streamkeeper_storage::ObjectStore;

use crate::{ConnectorError, batch::Batch};

/// What a source gets from its subtask.
#[derive(Clone)]
pub struct SourceContext {
    /// The table, `${VAR}` already expanded.
    pub table: TableRef,
    /// This subtask.
    pub subtask: u32,
    /// Owner of every key group (its length is the job's maxParallelism).
    pub assignment: Arc<Assignment>,
    /// Last known state of every split in the key groups this subtask owns, whichever subtask read
    /// it before; empty at the job's first start. Entries of other key groups are ignored.
    pub restored: Vec<SplitState>,
    /// Wall clock when the source is opened, milliseconds since the epoch; only a first start looks
    /// at it.
    pub now_ms: i64,
    /// Opens object stores by URI (`s3://bucket`, `file:///dir`).
    pub stores: Arc<dyn Stores>,
    /// Runtime for I/O.
    pub runtime: tokio::runtime::Handle,
    /// Wakes the slot's thread; cheap, may be called from anywhere.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

impl SourceContext {
    /// Number of key groups.
    pub fn max_parallelism(&self) -> u16 {
        u16::try_from(self.assignment.owner.len()).unwrap_or(u16::MAX)
    }

    /// Whether this subtask reads the splits of a key group.
    pub fn owns(&self, key_group: u16) -> bool {
        self.assignment.owner.get(usize::from(key_group)) == Some(&self.subtask)
    }
}

impl fmt::Debug for SourceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceContext")
            .field("table", &self.table.name)
            .field("subtask", &self.subtask)
            .finish_non_exhaustive()
    }
}

/// Opens object stores.
pub trait Stores: Send + Sync {
    /// The store that holds `uri` and the key (or prefix) inside it.
    fn open(&self, uri: &str) -> Result<(Arc<dyn ObjectStore>, String), ConnectorError>;
}

/// State of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitState {
    /// Stable identity within its key group, like an object's key.
    pub split: String,
    /// Key group that owns it.
    pub key_group: u16,
    /// Position after the last row handed out, in the connector's own versioned encoding.
    pub position: Vec<u8>,
}

/// Result of a poll.
#[derive(Debug)]
pub enum Polled {
    /// Rows, at most `max_rows`: of one split, or of several that the source advances evenly.
    Rows(Batch),
    /// Nothing now; `wake` will be called.
    Pending,
    /// Nothing now, and this subtask has no split with unread rows; `wake` is called when one
    /// appears.
    Idle,
    /// All input was read (bounded sources).
    End,
}

/// A replayable source in one subtask.
pub trait Source: Send {
    /// The next rows, without waiting. After an error the job restarts from its last checkpoint.
    fn poll(&mut self, max_rows: usize) -> Result<Polled, ConnectorError>;

    /// Splits whose state changed since the last call, with their positions exactly after the rows
    /// handed out so far. Splits whose state did not change since they were restored are not among
    /// them.
    fn changed_splits(&mut self) -> Vec<SplitState>;

    /// Undecodable records skipped so far, if the table's options allow that.
    fn skipped_records(&self) -> u64 {
        0
    }

    /// Values so far that were cut, or are NULL because they do not fit their column, as Flink has
    /// it.
    fn misfit_values(&self) -> u64 {
        0
    }
}
