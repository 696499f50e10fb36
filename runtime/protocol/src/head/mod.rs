//! `HEAD.json`: the one record that decides who runs a job and from where.
//!
//! At most 16 KiB, changed only by compare-and-swap. Every function here is pure: the caller reads
//! HEAD, computes the next record, writes it with `If-Match`, and calls [`after_lost_swap`] to
//! interpret a refused write.
//!
//! * [`claim`]: which process may run the job; [`Import`]: a claim that starts from a savepoint.
//! * [`Head::change`]: the next record of its owner (publish, commit, hand over, stop, operations,
//!   savepoints).
//! * [`after_lost_swap`]: what a refused write means.

mod change;
mod claim;
mod import;
mod record;
mod swap;
#[cfg(test)]
mod tests;

pub use change::*;
pub use claim::*;
pub use import::Import;
pub use record::*;
use serde::{Deserialize, Serialize};
pub use swap::*;

/// Version of the record; a reader accepts its own and older ones.
pub const HEAD_FORMAT: u32 = 1;
/// Operations kept so that repeated calls are idempotent.
pub const OPERATIONS_KEPT: usize = 32;
/// Savepoints kept by name.
pub const SAVEPOINTS_KEPT: usize = 16;
/// Older checkpoints kept at most.
pub const RETAINED_KEPT: usize = 10;
/// Largest number of displaced pods in HEAD.
pub const DISPLACED_KEPT: usize = 16;
/// Largest HEAD in bytes.
pub const HEAD_LIMIT: usize = 16 * 1024;

/// The authority over a job's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`HEAD_FORMAT`] of the writer.
    pub v: u32,
    /// Oldest format a reader must know.
    pub min_reader: u32,
    /// Grows by one with every write.
    pub seq: u64,
    /// Unique per write. It distinguishes a writer's own lost response from the write of another
    /// process, and makes every ETag unique.
    pub nonce: String,
    /// Created with HEAD, and kept when another process or a re-created StreamJob takes the job
    /// over: sink markers are keyed by it. A job that starts over from the HEAD of another
    /// StreamJob, without state or from a savepoint, begins a new lineage.
    pub lineage: String,
    /// Uid of the StreamJob that owns it.
    pub job_uid: String,
    /// Revision that runs (or ran last).
    pub revision: u64,
    /// Fencing number: grows with every start of the job's graph. `(revision, attempt)` only grows.
    pub attempt: u64,
    /// Secret-free token of the attempt's owner, to tell two processes of the same attempt apart.
    pub token: String,
    /// Uid of the pod that claimed last; empty outside of Kubernetes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Uids of pods that another pod took the job from, newest first: a pod that was displaced once
    /// never claims again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub displaced: Vec<String>,
    /// What the job is doing.
    pub state: RunState,
    /// Plan of `last`, or of the running revision before its first checkpoint.
    pub plan_hash: String,
    /// Key groups, fixed for the job's life.
    pub max_parallelism: u16,
    /// Workers that `revision` runs on: a rescale outlives the coordinator that did it. 0 if no
    /// rescale set it.
    #[serde(default)]
    pub workers: u32,
    /// Next checkpoint number; only grows, also when an older snapshot is restored.
    pub next_checkpoint: u64,
    /// The restore point.
    pub last: Option<LastCheckpoint>,
    /// Older complete checkpoints that are kept, newest first.
    pub retained: Vec<RetainedCheckpoint>,
    /// The restore point that the last start over retired. It is kept until another one is retired,
    /// so that a user can go back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<RetainedCheckpoint>,
    /// Savepoints by name, newest first.
    pub savepoints: Vec<SavepointRecord>,
    /// Results of mutating Job API calls, newest first.
    pub operations: Vec<OperationRecord>,
}

/// State of the job as HEAD records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum RunState {
    /// `revision` runs it.
    Running,
    /// `revision` has stopped with everything committed; revision `to` may claim by itself.
    HandingOver {
        /// The successor.
        to: u64,
    },
    /// Stopped with everything committed; may be resumed.
    Stopped,
    /// All input was read and committed; nothing to resume.
    Completed,
    /// The StreamJob was deleted; state may be taken over.
    Released,
}

/// The restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheckpoint {
    /// Number.
    pub checkpoint: u64,
    /// Key of its manifest.
    pub manifest: String,
    /// Whether some sink has output to commit for it.
    pub needs_commit: bool,
    /// Whether all of it was committed.
    pub committed: bool,
    /// Completion, milliseconds since the epoch.
    pub completed_ms: i64,
    /// Bytes written by it.
    pub written_bytes: u64,
    /// Bytes that a restore reads.
    pub total_bytes: u64,
    /// From barrier to this record's write, milliseconds.
    pub duration_ms: u64,
}

/// An older complete checkpoint that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedCheckpoint {
    /// Number.
    pub checkpoint: u64,
    /// Key of its manifest.
    pub manifest: String,
}

/// A savepoint in progress or complete. Its checkpoint is pinned while it is being copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointRecord {
    /// Name, unique within the job.
    pub name: String,
    /// Idempotency key of the call that requested it.
    pub key: String,
    /// Folder it is copied to (key in the job's bucket).
    pub uri: String,
    /// Checkpoint it holds.
    pub checkpoint: u64,
    /// Manifest of that checkpoint, pinned until `complete`.
    pub manifest: String,
    /// Whether its folder is self-contained.
    pub complete: bool,
}

/// A mutating call and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Idempotency key.
    pub key: String,
    /// Which call.
    pub kind: OperationKind,
    /// Its result, once known.
    pub result: OperationResult,
    /// Whether a stop also releases the state: a coordinator that finishes the stop of another
    /// coordinator needs to know this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub release: bool,
}

/// Mutating calls of the Job API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named after the calls")]
pub enum OperationKind {
    Promote,
    Savepoint,
    HandOver,
    Stop,
    Rescale,
}

/// How an operation went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum OperationResult {
    /// Accepted, not finished.
    Running,
    /// Finished.
    Done {
        /// Restore point it left, if it makes one.
        checkpoint: Option<u64>,
        /// Savepoint folder, if it makes one.
        uri: Option<String>,
    },
    /// Failed; nothing of it remains and the job goes on as before.
    Failed {
        /// Why, as a message.
        why: String,
    },
}
