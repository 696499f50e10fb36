//! Job API v1: JSON over HTTP, served by the coordinator in pod 0, called by the operator.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /v1/report` | | [`Report`] |
//! | `GET /v1/head` | | [`SeenHead`] |
//! | `GET /v1/preflight`, `GET /v1/preflight?from=URI` | | [`Preflight`], also of a start from a savepoint |
//! | `POST /v1/promote` | [`PromoteRequest`] | [`Operation`] |
//! | `POST /v1/savepoint` | [`SavepointRequest`] | [`Operation`] |
//! | `POST /v1/hand-over` | [`HandOverRequest`] | [`Operation`] |
//! | `POST /v1/stop` | [`StopRequest`] | [`Operation`] |
//! | `POST /v1/rescale` | [`RescaleRequest`] | [`Operation`] |
//! | `GET /v1/operations/{key}` | | [`Operation`], 404 when unknown |
//!
//! A mutating call returns 202 with the operation as it stands. A repeated call with the same key
//! returns the same operation, also from a later attempt, because results are in HEAD. Errors are
//! 4xx/5xx with an [`ApiError`] body. `/metrics`, `/healthz`, `/readyz` are served beside it, or,
//! where the Job API requires certificates, on a port of their own. Every call then carries the
//! job's token: `Authorization: Bearer ...`.

use serde::{Deserialize, Serialize};

use crate::head::{Head, OperationKind, OperationResult};

/// Default port of the Job API in a pod.
pub const JOB_API_PORT: u16 = 8081;
/// Default port of health and metrics in a pod whose Job API requires certificates.
pub const HEALTH_PORT: u16 = 8082;
/// Default port of the data plane in a pod.
pub const DATA_PORT: u16 = 7000;
/// Default port of the control plane (coordinator ↔ workers) in pod 0.
pub const CONTROL_PORT: u16 = 7001;

/// State of a job as its coordinator reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Uid of the StreamJob.
    pub job_uid: String,
    /// Revision of this process.
    pub revision: u64,
    /// Attempt it claimed, if it runs the job.
    pub attempt: Option<u64>,
    /// What this coordinator is doing.
    pub phase: JobPhase,
    /// Subtasks it runs or would run.
    pub parallelism: u32,
    /// Workers by index; an entry per expected worker.
    pub workers: Vec<WorkerReport>,
    /// Newest complete checkpoint.
    pub last_checkpoint: Option<CheckpointReport>,
    /// Checkpoints that failed since the last complete one, and why the last of them did.
    pub checkpoint_failures: CheckpointFailures,
    /// Checkpoint this attempt started from; none when it started empty.
    pub restored_from: Option<u64>,
    /// Times the graph was restarted after a failure since this process started.
    pub restarts: u64,
    /// Most recent failure.
    pub last_failure: Option<Failure>,
    /// Recent pauses of output, newest first, at most 16.
    pub pauses: Vec<Pause>,
    /// Records read since the job's first start.
    pub records_in: u64,
    /// Records written since the job's first start.
    pub records_out: u64,
    /// Records read by this attempt: "input progress" for the operator's verification.
    pub records_in_attempt: u64,
    /// Checkpoints completed by this attempt.
    pub checkpoints_in_attempt: u64,
    /// Why the coordinator cannot go on without a person, if so.
    pub error: Option<JobError>,
    /// Plan hash of this revision once compiled.
    pub plan_hash: Option<String>,
    /// Version of the runtime.
    pub version: String,
}

/// HEAD as a coordinator knows it. The coordinator reads HEAD while it stands by, and writes it
/// while it runs the job.
///
/// The operator requests it where it does not read the store of the job itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenHead {
    /// Milliseconds since it was read or written.
    pub age_ms: u64,
    /// The record; none only when the store reports that there is none.
    pub head: Option<Head>,
}

/// What a coordinator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum JobPhase {
    /// Watches HEAD, runs nothing.
    Standby,
    /// Owns HEAD, waits for workers to register.
    WaitingForWorkers,
    /// Owns HEAD, restores state and deploys.
    Restoring,
    /// Records flow.
    Running,
    /// Moves to another parallelism.
    Rescaling,
    /// Takes the final checkpoint and commits.
    Stopping,
    /// HEAD says HandingOver, Stopped or Released; this process is done.
    Stopped,
    /// All input was read and committed.
    Completed,
    /// Waits before the next restart after a failure.
    BackingOff,
    /// Lost HEAD to a newer attempt or revision; about to exit.
    Fenced,
    /// Cannot go on without a person; see `error`.
    Failed,
}

/// A worker as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Pod ordinal.
    pub index: u32,
    /// Whether it is connected.
    pub registered: bool,
    /// Resident memory in bytes, as the worker last reported it.
    pub memory_bytes: u64,
}

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Number.
    pub id: u64,
    /// Completion, milliseconds since the epoch.
    pub completed_ms: i64,
    /// Milliseconds from barrier to HEAD.
    pub duration_ms: u64,
    /// Bytes a restore reads.
    pub total_bytes: u64,
    /// Key of its manifest.
    pub manifest: String,
    /// Whether its sink output is committed.
    pub committed: bool,
}

/// Failed checkpoints since the last complete one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFailures {
    /// How many in a row.
    pub consecutive: u32,
    /// Why the last one failed.
    pub last: Option<String>,
}

/// A failure that restarted the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// Pod ordinal, if one is to blame.
    pub worker: Option<u32>,
    /// What happened, for people.
    pub message: String,
    /// Checkpoint it restarted from.
    pub restored_from: Option<u64>,
    /// Whether the loss was planned: the pod of that worker was asked to end, because it was
    /// evicted, drained or deleted.
    #[serde(default)]
    pub terminated: bool,
    /// Resident memory of that worker's process in bytes, as last reported before the loss.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// A gap in the flow of records, measured by the job: last record before, first record after.
///
/// "Before" covers what a source handed out until the coordinator gave up the attempt. A worker
/// that could not be reached, or was frozen, may read on after that; those records become no output
/// and do not count. A lost worker counts with its last report, so the gap is reported too long
/// rather than too short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub reason: PauseReason,
    /// Time of the last record before, milliseconds since the epoch.
    pub last_before_ms: i64,
    /// Time of the first record after, milliseconds since the epoch; none while it lasts.
    pub first_after_ms: Option<i64>,
    /// Checkpoint the job went on from.
    pub restored_from: Option<u64>,
}

/// Why records stopped flowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PauseReason {
    Failure,
    Rescale,
    HandOver,
    Resume,
    CoordinatorRestart,
}

/// Why a coordinator cannot go on without a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// Reason as in conditions: `InvalidSQL`, `StateIncompatible`, `StateInUse`,
    /// `StorageAccessDenied`, `StorageUnreachable`, `SinkCommitLost`, `RestoreFailed`, `BadRecord`.
    pub reason: String,
    /// What was tried, on what, what to do.
    pub message: String,
}

/// Whether a standby could take over now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// The verdict.
    pub verdict: PreflightVerdict,
    /// Revision of this process.
    pub revision: u64,
    /// For people: what is missing, or what does not fit.
    pub message: String,
    /// Checkpoint the state was checked against.
    pub checked_against: Option<u64>,
    /// URI of the savepoint that was checked; none: the state of HEAD's newest checkpoint was
    /// checked.
    #[serde(default)]
    pub from: Option<String>,
    /// Per state: identity, verdict, why.
    pub states: Vec<crate::compatibility::StateVerdict>,
    /// Bytes of the savepoint that were read and compared so far, while that is under way: as long
    /// as they grow, the check gets on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_bytes: Option<u64>,
}

/// Verdicts of a preflight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum PreflightVerdict {
    /// Not all workers registered, or the check still runs.
    Pending,
    /// Everything fits.
    Compatible,
    /// The SQL does not compile (line and column in the message).
    InvalidSql,
    /// The state does not fit this plan.
    Incompatible,
    /// The store or HEAD could not be read; it will be tried again.
    StorageUnavailable,
    /// There is no savepoint at the requested URI.
    SnapshotNotFound,
    /// The requested savepoint is damaged, or cannot be copied from its place.
    RestoreFailed,
}

/// Lets a standby run the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteRequest {
    /// Idempotency key.
    pub key: String,
    /// Revision of the callee; another one is refused.
    pub revision: u64,
    /// Where to start from.
    pub from: PromoteFrom,
    /// Workers to run on, when not the number that the process was started with (the job was scaled
    /// meanwhile).
    #[serde(default)]
    pub workers: Option<u32>,
    /// Uid of a StreamJob whose HEAD may be taken over although that HEAD is not stopped: a user
    /// confirmed that nothing of that job runs any more.
    #[serde(default)]
    pub running_owner: Option<String>,
}

/// Where a promoted revision starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum PromoteFrom {
    /// The first start; refused when HEAD exists.
    Empty,
    /// HEAD's restore point.
    Head,
    /// A released or stopped HEAD of another uid: take it over (`onExistingState: Resume`).
    TakeOver,
    /// A savepoint in the job's bucket: `spec.restoreFrom`. Into the job's own HEAD when there is
    /// one, else (first start, or a stopped HEAD of another StreamJob) under a new lineage.
    Savepoint {
        /// Folder, as a URI or a key in the job's bucket.
        uri: String,
    },
    /// Nothing, beside a HEAD that another StreamJob left (`onExistingState: Ignore`): a new
    /// lineage with no restore point; numbers go on.
    Fresh,
}

/// Requests a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointRequest {
    /// Idempotency key.
    pub key: String,
    /// Folder for it inside the job's bucket; none means below the job's root, named by the key.
    pub uri: Option<String>,
}

/// Requests that the running revision hands the job to a successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOverRequest {
    /// Idempotency key.
    pub key: String,
    /// The successor, greater than the callee's revision.
    pub to_revision: u64,
    /// Its Job API, `host:port`, so that it is notified at once; without it the successor finds out
    /// from HEAD.
    pub to_address: Option<String>,
}

/// Requests the end of this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Idempotency key.
    pub key: String,
    /// How.
    pub mode: StopMode,
    /// Whether HEAD becomes Released (the StreamJob is being deleted) instead of Stopped.
    pub release: bool,
}

/// Ways to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum StopMode {
    /// Final checkpoint, commit, copy it to a savepoint.
    Savepoint,
    /// Final checkpoint, commit.
    Checkpoint,
    /// No checkpoint: the last one stays the restore point.
    Now,
}

/// Requests another parallelism; the workers must be registered, or about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescaleRequest {
    /// Idempotency key.
    pub key: String,
    /// Workers to run on: ordinals 0 to `workers` - 1.
    pub workers: u32,
}

/// A mutating call of the Job API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobCall {
    /// `POST /v1/promote`
    Promote(PromoteRequest),
    /// `POST /v1/savepoint`
    Savepoint(SavepointRequest),
    /// `POST /v1/hand-over`
    HandOver(HandOverRequest),
    /// `POST /v1/stop`
    Stop(StopRequest),
    /// `POST /v1/rescale`
    Rescale(RescaleRequest),
}

impl JobCall {
    /// Idempotency key.
    pub fn key(&self) -> &str {
        match self {
            Self::Promote(request) => &request.key,
            Self::Savepoint(request) => &request.key,
            Self::HandOver(request) => &request.key,
            Self::Stop(request) => &request.key,
            Self::Rescale(request) => &request.key,
        }
    }

    /// Kind of the operation that the call begins.
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Promote(_) => OperationKind::Promote,
            Self::Savepoint(_) => OperationKind::Savepoint,
            Self::HandOver(_) => OperationKind::HandOver,
            Self::Stop(_) => OperationKind::Stop,
            Self::Rescale(_) => OperationKind::Rescale,
        }
    }

    /// Whether the call ends the attempt, or moves it to other workers.
    pub const fn ends_or_moves(&self) -> bool {
        matches!(self, Self::HandOver(_) | Self::Stop(_) | Self::Rescale(_))
    }
}

/// A mutating call and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Idempotency key.
    pub key: String,
    /// Which call.
    pub kind: OperationKind,
    /// Its result.
    pub result: OperationResult,
}

/// Body of a refused call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// Machine-readable: `NotRunning`, `WrongRevision`, `HeadExists`, `HeadMissing`, `StateInUse`,
    /// `KeyReused`, `Busy`, `BadRequest`, `StorageUnavailable`, `InvalidSpec` (the store does not
    /// do conditional writes), `StateIncompatible`; of a start from a savepoint also
    /// `SnapshotNotFound` and `RestoreFailed`. `Forbidden` (another certificate than the
    /// operator's), `Unauthenticated` (no or a wrong token).
    pub code: String,
    /// For people.
    pub message: String,
}
