//! `streamkeeper.dev/v1alpha1`.
//!
//! * [`job`]: the StreamJob and its spec.
//! * [`workers`]: workers, their resources, environment and pods.
//! * [`policies`]: what the operator may do by itself: upgrade, rescale, restart, snapshots.
//! * [`status`]: what the operator reports.
//! * [`snapshot`]: the StreamSnapshot.

#![expect(
    unreachable_pub,
    reason = "KubeSchema writes twins of its types where nobody can reach them"
)]

pub mod job;
pub mod policies;
pub mod snapshot;
pub mod status;
pub mod workers;

pub use job::{
    Checkpoints, ConfigMapKeyRef, EngineKind, Guarantee, OnExistingState, S3, Sql, Sse, SseType,
    Storage, StreamJob, StreamJobSpec,
};
pub use policies::{
    Backoff, DroppedState, ObjectRef, OnFailure, OnSavepointFailure, OnTransition, Rescale,
    RescaleStrategy, Restart, RestoreFrom, Retain, Snapshots, Standby, Upgrade,
};
pub use snapshot::{
    DeletionPolicy, ImportFrom, SnapshotPhase, StreamSnapshot, StreamSnapshotSpec,
    StreamSnapshotStatus,
};
pub use status::{
    Checked, CheckpointStatus, Effective, FailureStatus, HistoryEntry, Outcome, Phase, Rejected,
    RestartsStatus, RestoreRequest, RestoreStatus, RevisionStatus, SnapshotSummary, Step,
    StreamJobStatus, Transition, TransitionKind, WorkersStatus,
};
pub use workers::{EnvVar, EnvVarSource, KeyRef, PodTemplate, Resources, Toleration, Workers};
