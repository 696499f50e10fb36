//! Rescale: the same pods and more, or fewer. Workers are added before the job moves, and removed
//! after.

use streamkeeper_api::{
    condition::{Reconciling, Stalled, sentence},
    v1alpha1::{Outcome, RescaleStrategy, Step, Transition, TransitionKind},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{JobPhase, RescaleRequest},
};

use crate::plan::preparation;
use crate::plan::reasons::{Problem, WaitingFor};
use crate::snapshots::automatic;
use crate::{
    observed::facts::Fact,
    plan::{
        action::{Action, EventKind, JobCall, Trigger},
        ownership::Ownership,
        plan_builder::{PlanBuilder, Verdict, call_key},
    },
    snapshots::automatic::Saved,
};

/// Begins to move the running revision from `active` workers to what the spec asks for.
pub(crate) fn begin(plan: &mut PlanBuilder<'_>, revision: u64, active: u32) -> Verdict {
    let target = plan.replicas();
    let mut transition = plan.begin(TransitionKind::Rescale, Some(revision), Some(revision));
    transition.workers = Some(target);
    if target < active && !takes_snapshot(plan) {
        transition.step = Step::Moving;
    }
    plan.set_transition(transition);
    plan.emit_event(
        EventKind::Normal,
        "RescaleStarted",
        WaitingFor::Workers { active, target },
    );
    Verdict::Reconciling(
        Reconciling::Rescaling,
        WaitingFor::Workers { active, target },
    )
}

/// Whether a StreamSnapshot is taken before the job moves.
fn takes_snapshot(plan: &PlanBuilder<'_>) -> bool {
    plan.input.job.spec.rescale.strategy == RescaleStrategy::Savepoint
}

pub(crate) fn plan(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let (Some(revision), Some(target)) = (transition.to, transition.workers) else {
        return plan.start_over(transition, Reconciling::Rescaling);
    };
    let gone = match &plan.ownership {
        Ownership::Runs { revision: runner } => *runner != revision,
        Ownership::Unknown { .. } => false,
        Ownership::Nothing
        | Ownership::Foreign { .. }
        | Ownership::HandingOver { .. }
        | Ownership::Stopped { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. } => true,
    };
    if gone {
        plan.finish(
            transition,
            Outcome::Cancelled,
            WaitingFor::NoLongerRuns { revision },
        );
        return Verdict::Reconciling(
            Reconciling::Rescaling,
            WaitingFor::NoLongerRuns { revision },
        );
    }
    match transition.step {
        Step::Scaling => scaling(plan, transition, revision, target),
        Step::Moving => moving(plan, transition, revision, target),
        Step::Shrinking => shrinking(plan, transition, revision, target),
        Step::Preparing
        | Step::HandingOver
        | Step::Promoting
        | Step::Verifying
        | Step::Retiring
        | Step::Stopping
        | Step::Removing => plan.start_over(transition, Reconciling::Rescaling),
    }
}

fn scaling(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    revision: u64,
    target: u32,
) -> Verdict {
    if changed(plan, revision, target) {
        // Nothing has moved yet; what is asked for now is looked at afresh.
        return cancel(plan, transition);
    }
    let facts = plan.input.revision(revision);
    if facts.stateful_set.is_some_and(|set| set.replicas < target) {
        plan.push_action(Action::ScaleRevision {
            revision,
            replicas: target,
        });
    }
    let up = (0..target)
        .filter(|ordinal| {
            facts
                .pods
                .iter()
                .any(|pod| pod.ordinal == *ordinal && pod.ready && !pod.deleting)
        })
        .count();
    // They register on their own once they are up; the coordinator waits for that.
    if guard!("workers are up before the job moves": u32::try_from(up).is_ok_and(|up| up >= target))
    {
        if takes_snapshot(plan) {
            match automatic::save(plan, transition, Trigger::Rescale, None) {
                Saved::Done => {}
                Saved::Begun(message) | Saved::Waiting(message) => {
                    return Verdict::Reconciling(
                        Reconciling::Rescaling,
                        WaitingFor::Reported(message),
                    );
                }
                Saved::Failed(why) => {
                    return Verdict::Stalled(
                        Stalled::SavepointFailed,
                        Problem::RescaleSnapshot {
                            sentence: sentence(&why),
                        },
                    );
                }
            }
        }
        plan.advance(transition, Step::Moving);
        return Verdict::Reconciling(Reconciling::Rescaling, WaitingFor::AllWorkersUp { target });
    }
    let since = transition.step_since.0;
    let problem = preparation::problem(&plan.input, revision, since);
    let problem = problem.or_else(|| preparation::missing_pods(&plan.input, revision, since));
    if let Some(problem) = problem.filter(|problem| problem.lasting) {
        let message = Problem::WorkersMissing {
            sentence: sentence(&problem.message),
        };
        return Verdict::Stalled(problem.reason, message);
    }
    Verdict::Reconciling(Reconciling::Rescaling, WaitingFor::WorkersUp { up, target })
}

/// Whether the spec asks for something else by now: another number of workers, another revision, no
/// job at all.
fn changed(plan: &PlanBuilder<'_>, revision: u64, target: u32) -> bool {
    let other_content = match (plan.wanted.record(), &plan.input.revision(revision).record) {
        (Some(wanted), Some(held)) => wanted.content != held.content && !plan.is_rejected(wanted),
        (None, _) | (_, None) => false,
    };
    plan.replicas() != target || plan.input.job.spec.suspend || other_content
}

fn cancel(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    plan.finish(transition, Outcome::Cancelled, "the spec changed");
    Verdict::Reconciling(Reconciling::Rescaling, WaitingFor::ChangedBeforeMove)
}

/// Why no record flows and the job does not get on with the move by itself, if so. Should it move
/// after all, the pods follow it.
fn stuck(
    plan: &PlanBuilder<'_>,
    transition: &Transition,
    revision: u64,
) -> Option<(Stalled, String)> {
    let report = plan.input.report(revision);
    if report.is_some_and(|report| matches!(report.phase, JobPhase::Running | JobPhase::Rescaling))
    {
        return None;
    }
    let sick = preparation::problem(&plan.input, revision, transition.step_since.0)
        .filter(|problem| problem.lasting)
        .map(|problem| (problem.reason, problem.message));
    let failed = report.and_then(|report| {
        let error = report.error.as_ref()?;
        let reason = Stalled::named(&error.reason).unwrap_or(Stalled::RestoreFailed);
        Some((reason, error.message.clone()))
    });
    sick.or(failed)
}

fn moving(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    revision: u64,
    target: u32,
) -> Verdict {
    let rescaling = |message: WaitingFor| Verdict::Reconciling(Reconciling::Rescaling, message);
    let arrived = plan.input.report(revision).is_some_and(
        |report| guard!("it arrived when records flow": report.phase == JobPhase::Running),
    ) && guard!("it arrived on as many as were asked for": plan.input.active_workers(revision) == Some(target));
    if arrived {
        plan.advance(transition, Step::Shrinking);
        return rescaling(WaitingFor::RunsOn { target });
    }
    let failed = transition.last_error.as_ref().map_or(String::new(), |why| {
        format!(" (the last try failed: {why})")
    });
    let stuck = stuck(plan, transition, revision);
    if stuck.is_some() && changed(plan, revision, target) {
        return cancel(plan, transition);
    }
    if !plan.may_call(transition) {
        if changed(plan, revision, target) {
            return cancel(plan, transition);
        }
        // The workers may have gone meanwhile.
        let short = plan
            .input
            .revision(revision)
            .stateful_set
            .is_some_and(|set| set.replicas < target);
        if short {
            plan.advance(transition, Step::Scaling);
        }
        return rescaling(WaitingFor::NextTry {
            failed: failed.clone(),
        });
    }
    let key = call_key(transition, "rescale");
    if let Fact::Known(Some(operation)) = &plan.input.observed.operation
        && operation.key == key
        && let OperationResult::Failed { why } = &operation.result
    {
        plan.retry(transition, why);
        return rescaling(WaitingFor::MoveFailed { why: why.clone() });
    }
    let refused = plan.input.observed.refused(&key);
    let refusal = refused.map(|refusal| refusal.message.clone());
    if plan.input.report(revision).is_some() {
        plan.call(
            revision,
            JobCall::Rescale(RescaleRequest {
                key,
                workers: target,
            }),
        );
    }
    match (stuck, plan.input.report(revision), refusal) {
        (Some((reason, message)), _, _) => Verdict::Stalled(
            reason,
            Problem::WhileMoving {
                why: message.clone(),
                target,
            },
        ),
        (None, None, _) => rescaling(WaitingFor::CoordinatorAnswer { revision }),
        (None, Some(_), None) => rescaling(WaitingFor::MoveTo {
            target,
            failed: failed.clone(),
        }),
        (None, Some(_), Some(why)) => rescaling(WaitingFor::MoveRefused { why: why.clone() }),
    }
}

fn shrinking(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    revision: u64,
    target: u32,
) -> Verdict {
    let facts = plan.input.revision(revision);
    if facts.stateful_set.is_some_and(|set| set.replicas != target) {
        plan.push_action(Action::ScaleRevision {
            revision,
            replicas: target,
        });
        return Verdict::Reconciling(Reconciling::Rescaling, WaitingFor::SparePods { target });
    }
    plan.finish(
        transition,
        Outcome::Succeeded,
        format!("to {target} workers"),
    );
    plan.emit_event(
        EventKind::Normal,
        "RescaleCompleted",
        WaitingFor::RunsOn { target },
    );
    Verdict::Reconciling(Reconciling::Rescaling, WaitingFor::RunsOn { target })
}
