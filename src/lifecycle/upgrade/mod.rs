//! Upgrade: a new revision is prepared beside the old one, takes over with its savepoint, proves itself; then the old one goes.
//!
//! The old revision is not touched before the new one is ready, and not removed before the new one has proved itself.

mod handing_over;

use streamkeeper_protocol::job_api::JobPhase;

use self::handing_over::handing_over;
use super::{
    action::EventKind,
    draft::{Draft, Verdict},
    preparation::Preparation,
    rollback,
    situation::{Standing, Wanted},
    standby::Promotion,
};
use crate::api::{
    condition::{Reconciling, Stalled, sentence},
    v1alpha1::{OnFailure, Outcome, Standby, Step, Transition},
};

pub(super) fn plan(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let (Some(from), Some(to)) = (transition.from, transition.to) else {
        return draft.start_over(transition, Reconciling::Preparing);
    };
    match transition.step {
        Step::Preparing => preparing(draft, transition, from, to),
        Step::HandingOver => handing_over(draft, transition, from, to),
        Step::Promoting => promoting(draft, transition, from, to),
        Step::Verifying => verifying(draft, transition, from, to),
        Step::Retiring => retiring(draft, transition, to),
        Step::Scaling | Step::Moving | Step::Shrinking | Step::Stopping | Step::Removing => {
            draft.start_over(transition, Reconciling::Preparing)
        }
    }
}

/// Ends or replaces an upgrade that is not what is asked for any more. Only while the old revision has not been asked to stop, or cannot be.
fn reconsider(
    draft: &mut Draft<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Option<Verdict> {
    let cancel = |draft: &mut Draft<'_>, why: &str| {
        draft.finish(transition, Outcome::Cancelled, why);
        Some(Verdict::Reconciling(
            Reconciling::Preparing,
            format!("the upgrade to revision {to} was cancelled: {why}"),
        ))
    };
    if draft.input.job.spec.suspend {
        return cancel(draft, "spec.suspend was set");
    }
    if let Standing::Completed { .. } = draft.standing {
        return cancel(draft, "the job completed first");
    }
    let Wanted::Known(wanted) = &draft.wanted else {
        return None;
    };
    let runs = draft
        .input
        .revision(from)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    if guard!("an edit back cancels": runs, else false) {
        return cancel(draft, "the spec is again what runs");
    }
    let prepared = draft.input.revision(to).record.as_ref()?;
    if prepared.is_same_try(wanted) {
        return None;
    }
    let next = draft.allot();
    let mut replaced = draft.go(transition, Step::Preparing);
    replaced.to = Some(next);
    draft.place(replaced);
    Some(Verdict::Reconciling(
        Reconciling::Preparing,
        format!("the spec changed: preparing revision {next} instead of {to}"),
    ))
}

fn preparing(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    if draft.standing.is_run_by(to) {
        // A call of an operator before us was taken in late.
        draft.go(transition, Step::HandingOver);
        return Verdict::Reconciling(
            Reconciling::HandingOver,
            format!("revision {to} has taken over"),
        );
    }
    if let Some(verdict) = reconsider(draft, transition, from, to) {
        return verdict;
    }
    draft.repair(from);
    if let Some(verdict) =
        guard!("the successor is ready first": ready(draft, transition, from, to), else None)
    {
        return verdict;
    }
    draft.go(transition, Step::HandingOver);
    Verdict::Reconciling(
        Reconciling::HandingOver,
        format!("revision {to} is ready to take over"),
    )
}

/// What keeps the new revision from being ready, if something does; one that will not be is given up.
fn ready(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Option<Verdict> {
    let preparing = |message: String| Some(Verdict::Reconciling(Reconciling::Preparing, message));
    match draft.preparation(transition, to) {
        Preparation::Ready => None,
        Preparation::Missing => {
            let workers = draft
                .input
                .active_workers(from)
                .or(draft
                    .input
                    .revision(from)
                    .stateful_set
                    .map(|set| set.replicas))
                .unwrap_or_else(|| draft.replicas());
            draft.bring_up_beside(transition, to, workers.max(1));
            preparing(format!(
                "creating revision {to} beside revision {from}, which runs on"
            ))
        }
        Preparation::Waiting { trouble, message } => {
            let workers = draft.input.active_workers(from);
            draft.bring_up_beside(transition, to, workers.unwrap_or_else(|| draft.replicas()));
            let message = format!("revision {to} is being prepared: {message}");
            Some(draft.not_ready(trouble, Reconciling::Preparing, message))
        }
        Preparation::Broken {
            reason: Stalled::Unschedulable | Stalled::QuotaExceeded,
            message,
        } if may_stand_by_with_less(draft, transition, to) => {
            let next = draft.allot();
            let mut smaller = draft.go(transition, Step::Preparing);
            smaller.to = Some(next);
            smaller.standby = Some(Standby::First);
            draft.place(smaller);
            preparing(format!(
                "there is no room for all pods of revision {to} beside revision {from} ({message}): preparing revision {next} with its first pod only"
            ))
        }
        Preparation::Broken { reason, message } => {
            let message = format!(
                "revision {to} was given up: {} Revision {from} was not touched",
                sentence(&message)
            );
            draft.reject(to, reason, &message);
            draft.finish(transition, Outcome::Failed, message.clone());
            Some(Verdict::Stalled(reason, message))
        }
    }
}

/// Whether a revision that finds no room asked for more than its first pod.
fn may_stand_by_with_less(draft: &Draft<'_>, transition: &Transition, to: u64) -> bool {
    let facts = draft.input.revision(to);
    let asked = facts.stateful_set.map_or(2, |set| set.replicas);
    transition.standby.is_none()
        && asked > 1
        && facts
            .record
            .as_ref()
            .is_some_and(|record| record.standby == Standby::Full)
}

/// The old revision could not hand over: the new one takes the job from the last checkpoint.
fn promoting(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    if draft.standing.is_run_by(to) {
        draft.go(transition, Step::Verifying);
        return Verdict::Reconciling(Reconciling::Verifying, format!("revision {to} runs"));
    }
    let undecided = matches!(draft.standing, Standing::Unknown { .. });
    if !undecided && let Some(verdict) = reconsider(draft, transition, from, to) {
        return verdict;
    }
    if let Some(verdict) = ready(draft, transition, from, to) {
        return verdict;
    }
    let standing_by = draft.input.revision(to).stateful_set;
    let workers = draft
        .input
        .active_workers(from)
        .or(standing_by.map(|set| set.replicas))
        .unwrap_or(1)
        .max(1);
    match draft.promote(transition, to, workers) {
        Promotion::Done => {
            draft.go(transition, Step::Verifying);
            Verdict::Reconciling(Reconciling::Verifying, format!("revision {to} runs"))
        }
        Promotion::Pending(verdict) => verdict,
        // Nobody can have the job as things are, with this revision or another: what was wrong decides what comes next.
        Promotion::Refused(verdict) => {
            draft.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} could not take the job"),
            );
            verdict
        }
    }
}

fn verifying(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let waiting = |message: String| Verdict::Reconciling(Reconciling::Verifying, message);
    let since = transition.step_since.0;
    match draft.standing.clone() {
        Standing::Completed { revision } if revision == to => {
            draft.go(transition, Step::Retiring);
            waiting(format!("revision {to} read all input"))
        }
        Standing::Runs { revision } if revision == to => {
            if let Some(workers) = draft.input.active_workers(to) {
                draft.fill_up(to, workers);
            }
            proving(draft, transition, from, to)
        }
        Standing::HandingOver { to: successor, .. } if successor == to => {
            let late = draft
                .input
                .passed(since, draft.input.settings.hand_over_timeout);
            if guard!("a successor has time to come": late) {
                let message = draft.input.ailment(to, since).map_or_else(
                    || {
                        format!(
                            "it did not claim the job within {} s",
                            draft.input.settings.hand_over_timeout.as_secs()
                        )
                    },
                    |ailment| ailment.message,
                );
                return failed(draft, transition, from, to, &message);
            }
            waiting(format!("revision {to} takes over"))
        }
        // Somebody stopped it or took it; the end of this transition lets the facts speak.
        Standing::Stopped { .. }
        | Standing::Released { .. }
        | Standing::Foreign { .. }
        | Standing::Nothing
        | Standing::Completed { .. } => {
            draft.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} does not run any more"),
            );
            waiting(format!("revision {to} does not run any more"))
        }
        Standing::Runs { revision } | Standing::HandingOver { from: revision, .. } => waiting(
            format!("revision {revision} has the job; waiting for revision {to}"),
        ),
        Standing::Unknown { why, .. } => {
            waiting(format!("waiting to find out how revision {to} does: {why}"))
        }
    }
}

fn proving(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let since = transition.step_since.0;
    let deadline = draft.input.job.spec.upgrade.progress_deadline;
    let late = draft.input.passed(since, deadline.to_std());
    let mut missing = "its first checkpoint".to_owned();
    if let Some(report) = draft.input.report(to) {
        let steady = report.phase == JobPhase::Running;
        let checkpointed = report.checkpoints_in_attempt > 0;
        // A source may be silent for hours: at the deadline a checkpoint and a quiet run are proof enough.
        if guard!("it proves itself by a checkpoint": checkpointed)
            && guard!("it proves itself by input": report.records_in_attempt > 0 || (late && steady))
        {
            draft.go(transition, Step::Retiring);
            return Verdict::Reconciling(
                Reconciling::Verifying,
                format!("revision {to} reads input and completed a checkpoint"),
            );
        }
        if report.phase == JobPhase::Failed {
            let why = report
                .error
                .as_ref()
                .map_or("it failed", |error| error.message.as_str())
                .to_owned();
            return failed(draft, transition, from, to, &why);
        }
        if checkpointed {
            "input".clone_into(&mut missing);
        }
        if let Some(failure) = &report.last_failure {
            missing = format!("{missing} (it failed: {})", failure.message);
        }
    }
    if let Some(ailment) = draft.input.ailment(to, since)
        && (ailment.settled || late)
    {
        return failed(draft, transition, from, to, &ailment.message);
    }
    if let Some(why) = draft.input.own_fault(to) {
        return failed(draft, transition, from, to, &why);
    }
    // With HEAD unreadable the trouble is most likely the storage's, and a rollback would not help.
    let readable = draft.input.observed.head.known().is_some();
    if guard!("it has time to prove itself": late)
        && guard!("a storage that does not answer is nobody's fault": readable)
    {
        let why = format!("within {deadline} it did not show {missing}");
        return failed(draft, transition, from, to, &why);
    }
    Verdict::Reconciling(
        Reconciling::Verifying,
        format!("revision {to} runs; waiting for {missing}"),
    )
}

/// The new revision has the job and does not get on with it.
fn failed(
    draft: &mut Draft<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
    why: &str,
) -> Verdict {
    if draft.input.job.spec.upgrade.on_failure == OnFailure::Rollback {
        return rollback::begin(draft, transition, from, to, why);
    }
    let message = format!(
        "revision {to} failed after it took over ({why}) and stays, because spec.upgrade.onFailure is Pause; correct the spec, or set it back"
    );
    draft.reject(to, Stalled::ProgressDeadlineExceeded, &message);
    draft.finish(transition, Outcome::Failed, message.clone());
    Verdict::Stalled(Stalled::ProgressDeadlineExceeded, message)
}

fn retiring(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Verdict {
    if draft.others_gone(to) {
        draft.finish(transition, Outcome::Succeeded, "");
        draft.tell(
            EventKind::Normal,
            "UpgradeCompleted",
            format!("revision {to} runs"),
        );
        return Verdict::Reconciling(
            Reconciling::Verifying,
            format!("revision {to} runs; the old pods are gone"),
        );
    }
    Verdict::Reconciling(
        Reconciling::Verifying,
        format!("revision {to} runs; removing the old pods"),
    )
}
