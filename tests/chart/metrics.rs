//! Who may read metrics, and how Prometheus finds them.

use serde_json::json;
use streamkeeper_harness::helm::{chart, helm, of_kind, render};

use crate::{only, operator, text, variable};

#[test]
fn metrics_that_are_switched_off_are_neither_served_nor_reached() {
    let objects = render(&["metrics.enabled=false", "networkPolicy.enabled=true"]);
    assert_eq!(variable(&objects, "STREAMKEEPER_METRICS"), Some("false"));
    assert!(of_kind(&objects, "Service").is_empty());
    let policy = &only(&objects, "NetworkPolicy")["spec"];
    assert!(policy["ingress"].is_null(), "{policy}");
    assert_eq!(policy["policyTypes"][0], "Ingress");
    let on = render(&["networkPolicy.enabled=true"]);
    assert_eq!(variable(&on, "STREAMKEEPER_METRICS"), None);
    assert!(only(&on, "NetworkPolicy")["spec"]["ingress"].is_array());
    let chart = chart();
    for value in ["metrics.enabled=false", "metrics.service=false"] {
        let monitor = "metrics.serviceMonitor.enabled=true";
        let own_key = "tls.existingSecret=keys";
        let values = ["--set", own_key, "--set", value, "--set", monitor];
        let output = helm(&[&["template", "x", &chart] as &[&str], &values].concat());
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains("needs metrics."),
            "{said}"
        );
    }
}

#[test]
fn there_is_no_monitor_unless_a_value_asks_for_it() {
    for kind in ["ServiceMonitor", "PodMonitor"] {
        assert!(of_kind(&render(&[]), kind).is_empty());
    }
}

#[test]
fn a_service_monitor_finds_the_service_and_its_port() {
    let objects = render(&[
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.interval=30s",
        "metrics.serviceMonitor.labels.release=prometheus",
    ]);
    let monitor = only(&objects, "ServiceMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let service = only(&objects, "Service");
    let selector = &monitor["spec"]["selector"]["matchLabels"];
    for (name, value) in selector.as_object().unwrap() {
        assert_eq!(service["metadata"]["labels"][name], *value, "{name}");
    }
    let namespaces = &monitor["spec"]["namespaceSelector"]["matchNames"];
    assert_eq!(*namespaces, json!([service["metadata"]["namespace"]]));
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(endpoint["interval"], "30s");
    assert_eq!(operator(&objects)["ports"][0]["name"], "http");
}

#[test]
fn a_pod_monitor_finds_the_pods_of_jobs_where_they_serve_metrics() {
    use streamkeeper_api::names::child_labels;
    let monitor = |values: &[&str]| {
        let on = "metrics.podMonitor.enabled=true";
        let objects = render(&[&[on], values].concat());
        only(&objects, "PodMonitor")["spec"].clone()
    };
    let labels = child_labels("delays", 1, "0.1.0");
    let all = monitor(&["tls.enabled=true"]);
    for (name, value) in all["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels.get(name).map(String::as_str), value.as_str());
    }
    assert_eq!(all["namespaceSelector"], json!({"any": true}));
    assert_eq!(all["podMetricsEndpoints"][0]["port"], "health");
    let some = monitor(&["operator.watchNamespaces={a,b}", "tls.enabled=false"]);
    assert_eq!(some["namespaceSelector"], json!({"matchNames": ["a", "b"]}));
    assert_eq!(some["podMetricsEndpoints"][0]["port"], "health");
}
