//! Revisions that are not needed any more.

use std::time::Duration;

use streamkeeper_api::v1alpha1::{Standby, Step, TransitionKind};
use streamkeeper_guard::guard;

use crate::plan::{action::Action, ownership::Ownership, plan_builder::PlanBuilder};

/// Deletes the pods of every revision that neither has the job nor a part in the transition. With
/// the owner unknown nothing is deleted.
pub(crate) fn clean_up(plan: &mut PlanBuilder<'_>) {
    let unknown = matches!(plan.ownership, Ownership::Unknown { .. });
    if guard!("an unknown owner costs nobody his pods": unknown, else false) {
        return;
    }
    let owners = match &plan.ownership {
        Ownership::Runs { revision } => vec![*revision],
        Ownership::HandingOver { to, .. } => vec![*to],
        Ownership::Unknown { .. }
        | Ownership::Nothing
        | Ownership::Foreign { .. }
        | Ownership::Stopped { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. } => Vec::new(),
    };
    let part: Vec<u64> = match &plan.status.transition {
        None if said_farewell(plan) => Vec::new(),
        None => plan.current().into_iter().collect(),
        Some(transition) => match (transition.kind, transition.step) {
            // It removes what there is, in its own time.
            (TransitionKind::Suspend | TransitionKind::Delete, _) => return,
            // What was replaced makes room.
            (TransitionKind::Rollback, _) | (_, Step::Retiring) => {
                transition.to.into_iter().collect()
            }
            // There was no room for both.
            (TransitionKind::Upgrade, Step::Verifying)
                if transition
                    .to
                    .is_some_and(|to| stands_by_with_less(plan, to)) =>
            {
                transition.to.into_iter().collect()
            }
            (
                TransitionKind::Deploy
                | TransitionKind::Upgrade
                | TransitionKind::Rescale
                | TransitionKind::Resume
                | TransitionKind::Restore,
                Step::Preparing
                | Step::HandingOver
                | Step::Promoting
                | Step::Verifying
                | Step::Scaling
                | Step::Moving
                | Step::Shrinking
                | Step::Stopping
                | Step::Removing,
            ) => transition.from.into_iter().chain(transition.to).collect(),
        },
    };
    let unneeded: Vec<u64> = plan
        .input
        .observed
        .revisions
        .iter()
        .filter(|(number, facts)| {
            facts.is_deletable()
                && guard!("whoever has the job keeps his pods": !owners.contains(number))
                && guard!("whoever has a part keeps his pods": !part.contains(number))
        })
        .map(|(&number, _)| number)
        .collect();
    for revision in unneeded {
        plan.push_action(Action::DeleteRevision { revision });
    }
}

/// How long the pods of a completed job stay, so that its last report and its logs can be read.
const FAREWELL: Duration = Duration::from_mins(1);

/// Whether all input was read a while ago: there is nothing left to do.
fn said_farewell(plan: &PlanBuilder<'_>) -> bool {
    let since = plan.status.completion_time.as_ref();
    matches!(plan.ownership, Ownership::Completed { .. })
        && since.is_some_and(|since| plan.input.passed(since.0, FAREWELL))
}

/// Whether a revision stood by with its first pod only.
pub(crate) fn stands_by_with_less(plan: &PlanBuilder<'_>, number: u64) -> bool {
    let record = plan.input.revision(number).record.as_ref();
    record.is_some_and(|record| record.standby == Standby::First)
}

/// Whether no other revision has pods or objects left.
pub(crate) fn others_gone(plan: &PlanBuilder<'_>, kept: u64) -> bool {
    plan.input
        .observed
        .revisions
        .iter()
        .all(|(&number, facts)| {
            number == kept || guard!("it ends when the old pods are gone": facts.is_gone())
        })
}
