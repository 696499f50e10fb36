//! What happens next to a StreamJob, decided by one pure function, [`plan`].

use streamkeeper_api::{condition::Reconciling, names::FINALIZER, v1alpha1::TransitionKind};
use streamkeeper_guard::guard;

use crate::plan::reasons::WaitingFor;
use crate::{
    plan::{
        action::{Action, Plan},
        input::Input,
        plan_builder::{PlanBuilder, Verdict},
    },
    snapshots::automatic,
    status::{conditions, observations},
    transitions::{deploy, edges, rescale, restore, rollback, standby, steady, stop, upgrade},
    upkeep::{cleanup, disruption_budget, lost_node, network_policy},
};

/// What to do next. Total and deterministic: the same input gives the same plan.
///
/// The caller writes `plan.status` if it differs, with the observed resourceVersion, and only then
/// executes `plan.actions` in order, stopping at the first that fails.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut plan = PlanBuilder::new(*input);
    let deleting = input.job.metadata.deletion_timestamp.is_some();
    let ours = input
        .job
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == FINALIZER);
    if deleting && !guard!("what others hold is left alone": ours) {
        // Others still hold the object; our part is done.
        return finish(
            plan,
            "the StreamJob is being deleted and holds no state of ours".to_owned(),
        );
    }
    observations::owner(&mut plan);
    let verdict = decide(&mut plan, deleting, ours);
    automatic::note_newest_snapshot(&mut plan);
    standby::note_check(&mut plan);
    lost_node::release(&mut plan);
    cleanup::clean_up(&mut plan);
    network_policy::keep(&mut plan);
    disruption_budget::keep(&mut plan);
    observations::observations(&mut plan);
    conditions::write(&mut plan, &verdict);
    let changed = input.job.status.as_ref() != Some(&plan.status);
    observations::checkpoint(&mut plan, changed);
    let why = match verdict {
        Verdict::Reconciling(reason, message) => format!("{}: {message}", reason.as_str()),
        Verdict::Stalled(reason, message) => format!("{}: {message}", reason.as_str()),
        Verdict::Ready(message) | Verdict::Suspended(message) | Verdict::Completed(message) => {
            message.to_string()
        }
    };
    finish(plan, why)
}

fn decide(plan: &mut PlanBuilder<'_>, deleting: bool, ours: bool) -> Verdict {
    let transition = plan.status.transition.clone();
    if deleting {
        return match transition {
            Some(transition) if transition.kind == TransitionKind::Delete => {
                stop::delete(plan, &transition)
            }
            Some(_) | None => {
                let current = plan.current();
                plan.begin(TransitionKind::Delete, current, None);
                Verdict::Reconciling(Reconciling::Deleting, WaitingFor::Stop)
            }
        };
    }
    if !guard!("the finalizer comes first": ours) {
        plan.push_action(Action::AddFinalizer);
        return Verdict::Reconciling(Reconciling::Provisioning, WaitingFor::Finalizer);
    }
    let Some(transition) =
        transition.filter(|transition| edges::has_step(transition.kind, transition.step))
    else {
        // Another client wrote a step that its transition does not have: the facts decide.
        plan.status.transition = None;
        return steady::plan(plan);
    };
    match transition.kind {
        TransitionKind::Deploy | TransitionKind::Resume => deploy::plan(plan, &transition),
        TransitionKind::Upgrade => upgrade::plan(plan, &transition),
        TransitionKind::Rollback => rollback::plan(plan, &transition),
        TransitionKind::Rescale => rescale::plan(plan, &transition),
        TransitionKind::Suspend => stop::suspend(plan, &transition),
        TransitionKind::Restore => restore::plan(plan, &transition),
        TransitionKind::Delete => {
            // Never in progress for an object that is not being deleted: another client wrote the
            // status.
            plan.status.transition = None;
            Verdict::Reconciling(Reconciling::Provisioning, WaitingFor::Start)
        }
    }
}

fn finish(plan: PlanBuilder<'_>, why: String) -> Plan {
    Plan {
        status: plan.status,
        actions: plan.actions,
        events: plan.events,
        requeue: plan.requeue,
        why,
    }
}
