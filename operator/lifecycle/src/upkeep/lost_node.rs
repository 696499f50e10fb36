//! A pod on a lost node is stuck: no kubelet confirms its end, so nothing replaces it. After a
//! while the operator removes it by force.
//!
//! That is safe only because HEAD fences whatever still runs there: a lost coordinator loses its
//! next write, a lost worker has no coordinator.

use std::time::Duration;

use streamkeeper_guard::guard;

use crate::{
    plan::{action::Action, plan_builder::PlanBuilder},
    status::observations::happened,
};

/// How soon to look again at a pod that has to stay.
const HELD: Duration = Duration::from_secs(5);
/// Share of all nodes, in percent, from which on it is not the nodes: as Kubernetes' node
/// controller has it.
const OUTAGE_PERCENT: usize = 55;
/// So few lost nodes are never an outage: a cluster of three may lose two.
const FEW: usize = 2;

/// Whether so many nodes are lost that the network or the control plane is the more likely cause:
/// then pods that still run must not be killed for it.
pub fn is_outage(lost: usize, total: usize) -> bool {
    lost > FEW && lost * 100 >= total * OUTAGE_PERCENT
}

pub(crate) fn release(plan: &mut PlanBuilder<'_>) {
    let input = plan.input;
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
            plan.requeue = plan.requeue.min(left);
            continue;
        }
        let held = pod
            .node
            .as_ref()
            .and_then(|node| input.observed.held_nodes.get(node));
        if held.is_some() {
            // Nothing tells of its turn.
            plan.requeue = plan.requeue.min(HELD);
            continue;
        }
        let message = format!(
            "node {} does not answer; pod {} is removed from it by force and starts elsewhere. Whatever still runs there is fenced and harms nobody",
            pod.node.as_deref().unwrap_or("unknown"),
            pod.name
        );
        happened(plan, "NodeLost", ("NodeLost", pod), since, message);
        plan.actions.push(Action::ForceDeletePod {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_many_nodes_is_an_outage_and_two_are_none() {
        for (lost, total, outage) in [
            (1, 1, false),
            (2, 2, false),
            (2, 3, false),
            (3, 3, true),
            (3, 6, false),
            (3, 5, true),
            (54, 100, false),
            (55, 100, true),
        ] {
            assert_eq!(is_outage(lost, total), outage, "{lost} of {total}");
        }
    }
}
