//! Names, labels and the ServiceAccount.

use serde_json::Value;
use streamkeeper_harness::helm::{chart, helm, of_kind, render};

use crate::{only, text, variable};

fn deployment(values: &[&str]) -> String {
    let objects = render(values);
    let name = &only(&objects, "Deployment")["metadata"]["name"];
    name.as_str().unwrap().to_owned()
}

#[test]
fn a_release_is_named_as_the_values_say() {
    assert_eq!(deployment(&[]), "streamkeeper");
    assert_eq!(deployment(&["nameOverride=keeper"]), "streamkeeper");
    assert_eq!(deployment(&["nameOverride=ops"]), "streamkeeper-ops");
    assert_eq!(deployment(&["fullnameOverride=ops"]), "ops");
    assert_eq!(
        deployment(&["fullnameOverride=ops", "nameOverride=x"]),
        "ops"
    );
}

#[test]
fn a_release_of_another_name_bears_it_everywhere() {
    let objects = render(&["fullnameOverride=ops", "networkPolicy.enabled=true"]);
    assert_eq!(variable(&objects, "STREAMKEEPER_LEASE_NAME"), Some("ops"));
    let own = objects
        .iter()
        .filter(|object| object["kind"] != "CustomResourceDefinition");
    for object in own {
        let name = object["metadata"]["name"].as_str().unwrap();
        let bears = name == "ops" || name.starts_with("ops-") || name.contains(":ops");
        assert!(bears, "{} {name}", object["kind"]);
    }
}

#[test]
fn every_object_has_the_common_labels_and_its_pods_have_too() {
    let values = [
        "commonLabels.team=streams",
        "commonLabels.app\\.kubernetes\\.io/name=other",
        "operator.podLabels.tier=control",
        "metrics.serviceMonitor.enabled=true",
        "metrics.podMonitor.enabled=true",
        "networkPolicy.enabled=true",
    ];
    let objects = render(&values);
    for object in &objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["team"], "streams", "{object}");
        if object["kind"] != "CustomResourceDefinition" {
            let name = &labels["app.kubernetes.io/name"];
            assert_eq!(name, "streamkeeper", "the chart's own labels win");
        }
    }
    let operator = &only(&objects, "Deployment")["spec"]["template"];
    for pod in [operator, only(&objects, "Pod")] {
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["team"], "streams");
        assert_eq!(labels["tier"], "control");
    }
    let selector = &only(&objects, "Deployment")["spec"]["selector"]["matchLabels"];
    assert!(selector["team"].is_null(), "a selector cannot change later");
}

#[test]
fn a_service_account_that_is_there_serves_the_operator_and_its_test() {
    let objects = render(&["serviceAccount.create=false", "serviceAccount.name=mine"]);
    assert!(of_kind(&objects, "ServiceAccount").is_empty());
    let bindings = [
        of_kind(&objects, "ClusterRoleBinding"),
        of_kind(&objects, "RoleBinding"),
    ]
    .concat();
    assert!(bindings.len() > 2);
    for binding in bindings {
        assert_eq!(binding["subjects"][0]["name"], "mine");
    }
    let operator = &only(&objects, "Deployment")["spec"]["template"];
    for pod in [operator, only(&objects, "Pod")] {
        assert_eq!(pod["spec"]["serviceAccountName"], "mine");
    }
    let created = render(&["serviceAccount.name=mine"]);
    let names: Vec<&Value> = of_kind(&created, "ServiceAccount")
        .iter()
        .map(|account| &account["metadata"]["name"])
        .collect();
    assert_eq!(names, ["mine", "streamkeeper-test"]);

    let chart = chart();
    let unnamed = [
        "template",
        "x",
        &chart,
        "--set",
        "tls.existingSecret=keys",
        "--set",
        "serviceAccount.create=false",
    ];
    let output = helm(&unnamed);
    let said = text(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("name the ServiceAccount that is there"),
        "{said}"
    );
}
