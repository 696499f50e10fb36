//! PodDisruptionBudgets: the revision that has the job, or had it last, has one while it has a
//! StatefulSet. An eviction of pods that stand by costs nothing.

use crate::plan::{action::Action, plan_builder::PlanBuilder};

/// Creates budgets that are missing and removes those that protect nothing, or are not wanted any
/// more.
pub(crate) fn keep(plan: &mut PlanBuilder<'_>) {
    if plan.input.job.metadata.deletion_timestamp.is_some() {
        // Its owner takes them along.
        return;
    }
    let wanted = plan.input.settings.disruption_budgets;
    let current = plan.current();
    for (&revision, facts) in &plan.input.observed.revisions {
        let protects = facts.stateful_set.is_some_and(|set| !set.deleting);
        let wanted = wanted && protects && current == Some(revision);
        match (wanted, facts.budget) {
            (true, false) => plan.actions.push(Action::ApplyBudget { revision }),
            (false, true) => plan.actions.push(Action::DeleteBudget { revision }),
            (true, true) | (false, false) => {}
        }
    }
}
