//! What a decision about a StreamSnapshot may depend on.

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::v1alpha1::StreamSnapshot;
use streamkeeper_protocol::job_api::Operation;

use crate::{
    observed::facts::{Fact, Refusal},
    revision::storage::ResolvedStorage,
    settings::Settings,
    snapshots::folder_work::WorkState,
};

/// Everything that a decision about a snapshot may depend on.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotInput<'a> {
    /// The snapshot as the API server has it.
    pub snapshot: &'a StreamSnapshot,
    /// Its job; none when no StreamJob of that name exists in its namespace.
    pub job: Option<&'a SnapshotJob>,
    /// The operator's settings: the storage of an import that names no job, and where it may look
    /// at all.
    pub settings: &'a Settings,
    /// The operation of [`key`](super::key) as the job's coordinator knows it; `Known(None)` when
    /// it does not.
    pub operation: &'a Fact<Option<Operation>>,
    /// What became of the work on the folder that was asked for last.
    pub work: &'a WorkState,
    /// The last refusal of a call, while the operator remembers it.
    pub refusal: Option<&'a Refusal>,
    /// Name of a job that needs this snapshot, if one does; see [`needs`](super::needs()).
    pub needed_by: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// A job, as a decision about its snapshot sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotJob {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Uid.
    pub uid: String,
    /// The revision that runs, or ran last.
    pub current: Option<u64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is to be suspended.
    pub suspended: bool,
    /// Whether all its input was read.
    pub completed: bool,
    /// Where its state lies, or why that is not known.
    pub storage: Result<ResolvedStorage, String>,
}
