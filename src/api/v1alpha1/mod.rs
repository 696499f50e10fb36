//! `streamkeeper.dev/v1alpha1`.
//!
//! * [`job`]: the StreamJob and its spec.
//! * [`workers`]: workers, their resources, environment and pods.
//! * [`status`]: what the operator reports.

#![expect(
    unreachable_pub,
    reason = "KubeSchema writes twins of its types where nobody can reach them"
)]

pub mod job;
pub mod status;
pub mod workers;

pub use job::{
    Checkpoints, ConfigMapKeyRef, EngineKind, OnExistingState, S3, Sql, Storage, StreamJob,
    StreamJobSpec, Upgrade,
};
pub use status::{
    CheckpointStatus, Effective, FailureStatus, HistoryEntry, Outcome, Phase, Rejected,
    RestartsStatus, RestoreStatus, RevisionStatus, Step, StreamJobStatus, Transition,
    TransitionKind, WorkersStatus,
};
pub use workers::{EnvVar, EnvVarSource, KeyRef, PodTemplate, Resources, Toleration, Workers};
