//! A pod on a lost node is stuck: nobody there can confirm its end, so nothing replaces it. After a while the operator removes it by force.
//!
//! That is safe only because HEAD fences whatever still runs there: a lost coordinator loses its next write, a lost worker has no coordinator.

use std::time::Duration;

use super::{action::Action, draft::Draft, record::happened};

pub(super) fn release(draft: &mut Draft<'_>) {
    let input = draft.input;
    let pods = input
        .observed
        .revisions
        .values()
        .flat_map(|facts| &facts.pods);
    for pod in pods {
        let Some(since) = pod.node_lost_since else {
            continue;
        };
        if !guard!("a lost node has time to come back": input.passed(since, input.settings.node_lost_timeout))
        {
            let gone = input.now.as_millisecond() - since.as_millisecond();
            let gone = Duration::from_millis(u64::try_from(gone).unwrap_or(0));
            let left = input.settings.node_lost_timeout.saturating_sub(gone);
            // Nothing tells of the end of this time.
            draft.requeue = draft.requeue.min(left);
            continue;
        }
        let message = format!(
            "node {} does not answer; pod {} is removed from it by force and starts elsewhere. Whatever still runs there is fenced and harms nobody",
            pod.node.as_deref().unwrap_or("unknown"),
            pod.name
        );
        happened(draft, "NodeLost", ("NodeLost", pod), since, message);
        draft.actions.push(Action::ForceDeletePod {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        });
    }
}
