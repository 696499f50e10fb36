//! What every transition that starts a revision shares: preparing it in standby, and promoting it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::{
    condition::{Reconciling, Stalled},
    names::TAKE_OVER,
    v1alpha1::{Checked, OnExistingState, Standby, Step, Transition, TransitionKind},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::{PromoteFrom, PromoteRequest};

use crate::plan::preparation;
use crate::plan::reasons::{Problem, WaitingFor};
use crate::plan::units::time;
use crate::{
    plan::{
        action::{Action, JobCall},
        ownership::Ownership,
        plan_builder::{PlanBuilder, Verdict, call_key},
        preparation::Preparation,
    },
    revision::record::RevisionRecord,
};

/// How often the progress of a check is written down, at most.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// When the patience with a step begins: with the step, or where its check was last seen to get on.
fn patience_since(transition: &Transition) -> Timestamp {
    let began = transition.step_since.0;
    let noted = transition.checked.as_ref();
    noted.map_or(began, |noted| noted.time.0.max(began))
}

/// How a promotion stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Promotion {
    /// The revision has the job.
    Done,
    /// Not yet.
    Pending(Verdict),
    /// It cannot have it.
    Refused(Verdict),
}

/// How far revision `to` of a transition is on its way to standby.
pub(crate) fn preparation(plan: &PlanBuilder<'_>, transition: &Transition, to: u64) -> Preparation {
    preparation::preparation(&plan.input, to, patience_since(transition))
}

/// Notes how far the check of a snapshot has come, at most once a minute: a large one takes
/// longer than any deadline, and it is judged by whether it gets on.
pub(crate) fn note_check(plan: &mut PlanBuilder<'_>) {
    let Some(transition) = plan.status.transition.as_mut() else {
        return;
    };
    let waits = matches!(transition.step, Step::Preparing | Step::Promoting);
    let Some(to) = transition
        .to
        .filter(|_| waits && transition.restores.is_some())
    else {
        return;
    };
    let preflight = plan.input.revision(to).preflight.known();
    let of_it = preflight.filter(|known| known.revision == to && known.from == transition.restores);
    let Some(bytes) = of_it.and_then(|known| known.checked_bytes) else {
        return;
    };
    let noted = transition.checked.as_ref();
    let due = noted
        .is_none_or(|noted| bytes > noted.bytes && plan.input.passed(noted.time.0, NOTED_EVERY));
    if due && bytes > 0 {
        let time = time(plan.input.now);
        transition.checked = Some(Checked { bytes, time });
    }
}

/// Says that a revision is not ready yet, and that help is needed if something outside keeps it
/// that may also pass by itself.
pub(crate) fn not_ready(
    plan: &PlanBuilder<'_>,
    trouble: Option<Stalled>,
    otherwise: Reconciling,
    message: WaitingFor,
) -> Verdict {
    match trouble {
        Some(reason @ (Stalled::ImagePullFailed | Stalled::InvalidSpec)) => {
            let deadline = plan.input.job.spec.upgrade.progress_deadline;
            Verdict::Stalled(
                reason,
                Problem::TriedAgain {
                    why: message.to_string(),
                    deadline: deadline.to_string(),
                },
            )
        }
        Some(_) | None => Verdict::Reconciling(otherwise, message),
    }
}

/// Creates what is missing of revision `to`, with the content of its ControllerRevision once
/// there is one, else with what is asked for.
pub(crate) fn bring_up(plan: &mut PlanBuilder<'_>, to: u64, workers: u32) {
    let facts = plan.input.revision(to);
    if let Some(record) = facts.record.as_ref().or(plan.wanted.record()) {
        let record = record.clone();
        create_missing(plan, to, record, workers, workers);
    }
}

/// Like [`bring_up`], for a revision that stands by beside the one that runs: with pod 0 alone if
/// that is all there is room for.
pub(crate) fn bring_up_beside(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
    workers: u32,
) {
    let facts = plan.input.revision(to);
    if let Some(record) = facts.record.as_ref().or(plan.wanted.record()).cloned() {
        create_beside(plan, transition, to, record, workers);
    }
}

/// [`Self::bring_up_beside`] with this content, unless the revision has one already.
pub(crate) fn create_beside(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
    mut record: RevisionRecord,
    workers: u32,
) {
    if plan.input.revision(to).record.is_none() {
        record.standby = transition.standby.unwrap_or(record.standby);
    }
    let replicas = match record.standby {
        Standby::Full => workers,
        Standby::First => 1,
    };
    create_missing(plan, to, record, workers, replicas);
}

fn create_missing(
    plan: &mut PlanBuilder<'_>,
    to: u64,
    record: RevisionRecord,
    workers: u32,
    replicas: u32,
) {
    if !plan.input.revision(to).is_complete() {
        plan.push_action(Action::ApplyRevision {
            revision: to,
            record: Box::new(record),
            workers,
            replicas,
        });
    }
}

/// Gives a revision that has the job, or is about to, the pods that it runs on, if it stood by
/// with fewer.
pub(crate) fn fill_up(plan: &mut PlanBuilder<'_>, to: u64, workers: u32) {
    let set = plan.input.revision(to).stateful_set;
    if set.is_some_and(|set| !set.deleting && set.replicas < workers) {
        plan.push_action(Action::ScaleRevision {
            revision: to,
            replicas: workers,
        });
    }
}

/// Creates objects of the running revision that a user deleted.
pub(crate) fn repair(plan: &mut PlanBuilder<'_>, runner: u64) {
    let facts = plan.input.revision(runner);
    let runs = plan.ownership == (Ownership::Runs { revision: runner });
    let deleting = facts.stateful_set.is_some_and(|set| set.deleting);
    // Its pods claim what HEAD gives them, and nothing else.
    let may_tell = nobody_comes_to_tell(plan, runner);
    if (runs || may_tell) && !deleting && facts.record.is_some() {
        let workers = plan
            .input
            .active_workers(runner)
            .unwrap_or_else(|| plan.replicas());
        bring_up(plan, runner, workers);
    }
}

/// Writes down that another revision has the job than was thought. Answers of calls are looked
/// up at the revision that the transition names, so none is made before.
pub(crate) fn follow(plan: &mut PlanBuilder<'_>, transition: &Transition, runner: u64) -> bool {
    if guard!("a call goes to whom the status names": transition.from == Some(runner)) {
        return false;
    }
    plan.set_transition(Transition {
        from: Some(runner),
        ..transition.clone()
    });
    true
}

/// Gives the job to revision `to`, from wherever its state is.
pub(crate) fn promote(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
    workers: u32,
) -> Promotion {
    let mut running_owner = None;
    let from = match plan.ownership.clone() {
        Ownership::Runs { revision } | Ownership::Completed { revision } if revision == to => {
            return Promotion::Done;
        }
        Ownership::Unknown { why, denied } => {
            let message = WaitingFor::StateRead { to, why };
            let verdict = match denied {
                Some(reason) => Verdict::Stalled(reason, Problem::Waits(message)),
                None => Verdict::Reconciling(Reconciling::Provisioning, message),
            };
            return Promotion::Pending(verdict);
        }
        Ownership::Nothing
            if transition.restores.is_some()
                || (transition.kind == TransitionKind::Deploy
                    && guard!("nothing starts from nothing twice": !ran_before(plan))) =>
        {
            PromoteFrom::Empty
        }
        Ownership::Nothing => return Promotion::Refused(state_is_gone(plan)),
        Ownership::Foreign { uid, running, .. } => {
            match take_over(
                plan,
                transition.kind,
                transition.restores.is_some(),
                &uid,
                running,
            ) {
                Ok(from) => {
                    running_owner = running.then_some(uid);
                    from
                }
                Err(verdict) => return Promotion::Refused(verdict),
            }
        }
        Ownership::Released { .. } | Ownership::Completed { .. } => PromoteFrom::TakeOver,
        Ownership::Runs { .. } | Ownership::HandingOver { .. } | Ownership::Stopped { .. } => {
            PromoteFrom::Head
        }
    };
    // A snapshot that is asked for comes before whatever lies there.
    let from = match &transition.restores {
        Some(uri) => PromoteFrom::Savepoint { uri: uri.clone() },
        None => from,
    };
    let waiting = |message: WaitingFor| {
        Promotion::Pending(Verdict::Reconciling(Reconciling::Provisioning, message))
    };
    if plan.input.report(to).is_none() {
        return waiting(WaitingFor::CoordinatorAnswer { revision: to });
    }
    let start = match from {
        PromoteFrom::Empty => "empty",
        PromoteFrom::Head => "head",
        PromoteFrom::TakeOver => "takeover",
        PromoteFrom::Savepoint { .. } => "savepoint",
        PromoteFrom::Fresh => "fresh",
    };
    let key = call_key(transition, &format!("promote-{start}"));
    let refusal = plan.input.observed.refused(&key).cloned();
    plan.call(
        to,
        JobCall::Promote(PromoteRequest {
            key,
            revision: to,
            from,
            workers: Some(workers),
            running_owner,
        }),
    );
    match refusal {
        None => waiting(WaitingFor::ToldToRun { to }),
        Some(refusal) => {
            let message = WaitingFor::RunRefused {
                to,
                why: refusal.message.clone(),
            };
            let reason = match refusal.code.as_str() {
                "StorageUnavailable" => Some(Stalled::StorageUnreachable),
                "BadRequest" if transition.restores.is_some() => Some(Stalled::RestoreFailed),
                code @ ("StateInUse" | "StateIncompatible" | "InvalidSQL" | "InvalidSpec"
                | "SnapshotNotFound" | "RestoreFailed") => Stalled::named(code),
                _ => None,
            };
            match reason {
                Some(reason) => {
                    Promotion::Pending(Verdict::Stalled(reason, Problem::Waits(message)))
                }
                None => waiting(message),
            }
        }
    }
}

/// Whether the status shows that the job ran at any time.
pub(crate) fn ran_before(plan: &PlanBuilder<'_>) -> bool {
    plan.current().is_some() || plan.status.last_checkpoint.is_some()
}

/// Whether no pod of the running revision will come by itself to tell what HEAD holds, in a
/// store that the operator does not look into.
pub(crate) fn nobody_comes_to_tell(plan: &PlanBuilder<'_>, current: u64) -> bool {
    let unknown = matches!(plan.ownership, Ownership::Unknown { .. });
    let facts = plan.input.revision(current);
    let nobody = facts.pods.is_empty() && !facts.is_complete();
    unknown && nobody && plan.input.observed.not_looked.is_some()
}

/// HEAD is missing although the job ran.
pub(crate) fn state_is_gone(plan: &PlanBuilder<'_>) -> Verdict {
    let last = plan
        .status
        .last_checkpoint
        .as_ref()
        .map_or(String::new(), |last| {
            format!(" (the last checkpoint known is {})", last.id)
        });
    Verdict::Stalled(Stalled::RestoreFailed, Problem::HeadGone { last })
}

/// Whether a transition of this kind may take over the state of another StreamJob; `restores`
/// when it starts from a snapshot.
pub(crate) fn take_over(
    plan: &PlanBuilder<'_>,
    kind: TransitionKind,
    restores: bool,
    uid: &str,
    running: bool,
) -> Result<PromoteFrom, Verdict> {
    let in_use = |message: Problem| Err(Verdict::Stalled(Stalled::StateInUse, message));
    let policy = plan
        .input
        .job
        .spec
        .storage
        .as_ref()
        .map_or(OnExistingState::Resume, |storage| storage.on_existing_state);
    let confirmed = plan
        .input
        .job
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(TAKE_OVER))
        .is_some_and(|named| named == uid);
    if !guard!("what another job runs is not taken over": !running || confirmed) {
        return in_use(Problem::StateInUse {
            uid: uid.to_owned(),
        });
    }
    if !guard!("only a first start takes over": kind == TransitionKind::Deploy) {
        return in_use(Problem::StateTaken {
            uid: uid.to_owned(),
        });
    }
    match policy {
        OnExistingState::Resume => Ok(PromoteFrom::TakeOver),
        OnExistingState::Ignore => Ok(PromoteFrom::Fresh),
        // A snapshot that was asked for is what it starts from, whatever lies there.
        OnExistingState::Fail if restores => Ok(PromoteFrom::TakeOver),
        OnExistingState::Fail => in_use(Problem::StateLeft {
            uid: uid.to_owned(),
        }),
    }
}
