//! Suspend and Delete: the job stops with everything committed, then its pods go.

use streamkeeper_api::{
    condition::Reconciling,
    duration::Duration,
    v1alpha1::{OnTransition, Outcome, Step, Transition, TransitionKind},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{JobPhase, Report, StopMode, StopRequest},
};

use crate::plan::preparation;
use crate::plan::reasons::WaitingFor;
use crate::transitions::standby;
use crate::{
    observed::facts::Fact,
    plan::{
        action::{Action, EventKind, JobCall, Trigger},
        ownership::Ownership,
        plan_builder::{PlanBuilder, Verdict, back_off, call_key},
    },
    snapshots::final_snapshot::{keep_savepoint, tell_of_none},
};

pub(crate) fn suspend(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    match transition.step {
        Step::Stopping => suspend_stopping(plan, transition),
        Step::Removing => suspend_removing(plan, transition),
        Step::Preparing
        | Step::HandingOver
        | Step::Promoting
        | Step::Verifying
        | Step::Retiring
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking => plan.start_over(transition, Reconciling::Suspending),
    }
}

fn suspend_stopping(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let suspending = |message: WaitingFor| Verdict::Reconciling(Reconciling::Suspending, message);
    match plan.ownership.clone() {
        Ownership::Stopped { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. }
        | Ownership::Nothing
        | Ownership::Foreign { .. } => {
            let wanted = plan.input.job.spec.snapshots.on_suspend;
            if let Some(message) = keep_savepoint(plan, transition, wanted, Trigger::Suspend) {
                return suspending(WaitingFor::Reported(message));
            }
            tell_of_none(plan, transition, Trigger::Suspend, "it had stopped before");
            plan.advance(transition, Step::Removing);
            suspending(WaitingFor::Stopped)
        }
        // It stopped with everything committed already; its successor may yet take it, or never.
        Ownership::HandingOver { to, .. }
            if guard!(
                "a named successor comes first": plan.input.revision(to).is_gone()
                    || plan.input.passed(
                        transition.step_since.0,
                        plan.input.settings.hand_over_timeout,
                    )
            ) =>
        {
            let why = format!("revision {to}, which was to take over, is not there");
            tell_of_none(plan, transition, Trigger::Suspend, &why);
            plan.advance(transition, Step::Removing);
            suspending(WaitingFor::Stopped)
        }
        Ownership::HandingOver { to, .. } => suspending(WaitingFor::TakeOverFirst { to }),
        Ownership::Unknown { why, .. } => {
            if let Some(why) = nobody_tells(plan, transition) {
                tell_of_none(plan, transition, Trigger::Suspend, &why);
                plan.advance(transition, Step::Removing);
                return suspending(WaitingFor::NoPodCanRun { why: why.clone() });
            }
            suspending(WaitingFor::Owner { why: why.clone() })
        }
        Ownership::Runs { revision } => {
            if !plan.input.job.spec.suspend && !plan.may_call(transition) {
                // The last try failed for good and the next has not begun.
                plan.finish(
                    transition,
                    Outcome::Cancelled,
                    "spec.suspend was taken back",
                );
                return suspending(WaitingFor::SuspendTakenBack);
            }
            if standby::follow(plan, transition, revision) {
                return suspending(WaitingFor::RunsJob { revision });
            }
            if let Some(why) = cannot_stop(plan, transition, revision) {
                tell_of_none(plan, transition, Trigger::Suspend, &why);
                plan.advance(transition, Step::Removing);
                return suspending(WaitingFor::NoSavepoint {
                    revision,
                    why: why.clone(),
                });
            }
            let wanted = plan.input.job.spec.snapshots.on_suspend;
            suspending(stop(plan, transition, revision, wanted, false))
        }
    }
}

fn suspend_removing(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let left: Vec<u64> = plan
        .input
        .observed
        .revisions
        .iter()
        .filter(|(_, facts)| !facts.is_gone())
        .map(|(&number, _)| number)
        .collect();
    for &revision in &left {
        if plan.input.revision(revision).is_deletable() {
            plan.push_action(Action::DeleteRevision { revision });
        }
    }
    if left.is_empty() {
        plan.finish(transition, Outcome::Succeeded, "");
        plan.emit_event(
            EventKind::Normal,
            "JobSuspended",
            "its state is kept; set spec.suspend to false to go on",
        );
        return Verdict::Reconciling(Reconciling::Suspending, WaitingFor::PodsGone);
    }
    Verdict::Reconciling(Reconciling::Suspending, WaitingFor::PodsRemoved)
}

/// The object is being deleted. Always ends: bounded by the operator's delete timeout, and at once
/// when no pod is left to ask.
pub(crate) fn delete(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let deleting = |message: WaitingFor| Verdict::Reconciling(Reconciling::Deleting, message);
    let nobody = guard!(
        "a deletion ends when nobody is left": plan
            .input
            .observed
            .revisions
            .values()
            .all(|facts| facts.pods.is_empty()),
        else false
    );
    let patience = plan
        .input
        .job
        .spec
        .snapshots
        .on_delete_timeout
        .map_or(plan.input.settings.delete_timeout, Duration::to_std);
    let late = guard!(
        "a deletion ends in time": plan.input.passed(transition.since.0, patience),
        else false
    );
    match transition.step {
        Step::Removing => {
            plan.push_action(Action::RemoveFinalizer);
            return deleting(WaitingFor::Released);
        }
        Step::Stopping => {}
        Step::Preparing
        | Step::HandingOver
        | Step::Promoting
        | Step::Verifying
        | Step::Retiring
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking => {
            plan.begin(TransitionKind::Delete, None, None);
            return deleting(WaitingFor::Stop);
        }
    }
    let released = match &plan.ownership {
        Ownership::Stopped { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. }
        | Ownership::Nothing
        | Ownership::Foreign { .. } => true,
        Ownership::Runs { .. } | Ownership::HandingOver { .. } | Ownership::Unknown { .. } => false,
    };
    if released
        && !late
        && let Some(message) = keep_savepoint(
            plan,
            transition,
            plan.input.job.spec.snapshots.on_delete,
            Trigger::Delete,
        )
    {
        return deleting(WaitingFor::Reported(message));
    }
    let hopeless = if let Ownership::Runs { revision } = plan.ownership {
        gave_up(plan, revision)
    } else {
        None
    };
    if guard!("a deletion stops the job first": released || nobody || late || hopeless.is_some()) {
        let missed = hopeless.clone().unwrap_or_else(|| {
            let why = if released {
                "it had stopped before"
            } else if nobody {
                "its pods are gone"
            } else {
                "it did not stop in time"
            };
            why.to_owned()
        });
        tell_of_none(plan, transition, Trigger::Delete, &missed);
        if let Some(why) = hopeless {
            plan.emit_event(
                EventKind::Warning,
                "StateNotReleased",
                format!("the job cannot stop ({why}); its last checkpoint stays in the storage"),
            );
        } else if !released && late {
            plan.emit_event(
                EventKind::Warning,
                "StateNotReleased",
                "the job did not stop in time; its last checkpoint stays in the storage",
            );
        }
        plan.advance(transition, Step::Removing);
        return deleting(WaitingFor::Released);
    }
    match plan.ownership.clone() {
        Ownership::Runs { revision } if standby::follow(plan, transition, revision) => {
            deleting(WaitingFor::RunsJob { revision })
        }
        Ownership::Runs { revision } => {
            let wanted = plan.input.job.spec.snapshots.on_delete;
            deleting(stop(plan, transition, revision, wanted, true))
        }
        Ownership::HandingOver { to, .. } => deleting(WaitingFor::TakeOverFirst { to }),
        Ownership::Unknown { why, .. } => deleting(WaitingFor::Owner { why: why.clone() }),
        Ownership::Stopped { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. }
        | Ownership::Nothing
        | Ownership::Foreign { .. } => deleting(WaitingFor::HasStopped),
    }
}

/// Asks a revision to stop, and says what is waited for.
fn stop(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    revision: u64,
    snapshot: OnTransition,
    release: bool,
) -> WaitingFor {
    let mode = match snapshot {
        OnTransition::Take => StopMode::Savepoint,
        OnTransition::Skip => StopMode::Checkpoint,
    };
    let failed = transition.last_error.as_ref().map_or(String::new(), |why| {
        format!(" (the last try failed: {why})")
    });
    if !plan.may_call(transition) {
        let wait = back_off(transition.retries).as_secs();
        return WaitingFor::StopAgain { failed, wait };
    }
    let key = call_key(transition, &format!("stop-{revision}"));
    if let Fact::Known(Some(operation)) = &plan.input.observed.operation
        && operation.key == key
        && let OperationResult::Failed { why } = &operation.result
    {
        plan.retry(transition, why);
        return WaitingFor::StopFailed { why: why.clone() };
    }
    if plan.input.report(revision).is_none() {
        return WaitingFor::CoordinatorAnswer { revision };
    }
    plan.call(revision, JobCall::Stop(StopRequest { key, mode, release }));
    WaitingFor::LastCheckpoint { revision, failed }
}

/// Why no pod will ever tell who has the job, if so, where the operator does not look into the
/// store itself: all are gone, or a lost cause.
fn nobody_tells(plan: &PlanBuilder<'_>, transition: &Transition) -> Option<String> {
    plan.input.observed.not_looked.as_ref()?;
    let mut why = "its pods are gone".to_owned();
    for (&revision, facts) in &plan.input.observed.revisions {
        if facts.pods.is_empty() {
            continue;
        }
        why = match plan.input.report(revision) {
            // It ended before it looked at HEAD.
            Some(Report {
                attempt: None,
                error: Some(error),
                ..
            }) => error.message.clone(),
            Some(_) => return None,
            None => cannot_stop(plan, transition, revision)?,
        };
    }
    Some(why)
}

/// Why a revision cannot be stopped with a savepoint, if it cannot.
fn cannot_stop(plan: &PlanBuilder<'_>, transition: &Transition, revision: u64) -> Option<String> {
    let facts = plan.input.revision(revision);
    if facts.is_gone() {
        return Some("its pods are gone".to_owned());
    }
    if plan.input.report(revision).is_some() {
        return gave_up(plan, revision);
    }
    preparation::problem(&plan.input, revision, transition.since.0)
        .filter(
            |problem| guard!("pods go without a savepoint only for a lost cause": problem.lasting),
        )
        .map(|problem| problem.message)
}

/// Why the revision that has the job will not take it up, as its coordinator says itself. One that
/// has claimed the job can be stopped whatever fails; a store that does not answer may come back.
fn gave_up(plan: &PlanBuilder<'_>, revision: u64) -> Option<String> {
    let report = plan.input.report(revision)?;
    let error = report.error.as_ref();
    let said = error.map_or_else(|| "it failed".to_owned(), |error| error.message.clone());
    let barred = report.phase == JobPhase::Standby
        && guard!("a store may come back": error.is_some_and(|error| !error.reason.starts_with("Storage")));
    (report.phase == JobPhase::Failed || barred).then_some(said)
}
