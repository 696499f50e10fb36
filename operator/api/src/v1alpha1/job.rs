//! The StreamJob and its spec.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    policies::{Rescale, Restart, RestoreFrom, Snapshots, Upgrade},
    status::StreamJobStatus,
    workers::{EnvVar, Workers},
};
use crate::duration::Duration;

/// What the job computes and how it is run.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "streamkeeper.dev",
    version = "v1alpha1",
    kind = "StreamJob",
    namespaced,
    shortname = "sj",
    category = "streaming",
    doc = "A streaming query that is kept running: the operator starts its workers, upgrades and rescales it with its state, and reports how it does.",
    status = "StreamJobStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.workers.replicas",
        status_replicas_path = ".status.workers.replicas",
        label_selector_path = ".status.workers.selector"
    ),
    printcolumn(name = "READY", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, description = "Whether the job runs as the spec says"),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase", description = "What the job is doing, for people"),
    printcolumn(name = "ENGINE", type_ = "string", json_path = ".spec.engine", description = "Engine that runs the query"),
    printcolumn(name = "PARALLELISM", type_ = "integer", json_path = ".status.effective.parallelism", description = "Subtasks per operator: workers x slots"),
    printcolumn(name = "CHECKPOINT", type_ = "date", json_path = ".status.lastCheckpoint.completionTime", description = "Age of the newest complete checkpoint"),
    printcolumn(name = "RESTARTS", type_ = "integer", json_path = ".status.restarts.count", description = "Restarts after failures"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Age of the StreamJob"),
    printcolumn(name = "VERSION", type_ = "string", json_path = ".status.effective.version", description = "Version of the runtime", priority = 1),
    printcolumn(name = "WORKERS", type_ = "string", json_path = ".status.workers.summary", description = "Ready and wanted workers", priority = 1),
    printcolumn(name = "REVISION", type_ = "string", json_path = ".status.revision.summary", description = "Running revision, and the one on its way", priority = 1),
    printcolumn(name = "SNAPSHOT", type_ = "date", json_path = ".status.lastSnapshot.completionTime", description = "Age of the newest complete snapshot", priority = 1),
    printcolumn(name = "STATE", type_ = "string", json_path = ".status.lastCheckpoint.size", description = "Size of the newest checkpoint", priority = 1),
    printcolumn(name = "MESSAGE", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, description = "Why it is ready or not", priority = 1),
    validation = ("self.metadata.name.size() <= 40", "metadata.name must be at most 40 characters long: the names of its pods are made from it"),
    validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "metadata.name must start with a letter and contain only lower-case letters, digits and '-': it becomes part of DNS names"),
    validation = (
        "!(has(self.status) && has(self.status.revision) && has(self.status.revision.current)) || self.spec.maxParallelism == oldSelf.spec.maxParallelism",
        "spec.maxParallelism cannot change once the job has state, which is cut into that many key groups; create a new StreamJob under another name instead"
    ),
    validation = (
        "!(has(self.status) && has(self.status.revision) && has(self.status.revision.current)) || has(self.spec.storage) == has(oldSelf.spec.storage) && (!has(self.spec.storage) || has(self.spec.storage.s3) == has(oldSelf.spec.storage.s3) && (!has(self.spec.storage.s3) || self.spec.storage.s3.uri == oldSelf.spec.storage.s3.uri))",
        "spec.storage.s3.uri cannot change once the job has state, because the state would be left behind; create a new StreamJob instead, or change the uri back"
    )
)]
#[x_kube(validation = (
    "self.maxParallelism >= self.workers.replicas * self.workers.slots",
    "spec.maxParallelism must be at least the parallelism, which is workers.replicas x workers.slots; lower replicas or slots, or choose a greater maxParallelism for a new job"
))]
#[serde(rename_all = "camelCase")]
pub struct StreamJobSpec {
    /// Engine that runs the query. `Native` (the default, and the only one so far) is the built-in
    /// runtime.
    #[serde(default)]
    pub engine: EngineKind,
    /// The query, in Flink SQL: CREATE TABLE and CREATE VIEW statements followed by INSERT INTO.
    pub sql: Sql,
    /// Environment variables of the workers. `${NAME}` in the SQL text is replaced by the
    /// variable's value inside the worker, so that secrets never appear in the StreamJob. At most
    /// 64. Example: `[{name: BROKERS, value: "kafka:9092"}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = kube::core::cel::ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Image of the workers. Unset, the operator's own runtime image is used; a job keeps the image
    /// that it was started with until its spec changes. Example:
    /// `registry.example.com/streamjob-runtime:0.1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Number, size and placement of the workers.
    #[serde(default)]
    pub workers: Workers,
    /// ServiceAccount of the worker pods, in the namespace of the job; carries the identity for S3
    /// where a cloud gives one. Unset, the namespace's `default` is used. Its token is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Key groups: the greatest parallelism that the job can ever have. 1 to 32768, default 128. It
    /// cannot change once the job has state.
    #[serde(default = "default_max_parallelism")]
    #[schemars(range(min = 1, max = 32768))]
    pub max_parallelism: u16,
    /// Where checkpoints are kept. Unset, the operator's default storage is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How often the job saves its state, and how much it keeps.
    #[serde(default)]
    pub checkpoints: Checkpoints,
    /// How a changed spec is rolled out.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// How the job moves to another number of workers.
    #[serde(default)]
    pub rescale: Rescale,
    /// How the job is started again after a failure.
    #[serde(default)]
    pub restart: Restart,
    /// StreamSnapshots that the operator takes of this job by itself.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// State to go on from, instead of what the job has: a snapshot, acted on once per value. On a
    /// new StreamJob its first start goes on from there; on one that runs, the job goes back (or
    /// over) to it, and output written since is written again. What was done is in
    /// `status.restoreFrom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<RestoreFrom>,
    /// `true` stops the job with a savepoint and removes its pods; `false` resumes it from there.
    /// Default `false`.
    #[serde(default)]
    pub suspend: bool,
    /// How long a StreamJob whose input has an end is kept after it completed; then the operator
    /// deletes it, while its state and output stay. Its pods go after a minute. A duration; unset
    /// means for ever. Example: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_completion: Option<Duration>,
}

const fn default_max_parallelism() -> u16 {
    128
}

/// Engines that can run a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EngineKind {
    /// The built-in runtime.
    #[default]
    Native,
}

/// The query: `text`, or `configMapKeyRef`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "has(self.text) != has(self.configMapKeyRef)",
    "exactly one of sql.text and sql.configMapKeyRef must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct Sql {
    /// The statements, at most 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub text: Option<String>,
    /// Key of a ConfigMap in the namespace of the job that holds the statements. A changed
    /// ConfigMap is rolled out like a changed text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data. Example: `job.sql`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Where checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// A bucket of Amazon S3, or of a server that speaks its protocol with conditional writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// What to do when the first start finds state that another StreamJob left at the same place:
    /// `Resume` (the default) goes on from it if its job was deleted or stopped; `Ignore` starts
    /// from nothing beside it; `Fail` refuses to start. State that is in use is never taken: see
    /// the annotation `streamkeeper.dev/take-over`.
    #[serde(default)]
    pub on_existing_state: OnExistingState,
}

/// A place in S3.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "!has(self.unsignedPayload) || !self.unsignedPayload || !has(self.endpoint) || self.endpoint.startsWith('https://')",
    "unsignedPayload needs an endpoint with https://: without TLS nothing protects content that is not signed"
))]
#[serde(rename_all = "camelCase")]
pub struct S3 {
    /// Bucket and prefix; the job's state lies in `<uri>/<namespace>/<name>/`. Example:
    /// `s3://acme-streams/prod`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = (
        "self.matches('^s3://[A-Za-z0-9._-]+(/[^/]+)*/?$')",
        "must name a bucket (of letters, digits, '.', '-' and '_') and optionally a prefix, like s3://bucket/prefix"
    ))]
    pub uri: String,
    /// Region of the bucket. Unset, the operator's default region is used. Example: `eu-west-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// URL of an S3-compatible server; unset means Amazon S3, or the operator's default endpoint.
    /// Example: `http://seaweedfs.storage:8333`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+/?$')", "must be the URL of a server, like https://s3.example.com:9000"))]
    pub endpoint: Option<String>,
    /// How the store encrypts the state. Unset, as the bucket says; where the job names no storage,
    /// as the operator's default storage says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
    /// Whether the content of writes is left out of their signature (`UNSIGNED-PAYLOAD`): TLS
    /// protects it, and a store behind a gateway that changes the encoding takes it. Default
    /// `false`; where the job names no storage, as the operator's default storage says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned_payload: Option<bool>,
}

/// Encryption by the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sse {
    /// `aws:kms`: with a key of the key management service.
    #[serde(rename = "type")]
    pub kind: SseType,
    /// Id, ARN or alias of the key; unset, the service's own key for the store. Example:
    /// `alias/streams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub kms_key_id: Option<String>,
}

/// Kinds of encryption by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SseType {
    /// With a key of the key management service.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// What to do with the state of a deleted or stopped StreamJob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExistingState {
    /// Go on from it.
    #[default]
    Resume,
    /// Start from nothing.
    Ignore,
    /// Refuse to start.
    Fail,
}

/// How often the job saves its state, and how much it keeps.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "!self.interval.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') || duration(self.interval) >= duration('100ms')",
    "checkpoints.interval must be at least 100ms"
))]
#[x_kube(validation = (
    "!self.timeout.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') || duration(self.timeout) >= duration('1s')",
    "checkpoints.timeout must be at least 1s"
))]
#[serde(rename_all = "camelCase")]
pub struct Checkpoints {
    /// Time from the start of one checkpoint to the start of the next; after a failure at most this
    /// much input is read again. A duration of at least 100ms, default `10s`. Example: `1m`.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// A checkpoint that takes longer is given up and tried again. A duration of at least 1s,
    /// default `5m`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// Complete checkpoints that are kept. 1 to 10, default 3.
    #[serde(default = "default_retain")]
    #[schemars(range(min = 1, max = 10))]
    pub retain: u32,
    /// What a failure may do to results: with `ExactlyOnce` (the default) every record counts once;
    /// with `AtLeastOnce` checkpoints hold up no channel, and records after a restore may count
    /// twice. A change makes a new revision.
    #[serde(default)]
    pub guarantee: Guarantee,
}

/// What a failure may do to results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Guarantee {
    /// Every record counts once.
    #[default]
    ExactlyOnce,
    /// A record may count twice after a restore.
    AtLeastOnce,
}

const fn default_interval() -> Duration {
    Duration::from_secs(10)
}

const fn default_timeout() -> Duration {
    Duration::from_secs(300)
}

const fn default_retain() -> u32 {
    3
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            interval: default_interval(),
            timeout: default_timeout(),
            retain: default_retain(),
            guarantee: Guarantee::default(),
        }
    }
}
