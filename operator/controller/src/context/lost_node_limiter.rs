//! Which lost nodes give their pods up now, over all jobs: one after the other, and none while so
//! many are lost that the network or the control plane is the more likely cause.
//!
//! Kubernetes' own node controller does the same with evictions (`--node-eviction-rate`,
//! `--unhealthy-zone-threshold`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use streamkeeper_lifecycle::{HeldNode, is_outage};

/// Nodes that are given up at once; a rack, a few spot instances.
const BURST: u32 = 3;
/// Time until another node may be given up.
const EVERY: Duration = Duration::from_secs(10);

/// Nodes whose pods may be removed by force.
#[derive(Debug, Default)]
pub(crate) struct LostNodeLimiter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nodes that are given up, each as long as it is lost.
    given_up: BTreeMap<String, Timestamp>,
    /// When the turns that were taken lately were taken.
    turns: Vec<Timestamp>,
}

impl LostNodeLimiter {
    /// Names the nodes whose pods have to stay, of those that are lost, of `total` nodes. A node
    /// takes a turn that is one of `concerned` and lost for `timeout`.
    pub(crate) fn held(
        &self,
        (lost, total): (&BTreeMap<String, Timestamp>, usize),
        concerned: &BTreeSet<String>,
        timeout: Duration,
        now: Timestamp,
    ) -> BTreeMap<String, HeldNode> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A node that was lost again is a new case.
        state
            .given_up
            .retain(|node, since| lost.get(node) == Some(since));
        state.turns.retain(|taken| age(*taken, now) < EVERY * BURST);
        if is_outage(lost.len(), total) {
            let outage = HeldNode::Outage {
                lost: lost.len(),
                total,
            };
            return lost.keys().map(|node| (node.clone(), outage)).collect();
        }
        let mut ripe: Vec<(&String, Timestamp)> = lost
            .iter()
            .map(|(node, since)| (node, *since))
            .filter(|(node, since)| {
                concerned.contains(*node)
                    && age(*since, now) >= timeout
                    && !state.given_up.contains_key(*node)
            })
            .collect();
        ripe.sort_by_key(|(_, since)| *since);
        let mut held = BTreeMap::new();
        for (node, since) in ripe {
            if state.turns.len() < BURST as usize {
                state.turns.push(now);
                state.given_up.insert(node.clone(), since);
            } else {
                held.insert(node.clone(), HeldNode::InTurn);
            }
        }
        held
    }
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    let milliseconds = now.as_millisecond().saturating_sub(then.as_millisecond());
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn lost(count: usize) -> BTreeMap<String, Timestamp> {
        (0..count).map(|n| (format!("n{n:03}"), at(0))).collect()
    }

    /// How many nodes are held.
    fn held(
        limiter: &LostNodeLimiter,
        lost: &BTreeMap<String, Timestamp>,
        total: usize,
        second: i64,
    ) -> usize {
        let concerned = lost.keys().cloned().collect();
        let timeout = Duration::from_secs(20);
        limiter
            .held((lost, total), &concerned, timeout, at(second))
            .len()
    }

    #[test]
    fn lost_nodes_are_given_up_one_after_the_other() {
        let limiter = LostNodeLimiter::default();
        let held = |second| held(&limiter, &lost(10), 100, second);
        assert_eq!(held(5), 0, "none is ripe yet, and none has taken a turn");
        assert_eq!(held(20), 7);
        assert_eq!(held(49), 7);
        assert_eq!(held(50), 4, "three in thirty seconds");
        assert_eq!(held(80), 1);
        assert_eq!(held(110), 0);
        assert_eq!(held(500), 0, "what is given up stays so");
    }

    #[test]
    fn with_most_nodes_lost_none_is_given_up() {
        let limiter = LostNodeLimiter::default();
        assert_eq!(held(&limiter, &lost(6), 10, 100), 6);
        assert_eq!(held(&limiter, &lost(2), 2, 100), 0, "two are no outage");
    }

    #[test]
    fn a_lost_node_without_pods_of_jobs_takes_no_turn() {
        let limiter = LostNodeLimiter::default();
        let timeout = Duration::from_secs(20);
        let none = BTreeSet::new();
        limiter.held((&lost(10), 100), &none, timeout, at(20));
        assert_eq!(held(&limiter, &lost(3), 100, 20), 0);
    }

    #[test]
    fn a_node_that_came_back_and_is_lost_again_waits_for_its_turn_again() {
        let limiter = LostNodeLimiter::default();
        assert_eq!(held(&limiter, &lost(3), 100, 20), 0);
        assert_eq!(held(&limiter, &BTreeMap::new(), 100, 21), 0);
        let again: BTreeMap<String, Timestamp> =
            lost(3).into_keys().map(|node| (node, at(22))).collect();
        assert_eq!(held(&limiter, &again, 100, 42), 3);
    }
}
