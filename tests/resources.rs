//! The objects of a revision, compared byte for byte with the files in `tests/golden`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use streamkeeper::{
    api::v1alpha1::{S3, StreamJob},
    lifecycle::{Child, RevisionRecord, Settings},
    resources::{Children, Owner, PodSettings, Size, children, secret},
};
use streamkeeper_security::{MasterKey, Material};

fn job(spec: Value) -> StreamJob {
    serde_json::from_value(json!({
        "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
        "metadata": {
            "name": "delays", "namespace": "flights", "uid": "6a1f0c1e-0000-4000-8000-000000000001",
            "labels": {"app.kubernetes.io/instance": "never-copied"}, "annotations": {"never": "copied"},
        },
        "spec": spec,
    }))
    .unwrap()
}

fn settings() -> Settings {
    Settings {
        image: "registry.example.com/streamjob-runtime:0.1.0".to_owned(),
        storage: Some(S3 {
            uri: "s3://streams/prod".to_owned(),
            region: Some("eu-west-1".to_owned()),
            endpoint: None,
        }),
        ..Settings::default()
    }
}

fn pods() -> PodSettings {
    PodSettings {
        credentials_secret: Some("streamkeeper-s3".to_owned()),
        image_pull_policy: None,
        log_level: "info".to_owned(),
        node_toleration_seconds: 320,
    }
}

fn built(spec: Value, replicas: u32) -> Children {
    let job = job(spec);
    let record =
        RevisionRecord::of(&job, "INSERT INTO a SELECT * FROM b", &settings(), None).unwrap();
    children(
        &Owner::of(&job).unwrap(),
        7,
        &record,
        Size::of(replicas),
        &pods(),
    )
}

/// Compares with `tests/golden/{name}.yaml`.
#[track_caller]
fn golden(name: &str, children: &Children) {
    let documents = [
        serde_yaml::to_string(&children.controller_revision).unwrap(),
        serde_yaml::to_string(&children.config_map).unwrap(),
        serde_yaml::to_string(&children.service).unwrap(),
        serde_yaml::to_string(&children.stateful_set).unwrap(),
    ];
    let text = documents.join("---\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.yaml"));
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "tests/golden/{name}.yaml differs; look at the change with: UPDATE_GENERATED=1 cargo test --test resources && git diff tests/golden"
    );
}

#[test]
fn the_smallest_job_gets_these_objects() {
    golden("smallest", &built(json!({"sql": {"text": "x"}}), 1));
}

#[test]
fn a_job_that_says_everything_gets_these_objects() {
    let spec = json!({
        "sql": {"text": "x"},
        "image": "registry.example.com/flights:1",
        "env": [
            {"name": "BROKERS", "value": "kafka:9092"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}},
            {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "region", "optional": true}}},
            {"name": "RUST_LOG", "value": "debug"},
        ],
        "workers": {
            "replicas": 3, "slots": 2,
            "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
            "podTemplate": {
                "labels": {"team": "flights", "streamkeeper.dev/job": "cannot-be-replaced"}, "annotations": {"example.com/scrape": "true"},
                "nodeSelector": {"disk": "ssd"}, "priorityClassName": "high", "imagePullSecrets": ["registry"],
                "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "streams", "effect": "NoSchedule"}],
            },
        },
        "serviceAccountName": "flights",
        "maxParallelism": 256,
        "storage": {"s3": {"uri": "s3://flights/state", "region": "us-east-1", "endpoint": "http://seaweedfs.storage:8333"}},
        "checkpoints": {"interval": "2s", "timeout": "90s", "retain": 5},
    });
    golden("everything", &built(spec, 3));
}

#[test]
fn a_job_with_certificates_gets_these_objects() {
    let job = job(json!({"sql": {"text": "x"}}));
    let settings = Settings {
        master_key: Some("d3b3ef8fd54e952f".to_owned()),
        ..settings()
    };
    let record =
        RevisionRecord::of(&job, "INSERT INTO a SELECT * FROM b", &settings, None).unwrap();
    let owner = Owner::of(&job).unwrap();
    golden(
        "certificates",
        &children(&owner, 7, &record, Size::of(1), &pods()),
    );

    let key = MasterKey::new(&[7; 32]).unwrap().job(&owner.uid);
    let material = Material::of(&key).unwrap();
    let secret = secret::build(&owner, record.tls.as_ref().unwrap(), &material);
    assert_eq!(secret.immutable, Some(true));
    let volumes = children(&owner, 7, &record, Size::of(1), &pods())
        .stateful_set
        .spec;
    let volumes = volumes.unwrap().template.spec.unwrap().volumes.unwrap();
    let mounted = volumes
        .into_iter()
        .find_map(|volume| volume.secret)
        .unwrap();
    assert_eq!(mounted.secret_name, secret.metadata.name);
}

#[test]
fn sql_may_use_the_variables_of_the_spec_and_no_others() {
    let spec = json!({"sql": {"text": "x"}, "env": [
        {"name": "BROKERS", "value": "a"}, {"name": "STREAMKEEPER_VARIABLES", "value": "AWS_SECRET_ACCESS_KEY"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
    ]});
    let pod = built(spec, 1)
        .stateful_set
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    let variables = pod.containers[0].env.clone().unwrap();
    let told: Vec<_> = variables
        .iter()
        .filter(|variable| variable.name == "STREAMKEEPER_VARIABLES")
        .map(|variable| variable.value.as_deref())
        .collect();
    assert_eq!(told, [Some("BROKERS,PASSWORD")]);
}

#[test]
fn pods_without_tls_get_the_same_keys_for_the_token_alone() {
    let job = job(json!({"sql": {"text": "x"}}));
    let settings = Settings {
        master_key: Some("d3b3ef8fd54e952f".to_owned()),
        tls: false,
        ..settings()
    };
    let record = RevisionRecord::of(&job, "SELECT 1", &settings, None).unwrap();
    let built = children(&Owner::of(&job).unwrap(), 7, &record, Size::of(1), &pods());
    let pod = built.stateful_set.spec.unwrap().template.spec.unwrap();
    let args = pod.containers[0].args.as_ref().unwrap();
    let folder = "/etc/streamjob-token";
    assert!(
        args.contains(&format!("--token-folder={folder}")),
        "{args:?}"
    );
    assert!(args.iter().all(|arg| !arg.starts_with("--tls-folder")));
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    assert!(mounts.iter().any(|mount| mount.mount_path == folder));
    let secret = pod
        .volumes
        .unwrap()
        .into_iter()
        .find_map(|volume| volume.secret);
    assert_eq!(secret.unwrap().secret_name.unwrap(), "delays-tls-08b47733");
}

#[test]
fn the_content_of_a_revision_survives_the_way_through_the_api_server() {
    let job =
        job(json!({"sql": {"text": "x"}, "workers": {"resources": {"requests": {"cpu": 1}}}}));
    let record = RevisionRecord::of(&job, "SELECT 1", &settings(), None).unwrap();
    let built = children(&Owner::of(&job).unwrap(), 7, &record, Size::of(1), &pods());
    let kept = built.controller_revision.facts().unwrap();
    assert_eq!(kept.record().as_ref(), Some(&record));
    assert_eq!(*kept.owner, *job.metadata.uid.unwrap());
}

#[test]
fn the_controller_revisions_that_a_stateful_set_makes_are_not_taken_for_ours() {
    let built = built(json!({"sql": {"text": "x"}}), 1);
    let mut foreign = built.controller_revision.clone();
    foreign.metadata.name = Some("delays-r7-5d8f".to_owned());
    assert!(built.controller_revision.facts().is_some());
    assert_eq!(foreign.facts(), None);
}

#[test]
fn no_pod_reaches_the_api_server_or_runs_as_root() {
    let pod = built(json!({"sql": {"text": "x"}}), 1)
        .stateful_set
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    let security = pod.security_context.unwrap();
    assert_eq!(
        (security.run_as_non_root, security.run_as_user),
        (Some(true), Some(65532))
    );
    let container = pod.containers[0].security_context.clone().unwrap();
    assert_eq!(
        (
            container.read_only_root_filesystem,
            container.allow_privilege_escalation
        ),
        (Some(true), Some(false))
    );
    assert_eq!(
        container.capabilities.unwrap().drop,
        Some(vec!["ALL".to_owned()])
    );
}
