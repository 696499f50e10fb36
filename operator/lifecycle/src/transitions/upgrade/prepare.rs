//! The new revision comes up in standby beside the old one, which is not touched.

use streamkeeper_api::{
    condition::{Reconciling, Stalled, sentence},
    v1alpha1::{Outcome, Standby, Step, Transition},
};
use streamkeeper_guard::guard;

use crate::plan::reasons::{Problem, WaitingFor};
use crate::{
    plan::{
        ownership::{Desired, Ownership},
        plan_builder::{PlanBuilder, Verdict},
        preparation::Preparation,
    },
    transitions::standby,
};

/// Ends or replaces an upgrade that is not what is asked for any more. Only while the old revision
/// has not been asked to stop, or cannot be.
pub(super) fn reconsider(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Option<Verdict> {
    let cancel = |plan: &mut PlanBuilder<'_>, why: &str| {
        plan.finish(transition, Outcome::Cancelled, why);
        Some(Verdict::Reconciling(
            Reconciling::Preparing,
            WaitingFor::UpgradeCancelled {
                to,
                why: why.to_owned(),
            },
        ))
    };
    if plan.input.job.spec.suspend {
        return cancel(plan, "spec.suspend was set");
    }
    if let Ownership::Completed { .. } = plan.ownership {
        return cancel(plan, "the job completed first");
    }
    let Desired::Known(wanted) = &plan.wanted else {
        return None;
    };
    let runs = plan
        .input
        .revision(from)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    if guard!("an edit back cancels": runs, else false) {
        return cancel(plan, "the spec is again what runs");
    }
    let prepared = plan.input.revision(to).record.as_ref()?;
    if prepared.is_same_try(wanted) {
        return None;
    }
    let next = plan.next_revision();
    let mut replaced = plan.advance(transition, Step::Preparing);
    replaced.to = Some(next);
    plan.set_transition(replaced);
    Some(Verdict::Reconciling(
        Reconciling::Preparing,
        WaitingFor::ChangedSpec { next, to },
    ))
}

pub(super) fn preparing(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Verdict {
    if plan.ownership.is_run_by(to) {
        // A call of an operator before us was taken in late.
        plan.advance(transition, Step::HandingOver);
        return Verdict::Reconciling(Reconciling::HandingOver, WaitingFor::HasTakenOver { to });
    }
    if let Some(verdict) = reconsider(plan, transition, from, to) {
        return verdict;
    }
    standby::repair(plan, from);
    if let Some(verdict) =
        guard!("the successor is ready first": ready(plan, transition, from, to), else None)
    {
        return verdict;
    }
    plan.advance(transition, Step::HandingOver);
    Verdict::Reconciling(Reconciling::HandingOver, WaitingFor::ReadyToTakeOver { to })
}

/// What keeps the new revision from being ready, if something does; one that will not be is given
/// up.
pub(super) fn ready(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Option<Verdict> {
    let preparing =
        |message: WaitingFor| Some(Verdict::Reconciling(Reconciling::Preparing, message));
    match standby::preparation(plan, transition, to) {
        Preparation::Ready => None,
        Preparation::Missing => {
            let workers = plan
                .input
                .active_workers(from)
                .or(plan
                    .input
                    .revision(from)
                    .stateful_set
                    .map(|set| set.replicas))
                .unwrap_or_else(|| plan.replicas());
            standby::bring_up_beside(plan, transition, to, workers.max(1));
            preparing(WaitingFor::PodsBeside { to, from })
        }
        Preparation::Waiting { trouble, message } => {
            let workers = plan.input.active_workers(from);
            standby::bring_up_beside(
                plan,
                transition,
                to,
                workers.unwrap_or_else(|| plan.replicas()),
            );
            let message = WaitingFor::Prepared {
                to,
                why: message.clone(),
            };
            Some(standby::not_ready(
                plan,
                trouble,
                Reconciling::Preparing,
                message,
            ))
        }
        Preparation::Broken {
            reason: Stalled::Unschedulable | Stalled::QuotaExceeded,
            message,
        } if may_stand_by_with_less(plan, transition, to) => {
            let next = plan.next_revision();
            let mut smaller = plan.advance(transition, Step::Preparing);
            smaller.to = Some(next);
            smaller.standby = Some(Standby::First);
            plan.set_transition(smaller);
            preparing(WaitingFor::FirstPodOnly {
                to,
                from,
                why: message.clone(),
                next,
            })
        }
        Preparation::Broken { reason, message } => {
            let message = Problem::GivenUp {
                to,
                sentence: sentence(&message),
                from,
            };
            plan.reject(to, reason, &message.to_string());
            plan.finish(transition, Outcome::Failed, message.clone());
            Some(Verdict::Stalled(reason, message))
        }
    }
}

/// Whether a revision that finds no room asked for more than its first pod.
fn may_stand_by_with_less(plan: &PlanBuilder<'_>, transition: &Transition, to: u64) -> bool {
    let facts = plan.input.revision(to);
    let asked = facts.stateful_set.map_or(2, |set| set.replicas);
    transition.standby.is_none()
        && asked > 1
        && facts
            .record
            .as_ref()
            .is_some_and(|record| record.standby == Standby::Full)
}
