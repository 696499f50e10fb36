//! What a plan for a StreamSnapshot asks for.

use std::time::Duration;

use streamkeeper_api::v1alpha1::{StreamSnapshot, StreamSnapshotStatus};
use streamkeeper_protocol::job_api::SavepointRequest;

use crate::{grant::Grant, plan::action::Event, snapshots::folder_work::Work};

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotPlan {
    /// The status to write, if it differs, before anything else is done.
    pub status: StreamSnapshotStatus,
    /// What to do then, in order; stop at the first failure.
    pub actions: Vec<SnapshotAction>,
    /// What to tell people, once the status is written.
    pub events: Vec<Event>,
    /// When to look again if nothing happens before.
    pub requeue: Duration,
}

/// One effect. Each is idempotent.
#[derive(Debug, Clone, PartialEq)]
pub enum SnapshotAction {
    /// Add [`SNAPSHOT_FINALIZER`](streamkeeper_api::names::SNAPSHOT_FINALIZER).
    AddFinalizer,
    /// Remove it.
    RemoveFinalizer,
    /// Ask the coordinator of a revision for the savepoint.
    Ask {
        /// The revision.
        revision: u64,
        /// The call.
        request: SavepointRequest,
    },
    /// Begin work on a folder; nothing if it is under way.
    Begin {
        /// What.
        work: Work,
        /// The folder.
        place: Grant,
        /// Uid of the StreamJob that it must be of, to be removed.
        job_uid: Option<String>,
    },
    /// Forget what became of the last work.
    ForgetWork,
    /// Delete the StreamSnapshot; its time is up.
    DeleteObject,
}

/// Idempotency key of the savepoint of a snapshot.
pub fn key(snapshot: &StreamSnapshot) -> String {
    let uid = snapshot.metadata.uid.as_deref().unwrap_or_default();
    let retries = snapshot.status.as_ref().map_or(0, |status| status.retries);
    format!("snapshot-{uid}-{retries}")
}
