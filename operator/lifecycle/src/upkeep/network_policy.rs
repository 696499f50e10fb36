//! The NetworkPolicy of a job is as it should be, or the plan makes it so.
//!
//! A revision's pods are created behind it ([`Action::ApplyRevision`]); what is done here is about
//! jobs that have pods already.

use crate::{
    observed::facts::PolicyFacts,
    plan::{action::Action, plan_builder::PlanBuilder},
};

/// Restores a policy that was deleted or edited, and removes one that is not wanted any more.
pub(crate) fn keep(plan: &mut PlanBuilder<'_>) {
    if plan.input.job.metadata.deletion_timestamp.is_some() {
        // Its owner takes it along, after the last pod that it protects.
        return;
    }
    let mut revisions = plan.input.observed.revisions.values();
    match plan.input.observed.network_policy {
        PolicyFacts::AsWanted | PolicyFacts::NotWanted => {}
        PolicyFacts::Missing | PolicyFacts::Changed => {
            if revisions.any(|facts| !facts.is_gone()) {
                plan.push_action(Action::ApplyNetworkPolicy);
            }
        }
        PolicyFacts::Unwanted => plan.push_action(Action::DeleteNetworkPolicy),
    }
}
