//! What the controllers of a cluster do: garbage collection, StatefulSets, the loss of nodes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use streamkeeper_api::names::CONTAINER;

use super::api_server::{
    kinds::{
        CONFIG_MAPS, CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, KINDS, NETWORK_POLICIES, NODES,
        PODS, SECRETS, SERVICES, STATEFUL_SETS,
    },
    store::{Deletion, Store, rfc3339},
};

/// Nodes and what is wrong with them.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Names of nodes that cannot be reached; what runs there runs on.
    pub lost: BTreeSet<String>,
    /// Why no node takes another pod, if none does.
    pub full: Option<String>,
    /// How many pods there is room for, if that is limited.
    pub room: Option<usize>,
    /// How many pods the ResourceQuota allows, if there is one.
    pub quota: Option<usize>,
}

/// Names of the nodes.
pub const NODE_NAMES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// Creates the nodes.
pub fn boot(store: &mut Store, now: Timestamp) {
    for name in NODE_NAMES {
        let node = json!({ "metadata": { "name": name } });
        store.create(&NODES, "", node, now).expect("a new node");
        mark(store, name, "True", now);
    }
}

/// What the node controller says about a node.
pub fn mark(store: &mut Store, name: &str, ready: &str, now: Timestamp) {
    let mut node = store
        .get(&NODES, "", name)
        .cloned()
        .expect("a node of the cluster");
    node["status"]["conditions"] = json!([{ "type": "Ready", "status": ready, "lastTransitionTime": rfc3339(now), "reason": "Simulated", "message": "" }]);
    store.put(&NODES, "", name, Some(node));
}

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Deletes what has lost its owner.
pub fn collect_garbage(store: &mut Store, now: Timestamp) {
    let alive: BTreeSet<String> = KINDS
        .iter()
        .flat_map(|kind| store.all(kind))
        .map(|object| text(&object, "/metadata/uid").to_owned())
        .collect();
    for kind in [
        &PODS,
        &STATEFUL_SETS,
        &SERVICES,
        &CONFIG_MAPS,
        &SECRETS,
        &CONTROLLER_REVISIONS,
        &NETWORK_POLICIES,
        &DISRUPTION_BUDGETS,
    ] {
        for object in store.all(kind) {
            let owners = object["metadata"]["ownerReferences"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let orphan = !owners.is_empty()
                && owners
                    .iter()
                    .all(|owner| !alive.contains(text(owner, "/uid")));
            if orphan && object["metadata"]["deletionTimestamp"].is_null() {
                let _ = store.delete(
                    kind,
                    text(&object, "/metadata/namespace"),
                    text(&object, "/metadata/name"),
                    &Deletion::default(),
                    now,
                );
            }
        }
    }
}

/// Creates and deletes pods until every StatefulSet has what it wants, as far as a quota on pods
/// lets it.
pub fn run_stateful_sets(store: &mut Store, quota: Option<usize>, now: Timestamp) {
    let pods = store.all(&PODS);
    let mut left = quota.map_or(usize::MAX, |quota| quota.saturating_sub(pods.len()));
    for set in store.all(&STATEFUL_SETS) {
        check(&set);
        let (namespace, name, uid) = (
            text(&set, "/metadata/namespace"),
            text(&set, "/metadata/name"),
            text(&set, "/metadata/uid"),
        );
        let replicas = set["spec"]["replicas"].as_u64().unwrap_or(1);
        let mine: BTreeMap<u64, &Value> = pods
            .iter()
            .map(AsRef::as_ref)
            .filter(|pod| owned_by(pod, uid))
            .map(|pod| (ordinal(text(pod, "/metadata/name")), pod))
            .collect();
        for ordinal in 0..replicas {
            // While a pod of that name is on its way out, there can be no other.
            if !mine.contains_key(&ordinal) && left > 0 {
                left -= 1;
                let _ = store.create(&PODS, namespace, pod(&set, ordinal), now);
            }
        }
        for pod in mine
            .iter()
            .filter(|(ordinal, _)| **ordinal >= replicas)
            .map(|(_, pod)| pod)
        {
            if pod["metadata"]["deletionTimestamp"].is_null() {
                let _ = store.delete(
                    &PODS,
                    namespace,
                    text(pod, "/metadata/name"),
                    &Deletion::default(),
                    now,
                );
            }
        }
        let ready = mine
            .values()
            .filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true)
            .count();
        let mut next = Value::clone(&set);
        next["status"] = json!({ "replicas": mine.len(), "readyReplicas": ready, "observedGeneration": set["metadata"]["generation"] });
        store.put(&STATEFUL_SETS, namespace, name, Some(next));
    }
}

/// Whether an object belongs to the owner with this uid.
pub fn owned_by(object: &Value, uid: &str) -> bool {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|owner| owner["uid"] == uid)
}

/// The number at the end of a pod's name.
pub fn ordinal(pod: &str) -> u64 {
    pod.rsplit('-')
        .next()
        .and_then(|ordinal| ordinal.parse().ok())
        .unwrap_or(0)
}

fn pod(set: &Value, ordinal: u64) -> Value {
    let name = format!("{}-{ordinal}", text(set, "/metadata/name"));
    let mut pod = set["spec"]["template"].clone();
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set["metadata"]["name"], "uid": set["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    pod
}

/// What a real API server would refuse.
fn check(set: &Value) {
    let name = text(set, "/metadata/name");
    let (selector, labels) = (
        &set["spec"]["selector"]["matchLabels"],
        &set["spec"]["template"]["metadata"]["labels"],
    );
    let selected = selector.as_object().is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    });
    assert!(
        selected,
        "the selector of StatefulSet {name} does not select its own pods: {selector} {labels}"
    );
    let containers = set["spec"]["template"]["spec"]["containers"].as_array();
    let runs =
        containers.is_some_and(|all| all.iter().any(|container| container["name"] == CONTAINER));
    assert!(
        runs,
        "StatefulSet {name} has no container named {CONTAINER}"
    );
}
