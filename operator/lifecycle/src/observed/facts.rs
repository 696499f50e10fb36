//! What was seen of a job. Every fact that can be missing is [`Known`](Fact::Known) or
//! [`Unknown`](Fact::Unknown); a missing fact never reads as an absent thing.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::{condition::Stalled, v1alpha1::SnapshotPhase};
use streamkeeper_protocol::{
    head::Head,
    job_api::{Operation, Preflight, Report},
};

use crate::revision::record::RevisionRecord;

/// Reason of a snapshot that is not as it was written.
pub(crate) const DAMAGED: &str = "SnapshotDamaged";

/// Something that could be found out, or not.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<T> {
    /// It is so.
    Known(T),
    /// It could not be found out.
    Unknown(Unknown),
}

/// Why something could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unknown {
    /// For people: what was tried, on what, what to do.
    pub why: String,
    /// Why only a person can help, if so: credentials, a missing bucket, a record of a later
    /// release.
    pub denied: Option<Stalled>,
}

impl<T> Fact<T> {
    /// Not found out, because of this.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(Unknown {
            why: why.into(),
            denied: None,
        })
    }

    /// Refused, because of this.
    pub fn denied(why: impl Into<String>) -> Self {
        Self::helpless(Stalled::StorageAccessDenied, why)
    }

    /// Only a person can help.
    pub fn helpless(reason: Stalled, why: impl Into<String>) -> Self {
        Self::Unknown(Unknown {
            why: why.into(),
            denied: Some(reason),
        })
    }

    /// The fact, if it is known.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(fact) => Some(fact),
            Self::Unknown(_) => None,
        }
    }
}

/// What was seen of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The SQL text, its ConfigMap resolved. `denied` when the ConfigMap or its key does not exist.
    pub sql: Fact<String>,
    /// Everything of every revision that has a ControllerRevision, a child or a pod, by number.
    pub revisions: BTreeMap<u64, RevisionFacts>,
    /// HEAD as it lies in storage; `Known(None)` only when the store said that there is none.
    pub head: Fact<Option<Head>>,
    /// Why the operator sends no request to the store of the job, if it does not. What is known of
    /// HEAD is then what pods of the job tell.
    pub not_looked: Option<String>,
    /// The operation asked for by [`super::required_reads`]; `Known(None)` when the coordinator
    /// does not know it.
    pub operation: Fact<Option<Operation>>,
    /// The StreamSnapshot that `spec.restoreFrom` names; `Known(None)` when there is none of that
    /// name.
    pub restore_source: Fact<Option<SnapshotFacts>>,
    /// The StreamSnapshots of this job, by name.
    pub snapshots: Vec<SnapshotFacts>,
    /// Lost nodes whose pods have to stay all the same.
    pub held_nodes: BTreeMap<String, HeldNode>,
    /// The NetworkPolicy of the job.
    pub network_policy: PolicyFacts,
    /// The last refusal of a call, while the operator remembers it.
    pub refusal: Option<Refusal>,
    /// The revision whose objects the API server last refused, while the operator remembers it and
    /// they are not there yet.
    pub unapplied: Option<Unapplied>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            sql: Fact::unknown("not asked"),
            revisions: BTreeMap::new(),
            head: Fact::unknown("not asked"),
            not_looked: None,
            operation: Fact::unknown("not asked"),
            restore_source: Fact::unknown("not asked"),
            snapshots: Vec::new(),
            held_nodes: BTreeMap::new(),
            network_policy: PolicyFacts::default(),
            refusal: None,
            unapplied: None,
        }
    }
}

impl Observed {
    /// How the call with this key was refused, if it was.
    pub(crate) fn refused(&self, key: &str) -> Option<&Refusal> {
        self.refusal.as_ref().filter(|refusal| refusal.key == key)
    }
}

/// A StreamSnapshot, as a decision about a job sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// What it was taken for; none when a person made it.
    pub trigger: Option<String>,
    /// Uid of the StreamJob that it was taken of; none when a person made it.
    pub taken_of: Option<String>,
    /// How far it is.
    pub phase: Option<SnapshotPhase>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Folder that holds it.
    pub uri: Option<String>,
    /// Endpoint of the store with that folder; none means Amazon S3.
    pub endpoint: Option<String>,
    /// Checkpoint that it holds.
    pub checkpoint: Option<u64>,
    /// When it was complete, or had failed.
    pub completed: Option<Timestamp>,
    /// Whether something in it was seen not to be as it was written.
    pub damaged: bool,
    /// Whether a job is on its way to it, or is to go to it once it can.
    pub needed: bool,
    /// Why it is ready or not.
    pub message: String,
}

/// The NetworkPolicy of a job, compared with what it should say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicyFacts {
    /// There is none, and there should be none.
    #[default]
    NotWanted,
    /// There should be one.
    Missing,
    /// It says something else.
    Changed,
    /// It is as it should be.
    AsWanted,
    /// There is one that the operator made, and there should be none.
    Unwanted,
}

/// Why the pods of a lost node have to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldNode {
    /// So many nodes are lost that it is not the nodes.
    Outage {
        /// Nodes that are lost.
        lost: usize,
        /// Nodes that there are.
        total: usize,
    },
    /// Other nodes come first.
    InTurn,
}

/// Objects of a revision that the API server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapplied {
    /// Number of the revision.
    pub revision: u64,
    /// What was tried, on what, and its answer.
    pub message: String,
    /// Whether the object is at fault, so that trying again will not help; else it may be a quota
    /// or an admission rule.
    pub invalid: bool,
}

/// A call that the coordinator refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Idempotency key of the call.
    pub key: String,
    /// Code of the [`streamkeeper_protocol::job_api::ApiError`].
    pub code: String,
    /// Its message.
    pub message: String,
}

/// What was seen of one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionFacts {
    /// Its content, from its ControllerRevision; none when there is none or it cannot be decoded.
    pub record: Option<RevisionRecord>,
    /// Its StatefulSet.
    pub stateful_set: Option<StatefulSetFacts>,
    /// Whether its Service exists.
    pub service: bool,
    /// Whether its ConfigMap exists.
    pub config_map: bool,
    /// Whether its PodDisruptionBudget exists.
    pub budget: bool,
    /// Its pods by ordinal.
    pub pods: Vec<PodFacts>,
    /// What its coordinator reports.
    pub report: Fact<Report>,
    /// Whether it could take over.
    pub preflight: Fact<Preflight>,
}

impl Default for RevisionFacts {
    fn default() -> Self {
        Self {
            record: None,
            stateful_set: None,
            service: false,
            config_map: false,
            budget: false,
            pods: Vec::new(),
            report: Fact::unknown("no pod answers yet"),
            preflight: Fact::unknown("no pod answers yet"),
        }
    }
}

/// A StatefulSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatefulSetFacts {
    /// Replicas in its spec.
    pub replicas: u32,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Ordinal.
    pub ordinal: u32,
    /// Whether its container serves its role.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Since when its container does not serve its role, if it does not and Kubernetes says since
    /// when.
    pub unready_since: Option<Timestamp>,
    /// Restarts of its container.
    pub restarts: u32,
    /// Why its container waits, if it does.
    pub waiting: Option<Waiting>,
    /// How its container last ended, if it did.
    pub terminated: Option<Terminated>,
    /// Why it has no node, if the scheduler said so.
    pub unschedulable: Option<String>,
    /// Its node.
    pub node: Option<String>,
    /// Since when its node is lost, if it is.
    pub node_lost_since: Option<Timestamp>,
    /// Why it is being moved away, if it is.
    pub disruption: Option<Disruption>,
}

/// A healthy pod is ended from outside: an eviction, a drain, a preemption, pressure on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disruption {
    /// `EvictionByEvictionAPI`, `TerminationByKubelet`, `PreemptionByScheduler`, ...
    pub reason: String,
    /// Kubernetes' sentence.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// `ImagePullBackOff`, `CrashLoopBackOff`, `CreateContainerConfigError`, ...
    pub reason: String,
    /// Kubelet's sentence.
    pub message: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminated {
    /// `OOMKilled`, `Error`, `Completed`, ...
    pub reason: String,
    /// Exit code.
    pub exit_code: i32,
    /// Termination message: the root cause, as the runtime wrote it.
    pub message: String,
    /// When.
    pub at: Option<Timestamp>,
}

impl RevisionFacts {
    /// Whether all objects of the revision are there, and none on its way out.
    pub(crate) fn is_complete(&self) -> bool {
        self.service && self.config_map && self.stateful_set.is_some_and(|set| !set.deleting)
    }

    /// Whether anything of it can still be deleted.
    pub(crate) fn is_deletable(&self) -> bool {
        self.service || self.config_map || self.stateful_set.is_some_and(|set| !set.deleting)
    }

    /// Whether nothing of it is left but its content.
    pub(crate) fn is_gone(&self) -> bool {
        !self.service && !self.config_map && self.stateful_set.is_none() && self.pods.is_empty()
    }
}
