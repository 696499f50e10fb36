//! Control plane: what coordinator and workers say to each other.
//!
//! A worker dials the coordinator (`CONTROL_PORT` in pod 0), registers, and keeps the connection. A
//! message is a frame: its length as a big-endian `u32`, then JSON. Everything that concerns a
//! running graph carries the attempt it belongs to; the receiver ignores messages of another
//! attempt than its own.
//!
//! A start: `Register` → `Deploy` (build subtasks, restore state, open the data plane) → `Deployed`
//! from everyone → `Start`. No row moves before `Start`. A checkpoint: `TriggerCheckpoint` to
//! everyone → `CheckpointAck` from everyone → manifest and HEAD → `CommitCheckpoint` → `Committed`.
//! A sink that fills: `CheckpointWanted` → a checkpoint now, whatever the interval says. A worker
//! whose pod must end: `Leaving` → final checkpoint → `Cancel` to everyone, and it goes; the rest
//! waits for its next pod. An end: `Cancel` → `Cancelled`; the worker is then ready for the next
//! `Deploy`. A `Deploy` of a greater attempt cancels whatever still runs.

use std::{collections::BTreeMap, io, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::{CheckpointKind, CommittableRef, Guarantee, Manifest, OperatorState},
    plan::StreamPlan,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Version of these messages; both sides are the same image in one revision, so a difference is
/// refused.
pub const CONTROL_FORMAT: u32 = 1;
/// A worker sends [`ToCoordinator::Heartbeat`], a coordinator [`ToWorker::Ping`], at least this
/// often.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);
/// Either side gives a connection up after this silence.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Longest frame of a peer that belongs to the job: plans and manifests travel inline.
pub const FRAME_LIMIT: usize = 256 << 20;
/// Longest first frame of a connection, which says who the peer is.
pub const FIRST_FRAME_LIMIT: usize = 64 << 10;

/// From a worker to its coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ToCoordinator {
    /// First message on a connection; the answer is [`ToWorker::Registered`] or
    /// [`ToWorker::Refused`].
    Register(Register),
    /// The worker lives.
    Heartbeat(Heartbeat),
    /// Subtasks are built, state is restored, every data connection of this worker is up: `Start`
    /// may come.
    Deployed {
        /// Attempt it is about.
        attempt: u64,
        /// How much state was read back.
        restored: Restored,
    },
    /// The first record that a source of this worker handed out after `Start`.
    FirstRecord {
        /// Attempt it is about.
        attempt: u64,
        /// When, milliseconds since the epoch.
        at_ms: i64,
    },
    /// Every subtask of this worker froze its state, and all of it is stored.
    CheckpointAck(CheckpointAck),
    /// This worker's share of a checkpoint could not be stored; it is being sent again until it is.
    CheckpointDelayed {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
        /// Pod ordinal.
        worker: u32,
        /// Why, for people.
        why: String,
    },
    /// This worker cannot take part in a checkpoint; its tasks go on, and its next checkpoint will
    /// hold everything again.
    CheckpointDeclined {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
        /// Why, for people.
        why: String,
    },
    /// All sink output of this worker up to the checkpoint is committed.
    Committed {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
    },
    /// Some sink output is not committed; the coordinator may ask again.
    CommitFailed {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
        /// Why, for people.
        why: String,
    },
    /// The graph of this worker stopped and must be deployed again.
    TaskFailed {
        /// Attempt it is about.
        attempt: u64,
        /// Which operator failed on what, for people.
        message: String,
        /// What a restart can do about it.
        kind: FailureKind,
    },
    /// A sink of this worker keeps half of the rows that it may keep before its sources stop: only
    /// a checkpoint makes room.
    CheckpointWanted {
        /// Attempt it is about.
        attempt: u64,
    },
    /// Every source of this worker read all of its input and everything was passed on to the sinks.
    /// The subtasks still take part in checkpoints.
    InputEnded {
        /// Attempt it is about.
        attempt: u64,
    },
    /// The process of this worker was asked to end. It runs on until a final checkpoint is complete
    /// and its graph is cancelled, but no longer than this.
    Leaving {
        /// Attempt that runs here.
        attempt: u64,
        /// Time left, milliseconds.
        within_ms: u64,
    },
    /// Nothing of the attempt runs on this worker any more.
    Cancelled {
        /// Attempt it is about.
        attempt: u64,
        /// When a source last handed out a record, milliseconds since the epoch.
        last_record_ms: Option<i64>,
    },
}

impl ToCoordinator {
    /// Attempt the message is about, if it is about one.
    pub fn attempt(&self) -> Option<u64> {
        match self {
            Self::Register(_) => None,
            Self::Heartbeat(heartbeat) => heartbeat.attempt,
            Self::CheckpointAck(share) => Some(share.attempt),
            Self::Deployed { attempt, .. }
            | Self::FirstRecord { attempt, .. }
            | Self::CheckpointDelayed { attempt, .. }
            | Self::CheckpointDeclined { attempt, .. }
            | Self::Committed { attempt, .. }
            | Self::CommitFailed { attempt, .. }
            | Self::TaskFailed { attempt, .. }
            | Self::CheckpointWanted { attempt }
            | Self::InputEnded { attempt }
            | Self::Leaving { attempt, .. }
            | Self::Cancelled { attempt, .. } => Some(*attempt),
        }
    }
}

/// Who a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// [`CONTROL_FORMAT`].
    pub format: u32,
    /// Pod ordinal.
    pub worker: u32,
    /// Uid of the StreamJob.
    pub job_uid: String,
    /// Revision of the process.
    pub revision: u64,
    /// Where other workers reach its data plane, `host:port`.
    pub data_addr: String,
    /// Threads it offers: subtasks it can run.
    pub slots: u32,
    /// Version of the runtime.
    pub version: String,
    /// Attempt whose graph still runs here, after a lost connection. A coordinator that runs the
    /// same attempt may keep it; any other must deploy anew.
    pub running: Option<u64>,
}

/// Signs of life and counters of the running attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Attempt the counters are about; none when nothing is deployed.
    pub attempt: Option<u64>,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// Records read per source table since the attempt started.
    pub records_in: BTreeMap<String, u64>,
    /// Records handed to each sink table since the attempt started.
    pub records_out: BTreeMap<String, u64>,
    /// Records that came after the watermark, dropped, since the attempt started.
    pub late_records: u64,
    /// Records that could not be decoded, skipped, since the attempt started.
    pub skipped_records: u64,
    /// Values that were cut, or read as NULL because they do not fit their column, since the
    /// attempt started.
    #[serde(default)]
    pub misfit_values: u64,
    /// Bytes of shares and of sink output that were sent to stores since the attempt started; what
    /// is sent again counts once.
    #[serde(default)]
    pub moved_bytes: u64,
    /// When a source last handed out a record, milliseconds since the epoch.
    pub last_record_ms: Option<i64>,
    /// Part of the time since the last heartbeat in which the subtasks worked, 0 to 1, on average.
    pub busy: f64,
    /// Part of that time in which some subtask had input but no room downstream, 0 to 1, on
    /// average.
    pub back_pressured: f64,
    /// Smallest watermark of the worker's sinks, epoch milliseconds.
    pub watermark: Option<i64>,
}

/// How much state a restore read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Entries.
    pub entries: u64,
    /// Milliseconds from `Deploy` to ready.
    pub took_ms: u64,
}

/// A worker's share of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointAck {
    /// Attempt it is about.
    pub attempt: u64,
    /// The checkpoint.
    pub checkpoint: u64,
    /// Pod ordinal.
    pub worker: u32,
    /// Every state of the worker's subtasks with **all** its live runs, oldest first, also those of
    /// earlier checkpoints: [`merge_operators`] makes a manifest of the shares. Runs of a
    /// checkpoint that was aborted may be among them; garbage collection must therefore keep data
    /// objects newer than HEAD's `last`.
    pub operators: Vec<OperatorState>,
    /// All sink output of this worker that is not yet known to be committed, oldest checkpoint
    /// first.
    pub committables: Vec<CommittableRef>,
    /// Records read by this worker's sources since the attempt started, at the barrier.
    pub records_in: u64,
    /// Records handed to this worker's sinks since the attempt started, at the barrier.
    pub records_out: u64,
    /// Bytes written to the store for this checkpoint.
    pub written_bytes: u64,
    /// Longest time a subtask stood still to freeze its state, microseconds.
    pub freeze_us: u64,
    /// Encoding and upload, milliseconds.
    pub upload_ms: u64,
    /// Whether all input was read and passed on before the barrier.
    pub ended: bool,
    /// When a source last handed out a record before the barrier, milliseconds since the epoch.
    pub last_record_ms: Option<i64>,
}

/// What a restart can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Something around us: a lost connection, a store that does not answer. A restart is the cure.
    Transient,
    /// A store refuses our credentials, or the bucket does not exist.
    StorageAccess,
    /// A record or a row the query fails on; the same record fails again until the data or the
    /// query changes.
    Data,
    /// State cannot be read back.
    State,
    /// An option of a table is wrong.
    Configuration,
    /// A defect of ours: a panic, a broken invariant.
    Internal,
}

/// From a coordinator to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ToWorker {
    /// The worker belongs to this coordinator.
    Registered,
    /// It does not (wrong job, revision or version); the coordinator closes the connection, the
    /// worker logs and tries again.
    Refused {
        /// Why, for people.
        why: String,
    },
    /// The coordinator lives.
    Ping,
    /// Build the graph, restore, connect; answer `Deployed` or `TaskFailed`.
    Deploy(Box<Deploy>),
    /// Let sources begin.
    Start {
        /// Attempt it is about.
        attempt: u64,
    },
    /// Start a checkpoint at all sources. Checkpoints of one attempt have growing numbers.
    TriggerCheckpoint {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
        /// Final: sources read nothing after it, until `Resume` or `Cancel`.
        kind: CheckpointKind,
    },
    /// After a final checkpoint that did not become the end: sources read on.
    Resume {
        /// Attempt it is about.
        attempt: u64,
    },
    /// HEAD names this checkpoint: commit all sink output up to it.
    CommitCheckpoint {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
    },
    /// The checkpoint will not be completed; what it held becomes part of the next one.
    AbortCheckpoint {
        /// Attempt it is about.
        attempt: u64,
        /// The checkpoint.
        checkpoint: u64,
    },
    /// Stop the graph, without a checkpoint; answer `Cancelled`, also when it does not run.
    Cancel {
        /// Attempt it is about.
        attempt: u64,
    },
    /// Stop everything and leave the process with code 0.
    Shutdown,
}

/// A graph to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// Attempt claimed in HEAD.
    pub attempt: u64,
    /// Uid of the StreamJob; part of the data plane's handshake.
    pub job_uid: String,
    /// Lineage of HEAD: names and markers of sinks.
    pub lineage: String,
    /// The plan; every worker runs every node in every of its slots.
    pub plan: StreamPlan,
    /// [`StreamPlan::hash`] as stored; part of the data plane's handshake.
    pub plan_hash: String,
    /// Root of the job's objects, as for [`streamkeeper_protocol::paths::StatePaths::at`].
    pub root: String,
    /// Data plane of every worker, by index; all of them run.
    pub workers: Vec<String>,
    /// Subtasks per worker: worker `w` runs subtasks `w * slots` to `(w + 1) * slots - 1`,
    /// parallelism is `workers * slots`.
    pub slots: u32,
    /// Owner of every key group; its length is the job's maxParallelism.
    pub assignment: Assignment,
    /// Whether channels wait for each other's barriers.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// What to restore; none starts empty. Its committables are already committed.
    pub restore: Option<Box<Restore>>,
}

/// State to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    /// The checkpoint or savepoint. States that the plan does not have are ignored here: the
    /// coordinator checked the fit.
    pub manifest: Manifest,
    /// Folder that the manifest's object keys count from (a savepoint); none when they are full
    /// keys.
    pub folder: Option<String>,
}

/// The state of all workers: states with the same identity and name joined, watermarks by their
/// minimum (none is the smallest).
pub fn merge_operators(shares: impl IntoIterator<Item = Vec<OperatorState>>) -> Vec<OperatorState> {
    let mut merged: Vec<OperatorState> = Vec::new();
    for share in shares.into_iter().flatten() {
        let Some(known) = merged
            .iter_mut()
            .find(|operator| operator.state_uid == share.state_uid)
        else {
            merged.push(share);
            continue;
        };
        known.watermark = known.watermark.min(share.watermark);
        known.watermarks.extend(share.watermarks);
        for state in share.states {
            match known
                .states
                .iter_mut()
                .find(|other| other.descriptor.name == state.descriptor.name)
            {
                Some(other) => other.runs.extend(state.runs),
                None => known.states.push(state),
            }
        }
    }
    merged
}

/// Writes one message.
pub async fn write_message<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_LIMIT);
    let length = length.ok_or_else(|| {
        io::Error::other(format!(
            "a control message of {} bytes exceeds the limit of {FRAME_LIMIT}",
            body.len()
        ))
    })?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame).await?;
    to.flush().await
}

/// Reads one message; none at a clean end of the stream. Not safe to cancel between bytes: give it
/// a task of its own.
pub async fn read_message<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    read_within(from, FRAME_LIMIT).await
}

/// Reads the message that says who the peer is: at most [`FIRST_FRAME_LIMIT`] bytes of it.
pub async fn read_first_message<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    read_within(from, FIRST_FRAME_LIMIT).await
}

async fn read_within<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> io::Result<Option<T>> {
    let mut length = [0_u8; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(io::Error::other(format!(
            "a control message announces {length} bytes, more than the limit of {limit}: not a peer of ours"
        )));
    }
    // Memory follows what arrives, not what is announced.
    let mut body = Vec::with_capacity(length.min(FIRST_FRAME_LIMIT));
    let read = from.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| io::Error::other(format!("cannot read a control message: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_survives_the_wire() {
        let mut wire = Vec::new();
        let messages = [
            ToWorker::Ping,
            ToWorker::TriggerCheckpoint {
                attempt: 3,
                checkpoint: 7,
                kind: CheckpointKind::Final,
            },
            ToWorker::Refused {
                why: "revision 4 runs here".to_owned(),
            },
        ];
        for message in &messages {
            write_message(&mut wire, message).await.unwrap();
        }
        let mut rest = wire.as_slice();
        for message in &messages {
            assert_eq!(
                read_message::<ToWorker>(&mut rest).await.unwrap().as_ref(),
                Some(message)
            );
        }
        assert_eq!(read_message::<ToWorker>(&mut rest).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_stranger_on_the_port_is_not_read() {
        let mut wire = b"GET / HTTP/1.1\r\n\r\n".as_slice();
        let error = read_message::<ToCoordinator>(&mut wire).await.unwrap_err();
        assert!(error.to_string().contains("not a peer of ours"), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_announces_256_mib_before_it_is_known_is_cut_off_at_its_first_bytes() {
        let announced = u32::try_from(FRAME_LIMIT).unwrap().to_be_bytes();
        let (mut peer, mut ours) = tokio::io::duplex(1 << 20);
        peer.write_all(&announced).await.unwrap();
        // The peer stays, and the refusal does not wait for what it announces.
        let error = read_first_message::<ToCoordinator>(&mut ours).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("268435456 bytes, more than the limit of 65536"),
            "{error}"
        );
        drop(peer);
    }

    #[tokio::test]
    async fn a_message_that_ends_early_is_an_error_and_not_an_end() {
        let mut wire = [&8_u32.to_be_bytes()[..], b"{}"].concat();
        let error = read_message::<ToCoordinator>(&mut wire.as_slice()).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        wire.truncate(2);
        let end = read_message::<ToCoordinator>(&mut wire.as_slice()).await;
        assert_eq!(end.unwrap(), None);
    }

    #[test]
    fn shares_of_one_state_become_one_entry_with_the_smallest_watermark() {
        let share = |watermark| OperatorState {
            state_uid: "a".to_owned(),
            label: "A".to_owned(),
            watermark,
            watermarks: watermark.map(|own| (0, own)).into_iter().collect(),
            states: Vec::new(),
        };
        let merged = merge_operators([vec![share(Some(7))], vec![share(Some(5))]]);
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].watermark, Some(5));
        assert_eq!(
            merged[0].watermarks,
            [(0, 7), (0, 5)],
            "nobody's own is lost"
        );
        assert_eq!(
            merge_operators([vec![share(Some(7))], vec![share(None)]])[0].watermark,
            None
        );
    }
}
