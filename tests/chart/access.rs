//! Who may do and reach what.

use serde_json::{Value, json};
use streamkeeper_harness::helm::{of_kind, render};

use crate::{EVERYTHING, only, operator};

/// What the Pod Security Standard "restricted" demands of a pod, all of it.
#[track_caller]
fn is_restricted(pod: &Value) {
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null(), "{host}");
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        assert!(
            volume["secret"].is_object() || volume["configMap"].is_object(),
            "it needs no such volume: {volume}"
        );
    }
    let of_pod = &pod["securityContext"];
    assert_eq!(of_pod["runAsNonRoot"], true);
    assert!(of_pod["runAsUser"].as_u64().is_some_and(|user| user > 0));
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    assert!(of_pod["sysctls"].is_null() && of_pod["windowsOptions"].is_null());
    assert!(pod["initContainers"].is_null() && pod["ephemeralContainers"].is_null());
    for container in pod["containers"].as_array().unwrap() {
        let own = &container["securityContext"];
        assert_eq!(own["allowPrivilegeEscalation"], false);
        assert_eq!(own["readOnlyRootFilesystem"], true);
        assert_eq!(own["capabilities"], json!({ "drop": ["ALL"] }));
        for loosened in ["privileged", "runAsUser", "seccompProfile", "procMount"] {
            assert!(own[loosened].is_null(), "{loosened}");
        }
        let ports = container["ports"].as_array().into_iter().flatten();
        assert!(ports.into_iter().all(|port| port["hostPort"].is_null()));
        assert!(!container["resources"]["limits"]["memory"].is_null());
    }
}

#[test]
fn every_pod_of_the_chart_holds_the_restricted_pod_security_standard() {
    for values in [&[] as &[&str], &EVERYTHING] {
        let objects = render(values);
        is_restricted(&only(&objects, "Deployment")["spec"]["template"]["spec"]);
        is_restricted(&only(&objects, "Pod")["spec"]);
    }
    let objects = render(&[]);
    let container = operator(&objects);
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
}

#[test]
fn a_network_policy_lets_the_operator_reach_what_it_needs() {
    use streamkeeper_protocol::job_api::JOB_API_PORT;
    assert!(of_kind(&render(&[]), "NetworkPolicy").is_empty());
    let ports = |endpoint: &str| -> Vec<u64> {
        let endpoint = format!("storage.s3.endpoint={endpoint}");
        let objects = render(&["networkPolicy.enabled=true", &endpoint]);
        let policy = &only(&objects, "NetworkPolicy")["spec"];
        assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["ingress"].as_array().unwrap().len(), 1);
        assert_eq!(policy["ingress"][0]["ports"][0]["port"], "http");
        let rules = policy["egress"].as_array().unwrap();
        let all = rules
            .iter()
            .flat_map(|rule| rule["ports"].as_array().unwrap());
        let mut ports: Vec<u64> = all.map(|port| port["port"].as_u64().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    let job_api = u64::from(JOB_API_PORT);
    let with = |s3: &[u64]| {
        let mut all = [&[53, 443, 6443, job_api], s3].concat();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(ports(""), with(&[]));
    assert_eq!(ports("http://s3.storage.svc:8333"), with(&[8333]));
    assert_eq!(ports("http://s3.storage.svc"), with(&[80]));
    assert_eq!(ports("https://s3.storage.svc/"), with(&[]));
}

#[test]
fn a_network_policy_names_addresses_where_the_values_do() {
    let to = |values: &[&str]| -> Vec<Value> {
        let objects = render(&[&["networkPolicy.enabled=true"], values].concat());
        let rules = &only(&objects, "NetworkPolicy")["spec"]["egress"];
        let rules = rules.as_array().unwrap().iter();
        rules.map(|rule| rule["to"].clone()).collect()
    };
    let anywhere = to(&[]);
    let open = anywhere.iter().filter(|to| to.is_null()).count();
    assert_eq!((anywhere.len(), open), (4, 3), "job pods are named always");
    for value in ["dnsTo", "apiServerTo", "s3To"] {
        let named = to(&[&format!("networkPolicy.{value}[0].ipBlock.cidr=10.0.0.0/8")]);
        let block = json!([{ "ipBlock": { "cidr": "10.0.0.0/8" } }]);
        assert_eq!(named.iter().filter(|to| **to == block).count(), 1);
        assert_eq!(named.iter().filter(|to| to.is_null()).count(), open - 1);
    }
}

#[test]
fn a_network_policy_without_a_port_of_s3_allows_none() {
    let objects = render(&["networkPolicy.enabled=true", "networkPolicy.s3Ports=null"]);
    let rules = &only(&objects, "NetworkPolicy")["spec"]["egress"];
    let rules = rules.as_array().unwrap();
    assert_eq!(rules.len(), 3);
    assert!(rules.iter().all(|rule| rule["ports"].is_array()));
}

#[test]
fn view_edit_and_admin_include_every_crd() {
    let objects = render(&[]);
    let plurals: Vec<&Value> = of_kind(&objects, "CustomResourceDefinition")
        .iter()
        .map(|crd| &crd["spec"]["names"]["plural"])
        .collect();
    assert!(!plurals.is_empty());
    for (role, to, verb) in [
        (
            "streamkeeper-system:streamkeeper-view",
            &["view"][..],
            "get",
        ),
        (
            "streamkeeper-system:streamkeeper-edit",
            &["edit", "admin"][..],
            "create",
        ),
    ] {
        let roles = of_kind(&objects, "ClusterRole");
        let role = roles
            .iter()
            .find(|one| one["metadata"]["name"] == role)
            .unwrap();
        for to in to {
            let label = format!("rbac.authorization.k8s.io/aggregate-to-{to}");
            assert_eq!(role["metadata"]["labels"][label], "true");
        }
        let rule = &role["rules"][0];
        assert!(rule["verbs"].as_array().unwrap().contains(&json!(verb)));
        for plural in &plurals {
            assert!(
                rule["resources"].as_array().unwrap().contains(plural),
                "{plural}"
            );
        }
    }
    let none = render(&["rbac.aggregate=false"]);
    assert!(!of_kind(&none, "ClusterRole").iter().any(|role| {
        !role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"].is_null()
    }));
}

#[test]
fn an_operator_of_some_namespaces_has_a_role_in_each_and_none_for_the_cluster_but_nodes() {
    let objects = render(&[
        "operator.watchNamespaces={flights,trains}",
        "rbac.aggregate=false",
    ]);
    let spaces = |kind: &str| -> Vec<&Value> {
        let named = of_kind(&objects, kind)
            .into_iter()
            .filter(|object| object["metadata"]["name"] == "streamkeeper");
        named
            .map(|object| &object["metadata"]["namespace"])
            .collect()
    };
    assert_eq!(spaces("Role"), ["flights", "trains"]);
    assert_eq!(spaces("RoleBinding"), ["flights", "trains"]);
    assert_eq!(
        only(&objects, "ClusterRole")["rules"][0]["resources"],
        json!(["nodes"])
    );
    let without = render(&[
        "operator.watchNamespaces={flights}",
        "operator.watchNodes=false",
        "rbac.aggregate=false",
    ]);
    assert!(of_kind(&without, "ClusterRole").is_empty());
    assert!(of_kind(&without, "ClusterRoleBinding").is_empty());
}

#[test]
fn the_pod_of_a_test_that_passed_stays_for_its_logs_and_its_rights_go() {
    let objects = render(&[]);
    let hooks = objects
        .iter()
        .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test");
    let mut stays = Vec::new();
    for hook in hooks {
        let policy = &hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"];
        let policy = policy.as_str().unwrap();
        assert!(policy.contains("before-hook-creation"), "{policy}");
        if !policy.contains("hook-succeeded") {
            stays.push(&hook["kind"]);
        }
    }
    assert_eq!(stays, ["Pod"]);
}
