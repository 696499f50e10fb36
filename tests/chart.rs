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

use std::collections::BTreeSet;

use helm::{chart, helm, of_kind, render, render_in};
use serde_json::{Value, json};
use streamkeeper::api::crd;

/// Values that touch every branch of every template.
const EVERYTHING: [&str; 23] = [
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
    "tls.enabled=true",
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
        ("operator.replicas=many", "replicas"),
        ("operator.copies=2", "copies"),
        ("operator.leaderElection.enabled=false", "leaderElection"),
        (
            "operator.leaderElection.leaseDuration=soon",
            "leaseDuration",
        ),
        ("operator.leaderElection.leaseDuration=2s", "leaseDuration"),
        ("storage.s3.uri=bucket/prefix", "uri"),
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

/// What the Pod Security Standard "restricted" demands of a pod, all of it.
#[track_caller]
fn is_restricted(pod: &Value) {
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null(), "{host}");
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        assert!(
            volume["secret"].is_object(),
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
fn every_value_is_described_and_known_to_the_schema() {
    let text = include_str!("../charts/streamkeeper/values.yaml");
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
        serde_json::from_str(include_str!("../charts/streamkeeper/values.schema.json")).unwrap();
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
            values.contains_key(name) || path.contains("affinity"),
            "{path}.{name}: in the schema, but not described"
        );
    }
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
    assert_eq!(ports("https://s3.storage.svc/x"), with(&[]));
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
fn the_master_key_is_made_once_and_mounted_or_is_ones_own() {
    let name_of = |objects: &[Value]| {
        let pod = &only(objects, "Deployment")["spec"]["template"]["spec"];
        pod["volumes"][0]["secret"]["secretName"].clone()
    };
    let objects = render(&["tls.enabled=true"]);
    let secret = only(&objects, "Secret");
    assert_eq!(secret["metadata"]["name"], name_of(&objects));
    assert_eq!(
        secret["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    // 32 bytes in base64.
    assert_eq!(secret["data"]["master.key"].as_str().unwrap().len(), 44);
    let mount = &operator(&objects)["volumeMounts"][0];
    let folder = mount["mountPath"].as_str().unwrap();
    assert_eq!(mount["readOnly"], true);
    let file = format!("{folder}/master.key");
    assert_eq!(
        variable(&objects, "STREAMKEEPER_MASTER_KEY_FILE"),
        Some(file.as_str())
    );
    let objects = render(&["tls.enabled=true", "tls.existingSecret=mine"]);
    assert_eq!(name_of(&objects), "mine");
    assert!(of_kind(&objects, "Secret").is_empty());
    let objects = render(&["tls.enabled=false"]);
    assert!(of_kind(&objects, "Secret").is_empty());
    assert_eq!(variable(&objects, "STREAMKEEPER_MASTER_KEY_FILE"), None);
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
fn two_replicas_compete_for_one_lease_and_a_single_one_may_do_without() {
    let objects = render(&[]);
    assert_eq!(only(&objects, "Deployment")["spec"]["replicas"], 2);
    assert_eq!(
        variable(&objects, "STREAMKEEPER_LEADER_ELECT"),
        Some("true")
    );
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

#[test]
fn every_variable_is_one_that_the_operator_knows() {
    let known = include_str!("../src/config.rs").to_owned() + include_str!("../src/main.rs");
    for variable in operator(&render(&EVERYTHING))["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        if name.starts_with("MIMALLOC_") {
            continue; // the allocator's
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
