//! Values: described, held to the schema, and known to the operator.

use serde_json::{Value, json};
use streamkeeper_harness::helm::{chart, helm, render};

use crate::{EVERYTHING, operator, text, variable};

#[test]
fn lint_has_nothing_to_say() {
    let set: Vec<&str> = EVERYTHING
        .iter()
        .flat_map(|value| ["--set", value])
        .collect();
    for values in [Vec::new(), set] {
        let chart = chart();
        let output = helm(&[vec!["lint", "--strict", chart.as_str()], values].concat());
        assert!(output.status.success(), "{}", text(&output.stdout));
        assert!(
            !text(&output.stdout).contains("[WARNING]"),
            "{}",
            text(&output.stdout)
        );
    }
}

#[test]
fn a_value_that_does_not_exist_or_makes_no_sense_is_refused() {
    let chart = chart();
    for (value, sentence) in [
        ("operator.replicas=many", "replicas"),
        ("operator.copies=2", "copies"),
        ("operator.leaderElection.enabled=false", "leaderElection"),
        (
            "operator.leaderElection.leaseDuration=soon",
            "leaseDuration",
        ),
        ("operator.leaderElection.leaseDuration=2s", "leaseDuration"),
        ("storage.s3.uri=bucket/prefix", "uri"),
        ("storage.s3.caBundle.name=x", "caBundle"),
        ("nameOverride=Ops", "nameOverride"),
        ("fullnameOverride=a.b", "fullnameOverride"),
        ("commonLabels.count.deep=1", "commonLabels"),
        ("extraEnv[0].value=x", "extraEnv"),
        ("extraEnv[0].name=A B", "extraEnv"),
        ("image.digest=v1", "digest"),
        ("runtime.image=a@b", "runtime/image"),
        ("runtime.resources.limits.memory=lots", "memory"),
        ("runtime.resources.limits.memory=2048m", "write 2048Mi"),
        ("operator.resources.limits.memory=512m", "write 512Mi"),
        ("runtime.fixedIds=maybe", "fixedIds"),
        ("podSecurityContext.runAsUser=0", "runAsUser"),
        ("podSecurityContext.user=1", "podSecurityContext"),
        ("securityContext.capabilities.drop=ALL", "drop"),
        ("serviceAccount.automount=false", "serviceAccount"),
        ("metrics.serviceMonitor.interval=often", "interval"),
        ("metrics.podMonitor.selector=x", "podMonitor"),
        ("operator.nodeLostTimeout=soon", "nodeLostTimeout"),
        ("operator.nodeLostTimeout=0s", "nodeLostTimeout"),
        ("operator.resources.limits.memory=lots", "memory"),
        ("operator.resources.limit.memory=1Gi", "limit"),
        ("operator.affinity.nodeAffinity.x=y", "nodeAffinity"),
        ("networkPolicy.metricsFrom[0].app=x", "metricsFrom"),
        ("networkPolicy.s3To[0].ipBlock.address=x", "s3To"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("metrics.service=maybe", "service"),
        ("tls.enabled=maybe", "enabled"),
    ] {
        let own_key = "tls.existingSecret=keys";
        let output = helm(&["template", "x", &chart, "--set", own_key, "--set", value]);
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains(sentence),
            "{value}: {said}"
        );
    }
}

#[test]
fn every_value_is_described_and_known_to_the_schema() {
    let text = include_str!("../../charts/streamkeeper/values.yaml");
    let mut before = "";
    for line in text.lines() {
        let key = line.trim_start().split_once(": ").map(|(key, _)| key);
        let own_words = ["requests", "limits"];
        let is_value = key.is_some_and(|key| {
            !key.starts_with('#') && !key.starts_with('-') && !own_words.contains(&key)
        });
        assert!(
            !is_value || before.trim_start().starts_with('#'),
            "not described: {line}"
        );
        before = line;
    }
    let values: Value = serde_yaml::from_str(text).unwrap();
    let schema: Value =
        serde_json::from_str(include_str!("../../charts/streamkeeper/values.schema.json")).unwrap();
    knows(&schema, &values, "");
    for (path, comment) in described(text) {
        let pointer = format!("/properties/{}", path.join("/properties/"));
        let in_schema = schema.pointer(&format!("{pointer}/description"));
        assert_eq!(in_schema, Some(&json!(comment)), "{pointer}");
    }
}

/// What stands in comments above keys, each with the path of its key.
fn described(text: &str) -> Vec<(Vec<&str>, String)> {
    let mut found = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let words = line.trim_start();
        if let Some(words) = words.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        let above = std::mem::take(&mut comment).join(" ");
        let Some((key, _)) = words.split_once(':').filter(|_| !words.starts_with('-')) else {
            continue;
        };
        let depth = line.len() - words.len();
        path.retain(|(outer, _)| *outer < depth);
        path.push((depth, key));
        if !above.is_empty() {
            found.push((path.iter().map(|(_, key)| *key).collect(), above));
        }
    }
    found
}

/// Parts of a pod, which Kubernetes describes.
const FOREIGN: [&str; 2] = ["affinity", "ecurityContext"];

/// Every object of ours names all of its fields.
fn knows(schema: &Value, values: &Value, path: &str) {
    let (Some(values), Some(known)) = (values.as_object(), schema["properties"].as_object()) else {
        return;
    };
    assert_eq!(
        schema["additionalProperties"], false,
        "{path}: anything goes"
    );
    for (name, value) in values {
        let path = format!("{path}.{name}");
        let schema = known
            .get(name)
            .unwrap_or_else(|| panic!("{path}: not in the schema"));
        knows(schema, value, &path);
    }
    for name in known.keys().filter(|name| *name != "global") {
        assert!(
            values.contains_key(name) || FOREIGN.iter().any(|part| path.contains(part)),
            "{path}.{name}: in the schema, but not described"
        );
    }
}

#[test]
fn defaults_of_jobs_reach_the_operator() {
    let objects = render(&EVERYTHING);
    for (name, value) in [
        ("STREAMKEEPER_STORAGE_URI", "s3://streams/prod"),
        (
            "STREAMKEEPER_STORAGE_ENDPOINT",
            "http://s3.storage.svc:8333",
        ),
        ("STREAMKEEPER_STORAGE_REGION", "eu-west-1"),
        ("STREAMKEEPER_CREDENTIALS_SECRET", "s3"),
        ("STREAMKEEPER_WATCH_NAMESPACES", "flights,trains"),
        ("STREAMKEEPER_NODE_LOST_TIMEOUT", "1m30s"),
        ("STREAMKEEPER_RUNTIME_IMAGE_PULL_POLICY", "Always"),
    ] {
        assert_eq!(variable(&objects, name), Some(value), "{name}");
    }
    assert_eq!(
        operator(&objects)["image"],
        "registry.example.com/operator:v1"
    );
    assert_eq!(
        operator(&objects)["envFrom"][0]["secretRef"]["name"],
        "s3",
        "the kubelet reads the credentials, not the operator"
    );
    let without = render(&[]);
    assert_eq!(variable(&without, "STREAMKEEPER_STORAGE_URI"), None);
    assert!(operator(&without)["envFrom"].is_null());
}

#[test]
fn every_variable_is_one_that_the_operator_knows() {
    let known = include_str!("../../operator/controller/src/config.rs").to_owned()
        + include_str!("../../src/cli.rs");
    for variable in operator(&render(&EVERYTHING))["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        // Variables of the allocator, and those of the user who installs the chart.
        if name.starts_with("MIMALLOC_") || name == "NO_PROXY" {
            continue;
        }
        assert!(known.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_notes_say_what_to_do_next() {
    let chart = chart();
    let notes = |values: &[&str]| {
        let install = [
            "install",
            "x",
            &chart,
            "--dry-run=client",
            "--namespace",
            "y",
            "--set",
            "tls.existingSecret=keys",
        ];
        let output = helm(&[install.as_slice(), values].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        said.split_once("NOTES:").unwrap().1.to_owned()
    };
    let said = notes(&[]);
    assert_eq!(said.matches("  kubectl ").count(), 2, "{said}");
    assert!(said.contains("spec.storage.s3.uri"), "{said}");
    let said = notes(&["--set", "storage.s3.uri=s3://streams/prod"]);
    assert!(!said.contains("spec.storage.s3.uri"), "{said}");
}
