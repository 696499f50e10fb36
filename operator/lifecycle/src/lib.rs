//! What to do next, decided by one pure function: [`plan`].
//!
//! Facts in, plan out: no I/O, no clock, no state of its own. In reading order:
//! * [`observed`]: what was seen of a job; every fact is `Known` or `Unknown`, and missing facts
//!   never start anything.
//! * [`facts`]: those facts made from Kubernetes objects.
//! * [`grant`]: where in stores the operator may act with its own credentials.
//! * `told`: HEAD as pods of the job tell it, where the operator does not look itself.
//! * [`revision`]: the content of a revision, as its ControllerRevision keeps it. [`template`]: the
//!   pod template in it, checked.
//! * [`ownership`]: what the facts add up to: who has the job, what is asked for.
//! * [`preparation`]: how far a revision in standby is, and what is wrong with its pods.
//! * [`change`]: what a spec change means.
//! * [`transitions`]: transitions, their steps and the legal edges between them.
//! * `steady`: no transition is in progress; which one begins?
//! * `deploy` (and resume), `upgrade`, `rollback`, `restore`, `rescale`, `stop` (suspend and
//!   delete): one file per transition; `standby` holds what those share that start a revision,
//!   `restore` also how `spec.restoreFrom` is found.
//! * `automatic_snapshots`, `schedule`: StreamSnapshots that the operator takes by itself;
//!   [`snapshot`]: how one is taken.
//! * `final_snapshot`: the one that a job leaves when it stops.
//! * `lost_node`, `cleanup`, `network`, `budget`: what is done in every state.
//! * `record`, `conditions`: what the status says.
//! * [`action`]: everything that a plan can ask for; each is idempotent.
//! * `plan_builder`: a plan being made.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
mod automatic_snapshots;
mod budget;
pub mod change;
mod cleanup;
mod conditions;
mod deploy;
pub mod facts;
mod failures;
mod final_snapshot;
pub mod grant;
#[cfg(test)]
mod grid;
mod health;
mod lost_node;
#[cfg(test)]
mod model;
#[cfg(test)]
mod mutants;
mod network;
pub mod observed;
pub mod ownership;
mod plan_builder;
pub mod preparation;
mod record;
mod rescale;
mod restore;
pub mod revision;
mod rollback;
mod schedule;
pub mod settings;
pub mod snapshot;
mod standby;
mod steady;
mod stop;
pub mod template;
mod told;
pub mod transitions;
mod upgrade;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_guard::guard;

use self::plan_builder::{PlanBuilder, Verdict};

pub use self::{
    action::{Action, Event, EventKind, JobCall, Plan, Trigger},
    facts::{Child, Children, KeptPod, KeptPolicy, KeptRecord, lost_nodes, revision_of},
    grant::{AllowedPlaces, Grant, NotAllowed},
    lost_node::is_outage,
    observed::{
        Fact, HeldNode, Observed, PodFacts, PolicyFacts, Refusal, RevisionFacts, SnapshotFacts,
        StatefulSetFacts, Terminated, Unapplied, Unknown, Waiting,
    },
    revision::{Content, ResolvedStorage, RevisionRecord, Tls},
    settings::Settings,
    told::told_head,
};
use streamkeeper_api::{
    condition::{self, Reconciling},
    names::FINALIZER,
    v1alpha1::{Step, StreamJob, Transition, TransitionKind},
};

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

/// What an observer has to find out before it calls [`plan`]; what is not asked for may stay
/// [`Unknown`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredReads {
    /// Whether HEAD must be read from storage.
    pub head: bool,
    /// Revision whose preflight is wanted, and the folder of the snapshot that it is to start from,
    /// if it is.
    pub preflight: Option<(u64, Option<String>)>,
    /// Revision and idempotency key of an operation whose result is wanted.
    pub operation: Option<(u64, String)>,
}

/// What has to be found out for this job. Reports are always wanted, of every revision that has
/// pods.
pub fn required_reads(job: &StreamJob) -> RequiredReads {
    let status = job.status.as_ref();
    let transition = status.and_then(|status| status.transition.as_ref());
    // A job that runs as asked says all there is to know itself; of one that is suspended or
    // completed the status knows it.
    let settled = status
        .and_then(|status| condition::get(&status.conditions, condition::kind::READY))
        .is_some_and(|ready| {
            ready.status == "True"
                && match ready.reason.as_str() {
                    "Running" | "Completed" => !job.spec.suspend,
                    "Suspended" => job.spec.suspend,
                    _ => false,
                }
        });
    let deleting = job.metadata.deletion_timestamp.is_some();
    RequiredReads {
        head: transition.is_some() || !settled || deleting,
        preflight: transition
            .filter(|transition| {
                matches!(
                    transition.step,
                    Step::Preparing | Step::HandingOver | Step::Promoting
                )
            })
            .and_then(|transition| Some((transition.to?, transition.restores.clone()))),
        operation: transition.and_then(asked_operation),
    }
}

/// Revision and key of the call that a transition has made, or is about to make.
fn asked_operation(transition: &Transition) -> Option<(u64, String)> {
    let (revision, verb) = match (transition.kind, transition.step) {
        (TransitionKind::Upgrade, Step::HandingOver) => (transition.from?, "handover".to_owned()),
        (TransitionKind::Rescale, Step::Moving) => (transition.to?, "rescale".to_owned()),
        (TransitionKind::Suspend | TransitionKind::Delete, Step::Stopping) => {
            (transition.from?, format!("stop-{}", transition.from?))
        }
        (
            _,
            Step::Preparing
            | Step::HandingOver
            | Step::Promoting
            | Step::Verifying
            | Step::Retiring
            | Step::Scaling
            | Step::Moving
            | Step::Shrinking
            | Step::Stopping
            | Step::Removing,
        ) => return None,
    };
    Some((revision, plan_builder::call_key(transition, &verb)))
}

/// What to do next. Total and deterministic: the same input gives the same plan.
///
/// The caller writes `plan.status` if it differs, with the observed resourceVersion, and only then
/// executes `plan.actions` in order, stopping at the first that fails.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut plan = PlanBuilder::new(*input);
    let deleting = input.job.metadata.deletion_timestamp.is_some();
    let ours = input
        .job
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == FINALIZER);
    if deleting && !guard!("what others hold is left alone": ours) {
        // Others still hold the object; our part is done.
        return finish(
            plan,
            "the StreamJob is being deleted and holds no state of ours".to_owned(),
        );
    }
    record::owner(&mut plan);
    let verdict = decide(&mut plan, deleting, ours);
    automatic_snapshots::note_newest_snapshot(&mut plan);
    standby::note_check(&mut plan);
    lost_node::release(&mut plan);
    cleanup::clean_up(&mut plan);
    network::keep(&mut plan);
    budget::keep(&mut plan);
    record::observations(&mut plan);
    conditions::write(&mut plan, &verdict);
    let changed = input.job.status.as_ref() != Some(&plan.status);
    record::checkpoint(&mut plan, changed);
    let why = match verdict {
        Verdict::Reconciling(reason, message) => format!("{}: {message}", reason.as_str()),
        Verdict::Stalled(reason, message) => format!("{}: {message}", reason.as_str()),
        Verdict::Ready(message) | Verdict::Suspended(message) | Verdict::Completed(message) => {
            message
        }
    };
    finish(plan, why)
}

fn decide(plan: &mut PlanBuilder<'_>, deleting: bool, ours: bool) -> Verdict {
    let transition = plan.status.transition.clone();
    if deleting {
        return match transition {
            Some(transition) if transition.kind == TransitionKind::Delete => {
                stop::delete(plan, &transition)
            }
            Some(_) | None => {
                let current = plan.current();
                plan.begin(TransitionKind::Delete, current, None);
                Verdict::Reconciling(Reconciling::Deleting, "stopping the job".to_owned())
            }
        };
    }
    if !guard!("the finalizer comes first": ours) {
        plan.push_action(Action::AddFinalizer);
        return Verdict::Reconciling(
            Reconciling::Provisioning,
            "the StreamJob was seen".to_owned(),
        );
    }
    let Some(transition) =
        transition.filter(|transition| transitions::has_step(transition.kind, transition.step))
    else {
        // A step that its transition does not have was written by somebody else: the facts speak.
        plan.status.transition = None;
        return steady::plan(plan);
    };
    match transition.kind {
        TransitionKind::Deploy | TransitionKind::Resume => deploy::plan(plan, &transition),
        TransitionKind::Upgrade => upgrade::plan(plan, &transition),
        TransitionKind::Rollback => rollback::plan(plan, &transition),
        TransitionKind::Rescale => rescale::plan(plan, &transition),
        TransitionKind::Suspend => stop::suspend(plan, &transition),
        TransitionKind::Restore => restore::plan(plan, &transition),
        TransitionKind::Delete => {
            // Not in progress for an object that lives: somebody wrote the status.
            plan.status.transition = None;
            Verdict::Reconciling(Reconciling::Provisioning, "starting over".to_owned())
        }
    }
}

fn finish(plan: PlanBuilder<'_>, why: String) -> Plan {
    Plan {
        status: plan.status,
        actions: plan.actions,
        events: plan.events,
        requeue: plan.requeue,
        why,
    }
}
