//! What a template may say, and what it is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

use serde_json::{Value, json};
use streamkeeper_api::v1alpha1::PodTemplate;
use streamkeeper_lifecycle::revision::template::check;

fn template(value: Value) -> PodTemplate {
    serde_json::from_value(value).unwrap()
}

fn refusal(value: Value) -> String {
    match check(&template(value)) {
        Ok(parsed) => panic!("it was taken: {parsed:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_belongs_to_the_operator_is_refused_by_its_path_with_the_way_out() {
    let worker = |changes: Value| {
        let mut container = json!({"name": "streamjob"});
        container
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        json!({"spec": {"containers": [{"name": "a", "image": "a"}, container]}})
    };
    let sidecar = |changes: Value| {
        let mut container = json!({"name": "a", "image": "a"});
        container
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        json!({"spec": {"containers": [container]}})
    };
    for (value, path, way) in [
        (
            json!({"spec": {"hostname": "x"}}),
            "spec.hostname",
            "remove it",
        ),
        (
            json!({"spec": {"subdomain": "x"}}),
            "spec.subdomain",
            "remove it",
        ),
        (
            json!({"spec": {"hostNetwork": true}}),
            "spec.hostNetwork",
            "NetworkPolicy",
        ),
        (
            json!({"spec": {"restartPolicy": "Never"}}),
            "spec.restartPolicy",
            "spec.restart",
        ),
        (
            json!({"spec": {"serviceAccountName": "x"}}),
            "spec.serviceAccountName",
            "set spec.serviceAccountName",
        ),
        (
            json!({"spec": {"automountServiceAccountToken": true}}),
            "spec.automountServiceAccountToken",
            "projected volume",
        ),
        (
            json!({"spec": {"nodeName": "n1"}}),
            "spec.nodeName",
            "nodeSelector or affinity",
        ),
        (
            json!({"spec": {"activeDeadlineSeconds": 5}}),
            "spec.activeDeadlineSeconds",
            "suspend",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": 0}}),
            "spec.terminationGracePeriodSeconds",
            "write 10 or more",
        ),
        (
            json!({"spec": {"volumes": [{"name": "keys", "emptyDir": {}}]}}),
            "spec.volumes[0].name",
            "another name",
        ),
        (
            json!({"spec": {"volumes": [{"name": "a"}, {"name": "a"}]}}),
            "spec.volumes[1].name",
            "once",
        ),
        (
            json!({"spec": {"initContainers": [{"name": "streamjob", "image": "a"}]}}),
            "spec.initContainers[0].name",
            "another one",
        ),
        (
            worker(json!({"image": "x"})),
            "spec.containers[1].image",
            "set spec.image",
        ),
        (
            worker(json!({"command": ["x"]})),
            "spec.containers[1].command",
            "sidecar",
        ),
        (
            worker(json!({"args": ["x"]})),
            "spec.containers[1].args",
            "sidecar",
        ),
        (
            worker(json!({"ports": []})),
            "spec.containers[1].ports",
            "sidecar",
        ),
        (
            worker(json!({"resources": {}})),
            "spec.containers[1].resources",
            "spec.workers.resources",
        ),
        (
            worker(json!({"livenessProbe": {}})),
            "spec.containers[1].livenessProbe",
            "a template may set",
        ),
        (
            worker(json!({"terminationMessagePolicy": "File"})),
            "spec.containers[1].terminationMessagePolicy",
            "a template may set",
        ),
        (
            worker(json!({"env": [{"name": "STREAMKEEPER_X", "value": "1"}]})),
            "spec.containers[1].env[0].name",
            "another name",
        ),
        (
            worker(json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/streamjob"}]})),
            "spec.containers[1].volumeMounts[0].mountPath",
            "elsewhere",
        ),
        (
            worker(json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/streamjob-tls/x"}]})),
            "spec.containers[1].volumeMounts[0].mountPath",
            "elsewhere",
        ),
        (
            worker(json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/streamjob-token"}]})),
            "spec.containers[1].volumeMounts[0].mountPath",
            "elsewhere",
        ),
        (
            worker(json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/streamjob-ca/"}]})),
            "spec.containers[1].volumeMounts[0].mountPath",
            "elsewhere",
        ),
        (
            worker(json!({"volumeMounts": [{"name": "v", "mountPath": "/"}]})),
            "spec.containers[1].volumeMounts[0].mountPath",
            "elsewhere",
        ),
        (
            worker(json!({"volumeMounts": [{"name": "v", "mountPath": "/tmp/"}]})),
            "spec.containers[1].volumeMounts[0].mountPath",
            "`tmp`",
        ),
        (
            sidecar(json!({"image": null})),
            "spec.containers[0].image",
            "`streamjob`",
        ),
        (
            sidecar(json!({"ports": [{"containerPort": 8081}]})),
            "spec.containers[0].ports[0].containerPort",
            "another port",
        ),
        (
            sidecar(json!({"resources": {"limits": {"memory": "2048m"}}})),
            "spec.containers[0].resources.limits",
            "2Gi or 2048Mi",
        ),
        (
            json!({"metadata": {"name": "x"}}),
            "metadata.name",
            "remove it",
        ),
        (
            json!({"metadata": {"labels": {"streamkeeper.dev/job": "x"}}}),
            "metadata.labels.streamkeeper.dev/job",
            "another name",
        ),
        (
            json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
            "metadata.labels.app.kubernetes.io/name",
            "another name",
        ),
        (
            json!({"priorityClassName": "a", "spec": {"priorityClassName": "b"}}),
            "priorityClassName",
            "one place",
        ),
        (
            json!({"labels": {"a": "b"}, "metadata": {"labels": {"a": "c"}}}),
            "labels.a",
            "one place",
        ),
        (
            json!({"imagePullSecrets": [5]}),
            "imagePullSecrets[0]",
            "{name: …}",
        ),
    ] {
        let said = refusal(value);
        let start = format!("spec.workers.podTemplate.{path}: ");
        assert!(said.starts_with(&start), "{start} {said}");
        assert!(said.contains(way), "{way}: {said}");
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_or_of_another_type_is_refused_by_its_path() {
    for (value, path) in [
        (json!({"spec": {"volume": []}}), "spec.volume"),
        (
            json!({"spec": {"containers": [{"name": "a", "image": "a", "envs": []}]}}),
            "spec.containers[0].envs",
        ),
        (
            json!({"spec": {"containers": [{"name": "a", "image": "a", "env": [{"name": "A", "value": 5}]}]}}),
            "spec.containers[0].env[0].value",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": "30"}}),
            "spec.terminationGracePeriodSeconds",
        ),
        (
            json!({"spec": {"affinity": {"nodeAffinity": {"required": []}}}}),
            "spec.affinity.nodeAffinity.required",
        ),
        (json!({"metadata": {"label": {}}}), "metadata.label"),
    ] {
        let said = refusal(value);
        let start = format!("spec.workers.podTemplate.{path}: ");
        assert!(said.starts_with(&start), "{start} {said}");
    }
}

#[test]
fn a_template_of_more_than_64_kib_is_refused() {
    let long = "x".repeat(64 * 1024);
    let said = refusal(json!({"metadata": {"annotations": {"a": long}}}));
    assert!(said.contains("ConfigMap"), "{said}");
}

#[test]
fn short_forms_mean_what_they_mean_in_the_pod() {
    let parsed = check(&template(json!({
        "labels": {"a": "b"}, "nodeSelector": {"disk": "ssd"}, "imagePullSecrets": ["one", {"name": "two"}, "one"],
        "metadata": {"labels": {"c": "d"}, "creationTimestamp": null},
        "spec": {"nodeSelector": {"zone": "a"}, "hostname": null, "imagePullSecrets": [{"name": "two"}]},
    })))
    .unwrap();
    assert_eq!(parsed.labels.len(), 2);
    assert_eq!(parsed.pod.node_selector.unwrap().len(), 2);
    let secrets = parsed.pod.image_pull_secrets.unwrap();
    let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["two", "one"]);
}
