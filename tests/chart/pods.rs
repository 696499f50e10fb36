//! The pods of a release, and what it says about the pods of jobs.

use serde_json::{Value, json};
use streamkeeper_harness::helm::{chart, helm, render, rendered};

use crate::{EVERYTHING, only, operator, text, variable};

/// The spec of the operator's pod, and that of the pod of `helm test`.
fn pods(objects: &[Value]) -> [&Value; 2] {
    let operator = &only(objects, "Deployment")["spec"]["template"];
    [&operator["spec"], &only(objects, "Pod")["spec"]]
}

#[test]
fn the_pod_of_a_test_is_placed_like_the_operator() {
    let objects = render(&EVERYTHING);
    let [operator, test] = pods(&objects);
    for part in [
        "nodeSelector",
        "affinity",
        "tolerations",
        "priorityClassName",
        "imagePullSecrets",
        "securityContext",
    ] {
        assert!(!operator[part].is_null(), "{part}");
        assert_eq!(operator[part], test[part], "{part}");
    }
    let [operator, test] = [operator, test].map(|pod| &pod["containers"][0]);
    for part in ["image", "imagePullPolicy", "resources", "securityContext"] {
        assert!(!operator[part].is_null(), "{part}");
        assert_eq!(operator[part], test[part], "{part}");
    }
    let of_operator = &only(&objects, "Deployment")["spec"]["template"]["metadata"];
    let of_test = &only(&objects, "Pod")["metadata"];
    assert_eq!(of_operator["labels"]["team"], of_test["labels"]["team"]);
    assert_eq!(of_test["annotations"]["note"], "hello");
    assert_eq!(of_test["annotations"]["helm.sh/hook"], "test");
}

#[test]
fn an_image_by_digest_has_no_tag() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let runtime = format!("registry.example.com/runtime@{digest}");
    let objects = render(&[
        "image.repository=registry.example.com/operator",
        "image.tag=v1",
        &format!("image.digest={digest}"),
        &format!("runtime.image={runtime}"),
    ]);
    let wanted = format!("registry.example.com/operator@{digest}");
    for pod in pods(&objects) {
        assert_eq!(pod["containers"][0]["image"], wanted);
    }
    let given = variable(&objects, "STREAMKEEPER_RUNTIME_IMAGE");
    assert_eq!(given, Some(runtime.as_str()));
}

#[test]
fn ids_are_left_to_the_platform_where_it_sets_them() {
    let ids = ["runAsUser", "runAsGroup", "fsGroup"];
    let of_jobs = |objects| variable(objects, "STREAMKEEPER_JOB_FIXED_IDS");
    let plain = render(&[]);
    assert_eq!(pods(&plain)[0]["securityContext"]["runAsUser"], 65532);
    assert_eq!(of_jobs(&plain), None);

    let open_shift = ["--api-versions", "security.openshift.io/v1"];
    let by_itself = rendered(&chart(), "x", &open_shift, &[]);
    let by_values = render(&[
        "podSecurityContext.runAsUser=null",
        "podSecurityContext.runAsGroup=null",
        "runtime.fixedIds=false",
    ]);
    for objects in [&by_itself, &by_values] {
        for pod in pods(objects) {
            let context = &pod["securityContext"];
            assert!(ids.iter().all(|id| context[id].is_null()), "{context}");
            assert_eq!(context["runAsNonRoot"], true);
            let container = &pod["containers"][0]["securityContext"];
            assert!(ids.iter().all(|id| container[id].is_null()), "{container}");
        }
        assert_eq!(of_jobs(objects), Some("false"));
    }
    // An id of one's own stays, also there.
    let own = ["podSecurityContext.runAsUser=1000"];
    let own = rendered(&chart(), "x", &open_shift, &own);
    assert_eq!(pods(&own)[0]["securityContext"]["runAsUser"], 1000);
}

#[test]
fn variables_of_ones_own_come_after_those_of_the_chart_and_replace_none() {
    let objects = render(&[
        "extraEnv[0].name=HTTPS_PROXY",
        "extraEnv[0].value=http://proxy:3128",
        "extraEnv[1].name=TOKEN",
        "extraEnv[1].valueFrom.secretKeyRef.name=creds",
        "extraEnv[1].valueFrom.secretKeyRef.key=token",
    ]);
    let all = operator(&objects)["env"].as_array().unwrap();
    let [proxy, token] = all.last_chunk().unwrap();
    assert_eq!(proxy["value"], "http://proxy:3128");
    assert_eq!(token["valueFrom"]["secretKeyRef"]["key"], "token");
    let chart = chart();
    let set = [
        "--set",
        "tls.existingSecret=keys",
        "--set",
        "extraEnv[0].name=STREAMKEEPER_LOG",
    ];
    let output = helm(&[&["template", "x", &chart] as &[&str], &set].concat());
    let said = text(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("STREAMKEEPER_LOG, which the chart sets itself"),
        "{said}"
    );
}

#[test]
fn defaults_of_job_pods_reach_the_operator() {
    let objects = render(&[
        "podDisruptionBudget.jobs=false",
        "runtime.pullSecrets={registry,mirror}",
        "runtime.resources.requests.cpu=0.5",
        "runtime.resources.limits.cpu=2",
        "runtime.resources.limits.memory=1Gi",
    ]);
    let budgets = variable(&objects, "STREAMKEEPER_JOB_DISRUPTION_BUDGETS");
    assert_eq!(budgets, Some("false"));
    let secrets = variable(&objects, "STREAMKEEPER_JOB_IMAGE_PULL_SECRETS");
    assert_eq!(secrets, Some("registry,mirror"));
    let resources = variable(&objects, "STREAMKEEPER_JOB_RESOURCES").unwrap();
    let resources: Value = serde_json::from_str(resources).unwrap();
    let limits = json!({"cpu": "2", "memory": "1Gi"});
    assert_eq!(
        resources,
        json!({"requests": {"cpu": "0.5"}, "limits": limits})
    );
    let none = render(&[]);
    for name in [
        "STREAMKEEPER_JOB_IMAGE_PULL_SECRETS",
        "STREAMKEEPER_JOB_RESOURCES",
    ] {
        assert_eq!(variable(&none, name), None);
    }
}
