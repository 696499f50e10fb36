//! The chart, linted and rendered by the Helm that `make setup` builds. What its roles allow is
//! compared with what the operator does in `tests/stories/rbac.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

mod access;
mod cluster;
mod copies;
mod gitops;
mod keys;
mod metrics;
mod names;
mod objects;
mod pods;
mod storage;
mod values;

use serde_json::Value;
use streamkeeper_harness::helm::of_kind;

/// Values that touch every branch of every template.
const EVERYTHING: [&str; 38] = [
    "image.repository=registry.example.com/operator",
    "image.tag=v1",
    "image.pullSecrets[0]=registry",
    "runtime.pullPolicy=Always",
    "storage.s3.uri=s3://streams/prod",
    "storage.s3.endpoint=http://s3.storage.svc:8333",
    "storage.s3.region=eu-west-1",
    "storage.credentialsSecret=s3",
    "operator.watchNamespaces={flights,trains}",
    "operator.watchNodes=true",
    "operator.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone",
    "operator.priorityClassName=system-cluster-critical",
    "networkPolicy.enabled=true",
    "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
    "rbac.aggregate=true",
    "operator.nodeLostTimeout=1m30s",
    "operator.podLabels.team=streams",
    "operator.podAnnotations.note=hello",
    "operator.nodeSelector.disk=ssd",
    "serviceAccount.annotations.role=arn",
    "tls.enabled=false",
    "crds.install=true",
    "metrics.service=true",
    "metrics.serviceMonitor.enabled=true",
    "metrics.serviceMonitor.interval=30s",
    "metrics.podMonitor.enabled=true",
    "metrics.podMonitor.interval=1m",
    "metrics.podMonitor.labels.release=prometheus",
    "nameOverride=ops",
    "commonLabels.cost=42x",
    "extraEnv[0].name=NO_PROXY",
    "extraEnv[0].value=.svc",
    "runtime.pullSecrets={registry}",
    "runtime.resources.limits.memory=1Gi",
    "runtime.fixedIds=false",
    "podDisruptionBudget.jobs=false",
    "podSecurityContext.fsGroup=2000",
    "serviceAccount.name=keeper",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The only object of a kind.
#[track_caller]
fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn operator(objects: &[Value]) -> &Value {
    &only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

/// A variable of the operator.
fn variable_as_it_stands<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    let mut all = operator(objects)["env"].as_array()?.iter();
    all.find(|variable| variable["name"] == name)
}

/// Its value.
fn variable<'a>(objects: &'a [Value], name: &str) -> Option<&'a str> {
    variable_as_it_stands(objects, name)?["value"].as_str()
}
