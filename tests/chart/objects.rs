//! The objects of a release.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use streamkeeper_api::crd;
use streamkeeper_harness::helm::{of_kind, render, render_in};

use crate::{EVERYTHING, only, operator, variable, variable_as_it_stands};

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
fn replicas_are_spread_and_drained_one_at_a_time() {
    let objects = render(&[]);
    let pod = &only(&objects, "Deployment")["spec"]["template"];
    let spread = pod["spec"]["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<_> = spread.iter().map(|one| &one["topologyKey"]).collect();
    assert_eq!(
        keys,
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    );
    for one in spread {
        assert_eq!(one["whenUnsatisfiable"], "ScheduleAnyway");
    }
    let budget = &only(&objects, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    let labels = &pod["metadata"]["labels"];
    for selector in [&budget["selector"], &spread[0]["labelSelector"]] {
        for (name, value) in selector["matchLabels"].as_object().unwrap() {
            assert_eq!(&labels[name], value, "{name}");
        }
    }
    for without in [
        ["operator.replicas=1", "podDisruptionBudget.enabled=true"],
        ["operator.replicas=2", "podDisruptionBudget.enabled=false"],
    ] {
        assert!(of_kind(&render(&without), "PodDisruptionBudget").is_empty());
    }
}

#[test]
fn releases_of_one_name_in_two_namespaces_share_nothing_but_the_crds() {
    let objects = |namespace: &str, values: &[&str]| -> BTreeSet<String> {
        let named = render_in(namespace, values).into_iter().map(|object| {
            let name = &object["metadata"];
            format!("{} {} {}", object["kind"], name["namespace"], name["name"])
        });
        named.collect()
    };
    for (one, other) in [
        (&[] as &[&str], &["crds.install=false"][..]),
        (
            &["operator.watchNamespaces={flights}"][..],
            &["operator.watchNamespaces={trains}", "crds.install=false"][..],
        ),
    ] {
        let (one, other) = (objects("a", one), objects("b", other));
        assert!(one.is_disjoint(&other), "{one:#?} {other:#?}");
    }
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
        let accounts = of_kind(&objects, "ServiceAccount");
        for pod in [
            &deployment["spec"]["template"]["spec"],
            &only(&objects, "Pod")["spec"],
        ] {
            let account = &pod["serviceAccountName"];
            assert!(
                accounts
                    .iter()
                    .any(|one| &one["metadata"]["name"] == account),
                "{account}"
            );
        }
        for binding in [
            of_kind(&objects, "ClusterRoleBinding"),
            of_kind(&objects, "RoleBinding"),
        ]
        .concat()
        {
            let subject = &binding["subjects"][0]["name"];
            assert!(
                accounts
                    .iter()
                    .any(|one| &one["metadata"]["name"] == subject),
                "{binding}"
            );
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
fn two_replicas_compete_for_one_lease_and_a_single_one_may_do_without() {
    let objects = render(&[]);
    assert_eq!(only(&objects, "Deployment")["spec"]["replicas"], 2);
    assert_eq!(
        variable(&objects, "STREAMKEEPER_LEADER_ELECT"),
        Some("true")
    );
    let uid = variable_as_it_stands(&objects, "STREAMKEEPER_POD_UID").expect("a uid");
    assert_eq!(uid["valueFrom"]["fieldRef"]["fieldPath"], "metadata.uid");
    let lease = variable(&objects, "STREAMKEEPER_LEASE_NAME").expect("a name");
    let role = of_kind(&objects, "Role")
        .into_iter()
        .find(|role| role["metadata"]["name"] == "streamkeeper-lease")
        .expect("a role");
    assert_eq!(role["metadata"]["namespace"], "streamkeeper-system");
    assert_eq!(role["rules"][1]["resourceNames"], json!([lease]));
    let alone = render(&[
        "operator.replicas=1",
        "operator.leaderElection.enabled=false",
    ]);
    assert_eq!(variable(&alone, "STREAMKEEPER_LEADER_ELECT"), None);
    assert_eq!(
        only(&alone, "Deployment")["spec"]["strategy"]["type"],
        "Recreate"
    );
    assert!(
        !of_kind(&alone, "Role")
            .iter()
            .any(|role| role["metadata"]["name"] == "streamkeeper-lease")
    );
}
