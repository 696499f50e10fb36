//! What the operator reports about a StreamJob. Written on transitions, else at most once a minute;
//! only what cannot be observed again is ever read back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policies::Standby;

/// What the operator reports.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamJobStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the job is doing, for people; conditions are for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// `Ready`, `Running`, `CheckpointsHealthy`, `Suspended` and, only while true, `Reconciling` or
    /// `Stalled`. `StorageRead` is there, and `False`, where the operator sends no request to the
    /// store of the job because its configuration (`storage.allowed`) does not name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::cel::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Revisions of the job; every change that needs new pods makes one, a rollback too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionStatus>,
    /// What the job runs with, defaults filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
    /// Workers of the running revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkersStatus>,
    /// The newest complete checkpoint: where the job would go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<CheckpointStatus>,
    /// The newest complete StreamSnapshot of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_snapshot: Option<SnapshotSummary>,
    /// The newest time of `spec.snapshots.schedule` that a snapshot was taken for, or that is past
    /// and needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule: Option<Time>,
    /// The value of `spec.restoreFrom` that was last acted on, and how that went; it is not acted
    /// on again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<RestoreRequest>,
    /// When all input was read and committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The last time the job went on from a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restore: Option<RestoreStatus>,
    /// The most recent failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureStatus>,
    /// Restarts after failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<RestartsStatus>,
    /// The change in progress: written before the operator acts, so that the next operator can
    /// finish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// The newest spec that was given up, and why; it is not tried again until the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    /// Past transitions, newest first, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

impl StreamJobStatus {
    /// The revision that runs, or ran last.
    pub fn current_revision(&self) -> Option<u64> {
        self.revision.as_ref()?.current
    }
}

/// What a job is doing, for people. More values may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Phase {
    Pending,
    Starting,
    Running,
    Restoring,
    Upgrading,
    RollingBack,
    Rescaling,
    Suspending,
    Suspended,
    Resuming,
    Degraded,
    Failed,
    Completed,
    Deleting,
}

/// Revisions of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// The revision that runs, or ran last. Unset until the job first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// The revision that is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u64>,
    /// The greatest number ever given; numbers are not used twice.
    #[serde(default)]
    pub latest: u64,
    /// `7`, or `7->8` during a change.
    #[serde(default)]
    pub summary: String,
}

/// What a job runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// Version of the runtime.
    #[serde(default)]
    pub version: String,
    /// Image of the workers.
    #[serde(default)]
    pub image: String,
    /// Where the state lies.
    #[serde(default, rename = "storageURI")]
    pub storage_uri: String,
    /// Subtasks per operator.
    #[serde(default)]
    pub parallelism: u32,
}

/// Workers of the running revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkersStatus {
    /// Workers that the spec asks for.
    #[serde(default)]
    pub desired: u32,
    /// Worker pods that exist.
    #[serde(default)]
    pub replicas: u32,
    /// Worker pods that are ready.
    #[serde(default)]
    pub ready: u32,
    /// `2/2`: ready of desired.
    #[serde(default)]
    pub summary: String,
    /// Label selector of the running revision's pods, for autoscalers.
    #[serde(default)]
    pub selector: String,
}

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// Number; only grows.
    pub id: u64,
    /// When it was complete.
    pub completion_time: Time,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Bytes that a restore reads, like `1.2Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Key of its manifest in the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// The newest snapshot of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSummary {
    /// Name of the StreamSnapshot.
    pub name: String,
    /// Checkpoint that it holds.
    pub checkpoint: u64,
    /// When it was complete.
    pub completion_time: Time,
    /// Folder that holds it.
    pub uri: String,
}

/// A value of `spec.restoreFrom` that was acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreRequest {
    /// The value, as `snapshot NAME` or a URI.
    pub value: String,
    /// How it went.
    pub result: Outcome,
    /// When.
    pub time: Time,
    /// What was wrong and what to do, or which revision went on from which checkpoint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Hash of the content that was to go on from there: with other content, what failed is tried
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// A restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// Checkpoint the job went on from.
    pub checkpoint: u64,
    /// When records flowed again.
    pub time: Time,
    /// How long no records flowed, measured by the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    /// When.
    pub time: Time,
    /// Short name of what happened, such as `OOMKilled`.
    pub reason: String,
    /// Pod it happened in, if one is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What happened.
    pub message: String,
}

/// Restarts after failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartsStatus {
    /// How often the job restarted after a failure since it was created.
    #[serde(default)]
    pub count: u64,
    /// The last attempt that is accounted for; starts by a transition are not failures.
    #[serde(default)]
    pub attempt: u64,
    /// When the last failure was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Key of the last transition whose start of the job is accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
}

/// A change in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// What is being done.
    pub kind: TransitionKind,
    /// Stem of the idempotency keys of its calls.
    pub key: String,
    /// Revision it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Revision it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Pods of the new revision that start before it takes over, when there was no room for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
    /// What it goes on from, for a restore: a folder of a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<String>,
    /// Workers it leads to, for a rescale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// How far it is.
    pub step: Step,
    /// When it began.
    pub since: Time,
    /// When this step began.
    pub step_since: Time,
    /// How far the check of what it goes on from had come when that was last noted, for a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// How often a call of this step failed and was made again under a new key.
    #[serde(default)]
    pub retries: u32,
    /// Why the last of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How far a check had come, and when that was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Bytes that were read and compared.
    pub bytes: u64,
    /// When that was noted. The deadline counts from here.
    pub time: Time,
}

/// Kinds of transitions.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TransitionKind {
    /// First start.
    Deploy,
    /// A new revision takes over.
    Upgrade,
    /// More or fewer workers.
    Rescale,
    /// Stop with a savepoint and remove the pods.
    Suspend,
    /// Go on after a suspension.
    Resume,
    /// A failure and the restore after it, as history records it; in progress, the way back to a
    /// snapshot that `spec.restoreFrom` asks for.
    Restore,
    /// The content of an earlier revision takes over again.
    Rollback,
    /// The StreamJob is being deleted.
    Delete,
}

/// Steps of transitions.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Step {
    /// The new revision starts in standby and is checked.
    Preparing,
    /// The old revision takes its savepoint, commits, and names its successor.
    HandingOver,
    /// The new revision was told to run.
    Promoting,
    /// It runs and has to prove itself.
    Verifying,
    /// What it replaced is removed.
    Retiring,
    /// Workers are added.
    Scaling,
    /// The job moves to the other number of workers.
    Moving,
    /// Workers that are no longer needed are removed.
    Shrinking,
    /// The job stops.
    Stopping,
    /// Its pods are removed.
    Removing,
}

/// A spec that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Hash of its content.
    pub hash: String,
    /// Revision it was tried as.
    pub revision: u64,
    /// Reason, as in the condition `Stalled`.
    pub reason: String,
    /// What was wrong and what to do.
    pub message: String,
}

/// A past transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Revision that runs since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What was done.
    pub kind: TransitionKind,
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub time: Time,
    /// How long no records flowed, measured by the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
    /// Checkpoint the job went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<u64>,
    /// How it ended.
    pub result: Outcome,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Ways a transition ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// It did what it was for.
    Succeeded,
    /// It was given up; the job runs on as before.
    Failed,
    /// The spec changed before it was done.
    Cancelled,
}
