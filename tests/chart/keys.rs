//! The master key: made once, kept, and never by a tool that cannot see the cluster.

use serde_json::{Value, json};
use streamkeeper_harness::helm::{chart, helm, objects_in, of_kind, render};

use crate::{cluster::Cluster, only, operator, text, variable};

/// `helm template` without a cluster, as Argo CD does it, with these arguments.
fn without_cluster(arguments: &[&str]) -> Result<String, String> {
    let chart = chart();
    let template = ["template", "streamkeeper", &chart, "--namespace", "system"];
    let output = helm(&[&template, arguments].concat());
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// The same with the eyes of `helm install` and `helm upgrade`.
fn with_cluster(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let server = cluster.seen();
    without_cluster(&[&server, arguments].concat())
}

fn key(manifests: &str) -> String {
    let objects = objects_in(manifests);
    let secret = only(&objects, "Secret");
    secret["data"]["master.key"].as_str().unwrap().to_owned()
}

/// Where the operator's pod gets its keys from.
fn mounted(objects: &[Value]) -> &Value {
    let pod = &only(objects, "Deployment")["spec"]["template"]["spec"];
    &pod["volumes"][0]["secret"]["secretName"]
}

#[test]
fn no_key_is_made_where_the_cluster_is_not_seen() {
    for _ in 0..2 {
        let said = without_cluster(&[]).unwrap_err();
        for part in [
            "cannot see the cluster (helm template, helm install --dry-run=client, Argo CD)",
            "kubectl create secret generic streamkeeper-keys --namespace system --from-literal=master.key=$(openssl rand -hex 32)",
            "tls.existingSecret=streamkeeper-keys",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let own = ["--set", "tls.existingSecret=mine"];
    let one = without_cluster(&own).unwrap();
    let other = without_cluster(&own).unwrap();
    assert!(one == other, "two renderings differ");
    let objects = objects_in(&one);
    assert!(of_kind(&objects, "Secret").is_empty());
    assert_eq!(*mounted(&objects), "mine");
    // Without TLS the tokens of jobs follow from it all the same.
    let said = without_cluster(&["--set", "tls.enabled=false"]).unwrap_err();
    assert!(said.contains("needs a master key"), "{said}");
}

#[test]
fn lint_passes_with_the_key_that_an_install_makes() {
    let chart = chart();
    let output = helm(&["lint", "--strict", &chart]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn an_install_makes_a_key_and_an_upgrade_keeps_it() {
    let cluster = Cluster::with(&["system"]);
    let made = with_cluster(&cluster, &[]).unwrap();
    let objects = objects_in(&made);
    let secret = only(&objects, "Secret");
    assert_eq!(secret["metadata"]["name"], *mounted(&objects));
    let policy = &secret["metadata"]["annotations"]["helm.sh/resource-policy"];
    assert_eq!(policy, "keep");
    // 32 bytes in base64.
    assert_eq!(key(&made).len(), 44);
    let again = with_cluster(&cluster, &[]).unwrap();
    assert_ne!(key(&made), key(&again), "a dry run leaves nothing behind");

    let data = json!({"master.key": key(&made), "previous.key": "AAAA"});
    let name = secret["metadata"]["name"].as_str().unwrap();
    cluster.put_in("system", "Secret", name, json!({"data": data}));
    let upgraded = with_cluster(&cluster, &[]).unwrap();
    assert_eq!(only(&objects_in(&upgraded), "Secret")["data"], data);
    assert!(upgraded == with_cluster(&cluster, &[]).unwrap());
}

#[test]
fn an_install_that_is_yet_to_make_its_namespace_makes_a_key_too() {
    let cluster = Cluster::with(&[]);
    assert_eq!(key(&with_cluster(&cluster, &[]).unwrap()).len(), 44);
}

#[test]
fn a_secret_that_lost_its_master_key_is_not_filled_by_an_upgrade() {
    let cluster = Cluster::with(&["system"]);
    let rest = json!({"data": {"previous.key": "AAAA"}});
    cluster.put_in("system", "Secret", "streamkeeper-master-key", rest);
    let said = with_cluster(&cluster, &[]).unwrap_err();
    assert!(said.contains("has no key master.key"), "{said}");
}

#[test]
fn the_operator_reads_its_key_from_a_file() {
    let objects = render(&[]);
    let mount = &operator(&objects)["volumeMounts"][0];
    let folder = mount["mountPath"].as_str().unwrap();
    assert_eq!(mount["readOnly"], true);
    let file = format!("{folder}/master.key");
    let variable_of = |objects| variable(objects, "STREAMKEEPER_MASTER_KEY_FILE");
    assert_eq!(variable_of(&objects), Some(file.as_str()));
    assert_eq!(variable(&objects, "STREAMKEEPER_TLS"), Some("true"));
    let without_tls = render(&["tls.enabled=false"]);
    assert_eq!(variable_of(&without_tls), Some(file.as_str()));
    assert_eq!(variable(&without_tls, "STREAMKEEPER_TLS"), Some("false"));
}
