//! Suspend and Delete: the job stops with everything committed, then its pods go.

use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{JobPhase, Report, StopMode, StopRequest},
};

use super::{
    action::{Action, EventKind, JobCall, Trigger},
    draft::{Draft, Verdict, back_off, call_key},
    leaving::{keep_savepoint, tell_of_none},
    observed::Fact,
    situation::Standing,
};
use crate::api::{
    condition::Reconciling,
    duration::Duration,
    v1alpha1::{OnTransition, Outcome, Step, Transition, TransitionKind},
};

pub(super) fn suspend(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    match transition.step {
        Step::Stopping => suspend_stopping(draft, transition),
        Step::Removing => suspend_removing(draft, transition),
        Step::Preparing
        | Step::HandingOver
        | Step::Promoting
        | Step::Verifying
        | Step::Retiring
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking => draft.start_over(transition, Reconciling::Suspending),
    }
}

fn suspend_stopping(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let suspending = |message: String| Verdict::Reconciling(Reconciling::Suspending, message);
    match draft.standing.clone() {
        Standing::Stopped { .. }
        | Standing::Completed { .. }
        | Standing::Released { .. }
        | Standing::Nothing
        | Standing::Foreign { .. } => {
            let wanted = draft.input.job.spec.snapshots.on_suspend;
            if let Some(message) = keep_savepoint(draft, transition, wanted, Trigger::Suspend) {
                return suspending(message);
            }
            tell_of_none(draft, transition, Trigger::Suspend, "it had stopped before");
            draft.go(transition, Step::Removing);
            suspending("the job has stopped with everything committed".to_owned())
        }
        // It stopped with everything committed already; its successor may yet take it, or never.
        Standing::HandingOver { to, .. }
            if guard!(
                "a named successor comes first": draft.input.revision(to).is_gone()
                    || draft.input.passed(
                        transition.step_since.0,
                        draft.input.settings.hand_over_timeout,
                    )
            ) =>
        {
            let why = format!("revision {to}, which was to take over, is not there");
            tell_of_none(draft, transition, Trigger::Suspend, &why);
            draft.go(transition, Step::Removing);
            suspending("the job has stopped with everything committed".to_owned())
        }
        Standing::HandingOver { to, .. } => {
            suspending(format!("waiting for revision {to} to take over first"))
        }
        Standing::Unknown { why, .. } => {
            if let Some(why) = nobody_tells(draft, transition) {
                tell_of_none(draft, transition, Trigger::Suspend, &why);
                draft.go(transition, Step::Removing);
                return suspending(format!(
                    "no pod of the job can run it ({why}): its state stays as it is"
                ));
            }
            suspending(format!("waiting to find out who runs the job: {why}"))
        }
        Standing::Runs { revision } => {
            if !draft.input.job.spec.suspend && !draft.may_call(transition) {
                // The last try failed for good and the next has not begun.
                draft.finish(
                    transition,
                    Outcome::Cancelled,
                    "spec.suspend was taken back",
                );
                return suspending("spec.suspend was taken back: the job runs on".to_owned());
            }
            if draft.follow(transition, revision) {
                return suspending(format!("revision {revision} runs the job"));
            }
            if let Some(why) = cannot_stop(draft, transition, revision) {
                tell_of_none(draft, transition, Trigger::Suspend, &why);
                draft.go(transition, Step::Removing);
                return suspending(format!(
                    "revision {revision} cannot take a savepoint ({why}): the last checkpoint stays the restore point"
                ));
            }
            let wanted = draft.input.job.spec.snapshots.on_suspend;
            suspending(stop(draft, transition, revision, wanted, false))
        }
    }
}

fn suspend_removing(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let left: Vec<u64> = draft
        .input
        .observed
        .revisions
        .iter()
        .filter(|(_, facts)| !facts.is_gone())
        .map(|(&number, _)| number)
        .collect();
    for &revision in &left {
        if draft.input.revision(revision).is_deletable() {
            draft.act(Action::DeleteRevision { revision });
        }
    }
    if left.is_empty() {
        draft.finish(transition, Outcome::Succeeded, "");
        draft.tell(
            EventKind::Normal,
            "JobSuspended",
            "its state is kept; set spec.suspend to false to go on",
        );
        return Verdict::Reconciling(Reconciling::Suspending, "the pods are gone".to_owned());
    }
    Verdict::Reconciling(Reconciling::Suspending, "removing the pods".to_owned())
}

/// The object is being deleted. Always ends: bounded by the operator's delete timeout, and at once when there is nobody to ask.
pub(super) fn delete(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let deleting = |message: String| Verdict::Reconciling(Reconciling::Deleting, message);
    let nobody = guard!(
        "a deletion ends when nobody is left": draft
            .input
            .observed
            .revisions
            .values()
            .all(|facts| facts.pods.is_empty()),
        else false
    );
    let patience = draft
        .input
        .job
        .spec
        .snapshots
        .on_delete_timeout
        .map_or(draft.input.settings.delete_timeout, Duration::to_std);
    let late = guard!(
        "a deletion ends in time": draft.input.passed(transition.since.0, patience),
        else false
    );
    match transition.step {
        Step::Removing => {
            draft.act(Action::RemoveFinalizer);
            return deleting("the state is released; the pods go with the StreamJob".to_owned());
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
            draft.begin(TransitionKind::Delete, None, None);
            return deleting("stopping the job".to_owned());
        }
    }
    let released = match &draft.standing {
        Standing::Stopped { .. }
        | Standing::Completed { .. }
        | Standing::Released { .. }
        | Standing::Nothing
        | Standing::Foreign { .. } => true,
        Standing::Runs { .. } | Standing::HandingOver { .. } | Standing::Unknown { .. } => false,
    };
    if released
        && !late
        && let Some(message) = keep_savepoint(
            draft,
            transition,
            draft.input.job.spec.snapshots.on_delete,
            Trigger::Delete,
        )
    {
        return deleting(message);
    }
    let hopeless = if let Standing::Runs { revision } = draft.standing {
        gave_up(draft, revision)
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
        tell_of_none(draft, transition, Trigger::Delete, &missed);
        if let Some(why) = hopeless {
            draft.tell(
                EventKind::Warning,
                "StateNotReleased",
                format!("the job cannot stop ({why}); its last checkpoint stays in the storage"),
            );
        } else if !released && late {
            draft.tell(
                EventKind::Warning,
                "StateNotReleased",
                "the job did not stop in time; its last checkpoint stays in the storage",
            );
        }
        draft.go(transition, Step::Removing);
        return deleting("the state is released; the pods go with the StreamJob".to_owned());
    }
    match draft.standing.clone() {
        Standing::Runs { revision } if draft.follow(transition, revision) => {
            deleting(format!("revision {revision} runs the job"))
        }
        Standing::Runs { revision } => {
            let wanted = draft.input.job.spec.snapshots.on_delete;
            deleting(stop(draft, transition, revision, wanted, true))
        }
        Standing::HandingOver { to, .. } => {
            deleting(format!("waiting for revision {to} to take over first"))
        }
        Standing::Unknown { why, .. } => {
            deleting(format!("waiting to find out who runs the job: {why}"))
        }
        Standing::Stopped { .. }
        | Standing::Completed { .. }
        | Standing::Released { .. }
        | Standing::Nothing
        | Standing::Foreign { .. } => deleting("the job has stopped".to_owned()),
    }
}

/// Asks a revision to stop, and says what is waited for.
fn stop(
    draft: &mut Draft<'_>,
    transition: &Transition,
    revision: u64,
    snapshot: OnTransition,
    release: bool,
) -> String {
    let mode = match snapshot {
        OnTransition::Take => StopMode::Savepoint,
        OnTransition::Skip => StopMode::Checkpoint,
    };
    let failed = transition.last_error.as_ref().map_or(String::new(), |why| {
        format!(" (the last try failed: {why})")
    });
    if !draft.may_call(transition) {
        let wait = back_off(transition.retries).as_secs();
        return format!("the job could not be stopped{failed}; trying again after {wait} s");
    }
    let key = call_key(transition, &format!("stop-{revision}"));
    if let Fact::Known(Some(operation)) = &draft.input.observed.operation
        && operation.key == key
        && let OperationResult::Failed { why } = &operation.result
    {
        draft.retry(transition, why);
        return format!("the job could not be stopped: {why}");
    }
    if draft.input.report(revision).is_none() {
        return format!("waiting for the coordinator of revision {revision} to answer");
    }
    draft.call(revision, JobCall::Stop(StopRequest { key, mode, release }));
    format!("revision {revision} takes its last checkpoint and commits{failed}")
}

/// Why no pod will ever tell who has the job, if so, where the operator does not look into the
/// store itself: all are gone, or a lost cause.
fn nobody_tells(draft: &Draft<'_>, transition: &Transition) -> Option<String> {
    draft.input.observed.not_looked.as_ref()?;
    let mut why = "its pods are gone".to_owned();
    for (&revision, facts) in &draft.input.observed.revisions {
        if facts.pods.is_empty() {
            continue;
        }
        why = match draft.input.report(revision) {
            // It ended before it looked at HEAD.
            Some(Report {
                attempt: None,
                error: Some(error),
                ..
            }) => error.message.clone(),
            Some(_) => return None,
            None => cannot_stop(draft, transition, revision)?,
        };
    }
    Some(why)
}

/// Why a revision cannot be stopped with a savepoint, if it cannot.
fn cannot_stop(draft: &Draft<'_>, transition: &Transition, revision: u64) -> Option<String> {
    let facts = draft.input.revision(revision);
    if facts.is_gone() {
        return Some("its pods are gone".to_owned());
    }
    if draft.input.report(revision).is_some() {
        return gave_up(draft, revision);
    }
    draft
        .input
        .ailment(revision, transition.since.0)
        .filter(
            |ailment| guard!("pods go without a savepoint only for a lost cause": ailment.lasting),
        )
        .map(|ailment| ailment.message)
}

/// Why the revision that has the job will not take it up, as its coordinator says itself. One that has claimed the job can be stopped whatever fails; a store that does not
/// answer may come back.
fn gave_up(draft: &Draft<'_>, revision: u64) -> Option<String> {
    let report = draft.input.report(revision)?;
    let error = report.error.as_ref();
    let said = error.map_or_else(|| "it failed".to_owned(), |error| error.message.clone());
    let barred = report.phase == JobPhase::Standby
        && guard!("a store may come back": error.is_some_and(|error| !error.reason.starts_with("Storage")));
    (report.phase == JobPhase::Failed || barred).then_some(said)
}
