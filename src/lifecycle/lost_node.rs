//! A pod on a lost node is stuck: nobody there can confirm its end, so nothing replaces it. After a while the operator removes it by force.
//!
//! That is safe only because HEAD fences whatever still runs there: a lost coordinator loses its next write, a lost worker has no coordinator.

use super::{action::Action, draft::Draft};

pub(super) fn release(draft: &mut Draft<'_>) {
    let input = draft.input;
    let lost = input
        .observed
        .revisions
        .values()
        .flat_map(|facts| &facts.pods)
        .filter(|pod| {
            pod.node_lost_since
                .is_some_and(|since| guard!("a lost node has time to come back": input.passed(since, input.settings.node_lost_timeout)))
        });
    for pod in lost {
        draft.actions.push(Action::ForceDeletePod {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        });
    }
}
