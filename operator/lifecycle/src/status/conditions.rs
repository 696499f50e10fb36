//! What a pass comes to, as conditions and phase. Messages are made where the decision is made;
//! here they only find their place.

use streamkeeper_api::{
    condition::{self, Reconciling, Stalled, State, Truth, kind},
    v1alpha1::{Phase, TransitionKind},
};
use streamkeeper_protocol::job_api::{JobPhase, Report};

use crate::plan::{
    action::EventKind,
    plan_builder::{PlanBuilder, Verdict},
};

/// Failed checkpoints in a row that are worth a warning.
const FAILING: u32 = 2;

/// Writes conditions, phase and summaries.
pub(crate) fn write(plan: &mut PlanBuilder<'_>, verdict: &Verdict) {
    let deleting = plan.input.job.metadata.deletion_timestamp.is_some();
    plan.status.observed_generation = plan.input.job.metadata.generation;
    let report = plan
        .current()
        .and_then(|current| plan.input.report(current));
    ready(plan, verdict);
    running(plan, verdict, report);
    checkpoints(plan, verdict, report);
    storage(plan);
    summaries(plan);
    plan.status.phase = Some(phase(plan, verdict, report, deleting));
}

fn ready(plan: &mut PlanBuilder<'_>, verdict: &Verdict) {
    match verdict {
        Verdict::Reconciling(reason, message) => {
            settle(
                plan,
                State::Reconciling,
                reason.as_str(),
                &message.to_string(),
            );
        }
        Verdict::Stalled(reason, message) => {
            stalls(plan, *reason, &message.to_string());
            settle(plan, State::Stalled, reason.as_str(), &message.to_string());
        }
        Verdict::Ready(message) => settle(plan, State::Ready, "Running", &message.to_string()),
        Verdict::Suspended(message) => {
            settle(plan, State::Ready, "Suspended", &message.to_string());
        }
        Verdict::Completed(message) => {
            if condition::get(&plan.status.conditions, kind::READY)
                .is_none_or(|ready| ready.reason != "Completed")
            {
                plan.emit_event(EventKind::Normal, "JobCompleted", message.clone());
            }
            settle(plan, State::Ready, "Completed", &message.to_string());
        }
    }
    match verdict {
        Verdict::Suspended(message) => {
            set(
                plan,
                kind::SUSPENDED,
                Truth::True,
                "Suspended",
                &message.to_string(),
            );
        }
        Verdict::Reconciling(..)
        | Verdict::Stalled(..)
        | Verdict::Ready(_)
        | Verdict::Completed(_) => {
            set(plan, kind::SUSPENDED, Truth::False, "NotSuspended", "");
        }
    }
}

/// Tells that help is needed, once per reason. A rollback has told why it began.
fn stalls(plan: &mut PlanBuilder<'_>, reason: Stalled, message: &str) {
    let told = condition::get(&plan.status.conditions, kind::STALLED)
        .is_some_and(|known| known.reason == reason.as_str());
    if !told && reason != Stalled::UpgradeRolledBack {
        plan.emit_event(EventKind::Warning, reason.as_str(), message);
    }
}

fn settle(plan: &mut PlanBuilder<'_>, state: State, reason: &str, message: &str) {
    let (generation, now) = (
        plan.input.job.metadata.generation,
        crate::plan::units::time(plan.input.now).0,
    );
    condition::settle(
        &mut plan.status.conditions,
        state,
        reason,
        message,
        generation,
        now,
    );
}

fn running(plan: &mut PlanBuilder<'_>, verdict: &Verdict, report: Option<&Report>) {
    let (truth, reason, message) = match (report.map(|report| report.phase), verdict) {
        (Some(JobPhase::Running), _) => (Truth::True, "Running", "records flow"),
        (_, Verdict::Completed(_)) => (Truth::False, "Completed", "all input was read"),
        (_, Verdict::Suspended(_)) => (Truth::False, "Suspended", "the job is suspended"),
        (None, _) if plan.current().is_some() => (
            Truth::Unknown,
            "NoAnswer",
            "the coordinator does not answer",
        ),
        (None, _) => (Truth::False, "NotStarted", "the job has not started"),
        (Some(JobPhase::Rescaling), _) => (
            Truth::False,
            "Rescaling",
            "the job moves to another number of workers",
        ),
        (Some(JobPhase::Stopping | JobPhase::Stopped | JobPhase::Completed), _) => {
            (Truth::False, "Stopping", "the job stops")
        }
        (Some(JobPhase::Failed), _) => (Truth::False, "Failed", "the job cannot go on"),
        (
            Some(
                JobPhase::Standby
                | JobPhase::WaitingForWorkers
                | JobPhase::Restoring
                | JobPhase::BackingOff
                | JobPhase::Fenced,
            ),
            _,
        ) => (Truth::False, "Restoring", "the job is on its way back"),
    };
    set(plan, kind::RUNNING, truth, reason, message);
}

fn checkpoints(plan: &mut PlanBuilder<'_>, verdict: &Verdict, report: Option<&Report>) {
    let settled = matches!(verdict, Verdict::Suspended(_) | Verdict::Completed(_));
    let Some(report) = report.filter(|_| !settled) else {
        let message = if settled {
            "no checkpoints are due"
        } else {
            "no coordinator answers"
        };
        set(
            plan,
            kind::CHECKPOINTS_HEALTHY,
            Truth::Unknown,
            "NotRunning",
            message,
        );
        return;
    };
    let known = condition::get(&plan.status.conditions, kind::CHECKPOINTS_HEALTHY);
    let known = known.map(|known| (known.status.clone(), known.reason.clone()));
    let failures = &report.checkpoint_failures;
    let overdue_after = {
        let checkpoints = &plan.input.job.spec.checkpoints;
        let (interval, timeout) = (
            checkpoints.interval.as_millis(),
            checkpoints.timeout.as_millis(),
        );
        i64::try_from((interval * 3).max(interval + timeout)).unwrap_or(i64::MAX)
    };
    let last = report
        .last_checkpoint
        .as_ref()
        .map(|last| last.completed_ms);
    // A job that was suspended, or down, owes none for that time.
    let running = condition::get(&plan.status.conditions, kind::RUNNING);
    let running = running.map_or(0, |running| running.last_transition_time.0.as_millisecond());
    let now = plan.input.now.as_millisecond();
    let overdue = last.is_some_and(|last| now.saturating_sub(last.max(running)) > overdue_after);
    let (truth, reason, message) = if failures.consecutive >= FAILING {
        let why = failures
            .last
            .clone()
            .unwrap_or_else(|| "no reason was given".to_owned());
        (
            Truth::False,
            "CheckpointFailing",
            format!(
                "checkpoints fail: {why}; the job runs on and would go on from the last complete one"
            ),
        )
    } else if overdue {
        (
            Truth::False,
            "CheckpointOverdue",
            format!(
                "no checkpoint completed for more than its interval and timeout together{}",
                failures
                    .last
                    .as_ref()
                    .map_or_else(String::new, |why| format!(": {why}"))
            ),
        )
    } else if last.is_none() {
        (
            Truth::Unknown,
            "NoneYet",
            "no checkpoint has completed yet".to_owned(),
        )
    } else {
        (
            Truth::True,
            "Completing",
            "checkpoints complete in time".to_owned(),
        )
    };
    let news = known.is_none_or(|(was, why)| was != "False" || why != reason);
    if truth == Truth::False && news {
        plan.emit_event(EventKind::Warning, reason, message.clone());
    }
    set(plan, kind::CHECKPOINTS_HEALTHY, truth, reason, &message);
}

/// Says where the operator sends no request to the store of the job, and what follows from that.
fn storage(plan: &mut PlanBuilder<'_>) {
    let Some(why) = &plan.input.observed.not_looked else {
        condition::clear(&mut plan.status.conditions, kind::STORAGE_READ);
        return;
    };
    let message = format!(
        "{why}. The pods of the job work there with the job's own credentials, and tell what HEAD holds: while none of them answers, nothing is known of it"
    );
    set(
        plan,
        kind::STORAGE_READ,
        Truth::False,
        "NotAllowed",
        &message,
    );
}

fn summaries(plan: &mut PlanBuilder<'_>) {
    let to = plan
        .status
        .transition
        .as_ref()
        .and_then(|transition| transition.to);
    if let Some(revision) = &mut plan.status.revision {
        revision.target = to.or(revision.current);
        revision.summary = match (revision.current, revision.target) {
            (Some(current), Some(target)) if current != target => format!("{current}->{target}"),
            (Some(only), _) | (None, Some(only)) => only.to_string(),
            (None, None) => String::new(),
        };
    }
}

fn phase(
    plan: &PlanBuilder<'_>,
    verdict: &Verdict,
    report: Option<&Report>,
    deleting: bool,
) -> Phase {
    if deleting {
        return Phase::Deleting;
    }
    let flows = report.is_some_and(|report| report.phase == JobPhase::Running);
    match (
        verdict,
        plan.status
            .transition
            .as_ref()
            .map(|transition| transition.kind),
    ) {
        (Verdict::Suspended(_), _) => Phase::Suspended,
        (Verdict::Completed(_), _) => Phase::Completed,
        (Verdict::Stalled(..), _) => {
            if flows {
                Phase::Degraded
            } else {
                Phase::Failed
            }
        }
        (_, Some(TransitionKind::Deploy)) => Phase::Starting,
        (_, Some(TransitionKind::Upgrade)) => Phase::Upgrading,
        (_, Some(TransitionKind::Rollback)) => Phase::RollingBack,
        (_, Some(TransitionKind::Rescale)) => Phase::Rescaling,
        (_, Some(TransitionKind::Suspend)) => Phase::Suspending,
        (_, Some(TransitionKind::Resume)) => Phase::Resuming,
        (_, Some(TransitionKind::Restore)) => Phase::Restoring,
        (_, Some(TransitionKind::Delete)) => Phase::Deleting,
        (Verdict::Ready(_), None) => Phase::Running,
        (Verdict::Reconciling(Reconciling::Provisioning, _), None) if plan.current().is_none() => {
            Phase::Pending
        }
        (Verdict::Reconciling(..), None) => {
            if flows {
                Phase::Running
            } else {
                Phase::Restoring
            }
        }
    }
}

fn set(plan: &mut PlanBuilder<'_>, kind: &str, truth: Truth, reason: &str, message: &str) {
    let (generation, now) = (
        plan.input.job.metadata.generation,
        crate::plan::units::time(plan.input.now).0,
    );
    condition::set(
        &mut plan.status.conditions,
        kind,
        truth,
        reason,
        message,
        generation,
        now,
    );
}
