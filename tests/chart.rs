//! The chart, linted and rendered by the Helm that `make setup` builds. What its roles allow is compared with what the operator does in `tests/stories/rbac.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

#[path = "support/helm.rs"]
mod helm;

use helm::{chart, helm, of_kind, render};
use serde_json::{Value, json};
use streamkeeper::api::crd;

/// Values that touch every branch of every template.
const EVERYTHING: [&str; 16] = [
    "image.repository=registry.example.com/operator",
    "image.tag=v1",
    "image.pullSecrets[0]=registry",
    "runtime.pullPolicy=Always",
    "storage.s3.uri=s3://streams/prod",
    "storage.s3.endpoint=http://s3.storage.svc:8333",
    "storage.s3.region=eu-west-1",
    "storage.credentialsSecret=s3",
    "operator.watchNamespace=flights",
    "operator.nodeLostTimeout=1m30s",
    "operator.podLabels.team=streams",
    "operator.podAnnotations.note=hello",
    "operator.nodeSelector.disk=ssd",
    "serviceAccount.annotations.role=arn",
    "crds.install=true",
    "metrics.service=true",
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

/// Value of a variable of the operator.
fn variable<'a>(objects: &'a [Value], name: &str) -> Option<&'a str> {
    let all = operator(objects)["env"].as_array()?;
    all.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

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
        ("operator.replicas=2", "replicas"),
        ("storage.s3.uri=bucket/prefix", "uri"),
        ("operator.nodeLostTimeout=soon", "nodeLostTimeout"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("metrics.service=maybe", "service"),
    ] {
        let output = helm(&["template", "x", &chart, "--set", value]);
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains(sentence),
            "{value}: {said}"
        );
    }
}

/// The same with every number as Helm writes it, which knows no integers.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(all) => all.into_iter().map(floats).collect(),
        Value::Object(all) => all
            .into_iter()
            .map(|(name, value)| (name, floats(value)))
            .collect(),
        other => other,
    }
}

#[test]
fn the_crds_of_the_chart_are_the_generated_ones_and_stay_when_the_release_goes() {
    let objects = render(&[]);
    let installed = of_kind(&objects, "CustomResourceDefinition");
    assert_eq!(installed.len(), crd::files().len());
    for (_, generated) in crd::files() {
        let name = generated.metadata.name.clone().unwrap();
        let named = |object: &&Value| object["metadata"]["name"] == name.as_str();
        let mut installed = (*installed.iter().find(|object| named(object)).unwrap()).clone();
        let annotations = &mut installed["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        annotations
            .as_object_mut()
            .unwrap()
            .remove("helm.sh/resource-policy");
        let mut generated = serde_json::to_value(generated).unwrap();
        generated["metadata"]["annotations"] = json!({});
        for object in [&mut installed, &mut generated] {
            object["apiVersion"] = json!("apiextensions.k8s.io/v1");
            object["kind"] = json!("CustomResourceDefinition");
        }
        assert_eq!(floats(installed), floats(generated));
    }
    assert!(of_kind(&render(&["crds.install=false"]), "CustomResourceDefinition").is_empty());
}

#[test]
fn the_operator_runs_restricted() {
    let objects = render(&[]);
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let of_pod = &pod["securityContext"];
    assert_eq!(of_pod["runAsNonRoot"], true);
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    let container = operator(&objects);
    let own = &container["securityContext"];
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["capabilities"]["drop"], json!(["ALL"]));
    assert!(pod["volumes"].is_null(), "it needs no volumes: {pod}");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert!(!container["resources"]["limits"]["memory"].is_null());
}

#[test]
fn selectors_find_what_they_are_meant_for() {
    for values in [&[] as &[&str], &EVERYTHING] {
        let objects = render(values);
        let deployment = only(&objects, "Deployment");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for selector in [
            &deployment["spec"]["selector"]["matchLabels"],
            &only(&objects, "Service")["spec"]["selector"],
        ] {
            let wanted = selector.as_object().unwrap();
            assert!(!wanted.is_empty());
            for (name, value) in wanted {
                assert_eq!(&labels[name], value, "{name}");
            }
        }
        let port = &only(&objects, "Service")["spec"]["ports"][0]["targetPort"];
        assert_eq!(&operator(&objects)["ports"][0]["name"], port);
        let account = &only(&objects, "ServiceAccount")["metadata"]["name"];
        assert_eq!(
            &deployment["spec"]["template"]["spec"]["serviceAccountName"],
            account
        );
        for binding in [
            of_kind(&objects, "ClusterRoleBinding"),
            of_kind(&objects, "RoleBinding"),
        ]
        .concat()
        {
            assert_eq!(&binding["subjects"][0]["name"], account);
            let role = of_kind(&objects, binding["roleRef"]["kind"].as_str().unwrap());
            assert!(
                role.iter()
                    .any(|role| role["metadata"]["name"] == binding["roleRef"]["name"]),
                "{binding}"
            );
        }
    }
    assert!(of_kind(&render(&["metrics.service=false"]), "Service").is_empty());
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
        ("STREAMKEEPER_WATCH_NAMESPACES", "flights"),
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
    let known = include_str!("../src/config.rs").to_owned() + include_str!("../src/main.rs");
    for variable in operator(&render(&EVERYTHING))["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
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
