//! Upgrade: a new revision is prepared beside the old one, takes over with its savepoint, proves
//! itself; then the old one goes.
//!
//! The old revision is not touched before the new one is ready, and not removed before the new one
//! has proved itself.

mod handing_over;

use streamkeeper_protocol::job_api::JobPhase;

use self::handing_over::handing_over;
use super::{
    action::EventKind,
    ownership::{Desired, Ownership},
    plan_builder::{PlanBuilder, Verdict},
    preparation::Preparation,
    rollback,
    standby::Promotion,
};
use crate::api::{
    condition::{Reconciling, Stalled, sentence},
    v1alpha1::{OnFailure, Outcome, Standby, Step, Transition},
};

pub(super) fn plan(plan_builder: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let (Some(from), Some(to)) = (transition.from, transition.to) else {
        return plan_builder.start_over(transition, Reconciling::Preparing);
    };
    match transition.step {
        Step::Preparing => preparing(plan_builder, transition, from, to),
        Step::HandingOver => handing_over(plan_builder, transition, from, to),
        Step::Promoting => promoting(plan_builder, transition, from, to),
        Step::Verifying => verifying(plan_builder, transition, from, to),
        Step::Retiring => retiring(plan_builder, transition, to),
        Step::Scaling | Step::Moving | Step::Shrinking | Step::Stopping | Step::Removing => {
            plan_builder.start_over(transition, Reconciling::Preparing)
        }
    }
}

/// Ends or replaces an upgrade that is not what is asked for any more. Only while the old revision
/// has not been asked to stop, or cannot be.
fn reconsider(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Option<Verdict> {
    let cancel = |plan_builder: &mut PlanBuilder<'_>, why: &str| {
        plan_builder.finish(transition, Outcome::Cancelled, why);
        Some(Verdict::Reconciling(
            Reconciling::Preparing,
            format!("the upgrade to revision {to} was cancelled: {why}"),
        ))
    };
    if plan_builder.input.job.spec.suspend {
        return cancel(plan_builder, "spec.suspend was set");
    }
    if let Ownership::Completed { .. } = plan_builder.ownership {
        return cancel(plan_builder, "the job completed first");
    }
    let Desired::Known(wanted) = &plan_builder.wanted else {
        return None;
    };
    let runs = plan_builder
        .input
        .revision(from)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    if guard!("an edit back cancels": runs, else false) {
        return cancel(plan_builder, "the spec is again what runs");
    }
    let prepared = plan_builder.input.revision(to).record.as_ref()?;
    if prepared.is_same_try(wanted) {
        return None;
    }
    let next = plan_builder.next_revision();
    let mut replaced = plan_builder.advance(transition, Step::Preparing);
    replaced.to = Some(next);
    plan_builder.set_transition(replaced);
    Some(Verdict::Reconciling(
        Reconciling::Preparing,
        format!("the spec changed: preparing revision {next} instead of {to}"),
    ))
}

fn preparing(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    if plan_builder.ownership.is_run_by(to) {
        // A call of an operator before us was taken in late.
        plan_builder.advance(transition, Step::HandingOver);
        return Verdict::Reconciling(
            Reconciling::HandingOver,
            format!("revision {to} has taken over"),
        );
    }
    if let Some(verdict) = reconsider(plan_builder, transition, from, to) {
        return verdict;
    }
    plan_builder.repair(from);
    if let Some(verdict) =
        guard!("the successor is ready first": ready(plan_builder, transition, from, to), else None)
    {
        return verdict;
    }
    plan_builder.advance(transition, Step::HandingOver);
    Verdict::Reconciling(
        Reconciling::HandingOver,
        format!("revision {to} is ready to take over"),
    )
}

/// What keeps the new revision from being ready, if something does; one that will not be is given
/// up.
fn ready(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Option<Verdict> {
    let preparing = |message: String| Some(Verdict::Reconciling(Reconciling::Preparing, message));
    match plan_builder.preparation(transition, to) {
        Preparation::Ready => None,
        Preparation::Missing => {
            let workers = plan_builder
                .input
                .active_workers(from)
                .or(plan_builder
                    .input
                    .revision(from)
                    .stateful_set
                    .map(|set| set.replicas))
                .unwrap_or_else(|| plan_builder.replicas());
            plan_builder.bring_up_beside(transition, to, workers.max(1));
            preparing(format!(
                "creating revision {to} beside revision {from}, which runs on"
            ))
        }
        Preparation::Waiting { trouble, message } => {
            let workers = plan_builder.input.active_workers(from);
            plan_builder.bring_up_beside(
                transition,
                to,
                workers.unwrap_or_else(|| plan_builder.replicas()),
            );
            let message = format!("revision {to} is being prepared: {message}");
            Some(plan_builder.not_ready(trouble, Reconciling::Preparing, message))
        }
        Preparation::Broken {
            reason: Stalled::Unschedulable | Stalled::QuotaExceeded,
            message,
        } if may_stand_by_with_less(plan_builder, transition, to) => {
            let next = plan_builder.next_revision();
            let mut smaller = plan_builder.advance(transition, Step::Preparing);
            smaller.to = Some(next);
            smaller.standby = Some(Standby::First);
            plan_builder.set_transition(smaller);
            preparing(format!(
                "there is no room for all pods of revision {to} beside revision {from} ({message}): preparing revision {next} with its first pod only"
            ))
        }
        Preparation::Broken { reason, message } => {
            let message = format!(
                "revision {to} was given up: {} Revision {from} was not touched",
                sentence(&message)
            );
            plan_builder.reject(to, reason, &message);
            plan_builder.finish(transition, Outcome::Failed, message.clone());
            Some(Verdict::Stalled(reason, message))
        }
    }
}

/// Whether a revision that finds no room asked for more than its first pod.
fn may_stand_by_with_less(
    plan_builder: &PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
) -> bool {
    let facts = plan_builder.input.revision(to);
    let asked = facts.stateful_set.map_or(2, |set| set.replicas);
    transition.standby.is_none()
        && asked > 1
        && facts
            .record
            .as_ref()
            .is_some_and(|record| record.standby == Standby::Full)
}

/// The old revision could not hand over: the new one takes the job from the last checkpoint.
fn promoting(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    if plan_builder.ownership.is_run_by(to) {
        plan_builder.advance(transition, Step::Verifying);
        return Verdict::Reconciling(Reconciling::Verifying, format!("revision {to} runs"));
    }
    let undecided = matches!(plan_builder.ownership, Ownership::Unknown { .. });
    if !undecided && let Some(verdict) = reconsider(plan_builder, transition, from, to) {
        return verdict;
    }
    if let Some(verdict) = ready(plan_builder, transition, from, to) {
        return verdict;
    }
    let standing_by = plan_builder.input.revision(to).stateful_set;
    let workers = plan_builder
        .input
        .active_workers(from)
        .or(standing_by.map(|set| set.replicas))
        .unwrap_or(1)
        .max(1);
    match plan_builder.promote(transition, to, workers) {
        Promotion::Done => {
            plan_builder.advance(transition, Step::Verifying);
            Verdict::Reconciling(Reconciling::Verifying, format!("revision {to} runs"))
        }
        Promotion::Pending(verdict) => verdict,
        // Nobody can have the job as things are, with this revision or another: what was wrong
        // decides what comes next.
        Promotion::Refused(verdict) => {
            plan_builder.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} could not take the job"),
            );
            verdict
        }
    }
}

fn verifying(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    let waiting = |message: String| Verdict::Reconciling(Reconciling::Verifying, message);
    let since = transition.step_since.0;
    match plan_builder.ownership.clone() {
        Ownership::Completed { revision } if revision == to => {
            plan_builder.advance(transition, Step::Retiring);
            waiting(format!("revision {to} read all input"))
        }
        Ownership::Runs { revision } if revision == to => {
            if let Some(workers) = plan_builder.input.active_workers(to) {
                plan_builder.fill_up(to, workers);
            }
            proving(plan_builder, transition, from, to)
        }
        Ownership::HandingOver { to: successor, .. } if successor == to => {
            let late = plan_builder
                .input
                .passed(since, plan_builder.input.settings.hand_over_timeout);
            if guard!("a successor has time to come": late) {
                let message = plan_builder.input.problem(to, since).map_or_else(
                    || {
                        format!(
                            "it did not claim the job within {} s",
                            plan_builder.input.settings.hand_over_timeout.as_secs()
                        )
                    },
                    |problem| problem.message,
                );
                return failed(plan_builder, transition, from, to, &message);
            }
            waiting(format!("revision {to} takes over"))
        }
        // Somebody stopped it or took it; the end of this transition lets the facts speak.
        Ownership::Stopped { .. }
        | Ownership::Released { .. }
        | Ownership::Foreign { .. }
        | Ownership::Nothing
        | Ownership::Completed { .. } => {
            plan_builder.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} does not run any more"),
            );
            waiting(format!("revision {to} does not run any more"))
        }
        Ownership::Runs { revision } | Ownership::HandingOver { from: revision, .. } => waiting(
            format!("revision {revision} has the job; waiting for revision {to}"),
        ),
        Ownership::Unknown { why, .. } => {
            waiting(format!("waiting to find out how revision {to} does: {why}"))
        }
    }
}

fn proving(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    let since = transition.step_since.0;
    let deadline = plan_builder.input.job.spec.upgrade.progress_deadline;
    let late = plan_builder.input.passed(since, deadline.to_std());
    let mut missing = "its first checkpoint".to_owned();
    if let Some(report) = plan_builder.input.report(to) {
        let steady = report.phase == JobPhase::Running;
        let checkpointed = report.checkpoints_in_attempt > 0;
        // A source may be silent for hours: at the deadline a checkpoint and a quiet run are proof
        // enough.
        if guard!("it proves itself by a checkpoint": checkpointed)
            && guard!("it proves itself by input": report.records_in_attempt > 0 || (late && steady))
        {
            plan_builder.advance(transition, Step::Retiring);
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
            return failed(plan_builder, transition, from, to, &why);
        }
        if checkpointed {
            "input".clone_into(&mut missing);
        }
        if let Some(failure) = &report.last_failure {
            missing = format!("{missing} (it failed: {})", failure.message);
        }
    }
    if let Some(problem) = plan_builder.input.problem(to, since)
        && (problem.settled || late)
    {
        return failed(plan_builder, transition, from, to, &problem.message);
    }
    if let Some(why) = plan_builder.input.own_fault(to) {
        return failed(plan_builder, transition, from, to, &why);
    }
    // With HEAD unreadable the trouble is most likely the storage's, and a rollback would not help.
    let readable = plan_builder.input.observed.head.known().is_some();
    if guard!("it has time to prove itself": late)
        && guard!("a storage that does not answer is nobody's fault": readable)
    {
        let why = format!("within {deadline} it did not show {missing}");
        return failed(plan_builder, transition, from, to, &why);
    }
    Verdict::Reconciling(
        Reconciling::Verifying,
        format!("revision {to} runs; waiting for {missing}"),
    )
}

/// The new revision has the job and does not get on with it.
fn failed(
    plan_builder: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
    why: &str,
) -> Verdict {
    if plan_builder.input.job.spec.upgrade.on_failure == OnFailure::Rollback {
        return rollback::begin(plan_builder, transition, from, to, why);
    }
    let message = format!(
        "revision {to} failed after it took over ({why}) and stays, because spec.upgrade.onFailure is Pause; correct the spec, or set it back"
    );
    plan_builder.reject(to, Stalled::ProgressDeadlineExceeded, &message);
    plan_builder.finish(transition, Outcome::Failed, message.clone());
    Verdict::Stalled(Stalled::ProgressDeadlineExceeded, message)
}

fn retiring(plan_builder: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Verdict {
    if plan_builder.others_gone(to) {
        plan_builder.finish(transition, Outcome::Succeeded, "");
        plan_builder.emit_event(
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
