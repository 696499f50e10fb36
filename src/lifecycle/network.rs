//! The NetworkPolicy of a job is as it should be, or the plan makes it so.
//!
//! A revision's pods are created behind it ([`Action::ApplyRevision`]); what is done here is about
//! jobs that have pods already.

use super::{action::Action, draft::Draft, observed::PolicyFacts};

/// Restores a policy that was deleted or edited, and removes one that is not wanted any more.
pub(super) fn keep(draft: &mut Draft<'_>) {
    if draft.input.job.metadata.deletion_timestamp.is_some() {
        // Its owner takes it along, after the last pod that it protects.
        return;
    }
    let mut revisions = draft.input.observed.revisions.values();
    match draft.input.observed.network_policy {
        PolicyFacts::AsWanted | PolicyFacts::NotWanted => {}
        PolicyFacts::Missing | PolicyFacts::Changed => {
            if revisions.any(|facts| !facts.is_gone()) {
                draft.act(Action::ApplyNetworkPolicy);
            }
        }
        PolicyFacts::Unwanted => draft.act(Action::DeleteNetworkPolicy),
    }
}
