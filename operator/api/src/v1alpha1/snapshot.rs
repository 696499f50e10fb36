//! The StreamSnapshot: a job's state in a folder of its own, to go back to or to start another job
//! from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{policies::ObjectRef, status::CheckpointStatus};
use crate::duration::Duration;

/// Of which job a snapshot is taken, or where one lies already. It does not change.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "streamkeeper.dev",
    version = "v1alpha1",
    kind = "StreamSnapshot",
    namespaced,
    shortname = "ssnap",
    category = "streaming",
    doc = "The state of a StreamJob at one moment, copied to a folder of its own: the job can go back to it, and other jobs can start from it.",
    status = "StreamSnapshotStatus",
    derive = "PartialEq",
    printcolumn(name = "JOB", type_ = "string", json_path = ".spec.jobRef.name", description = "The StreamJob it was taken of"),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase", description = "How far it is"),
    printcolumn(name = "TRIGGER", type_ = "string", json_path = r#".metadata.labels.streamkeeper\.dev/trigger"#, description = "What it was taken for"),
    printcolumn(name = "CHECKPOINT", type_ = "integer", json_path = ".status.checkpoint.id", description = "Checkpoint that it holds"),
    printcolumn(name = "SIZE", type_ = "string", json_path = ".status.checkpoint.size", description = "Bytes that a restore reads"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Age of the StreamSnapshot"),
    printcolumn(name = "URI", type_ = "string", json_path = ".status.uri", description = "Folder that holds it", priority = 1),
    printcolumn(name = "MESSAGE", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, description = "Why it is ready or not", priority = 1),
    validation = ("self.spec == oldSelf.spec", "spec of a StreamSnapshot cannot change; create another one")
)]
#[x_kube(validation = (
    "has(self.jobRef) || has(self.importFrom)",
    "one of jobRef (take a snapshot of that job) and importFrom (one that lies in a bucket already) must be set"
))]
#[x_kube(validation = (
    "!has(self.importFrom) || self.deletionPolicy != 'Delete' || (has(self.jobRef) && self.importFrom.uri.contains('/' + self.jobRef.name + '/savepoints/'))",
    "deletionPolicy Delete removes only what the job of jobRef has written, below its own savepoints/; of any other importFrom.uri use Retain, and remove the folder yourself"
))]
#[serde(rename_all = "camelCase")]
pub struct StreamSnapshotSpec {
    /// The StreamJob, in the same namespace. With `importFrom` it says whose storage settings
    /// (endpoint and region) are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_ref: Option<ObjectRef>,
    /// A snapshot that exists already, to be checked and used like one that was taken here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_from: Option<ImportFrom>,
    /// What happens to the folder when this object is deleted: `Retain` (the default) keeps it,
    /// `Delete` removes it, also when the job is long gone. Of an import only a savepoint is
    /// removed that the job of `jobRef` has written below its own `savepoints/`.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// A snapshot that is not complete by then has failed. A duration, default `15m`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// How long this object is kept after it is complete or failed; then the operator deletes it. A
    /// duration; unset means for ever. Example: `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

const fn default_timeout() -> Duration {
    Duration::from_secs(900)
}

impl Default for StreamSnapshotSpec {
    fn default() -> Self {
        Self {
            job_ref: None,
            import_from: None,
            deletion_policy: DeletionPolicy::default(),
            timeout: default_timeout(),
            ttl: None,
        }
    }
}

/// A snapshot that exists already.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportFrom {
    /// Its folder. Example: `s3://acme-streams/prod/flights/delays/savepoints/nightly`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = ("self.matches('^s3://[A-Za-z0-9._-]+(/[^/]+)+/?$')", "must name a folder in a bucket (of letters, digits, '.', '-' and '_'), like s3://bucket/folder"))]
    pub uri: String,
}

/// What happens to the folder of a deleted snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is removed.
    Delete,
}

/// What the operator reports about a StreamSnapshot.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamSnapshotStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far it is, for people; conditions are for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<SnapshotPhase>,
    /// `Ready` and, only while true, `Reconciling` or `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::cel::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Folder that holds it, or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// URL of the S3-compatible server of that folder; unset means Amazon S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The checkpoint that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointStatus>,
    /// Revision of the job that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Uid of the StreamJob of `spec.jobRef`, if the folder holds a savepoint that this very job
    /// has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_uid: Option<String>,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it was complete, or had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When all its objects were last read and their checksums compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_time: Option<Time>,
    /// The value of the annotation `streamkeeper.dev/verify` that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_for: Option<String>,
    /// How often the savepoint failed and was asked for again.
    #[serde(default)]
    pub retries: u32,
    /// When it was last asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_try: Option<Time>,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SnapshotPhase {
    Pending,
    InProgress,
    Verifying,
    Completed,
    Failed,
    Deleting,
}
