//! The CRD: generated file, descriptions, rules. All offline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

use std::{env, fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::core::cel::{validate_cel, validate_cel_update};
use serde_json::{Value, json};
use streamkeeper_api::{
    crd,
    v1alpha1::{StreamJob, StreamSnapshot},
};

/// The schemas of all kinds, by kind.
fn schemas() -> Vec<(String, JSONSchemaProps)> {
    let schema = |crd: &CustomResourceDefinition| {
        crd.spec.versions[0]
            .schema
            .clone()
            .unwrap()
            .open_api_v3_schema
            .unwrap()
    };
    crd::files()
        .iter()
        .map(|(_, crd)| (crd.spec.names.kind.clone(), schema(crd)))
        .collect()
}

fn schema() -> JSONSchemaProps {
    let crd = crd::stream_job();
    crd.spec.versions[0]
        .schema
        .clone()
        .unwrap()
        .open_api_v3_schema
        .unwrap()
}

/// The chart's copy of a CRD. It is a file: tools that take a chart from Git drop links that lead
/// out of it.
fn in_chart(file: &str) -> String {
    file.replacen("crds/", "charts/streamkeeper/crd-manifests/", 1)
}

#[test]
fn the_generated_files_are_current() {
    for (file, crd) in crd::files() {
        let wanted = crd::file(&crd).unwrap();
        for file in [file.to_owned(), in_chart(file)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            if env::var_os("UPDATE_GENERATED").is_some() {
                fs::write(&path, &wanted).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == wanted,
                "{file} differs from the types in operator/api; write it anew with: make crds"
            );
        }
    }
}

#[test]
fn the_crd_is_small_enough_for_a_plain_apply() {
    let size = crd::yaml().unwrap().len();
    assert!(size < 150 * 1024, "{size} bytes");
}

#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    for (kind, root) in schemas() {
        for top in ["spec", "status"] {
            let path = format!("{kind}.{top}");
            undescribed(&root.properties.as_ref().unwrap()[top], &path, &mut bare);
        }
    }
    assert!(
        bare.is_empty(),
        "without a description for `kubectl explain`: {bare:#?}"
    );
}

fn undescribed(schema: &JSONSchemaProps, path: &str, bare: &mut Vec<String>) {
    if schema
        .description
        .as_ref()
        .is_none_or(|text| text.trim().is_empty())
    {
        bare.push(path.to_owned());
    }
    for (name, child) in schema.properties.iter().flatten() {
        undescribed(child, &format!("{path}.{name}"), bare);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        for (name, child) in items.properties.iter().flatten() {
            undescribed(child, &format!("{path}[].{name}"), bare);
        }
    }
}

#[test]
fn every_text_and_list_of_the_spec_is_bounded() {
    let mut unbounded = Vec::new();
    for (kind, root) in schemas() {
        let path = format!("{kind}.spec");
        unbounded_in(&root.properties.unwrap()["spec"], &path, &mut unbounded);
    }
    assert!(
        unbounded.is_empty(),
        "the cost of CEL rules needs bounds on: {unbounded:#?}"
    );
}

fn unbounded_in(schema: &JSONSchemaProps, path: &str, unbounded: &mut Vec<String>) {
    let text = schema.type_.as_deref() == Some("string")
        && schema.enum_.is_none()
        && schema.max_length.is_none();
    let list = schema.type_.as_deref() == Some("array") && schema.max_items.is_none();
    if text || list {
        unbounded.push(path.to_owned());
    }
    for (name, child) in schema.properties.iter().flatten() {
        unbounded_in(child, &format!("{path}.{name}"), unbounded);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        unbounded_in(items, &format!("{path}[]"), unbounded);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        unbounded_in(values, &format!("{path}.*"), unbounded);
    }
}

#[test]
fn only_formats_that_api_servers_know_are_used() {
    let text = crd::yaml().unwrap();
    assert!(
        !text.contains("format: uint"),
        "API servers warn about unsigned formats on every apply"
    );
}

fn job(spec: Value) -> StreamJob {
    named("delays", spec)
}

fn named(name: &str, spec: Value) -> StreamJob {
    serde_json::from_value(json!({
        "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
        "metadata": {"name": name, "namespace": "flights"}, "spec": spec,
    }))
    .unwrap()
}

/// Asserts that the rules refuse a spec with a sentence that contains `sentence`.
#[track_caller]
fn refused(job: &StreamJob, sentence: &str) {
    let errors = validate_cel(job)
        .expect_err("no rule refused it")
        .to_string();
    assert!(errors.contains(sentence), "{errors}");
}

#[test]
fn the_smallest_job_is_accepted() {
    validate_cel(&job(
        json!({"sql": {"text": "INSERT INTO a SELECT * FROM b"}}),
    ))
    .unwrap();
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let spec = job(json!({"sql": {"text": "x"}})).spec;
    assert_eq!(
        (
            spec.workers.replicas,
            spec.workers.slots,
            spec.max_parallelism,
            spec.suspend
        ),
        (1, 1, 128, false)
    );
    assert_eq!(spec.checkpoints.interval.to_string(), "10s");
    let properties = schema().properties.unwrap()["spec"]
        .properties
        .clone()
        .unwrap();
    assert_eq!(
        properties["workers"].default.clone().unwrap().0,
        json!({"replicas": 1, "slots": 1})
    );
    assert_eq!(
        properties["checkpoints"].default.clone().unwrap().0,
        json!({"interval": "10s", "timeout": "5m", "retain": 3, "guarantee": "ExactlyOnce"})
    );
    assert_eq!(
        properties["engine"].default.clone().unwrap().0,
        json!("Native")
    );
}

#[test]
fn exactly_one_source_of_sql_is_demanded() {
    refused(
        &job(json!({"sql": {}})),
        "exactly one of sql.text and sql.configMapKeyRef",
    );
    refused(
        &job(json!({"sql": {"text": "x", "configMapKeyRef": {"name": "a", "key": "b"}}})),
        "exactly one of sql.text and sql.configMapKeyRef",
    );
}

#[test]
fn a_parallelism_above_max_parallelism_is_refused() {
    let spec = |max: u32| json!({"sql": {"text": "x"}, "maxParallelism": max, "workers": {"replicas": 4, "slots": 2}});
    refused(
        &job(spec(7)),
        "spec.maxParallelism must be at least the parallelism",
    );
    validate_cel(&job(spec(8))).unwrap();
}

#[test]
fn a_bad_duration_is_refused_with_an_example() {
    // The types refuse it too, so the rule is asked about the value alone.
    let schema = serde_json::to_value(schema()).unwrap();
    let spec = |interval: &str| {
        json!({"metadata": {"name": "a"}, "spec": {"sql": {"text": "x"}, "maxParallelism": 128, "workers": {"replicas": 1, "slots": 1},
            "checkpoints": {"interval": interval, "timeout": "5m", "retain": 3}, "upgrade": {"progressDeadline": "10m"}}})
    };
    let check =
        |interval| kube::core::cel::Validator::new().validate(&schema, &spec(interval), None);
    check("10s").unwrap();
    check("1h30m").unwrap();
    for bad in ["10", "10 s", "ten", "1d", "-1s"] {
        let errors = check(bad).expect_err(bad).to_string();
        assert!(
            errors.contains("must be a duration like 30s, 5m or 1h30m"),
            "{bad}: {errors}"
        );
    }
    assert!(
        check("50ms")
            .unwrap_err()
            .to_string()
            .contains("checkpoints.interval must be at least 100ms")
    );
}

#[test]
fn a_name_that_cannot_become_a_pod_name_is_refused() {
    let spec = json!({"sql": {"text": "x"}});
    refused(
        &named(&"a".repeat(41), spec.clone()),
        "at most 40 characters",
    );
    refused(&named("a.b", spec.clone()), "start with a letter");
    refused(&named("1a", spec.clone()), "start with a letter");
    validate_cel(&named(&"a".repeat(40), spec)).unwrap();
}

#[test]
fn a_variable_has_exactly_one_value_and_a_plain_name() {
    let env = |env: Value| job(json!({"sql": {"text": "x"}, "env": [env]}));
    validate_cel(&env(json!({"name": "A", "value": ""}))).unwrap();
    validate_cel(&env(
        json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
    ))
    .unwrap();
    refused(
        &env(json!({"name": "A"})),
        "exactly one of value and valueFrom",
    );
    refused(
        &env(json!({"name": "A-B", "value": "1"})),
        "must consist of letters",
    );
    refused(
        &env(json!({"name": "STREAMKEEPER_A", "value": "1"})),
        "not start with STREAMKEEPER_",
    );
    refused(
        &env(json!({"name": "A", "valueFrom": {}})),
        "exactly one of secretKeyRef and configMapKeyRef",
    );
}

#[test]
fn a_storage_that_is_no_bucket_is_refused() {
    let storage = |s3: Value| job(json!({"sql": {"text": "x"}, "storage": {"s3": s3}}));
    validate_cel(&storage(json!({"uri": "s3://bucket/a/b/"}))).unwrap();
    validate_cel(&storage(
        json!({"uri": "s3://bucket", "endpoint": "http://seaweedfs:8333"}),
    ))
    .unwrap();
    refused(
        &storage(json!({"uri": "bucket/prefix"})),
        "like s3://bucket/prefix",
    );
    refused(
        &storage(json!({"uri": "s3://bucket", "endpoint": "seaweedfs:8333"})),
        "must be the URL of a server",
    );
}

#[test]
fn what_the_state_depends_on_cannot_change_once_there_is_state() {
    let with = |max: u32, uri: Option<&str>, current: Option<u64>| {
        let mut spec = json!({"sql": {"text": "x"}, "maxParallelism": max});
        if let Some(uri) = uri {
            spec["storage"] = json!({"s3": {"uri": uri}});
        }
        let mut job = serde_json::to_value(job(spec)).unwrap();
        if let Some(current) = current {
            job["status"] =
                json!({"revision": {"current": current, "latest": current, "summary": ""}});
        }
        serde_json::from_value::<StreamJob>(job).unwrap()
    };
    let old = with(128, Some("s3://old"), Some(3));
    validate_cel_update(&with(128, Some("s3://old"), Some(4)), &old).unwrap();
    let message = |new: &StreamJob| validate_cel_update(new, &old).unwrap_err().to_string();
    assert!(
        message(&with(256, Some("s3://old"), Some(3)))
            .contains("spec.maxParallelism cannot change")
    );
    assert!(
        message(&with(128, Some("s3://new"), Some(3)))
            .contains("spec.storage.s3.uri cannot change")
    );
    assert!(message(&with(128, None, Some(3))).contains("spec.storage.s3.uri cannot change"));
    // Before the first start everything may be corrected.
    validate_cel_update(&with(256, Some("s3://new"), None), &with(128, None, None)).unwrap();
}

#[test]
fn policies_that_contradict_each_other_are_refused() {
    let with = |field: &str, value: Value| {
        let mut spec = json!({"sql": {"text": "x"}});
        spec[field] = value;
        job(spec)
    };
    let lonely = with("upgrade", json!({"maxCheckpointAge": "5m"}));
    refused(
        &lonely,
        "needs upgrade.onSavepointFailure: UseLastCheckpoint",
    );
    let both = json!({"maxCheckpointAge": "5m", "onSavepointFailure": "UseLastCheckpoint"});
    validate_cel(&with("upgrade", both)).unwrap();
    for bad in ["0 3 * *", "daily", "0 0 3 * * *"] {
        refused(
            &with("snapshots", json!({"schedule": bad})),
            "must have five fields",
        );
    }
    for good in ["0 3 * * *", "*/5 0-6 1,15 JAN MON-FRI", "@daily"] {
        validate_cel(&with("snapshots", json!({"schedule": good}))).unwrap();
    }
    let zone = with("snapshots", json!({"timeZone": "Europe/Zurich"}));
    refused(&zone, "snapshots.timeZone needs snapshots.schedule");
    for bad in [
        json!({}),
        json!({"uri": "s3://b/f", "snapshotRef": {"name": "a"}}),
    ] {
        refused(
            &with("restoreFrom", bad),
            "exactly one of restoreFrom.snapshotRef and restoreFrom.uri",
        );
    }
    refused(
        &with("restoreFrom", json!({"uri": "s3://bucket"})),
        "must name a folder in a bucket",
    );
    validate_cel(&with("restoreFrom", json!({"uri": "s3://bucket/folder"}))).unwrap();
    validate_cel(&with(
        "restoreFrom",
        json!({"uri": "s3://My_Bucket/folder"}),
    ))
    .unwrap();
    let storage = |s3: Value| with("storage", json!({"s3": s3}));
    validate_cel(&storage(json!({"uri": "s3://My_Bucket/prod"}))).unwrap();
    refused(
        &storage(json!({"uri": "s3://my bucket/prod"})),
        "of letters, digits, '.', '-' and '_'",
    );
    let unsigned = |endpoint: &str| {
        storage(json!({"uri": "s3://b/p", "unsignedPayload": true, "endpoint": endpoint}))
    };
    validate_cel(&unsigned("https://s3.example.com")).unwrap();
    refused(
        &unsigned("http://s3.example.com"),
        "unsignedPayload needs an endpoint with https://",
    );
}

#[test]
fn a_snapshot_says_what_it_is_of_and_does_not_change() {
    let snapshot = |spec: Value| -> StreamSnapshot {
        serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot",
            "metadata": {"name": "monday", "namespace": "flights"}, "spec": spec,
        }))
        .unwrap()
    };
    let said = |object: &StreamSnapshot| validate_cel(object).unwrap_err().to_string();
    assert!(said(&snapshot(json!({}))).contains("one of jobRef"));
    let nowhere = snapshot(json!({"importFrom": {"uri": "/tmp"}}));
    assert!(said(&nowhere).contains("must name a folder in a bucket"));
    for (job, uri, accepted) in [
        (
            json!({"name": "delays"}),
            "s3://bucket/p/flights/delays/savepoints/x",
            true,
        ),
        (
            json!({"name": "delays"}),
            "s3://bucket/p/victims/victim",
            false,
        ),
        (
            json!({"name": "delays"}),
            "s3://bucket/p/victims/victim/savepoints/x",
            false,
        ),
        (
            Value::Null,
            "s3://bucket/p/flights/delays/savepoints/x",
            false,
        ),
    ] {
        let import = |policy: &str| {
            snapshot(json!({"jobRef": job, "importFrom": {"uri": uri}, "deletionPolicy": policy}))
        };
        validate_cel(&import("Retain")).unwrap();
        let refused = validate_cel(&import("Delete")).map_err(|error| error.to_string());
        assert_eq!(refused.is_ok(), accepted, "{job} {uri}: {refused:?}");
        assert!(accepted || refused.unwrap_err().contains("use Retain"));
    }
    let old = snapshot(json!({"jobRef": {"name": "delays"}}));
    validate_cel(&old).unwrap();
    let new = snapshot(json!({"jobRef": {"name": "delays"}, "ttl": "1h"}));
    let message = validate_cel_update(&new, &old).unwrap_err().to_string();
    assert!(
        message.contains("cannot change; create another one"),
        "{message}"
    );
    validate_cel_update(&old, &old).unwrap();
}

#[test]
fn a_duration_that_cannot_be_read_is_refused_by_the_api_server() {
    let job = |ttl: &str| {
        json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob", "metadata": {"name": "delays"},
            "spec": {"sql": {"text": "SELECT 1"}, "ttlAfterCompletion": ttl},
        })
    };
    let crd = serde_json::to_value(crd::stream_job()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for (ttl, accepted) in [
        ("1h30m", true),
        ("876000h", true),
        ("876000h1ms", false),
        ("9999999999h", false),
        ("99999999999999999999h", false),
        ("soon", false),
    ] {
        let validator = kube::core::cel::Validator::new();
        let answer = validator.validate(schema, &job(ttl), None);
        assert_eq!(answer.is_ok(), accepted, "{ttl}");
    }
}
