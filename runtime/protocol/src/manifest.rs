//! The manifest of a checkpoint: immutable, self-contained, every live run named.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    key_group::Assignment,
    types::{Field, LogicalType},
};

/// Version of the manifest; a reader accepts its own and older ones.
pub const MANIFEST_FORMAT: u32 = 1;

/// A complete checkpoint or savepoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`] of the writer.
    pub format: u32,
    /// Oldest format a reader must know.
    pub min_reader: u32,
    /// Uid of the StreamJob.
    pub job_uid: String,
    /// Lineage of HEAD: sink markers are keyed by it.
    pub lineage: String,
    /// Writer's revision.
    pub revision: u64,
    /// Writer's attempt.
    pub attempt: u64,
    /// Checkpoint number.
    pub checkpoint: u64,
    /// Why it was taken.
    pub kind: CheckpointKind,
    /// Start, milliseconds since the epoch.
    pub started_ms: i64,
    /// All acks in, milliseconds since the epoch.
    pub completed_ms: i64,
    /// Key groups.
    pub max_parallelism: u16,
    /// [`crate::key_group::KEY_HASH`].
    pub key_hash: String,
    /// Subtask of each key group when it was written.
    pub assignment: Assignment,
    /// Plan that wrote it.
    pub plan_hash: String,
    /// State of every operator.
    pub operators: Vec<OperatorState>,
    /// Sink output that must be committed once HEAD names this checkpoint.
    pub committables: Vec<CommittableRef>,
    /// Records read by all sources since the job's first start.
    pub records_in: u64,
    /// Records written to all sinks since the job's first start.
    pub records_out: u64,
    /// When a record last flowed before this checkpoint, milliseconds since the epoch. An attempt
    /// that restores from here measures its pause from it.
    #[serde(default)]
    pub last_record_ms: Option<i64>,
}

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// By the interval.
    Periodic,
    /// By request, to be kept.
    Savepoint,
    /// The last one of an attempt: hand-over, stop, rescale or end of input. Sources read nothing
    /// after its barrier.
    Final,
}

/// What checkpoints promise about records when a job restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guarantee {
    /// Every record counts once. A channel that delivered a barrier waits until all others have.
    #[default]
    ExactlyOnce,
    /// Every record counts, and after a restart some count again. No channel waits for another.
    AtLeastOnce,
}

/// State of one operator, over all subtasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorState {
    /// Identity of the operator.
    pub state_uid: String,
    /// Label for people.
    pub label: String,
    /// Combined watermark, epoch milliseconds: the minimum over subtasks; none before the first.
    pub watermark: Option<i64>,
    /// Subtasks with their own watermarks, where they differ between subtasks: between the sources
    /// and the first exchange. They decide which rows of a subtask are late, so an attempt that
    /// continues with the same assignment restores them. Empty in manifests of earlier releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watermarks: Vec<(u32, i64)>,
    /// Its states.
    pub states: Vec<StateRef>,
}

/// One keyed state of an operator with its live runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateRef {
    /// Shape at the time of writing; all runs have it (a change of shape rewrites everything).
    pub descriptor: StateDescriptor,
    /// Live runs, oldest first: later runs override earlier ones key by key.
    pub runs: Vec<RunRef>,
}

/// Shape of a state, for the compatibility check and the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDescriptor {
    /// Name within the operator, like `groups`, `windows`, `splits`.
    pub name: String,
    /// The kind of state.
    pub kind: StateKind,
    /// Columns of the key.
    pub key: Vec<LogicalType>,
    /// Fixed columns of the value that precede the accumulators.
    pub value: Vec<Field>,
    /// Accumulators of the value, by aggregate uid.
    pub accumulators: Vec<AccumulatorDescriptor>,
    /// Version of the value's encoding.
    pub version: u32,
}

/// Kinds of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// Accumulators per key.
    Groups,
    /// Accumulators per window slice and key.
    WindowSlices,
    /// Positions of source splits per split id.
    Splits,
}

/// One accumulator inside a state's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccumulatorDescriptor {
    /// [`crate::aggregate::AggregateCall::uid`].
    pub uid: String,
    /// For people: `SUM(BIGINT)`.
    pub label: String,
    /// Types of its columns.
    pub columns: Vec<LogicalType>,
}

/// A sorted run of one state, inside a data object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// Where its bytes are.
    pub at: ObjectRange,
    /// Base or delta.
    pub kind: RunKind,
    /// Key groups it may hold, first and last.
    pub key_groups: (u16, u16),
    /// Entries.
    pub rows: u64,
    /// Deleted keys among them.
    pub tombstones: u64,
    /// Blocks in order, for reading a part of the key groups.
    pub blocks: Vec<BlockRef>,
    /// Checkpoint that wrote it.
    pub checkpoint: u64,
    /// Subtask that wrote it.
    pub subtask: u32,
}

/// A range of an object with its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRange {
    /// Key of the object: below the job's root, or relative (`data/…`) inside a savepoint.
    pub object: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// CRC-32C of these bytes.
    pub crc32c: u32,
}

/// A block of a run: at most 1 MiB of Arrow IPC, sorted by (key group, key).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRef {
    /// First byte, from the start of the run.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// First and last key group inside.
    pub key_groups: (u16, u16),
    /// CRC-32C of the block.
    pub crc32c: u32,
}

/// Kinds of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// All keys of the writer's key groups: older runs of those groups by the same writer are
    /// superseded and not listed any more.
    Base,
    /// Keys changed since the writer's last checkpoint.
    Delta,
}

/// Sink output prepared for a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommittableRef {
    /// Identity of the sink.
    pub sink_uid: String,
    /// Table name, for people.
    pub table: String,
    /// Subtask that prepared it.
    pub subtask: u32,
    /// What the connector needs to commit it again, in its own versioned form; holds no secret.
    pub meta: serde_json::Value,
    /// Staged rows, if the sink stages.
    pub staged: Option<ObjectRange>,
}

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON of a manifest.
    #[error("the manifest cannot be read: {0}")]
    Malformed(String),
    /// The manifest was written by a release whose format this one does not read.
    #[error(
        "the manifest has format {format}, which needs a reader of format {min_reader}; this \
         release reads up to {MANIFEST_FORMAT}: use a newer release"
    )]
    TooNew {
        /// Format of the writer.
        format: u32,
        /// Oldest format that can read it.
        min_reader: u32,
    },
}

/// Fields that every format keeps, so that a reader can tell whether it understands the rest.
#[derive(Deserialize)]
struct Versions {
    format: u32,
    min_reader: u32,
}

impl Manifest {
    /// Reads a manifest; one that needs a newer reader is refused before its fields are looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let malformed = |error: serde_json::Error| ManifestError::Malformed(error.to_string());
        let versions: Versions = serde_json::from_slice(bytes).map_err(malformed)?;
        if versions.min_reader > MANIFEST_FORMAT {
            return Err(ManifestError::TooNew {
                format: versions.format,
                min_reader: versions.min_reader,
            });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        // Strings, numbers and JSON values always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Every range this manifest needs: runs of all states, then staged rows of all sinks.
    pub fn ranges(&self) -> impl Iterator<Item = &ObjectRange> {
        let runs = self.operators.iter().flat_map(|operator| &operator.states);
        let runs = runs.flat_map(|state| &state.runs).map(|run| &run.at);
        runs.chain(
            self.committables
                .iter()
                .filter_map(|committable| committable.staged.as_ref()),
        )
    }

    /// Names objects as their copies are called: new keys by old ones. What is not among them keeps
    /// its name.
    pub fn rename_objects(&mut self, copies: &BTreeMap<String, String>) {
        for range in self.ranges_mut() {
            if let Some(copy) = copies.get(&range.object) {
                copy.clone_into(&mut range.object);
            }
        }
    }

    /// Like `ranges`, to move the ranges to other objects.
    pub fn ranges_mut(&mut self) -> impl Iterator<Item = &mut ObjectRange> {
        let runs = self
            .operators
            .iter_mut()
            .flat_map(|operator| &mut operator.states);
        let runs = runs
            .flat_map(|state| &mut state.runs)
            .map(|run| &mut run.at);
        runs.chain(
            self.committables
                .iter_mut()
                .filter_map(|committable| committable.staged.as_mut()),
        )
    }

    /// Keys of the objects this manifest needs, sorted, each once.
    pub fn objects(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.ranges().map(|range| range.object.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Bytes that a restore reads. The sum saturates, so a forged manifest cannot overflow it.
    pub fn total_bytes(&self) -> u64 {
        let lengths = self.ranges().map(|range| range.len);
        lengths.fold(0, u64::saturating_add)
    }
}
