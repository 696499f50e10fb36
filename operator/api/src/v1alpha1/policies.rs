//! What the operator may do by itself: how a changed spec is rolled out, how the job is rescaled
//! and restarted, which snapshots are taken.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// How a changed spec is rolled out: the new revision starts beside the old one, is checked, and
/// takes the job over with a savepoint.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "!has(self.maxCheckpointAge) || self.onSavepointFailure == 'UseLastCheckpoint'",
    "upgrade.maxCheckpointAge needs upgrade.onSavepointFailure: UseLastCheckpoint"
))]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// Pods of the new revision that start beside the old ones: `Full` (the default) starts all of
    /// them, so that the pause is short; `First` starts pod 0 only, which still proves image, query
    /// and state, where there is no room for both. When `Full` finds no room, the operator goes on
    /// with `First` by itself and says so.
    #[serde(default)]
    pub standby: Standby,
    /// What to do when the savepoint before the change fails three times: `Pause` (the default)
    /// leaves the old revision running and keeps trying; `UseLastCheckpoint` goes on from the last
    /// complete checkpoint, if it is not older than `maxCheckpointAge`.
    #[serde(default)]
    pub on_savepoint_failure: OnSavepointFailure,
    /// How old the last checkpoint may be for `UseLastCheckpoint`: input since then is read again,
    /// which takes time but loses nothing. A duration; unset means `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_checkpoint_age: Option<Duration>,
    /// Whether a new query may leave out something that has state, which is lost then: `Reject`
    /// (the default) gives such a revision up; `Allow` drops the state.
    #[serde(default)]
    pub dropped_state: DroppedState,
    /// A new revision must be prepared within this time or it is given up, and must complete a
    /// checkpoint and read input within this time after it took over or the job is rolled back. A
    /// duration, default `10m`.
    #[serde(default = "default_progress_deadline")]
    pub progress_deadline: Duration,
    /// What to do with a new revision that took over and fails to show progress: `Rollback` (the
    /// default) goes back to what ran before; `Pause` leaves it as it is and asks for help.
    #[serde(default)]
    pub on_failure: OnFailure,
}

const fn default_progress_deadline() -> Duration {
    Duration::from_secs(600)
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            standby: Standby::default(),
            on_savepoint_failure: OnSavepointFailure::default(),
            max_checkpoint_age: None,
            dropped_state: DroppedState::default(),
            progress_deadline: default_progress_deadline(),
            on_failure: OnFailure::default(),
        }
    }
}

impl Upgrade {
    /// How old the last checkpoint may be for `UseLastCheckpoint`.
    pub fn checkpoint_age_limit(&self) -> Duration {
        self.max_checkpoint_age.unwrap_or(Duration::from_secs(300))
    }
}

/// Pods of a new revision that start beside the old ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Standby {
    /// All of them.
    #[default]
    Full,
    /// Pod 0 only.
    First,
}

/// What to do when the savepoint before a change fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnSavepointFailure {
    /// Keep trying; the old revision runs on.
    #[default]
    Pause,
    /// Go on from the last complete checkpoint.
    UseLastCheckpoint,
}

/// Whether a new query may leave out something that has state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DroppedState {
    /// No.
    #[default]
    Reject,
    /// Yes; the state is dropped.
    Allow,
}

/// What to do with a new revision that fails after it took over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Go back to what ran before.
    #[default]
    Rollback,
    /// Leave it as it is.
    Pause,
}

/// How the job moves to another number of workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rescale {
    /// `Auto` (the default) moves state between the workers around one checkpoint; `Savepoint` does
    /// the same and takes a StreamSnapshot first.
    #[serde(default)]
    pub strategy: RescaleStrategy,
}

/// Ways to move to another number of workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RescaleStrategy {
    /// Around one checkpoint.
    #[default]
    Auto,
    /// With a StreamSnapshot before.
    Savepoint,
}

/// How the job is started again after a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// Waits between restarts that fail at the same checkpoint; the first restart is at once. A
    /// change makes a new revision.
    #[serde(default)]
    pub backoff: Backoff,
}

/// Waits between restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Wait before the second restart; it doubles from there. A duration, default `1s`.
    #[serde(default = "default_initial")]
    pub initial: Duration,
    /// Longest wait. A duration, default `5m`.
    #[serde(default = "default_max")]
    pub max: Duration,
}

const fn default_initial() -> Duration {
    Duration::from_secs(1)
}

const fn default_max() -> Duration {
    Duration::from_secs(300)
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: default_initial(),
            max: default_max(),
        }
    }
}

/// StreamSnapshots that the operator takes by itself.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "!has(self.timeZone) || has(self.schedule)",
    "snapshots.timeZone needs snapshots.schedule"
))]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// When to take one, as a cron expression with five fields: minute, hour, day of month, month,
    /// day of week. Runs that were missed while the job or the operator was down are made up for by
    /// one. Example: `0 3 * * *`, every night at three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = (
        "self.matches('^@(hourly|daily|midnight|weekly|monthly|yearly|annually)$') || self.matches('^[^ @]+( +[^ ]+){4}$')",
        "snapshots.schedule must have five fields (minute, hour, day of month, month, day of week), like 0 3 * * *, or be one of @hourly, @daily, @weekly, @monthly, @yearly"
    ))]
    pub schedule: Option<String>,
    /// Time zone of the schedule, by its IANA name. Unset means `Etc/UTC`. Example:
    /// `Europe/Zurich`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// `true` takes none by the schedule until it is `false` again; runs that come due meanwhile
    /// are not made up for. Default `false`.
    #[serde(default)]
    pub suspend: bool,
    /// Which of the snapshots that the operator took are kept; those made by people are never
    /// dropped.
    #[serde(default)]
    pub retain: Retain,
    /// `Take` takes one before each upgrade, while the old revision still runs. Default `Skip`.
    #[serde(default)]
    pub on_upgrade: OnTransition,
    /// `Take` keeps the savepoint of a suspension as a StreamSnapshot. Default `Skip`: the state is
    /// kept all the same, as the job's newest checkpoint.
    #[serde(default)]
    pub on_suspend: OnTransition,
    /// `Take` takes one when the StreamJob is deleted, which waits for it for `onDeleteTimeout` at
    /// most. Default `Skip`: the last checkpoint stays in the bucket.
    #[serde(default)]
    pub on_delete: OnTransition,
    /// How long the deletion of the StreamJob may wait for its last savepoint or checkpoint. A
    /// duration; unset means the operator's default of `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete_timeout: Option<Duration>,
}

/// Whether a transition leaves a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnTransition {
    /// It does not.
    #[default]
    Skip,
    /// It does.
    Take,
}

/// Which snapshots are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retain {
    /// Complete snapshots that are kept, the newest ones. 1 to 100, default 7.
    #[serde(default = "default_count")]
    #[schemars(range(min = 1, max = 100))]
    pub count: u32,
    /// Older ones are dropped, but never the newest. A duration; unset means that age does not
    /// matter. Example: `336h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

const fn default_count() -> u32 {
    7
}

impl Default for Retain {
    fn default() -> Self {
        Self {
            count: default_count(),
            max_age: None,
        }
    }
}

/// State to go on from: `snapshotRef`, or `uri`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = (
    "has(self.snapshotRef) != has(self.uri)",
    "exactly one of restoreFrom.snapshotRef and restoreFrom.uri must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct RestoreFrom {
    /// A complete StreamSnapshot in the namespace of the job, of this job or of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_ref: Option<ObjectRef>,
    /// Folder of a snapshot in the bucket of the job. Example:
    /// `s3://acme-streams/prod/flights/delays/savepoints/nightly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = ("self.matches('^s3://[A-Za-z0-9._-]+(/[^/]+)+/?$')", "must name a folder in a bucket (of letters, digits, '.', '-' and '_'), like s3://bucket/folder"))]
    pub uri: Option<String>,
}

impl RestoreFrom {
    /// One line that tells two values apart.
    pub fn value(&self) -> String {
        match (&self.snapshot_ref, &self.uri) {
            (Some(snapshot), _) => format!("snapshot {}", snapshot.name),
            (None, Some(uri)) => uri.clone(),
            (None, None) => String::new(),
        }
    }
}

/// Another object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
