//! PodDisruptionBudgets: the revision that has the job, or had it last, has one while it has a
//! StatefulSet. An eviction of pods that stand by costs nothing.

use super::{action::Action, draft::Draft};

/// Creates budgets that are missing and removes those that protect nothing, or are not wanted any
/// more.
pub(super) fn keep(draft: &mut Draft<'_>) {
    if draft.input.job.metadata.deletion_timestamp.is_some() {
        // Its owner takes them along.
        return;
    }
    let wanted = draft.input.settings.disruption_budgets;
    let current = draft.current();
    for (&revision, facts) in &draft.input.observed.revisions {
        let protects = facts.stateful_set.is_some_and(|set| !set.deleting);
        let wanted = wanted && protects && current == Some(revision);
        match (wanted, facts.budget) {
            (true, false) => draft.actions.push(Action::ApplyBudget { revision }),
            (false, true) => draft.actions.push(Action::DeleteBudget { revision }),
            (true, true) | (false, false) => {}
        }
    }
}
