//! Everything that a plan can ask for. Closed, and each action idempotent: doing it again changes
//! nothing.

use std::time::Duration;

use streamkeeper_api::v1alpha1::StreamJobStatus;
pub use streamkeeper_protocol::job_api::JobCall;

use crate::revision::record::RevisionRecord;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status to write, if it differs, before anything else is done. A 409 means: stop, do no
    /// action, come back soon.
    pub status: StreamJobStatus,
    /// What to do then, in order; stop at the first failure.
    pub actions: Vec<Action>,
    /// What to tell people. Each is produced once, by the pass whose status change it goes with:
    /// publish only after the status was written.
    pub events: Vec<Event>,
    /// When to look again if nothing happens before.
    pub requeue: Duration,
    /// Which row of the tables matched, and what it waits for.
    pub why: String,
}

/// One effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Add [`streamkeeper_api::names::FINALIZER`]; nothing if it is there.
    AddFinalizer,
    /// Remove [`streamkeeper_api::names::FINALIZER`]; nothing if it is gone.
    RemoveFinalizer,
    /// Create what is missing of a revision: first its ControllerRevision (refused when one with
    /// another content exists), then ConfigMap, the job's NetworkPolicy, Service, StatefulSet. What
    /// exists is left alone: a template never changes.
    ApplyRevision {
        /// Number.
        revision: u64,
        /// Its content.
        record: Box<RevisionRecord>,
        /// Workers that it runs on once it has the job.
        workers: u32,
        /// Worker pods to create the StatefulSet with.
        replicas: u32,
    },
    /// Set the replicas of a revision's StatefulSet.
    ScaleRevision {
        /// Number.
        revision: u64,
        /// Worker pods.
        replicas: u32,
    },
    /// Delete StatefulSet, Service and ConfigMap of a revision; its ControllerRevision stays for
    /// history. Nothing if they are gone.
    DeleteRevision {
        /// Number.
        revision: u64,
    },
    /// Delete the ControllerRevision of a revision that has no children left.
    ForgetRevision {
        /// Number.
        revision: u64,
    },
    /// Create the NetworkPolicy of the job, or make it say again what it should; nothing if it
    /// does.
    ApplyNetworkPolicy,
    /// Delete the NetworkPolicy of the job; nothing if it is gone or not the operator's.
    DeleteNetworkPolicy,
    /// Create the PodDisruptionBudget of a revision; nothing if it is there.
    ApplyBudget {
        /// Number.
        revision: u64,
    },
    /// Delete the PodDisruptionBudget of a revision; nothing if it is gone.
    DeleteBudget {
        /// Number.
        revision: u64,
    },
    /// Delete a pod with grace period 0, with its uid as precondition: its node is lost, and HEAD
    /// fences whatever still runs there.
    ForceDeletePod {
        /// Name.
        name: String,
        /// Uid.
        uid: String,
    },
    /// Create a StreamSnapshot of the job; nothing if one of that name is there.
    CreateSnapshot {
        /// Name.
        name: String,
        /// What it is taken for.
        trigger: Trigger,
        /// Folder of a savepoint that was taken already; none takes one.
        import: Option<String>,
    },
    /// Delete a StreamSnapshot that the operator took, with its uid as precondition.
    DeleteSnapshot {
        /// Name.
        name: String,
        /// Uid.
        uid: String,
    },
    /// Delete the StreamJob itself, with its uid as precondition: it completed and its time is up.
    DeleteJob,
    /// Call the Job API of a revision's coordinator. A refusal (4xx) goes into
    /// [`super::Observed::refusal`] of the next pass, it is not an error of the pass.
    Call {
        /// Revision whose coordinator is called.
        revision: u64,
        /// The call.
        call: JobCall,
    },
}

/// What the operator takes a snapshot for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Trigger {
    Schedule,
    Upgrade,
    Rescale,
    Suspend,
    Delete,
}

impl Trigger {
    /// As it stands in the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "Schedule",
            Self::Upgrade => "Upgrade",
            Self::Rescale => "Rescale",
            Self::Suspend => "Suspend",
            Self::Delete => "Delete",
        }
    }
}

/// What to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether it is a warning.
    pub kind: EventKind,
    /// CamelCase reason, as listed in the documentation.
    pub reason: &'static str,
    /// The sentence.
    pub note: String,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EventKind {
    Normal,
    Warning,
}
