//! What a worker is told when its process starts.

use std::{fmt, sync::Arc, time::Duration};

use streamkeeper_connectors::source::Stores;
use streamkeeper_storage::ObjectStore;

use streamkeeper_control::transport::Transport;

/// Everything a worker is told.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Pod ordinal.
    pub worker: u32,
    /// Uid of the StreamJob.
    pub job_uid: String,
    /// Revision of the process.
    pub revision: u64,
    /// Subtasks it can run.
    pub slots: u32,
    /// Control address of the coordinator, `host:port`.
    pub coordinator: String,
    /// Where other workers reach its data plane, `host:port`.
    pub data_addr: String,
    /// Holds the job's state.
    pub store: Arc<dyn ObjectStore>,
    /// Opens the stores of tables.
    pub stores: Arc<dyn Stores>,
    /// How it talks to other pods.
    pub transport: Transport,
    /// Version of the runtime.
    pub version: String,
    /// Without a coordinator for longer, what runs is stopped: by then another one may have
    /// deployed it elsewhere.
    pub orphan_limit: Duration,
    /// Asked to leave, the worker goes on for as long as this, so that a final checkpoint can be
    /// taken.
    pub leave_within: Duration,
    /// State that was read is kept up to so many bytes, so that a restart from the same checkpoint
    /// need not read it again.
    pub cache_bytes: usize,
}

impl WorkerConfig {
    /// Default of `orphan_limit`.
    pub const ORPHAN_LIMIT: Duration = Duration::from_secs(10);
    /// Default of `leave_within`.
    pub const LEAVE_WITHIN: Duration = Duration::from_secs(30);
    /// Default of `cache_bytes`.
    pub const CACHE_BYTES: usize = 64 << 20;
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerConfig")
            .field("worker", &self.worker)
            .field("coordinator", &self.coordinator)
            .finish_non_exhaustive()
    }
}
