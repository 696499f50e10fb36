//! How the revision that has the job does, when no transition is in progress.

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::{
    condition::{self, Reconciling, Stalled},
    names::revision_name,
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::{JobPhase, Report};

use crate::plan::preparation;
use crate::plan::reasons::{Problem, Settled, WaitingFor};
use crate::transitions::restore;
use crate::{
    observed::facts::{Fact, HeldNode},
    plan::{
        ownership::Desired,
        plan_builder::{PlanBuilder, Verdict},
    },
};

/// A revision that failed and runs on all the same (`spec.upgrade.onFailure: Pause`), until a
/// checkpoint says that it gets on.
pub(crate) fn paused(plan: &PlanBuilder<'_>, current: u64) -> Option<Verdict> {
    let (revision, verdict) = rejected(plan)?;
    let gets_on = plan.input.report(current).is_some_and(|report| {
        report.phase == JobPhase::Completed
            || report.phase == JobPhase::Running && report.checkpoints_in_attempt > 0
    });
    (revision == current && !gets_on).then_some(verdict)
}

/// The revision that was given up last, and what a person has to know of it.
fn rejected(plan: &PlanBuilder<'_>) -> Option<(u64, Verdict)> {
    let rejected = plan.status.rejected.as_ref()?;
    let reason = Stalled::named(&rejected.reason).unwrap_or(Stalled::InvalidSpec);
    Some((
        rejected.revision,
        Verdict::Stalled(reason, Problem::Reported(rejected.message.clone())),
    ))
}

/// How the revision that has the job does.
pub(crate) fn health(plan: &mut PlanBuilder<'_>, current: u64) -> Verdict {
    if let Some(verdict) = paused(plan, current) {
        return verdict;
    }
    let crash = preparation::problem(&plan.input, current, Timestamp::UNIX_EPOCH)
        .filter(|problem| problem.lasting);
    let restoring = |message: WaitingFor| Verdict::Reconciling(Reconciling::Restoring, message);
    let Some(report) = plan.input.report(current) else {
        let why = match &plan.input.revision(current).report {
            Fact::Unknown(unknown) => unknown.why.clone(),
            Fact::Known(other) => format!("it says that it is revision {}", other.revision),
        };
        return match crash {
            Some(problem) => Verdict::Stalled(problem.reason, Problem::Reported(problem.message)),
            None => restoring(WaitingFor::Coordinator {
                revision: current,
                why: why.clone(),
            }),
        };
    };
    let failure = report
        .last_failure
        .as_ref()
        .map_or(String::new(), |failure| format!(": {}", failure.message));
    match report.phase {
        // A record at which it fails again and again is before it, until a checkpoint is behind it.
        JobPhase::Running
            if report
                .error
                .as_ref()
                .and_then(|error| Stalled::named(&error.reason))
                == Some(Stalled::BadRecord) =>
        {
            failed(report)
        }
        JobPhase::Running => running(plan, report),
        JobPhase::Completed => Verdict::Completed(Settled::InputRead),
        JobPhase::Failed => failed(report),
        JobPhase::BackingOff
        | JobPhase::WaitingForWorkers
        | JobPhase::Restoring
        | JobPhase::Standby
        | JobPhase::Fenced
        | JobPhase::Stopped => match (crash, &report.error) {
            (Some(problem), _) => {
                Verdict::Stalled(problem.reason, Problem::Reported(problem.message))
            }
            (None, Some(_)) => failed(report),
            (None, None) => {
                let reason = if report.phase == JobPhase::BackingOff {
                    Reconciling::Restarting
                } else {
                    Reconciling::Restoring
                };
                let state = describe(report, &failure);
                let missing = absent(plan, current, report);
                Verdict::Reconciling(reason, WaitingFor::Recovery { state, missing })
            }
        },
        JobPhase::Rescaling => Verdict::Reconciling(Reconciling::Rescaling, WaitingFor::Move),
        JobPhase::Stopping => restoring(WaitingFor::NextCoordinator),
    }
}

/// Why the first worker that the job waits for is not there, as far as Kubernetes says it.
fn absent(plan: &PlanBuilder<'_>, current: u64, report: &Report) -> String {
    let mut missing = report.workers.iter().filter(|worker| !worker.registered);
    let Some(worker) = missing.next() else {
        return String::new();
    };
    let facts = plan.input.revision(current);
    let Some(pod) = facts.pods.iter().find(|pod| pod.ordinal == worker.index) else {
        let job = plan.input.job.metadata.name.as_deref().unwrap_or_default();
        let set = revision_name(job, current);
        return format!(
            "; worker {} has no pod: if none appears, kubectl describe statefulset {set} says why",
            worker.index
        );
    };
    let node = pod.node.as_deref().unwrap_or("unknown");
    if pod.node_lost_since.is_some() {
        match plan.input.observed.held_nodes.get(node) {
            Some(HeldNode::Outage { lost, total }) => {
                return format!(
                    "; node {node} of pod {} does not answer, as {lost} of {total} nodes: so many do not fail at once, so pods stay until fewer are lost; look at the network and the control plane",
                    pod.name
                );
            }
            Some(HeldNode::InTurn) => {
                return format!(
                    "; node {node} of pod {} does not answer; several nodes are lost, and this one's pods are removed in turn",
                    pod.name
                );
            }
            None => {}
        }
        let after = plan.input.settings.node_lost_timeout.as_secs();
        return format!(
            "; node {node} of pod {} does not answer, {after} s after it was lost the pod is removed and started elsewhere",
            pod.name
        );
    }
    let problem = preparation::problem(&plan.input, current, plan.input.now);
    problem.map_or_else(String::new, |problem| format!("; {}", problem.message))
}

fn describe(report: &Report, failure: &str) -> String {
    let missing: Vec<String> = report
        .workers
        .iter()
        .filter(|worker| !worker.registered)
        .map(|worker| worker.index.to_string())
        .collect();
    match report.phase {
        JobPhase::BackingOff => format!("the job failed and is restarted after a pause{failure}"),
        JobPhase::WaitingForWorkers if !missing.is_empty() => {
            format!("waiting for workers {}{failure}", missing.join(", "))
        }
        JobPhase::WaitingForWorkers => format!("waiting for the workers{failure}"),
        JobPhase::Restoring => format!("restoring the last checkpoint{failure}"),
        JobPhase::Standby | JobPhase::Fenced | JobPhase::Stopped => {
            "the coordinator has not taken the job back yet".to_owned()
        }
        JobPhase::Running
        | JobPhase::Rescaling
        | JobPhase::Stopping
        | JobPhase::Completed
        | JobPhase::Failed => "the job runs".to_owned(),
    }
}

fn failed(report: &Report) -> Verdict {
    let Some(error) = &report.error else {
        return Verdict::Stalled(Stalled::RestoreFailed, Problem::CannotGoOn);
    };
    Verdict::Stalled(
        Stalled::named(&error.reason).unwrap_or(Stalled::RestoreFailed),
        Problem::Reported(error.message.clone()),
    )
}

fn running(plan: &PlanBuilder<'_>, report: &Report) -> Verdict {
    if let Some(failed) = restore::failed_restore(plan) {
        return Verdict::Stalled(
            Stalled::RestoreFailed,
            Problem::Reported(failed.message.clone()),
        );
    }
    if let Some((_, verdict)) = rejected(plan) {
        return verdict;
    }
    match &plan.wanted {
        Desired::Invalid(why) => Verdict::Stalled(
            Stalled::InvalidSpec,
            Problem::SpecBesideRunning {
                why: why.clone(),
                revision: report.revision,
            },
        ),
        Desired::Unknown(why) if guard!("what was not looked at is not Ready": !was_ready(plan), else false) => {
            Verdict::Reconciling(
                Reconciling::Preparing,
                WaitingFor::SpecOfRunning {
                    revision: report.revision,
                    why: why.clone(),
                },
            )
        }
        Desired::Unknown(why) => Verdict::Ready(Settled::RunsSqlUnread {
            revision: report.revision,
            why: why.clone(),
        }),
        Desired::Known(_) => Verdict::Ready(Settled::Runs {
            revision: report.revision,
        }),
    }
}

/// Whether this very spec was found to be in force before: then an API server that does not answer
/// for a moment changes nothing.
fn was_ready(plan: &PlanBuilder<'_>) -> bool {
    let status = plan.input.job.status.as_ref();
    status
        .and_then(|status| condition::get(&status.conditions, condition::kind::READY))
        .is_some_and(|ready| {
            ready.status == "True"
                && ready.observed_generation == plan.input.job.metadata.generation
        })
}
