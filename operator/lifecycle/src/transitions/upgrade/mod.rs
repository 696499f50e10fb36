//! Upgrade: a new revision is prepared beside the old one, takes over with its savepoint, proves
//! itself; then the old one goes.
//!
//! The old revision is not touched before the new one is ready, and not removed before the new one
//! has proved itself.

mod prepare;
mod savepoint;

use streamkeeper_api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{OnFailure, Outcome, Step, Transition},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::JobPhase;

use self::{
    prepare::{preparing, ready, reconsider},
    savepoint::handing_over,
};
use crate::plan::preparation;
use crate::plan::reasons::{Problem, WaitingFor};
use crate::transitions::standby;
use crate::upkeep::cleanup;
use crate::{
    plan::{
        action::EventKind,
        ownership::Ownership,
        plan_builder::{PlanBuilder, Verdict},
    },
    transitions::{rollback, standby::Promotion},
};

pub(crate) fn plan(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let (Some(from), Some(to)) = (transition.from, transition.to) else {
        return plan.start_over(transition, Reconciling::Preparing);
    };
    match transition.step {
        Step::Preparing => preparing(plan, transition, from, to),
        Step::HandingOver => handing_over(plan, transition, from, to),
        Step::Promoting => promoting(plan, transition, from, to),
        Step::Verifying => verifying(plan, transition, from, to),
        Step::Retiring => retiring(plan, transition, to),
        Step::Scaling | Step::Moving | Step::Shrinking | Step::Stopping | Step::Removing => {
            plan.start_over(transition, Reconciling::Preparing)
        }
    }
}

/// The old revision could not hand over: the new one takes the job from the last checkpoint.
fn promoting(plan: &mut PlanBuilder<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    if plan.ownership.is_run_by(to) {
        plan.advance(transition, Step::Verifying);
        return Verdict::Reconciling(Reconciling::Verifying, WaitingFor::Runs { revision: to });
    }
    let undecided = matches!(plan.ownership, Ownership::Unknown { .. });
    if !undecided && let Some(verdict) = reconsider(plan, transition, from, to) {
        return verdict;
    }
    if let Some(verdict) = ready(plan, transition, from, to) {
        return verdict;
    }
    let standing_by = plan.input.revision(to).stateful_set;
    let workers = plan
        .input
        .active_workers(from)
        .or(standing_by.map(|set| set.replicas))
        .unwrap_or(1)
        .max(1);
    match standby::promote(plan, transition, to, workers) {
        Promotion::Done => {
            plan.advance(transition, Step::Verifying);
            Verdict::Reconciling(Reconciling::Verifying, WaitingFor::Runs { revision: to })
        }
        Promotion::Pending(verdict) => verdict,
        // No revision can have the job as things are: what was wrong
        // decides what comes next.
        Promotion::Refused(verdict) => {
            plan.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} could not take the job"),
            );
            verdict
        }
    }
}

fn verifying(plan: &mut PlanBuilder<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let waiting = |message: WaitingFor| Verdict::Reconciling(Reconciling::Verifying, message);
    let since = transition.step_since.0;
    match plan.ownership.clone() {
        Ownership::Completed { revision } if revision == to => {
            plan.advance(transition, Step::Retiring);
            waiting(WaitingFor::AllInputRead { to })
        }
        Ownership::Runs { revision } if revision == to => {
            if let Some(workers) = plan.input.active_workers(to) {
                standby::fill_up(plan, to, workers);
            }
            proving(plan, transition, from, to)
        }
        Ownership::HandingOver { to: successor, .. } if successor == to => {
            let late = plan
                .input
                .passed(since, plan.input.settings.hand_over_timeout);
            if guard!("a successor has time to come": late) {
                let message = preparation::problem(&plan.input, to, since).map_or_else(
                    || {
                        format!(
                            "it did not claim the job within {} s",
                            plan.input.settings.hand_over_timeout.as_secs()
                        )
                    },
                    |problem| problem.message,
                );
                return failed(plan, transition, from, to, &message);
            }
            waiting(WaitingFor::TakesOver { to })
        }
        // It was stopped or taken over; this transition ends, and the facts decide.
        Ownership::Stopped { .. }
        | Ownership::Released { .. }
        | Ownership::Foreign { .. }
        | Ownership::Nothing
        | Ownership::Completed { .. } => {
            plan.finish(
                transition,
                Outcome::Failed,
                WaitingFor::NoLongerRuns { revision: to },
            );
            waiting(WaitingFor::NoLongerRuns { revision: to })
        }
        Ownership::Runs { revision } | Ownership::HandingOver { from: revision, .. } => {
            waiting(WaitingFor::OtherHasJob { revision, to })
        }
        Ownership::Unknown { why, .. } => waiting(WaitingFor::State {
            to,
            why: why.clone(),
        }),
    }
}

fn proving(plan: &mut PlanBuilder<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let since = transition.step_since.0;
    let deadline = plan.input.job.spec.upgrade.progress_deadline;
    let late = plan.input.passed(since, deadline.to_std());
    let mut missing = "its first checkpoint".to_owned();
    if let Some(report) = plan.input.report(to) {
        let steady = report.phase == JobPhase::Running;
        let checkpointed = report.checkpoints_in_attempt > 0;
        // A source may be silent for hours: at the deadline a checkpoint and a quiet run are proof
        // enough.
        if guard!("it proves itself by a checkpoint": checkpointed)
            && guard!("it proves itself by input": report.records_in_attempt > 0 || (late && steady))
        {
            plan.advance(transition, Step::Retiring);
            return Verdict::Reconciling(Reconciling::Verifying, WaitingFor::Proved { to });
        }
        if report.phase == JobPhase::Failed {
            let why = report
                .error
                .as_ref()
                .map_or("it failed", |error| error.message.as_str())
                .to_owned();
            return failed(plan, transition, from, to, &why);
        }
        if checkpointed {
            "input".clone_into(&mut missing);
        }
        if let Some(failure) = &report.last_failure {
            missing = format!("{missing} (it failed: {})", failure.message);
        }
    }
    if let Some(problem) = preparation::problem(&plan.input, to, since)
        && (problem.settled || late)
    {
        return failed(plan, transition, from, to, &problem.message);
    }
    if let Some(why) = preparation::own_fault(&plan.input, to) {
        return failed(plan, transition, from, to, &why);
    }
    // With HEAD unreadable the trouble is most likely the storage's, and a rollback would not help.
    let readable = plan.input.observed.head.known().is_some();
    if guard!("it has time to prove itself": late)
        && guard!("a storage that does not answer is nobody's fault": readable)
    {
        let why = format!("within {deadline} it did not show {missing}");
        return failed(plan, transition, from, to, &why);
    }
    Verdict::Reconciling(
        Reconciling::Verifying,
        WaitingFor::Proof {
            to,
            missing: missing.clone(),
        },
    )
}

/// The new revision has the job and does not get on with it.
fn failed(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
    why: &str,
) -> Verdict {
    if plan.input.job.spec.upgrade.on_failure == OnFailure::Rollback {
        return rollback::begin(plan, transition, from, to, why);
    }
    let message = Problem::Paused {
        to,
        why: why.to_owned(),
    };
    plan.reject(to, Stalled::ProgressDeadlineExceeded, &message.to_string());
    plan.finish(transition, Outcome::Failed, message.clone());
    Verdict::Stalled(Stalled::ProgressDeadlineExceeded, message)
}

fn retiring(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Verdict {
    if cleanup::others_gone(plan, to) {
        plan.finish(transition, Outcome::Succeeded, "");
        plan.emit_event(
            EventKind::Normal,
            "UpgradeCompleted",
            WaitingFor::Runs { revision: to },
        );
        return Verdict::Reconciling(Reconciling::Verifying, WaitingFor::OldPodsGone { to });
    }
    Verdict::Reconciling(Reconciling::Verifying, WaitingFor::OldPods { to })
}
