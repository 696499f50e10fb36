//! The old revision takes its savepoint and names its successor, or it is settled that it cannot.

use streamkeeper_api::{
    condition::{Reconciling, Stalled, sentence},
    names::pod_address,
    v1alpha1::{OnSavepointFailure, OnTransition, Outcome, Step, Transition},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{HandOverRequest, JOB_API_PORT, JobPhase},
};

use crate::plan::preparation;
use crate::plan::reasons::{Problem, WaitingFor};
use crate::snapshots::automatic;
use crate::transitions::standby;
use crate::{
    observed::facts::Fact,
    plan::{
        action::{JobCall, Trigger},
        ownership::Ownership,
        plan_builder::{PlanBuilder, Verdict, call_key},
    },
    snapshots::automatic::Saved,
    transitions::upgrade::prepare::{ready, reconsider},
};

/// Savepoints that must fail in a row before a person is asked for help; trying goes on.
const SAVEPOINT_FAILURES: u32 = 3;

pub(super) fn handing_over(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    let waiting = |message: WaitingFor| Verdict::Reconciling(Reconciling::HandingOver, message);
    match plan.ownership.clone() {
        Ownership::Runs { revision }
        | Ownership::HandingOver { to: revision, .. }
        | Ownership::Completed { revision }
            if revision == to =>
        {
            plan.advance(transition, Step::Verifying);
            waiting(WaitingFor::HandedOver { from, to })
        }
        Ownership::Runs { revision } => {
            if standby::follow(plan, transition, revision) {
                return waiting(WaitingFor::RunsJob { revision });
            }
            let refused = cannot_hand_over(plan, revision)
                .or_else(|| goes_on_without_savepoint(plan, transition, revision));
            if let Some(why) = refused {
                plan.advance(transition, Step::Promoting);
                return waiting(WaitingFor::NoHandOver {
                    revision,
                    why: why.clone(),
                    to,
                });
            }
            ask_to_hand_over(plan, transition, revision, to)
        }
        Ownership::Completed { .. } => {
            plan.finish(transition, Outcome::Cancelled, "the job completed first");
            waiting(WaitingFor::CompletedFirst)
        }
        Ownership::Stopped { .. }
        | Ownership::Released { .. }
        | Ownership::HandingOver { .. }
        | Ownership::Foreign { .. }
        | Ownership::Nothing => {
            plan.advance(transition, Step::Promoting);
            waiting(WaitingFor::WithoutHandOver { from, to })
        }
        Ownership::Unknown { why, .. } => waiting(WaitingFor::Owner { why: why.clone() }),
    }
}

fn ask_to_hand_over(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    let verdict = |transition: &Transition, message: WaitingFor| match &transition.last_error {
        Some(why) if transition.retries >= SAVEPOINT_FAILURES => Verdict::Stalled(
            Stalled::SavepointFailed,
            Problem::SavepointFails {
                times: transition.retries,
                sentence: sentence(why),
                from,
            },
        ),
        Some(why) => Verdict::Reconciling(
            Reconciling::HandingOver,
            WaitingFor::Again {
                what: Box::new(message),
                why: why.clone(),
            },
        ),
        None => Verdict::Reconciling(Reconciling::HandingOver, message),
    };
    if guard!("what is being handed over is not reconsidered": !plan.may_call(transition)) {
        // The last try failed for good and the next has not begun: the old revision is sure to run
        // on.
        return match reconsider(plan, transition, from, to) {
            Some(verdict) => verdict,
            None => verdict(transition, WaitingFor::NextHandOver { to }),
        };
    }
    let key = call_key(transition, "handover");
    let asked = match &plan.input.observed.operation {
        Fact::Known(Some(operation)) if operation.key == key => Some(&operation.result),
        Fact::Known(_) => None,
        Fact::Unknown(_) => {
            return verdict(transition, WaitingFor::CoordinatorAnswer { revision: from });
        }
    };
    if let Some(OperationResult::Failed { why }) = asked {
        let transition = plan.retry(transition, why);
        return verdict(&transition, WaitingFor::FormerRunsOn { from });
    }
    // What was ready may have broken since.
    if guard!("the successor is still ready": asked.is_none(), else false)
        && let Some(verdict) = ready(plan, transition, from, to)
    {
        return verdict;
    }
    if asked.is_none() && plan.input.job.spec.snapshots.on_upgrade == OnTransition::Take {
        match automatic::save(plan, transition, Trigger::Upgrade, None) {
            Saved::Done => {}
            // Nothing was asked of the old revision yet.
            Saved::Begun(message) | Saved::Waiting(message) => {
                return reconsider(plan, transition, from, to)
                    .unwrap_or_else(|| verdict(transition, WaitingFor::Reported(message)));
            }
            Saved::Failed(why) => {
                return match reconsider(plan, transition, from, to) {
                    Some(verdict) => verdict,
                    None => Verdict::Stalled(
                        Stalled::SavepointFailed,
                        Problem::UpgradeSnapshot {
                            sentence: sentence(&why),
                            from,
                        },
                    ),
                };
            }
        }
    }
    if plan.input.report(from).is_none() {
        return verdict(transition, WaitingFor::CoordinatorAnswer { revision: from });
    }
    let refused = plan.input.observed.refused(&key);
    let refusal = refused.map(|refusal| refusal.message.clone());
    let job = plan.input.job;
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let to_address = Some(format!(
        "{}:{JOB_API_PORT}",
        pod_address(name, namespace, to, 0)
    ));
    plan.call(
        from,
        JobCall::HandOver(HandOverRequest {
            key,
            to_revision: to,
            to_address,
        }),
    );
    let asked = WaitingFor::HandOver { from, to };
    verdict(
        transition,
        refusal.map_or(asked, |why| WaitingFor::HandOverRefused {
            from,
            why: why.clone(),
        }),
    )
}

/// Why the savepoint is not waited for any longer, if the spec allows that: it failed too often,
/// and the last checkpoint is new enough.
fn goes_on_without_savepoint(
    plan: &PlanBuilder<'_>,
    transition: &Transition,
    revision: u64,
) -> Option<String> {
    let policy = &plan.input.job.spec.upgrade;
    let why = transition.last_error.as_ref()?;
    let last = plan.input.report(revision)?.last_checkpoint.as_ref()?;
    let age = plan
        .input
        .now
        .as_millisecond()
        .saturating_sub(last.completed_ms);
    let limit = policy.checkpoint_age_limit();
    let young = u64::try_from(age).unwrap_or(0) <= limit.as_millis();
    (policy.on_savepoint_failure == OnSavepointFailure::UseLastCheckpoint
        && transition.retries >= SAVEPOINT_FAILURES
        && young)
        .then(|| {
            format!(
                "it failed {} times: {why}; spec.upgrade.onSavepointFailure is UseLastCheckpoint",
                transition.retries
            )
        })
}

/// Why a revision cannot take a savepoint, if it cannot.
fn cannot_hand_over(plan: &PlanBuilder<'_>, revision: u64) -> Option<String> {
    let facts = plan.input.revision(revision);
    if facts.stateful_set.is_none() && facts.pods.is_empty() {
        return Some("its pods are gone".to_owned());
    }
    let lost_cause = || {
        let transition = plan.status.transition.as_ref();
        let since = transition.map_or(plan.input.now, |transition| transition.since.0);
        let problem = preparation::problem(&plan.input, revision, since);
        problem
            .filter(
                |problem| guard!("a savepoint is given up only for a lost cause": problem.lasting),
            )
            .map(|problem| problem.message)
    };
    if let Some(report) = plan.input.report(revision) {
        let error = report.error.as_ref().map(|error| error.message.clone());
        return match report.phase {
            JobPhase::Failed => Some(error.unwrap_or_else(|| "it failed".to_owned())),
            JobPhase::BackingOff => report
                .last_failure
                .as_ref()
                .map(|failure| failure.message.clone()),
            // Without all its workers it takes no savepoint, and these do not come.
            JobPhase::WaitingForWorkers => lost_cause(),
            JobPhase::Standby
            | JobPhase::Restoring
            | JobPhase::Running
            | JobPhase::Rescaling
            | JobPhase::Stopping
            | JobPhase::Stopped
            | JobPhase::Completed
            | JobPhase::Fenced => None,
        };
    }
    lost_cause()
}
