//! The NetworkPolicy of a job: who may open connections to its pods. One for all its revisions.
//!
//! Egress is not restricted: only the job's author knows which brokers, stores and tables the job
//! talks to, and a policy that guesses breaks jobs.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::{Map, Value, json};
use streamkeeper_api::names::{job_labels, network_policy_name, worker_selector};
use streamkeeper_protocol::job_api::{CONTROL_PORT, DATA_PORT, HEALTH_PORT, JOB_API_PORT};

use super::Owner;

/// Label that Kubernetes itself sets on every Namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// What the policies of jobs have to know of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkSettings {
    /// Namespace of the operator's pods.
    pub operator_namespace: String,
    /// Labels of the operator's pods; none admits every pod of its namespace.
    pub operator_labels: BTreeMap<String, String>,
    /// Peers that may read health and metrics; none admits every peer.
    pub metrics_from: Vec<NetworkPolicyPeer>,
}

/// Builds the policy of the job that `owner` is.
pub fn build(owner: &Owner, settings: &NetworkSettings) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(network_policy_name(&owner.name)),
            namespace: Some(owner.namespace.clone()),
            labels: Some(job_labels(&owner.name)),
            owner_references: Some(vec![owner.reference.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec(&owner.name, settings)),
    }
}

/// Builds what the policy of a job says.
pub fn spec(job: &str, settings: &NetworkSettings) -> NetworkPolicySpec {
    let workers = selector(worker_selector(job));
    let own_pods = NetworkPolicyPeer {
        pod_selector: Some(workers.clone()),
        ..NetworkPolicyPeer::default()
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(selector(BTreeMap::from([(
            NAMESPACE_NAME.to_owned(),
            settings.operator_namespace.clone(),
        )]))),
        pod_selector: (!settings.operator_labels.is_empty())
            .then(|| selector(settings.operator_labels.clone())),
        ..NetworkPolicyPeer::default()
    };
    let rule = |ports: &[u16], peers: Vec<NetworkPolicyPeer>| NetworkPolicyIngressRule {
        ports: Some(ports.iter().copied().map(port).collect()),
        from: (!peers.is_empty()).then_some(peers),
    };
    NetworkPolicySpec {
        pod_selector: Some(workers),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![
            rule(&[DATA_PORT, CONTROL_PORT, JOB_API_PORT], vec![own_pods]),
            rule(&[JOB_API_PORT], vec![operator]),
            rule(&[HEALTH_PORT], settings.metrics_from.clone()),
        ]),
        ..NetworkPolicySpec::default()
    }
}

fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

/// Computes the merge patch that makes `found` say what `wanted` says; none when it does. Labels of
/// others stay.
pub fn correction(found: &NetworkPolicy, wanted: &NetworkPolicy) -> Option<Value> {
    let json = |spec: &Option<NetworkPolicySpec>| serde_json::to_value(spec).unwrap_or_default();
    let spec = difference(&json(&found.spec), &json(&wanted.spec));
    let labels: BTreeMap<&String, &String> = wanted
        .metadata
        .labels
        .iter()
        .flatten()
        .filter(|(name, value)| {
            let there = found.metadata.labels.as_ref();
            there.and_then(|labels| labels.get(*name)) != Some(*value)
        })
        .collect();
    if spec.is_none() && labels.is_empty() {
        return None;
    }
    Some(json!({
        "metadata": { "resourceVersion": found.metadata.resource_version, "labels": labels },
        "spec": spec.unwrap_or_else(|| json!({})),
    }))
}

/// Computes the merge patch (RFC 7386) that turns one value into another; none when they are equal.
fn difference(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return Some(to.clone());
    };
    let removed = from.keys().filter(|name| !to.contains_key(*name));
    let mut patch: Map<String, Value> = removed.map(|name| (name.clone(), Value::Null)).collect();
    for (name, value) in to {
        let before = from.get(name).unwrap_or(&Value::Null);
        if let Some(change) = difference(before, value) {
            patch.insert(name.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_widened_is_narrowed_to_what_was_wanted() {
        let wanted = NetworkPolicy {
            spec: Some(spec("delays", &NetworkSettings::default())),
            ..NetworkPolicy::default()
        };
        assert_eq!(correction(&wanted, &wanted), None);
        let mut found = wanted.clone();
        let widened = found.spec.as_mut().unwrap();
        widened.egress = Some(Vec::new());
        widened.ingress = Some(vec![NetworkPolicyIngressRule::default()]);
        let labels = &mut widened.pod_selector.as_mut().unwrap().match_labels;
        labels.as_mut().unwrap().insert("no".into(), "pod".into());
        let patch = correction(&found, &wanted).unwrap();
        let spec = &patch["spec"];
        assert_eq!(spec["egress"], Value::Null);
        assert!(spec.as_object().unwrap().contains_key("egress"));
        assert_eq!(
            spec["podSelector"],
            json!({ "matchLabels": { "no": null } })
        );
        assert_eq!(spec["ingress"].as_array().unwrap().len(), 3);
        assert!(!spec.as_object().unwrap().contains_key("policyTypes"));
    }
}
