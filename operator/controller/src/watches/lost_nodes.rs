//! The nodes whose kubelet does not report, as the watch of nodes has seen them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use kube::{ResourceExt, runtime::watcher::Event};
use streamkeeper_lifecycle::lost_nodes;
use tokio::sync::watch;

/// Nodes whose kubelet does not report, and since when, and the names of all. Nothing else of a
/// node matters, and there may be thousands.
#[derive(Debug, Clone, Default)]
pub(crate) struct LostNodes {
    lost: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    names: Arc<Mutex<BTreeSet<String>>>,
    /// What a list has brought so far: every node, and since when it is lost.
    listing: Arc<Mutex<BTreeMap<String, Option<Timestamp>>>>,
    looked: Arc<watch::Sender<bool>>,
}

impl LostNodes {
    fn lost(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listing(&self) -> MutexGuard<'_, BTreeMap<String, Option<Timestamp>>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<String, Timestamp> {
        self.lost().clone()
    }

    /// How many nodes there are.
    pub(crate) fn total(&self) -> usize {
        self.names().len()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the watch saw. Returns the nodes that were lost or came back.
    pub(crate) fn see(&self, event: &Event<Node>) -> HashSet<String> {
        let before = self.all();
        match event {
            Event::Init => self.listing().clear(),
            Event::InitApply(node) => {
                let since = lost_nodes([node]).into_values().next();
                self.listing().insert(node.name_any(), since);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut *self.listing());
                *self.names() = listed.keys().cloned().collect();
                *self.lost() = listed
                    .into_iter()
                    .filter_map(|(node, since)| Some((node, since?)))
                    .collect();
                self.looked.send_replace(true);
            }
            Event::Apply(node) => {
                self.names().insert(node.name_any());
                let mut lost = self.lost();
                lost.remove(&node.name_any());
                lost.extend(lost_nodes([node]));
            }
            Event::Delete(node) => {
                self.names().remove(&node.name_any());
                self.lost().remove(&node.name_any());
            }
        }
        let now = self.lost();
        let changed = before
            .keys()
            .chain(now.keys())
            .filter(|name| before.get(*name) != now.get(*name));
        changed.cloned().collect()
    }

    /// Nodes cannot be seen: none counts as lost. Returns whether that is news.
    pub(crate) fn unseen(&self) -> bool {
        !self.looked.send_replace(true)
    }

    /// Waits until they were looked at, or cannot be.
    pub(crate) async fn filled(&self) {
        let mut looked = self.looked.subscribe();
        let _ = looked.wait_for(|looked| *looked).await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_nodes_that_report_nothing_but_the_name_is_kept() {
        let node = |name: &str, ready: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": "2026-03-01T12:00:00Z" }] },
            }))
            .unwrap()
        };
        let nodes = LostNodes::default();
        nodes.see(&Event::Init);
        nodes.see(&Event::InitApply(node("n0", "True")));
        nodes.see(&Event::InitApply(node("n1", "Unknown")));
        assert_eq!(
            nodes.see(&Event::InitDone),
            HashSet::from(["n1".to_owned()])
        );
        assert!(nodes.see(&Event::Apply(node("n0", "True"))).is_empty());
        assert_eq!(nodes.see(&Event::Apply(node("n1", "True"))).len(), 1);
        assert!(nodes.all().is_empty());
        assert_eq!(nodes.total(), 2);
        nodes.see(&Event::Delete(node("n1", "True")));
        assert_eq!(nodes.total(), 1);
    }
}
