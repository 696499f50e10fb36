//! What to do next, decided by one pure function: [`plan`].
//!
//! Facts in, plan out: no I/O, no clock, no state of its own. In reading order:
//! * [`observed`]: what was seen of a job; every fact is `Known` or `Unknown`, and missing facts never start anything.
//! * [`facts`]: those facts made from Kubernetes objects.
//! * [`revision`]: the content of a revision, as its ControllerRevision keeps it.
//! * [`change`]: what a spec change means.
//! * [`action`]: everything that a plan can ask for; each is idempotent.
//! * [`state`]: transitions, their steps and the legal edges between them.

pub mod action;
pub mod facts;
pub mod observed;
pub mod revision;
pub mod settings;

use k8s_openapi::jiff::Timestamp;

pub use self::{
    action::{Action, Event, EventKind, JobCall, Plan},
    facts::{ChildObjects, lost_nodes},
    observed::{Fact, Observed, PodFacts, Refusal, RevisionFacts, StatefulSetFacts, Terminated, Unknown, Waiting},
    revision::{Content, ResolvedStorage, RevisionRecord},
    settings::Settings,
};
use crate::api::v1alpha1::StreamJob;

/// Everything that a decision may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The job as the API server has it: spec, metadata, status.
    pub job: &'a StreamJob,
    /// What was seen of it.
    pub observed: &'a Observed,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

/// What an observer has to find out before it calls [`plan`]; what is not asked for may stay [`Unknown`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// Whether HEAD must be read from storage.
    pub head: bool,
    /// Revision whose preflight is wanted.
    pub preflight: Option<u64>,
    /// Revision and idempotency key of an operation whose result is wanted.
    pub operation: Option<(u64, String)>,
}

/// What has to be found out for this job. Reports are always wanted, of every revision that has pods.
pub fn questions(job: &StreamJob) -> Questions {
    let _ = job;
    Questions { head: true, preflight: None, operation: None }
}

/// What to do next. Total and deterministic: the same input gives the same plan.
///
/// The caller writes `plan.status` if it differs, with the observed resourceVersion, and only then executes `plan.actions` in order, stopping at the first that fails.
pub fn plan(input: &Input<'_>) -> Plan {
    Plan {
        status: input.job.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        events: Vec::new(),
        requeue: std::time::Duration::from_secs(5),
        why: "nothing is decided yet".to_owned(),
    }
}
