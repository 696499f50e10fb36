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
use streamkeeper_api::v1alpha1::{S3, Sse, SseType, StreamJob};
use streamkeeper_lifecycle::{Child, ResolvedStorage, RevisionRecord, Settings};
use streamkeeper_resources::{
    Children, NetworkSettings, Owner, PodSettings, Size, children, network_policy, secret,
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
            ..S3::default()
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
        ..PodSettings::default()
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
    .unwrap()
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
    compare(name, &documents.join("---\n"));
}

#[track_caller]
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.yaml"));
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, text).unwrap();
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
    let key = MasterKey::new(&[7; 32]).unwrap();
    let key = key.job(job.metadata.uid.as_deref().unwrap());
    let owner = Owner::of(&job).unwrap().with_keys(&key);
    golden(
        "certificates",
        &children(&owner, 7, &record, Size::of(1), &pods()).unwrap(),
    );

    let material = Material::of(&key).unwrap();
    let secret = secret::build(&owner, &material);
    assert_eq!(secret.immutable, Some(true));
    let volumes = children(&owner, 7, &record, Size::of(1), &pods())
        .unwrap()
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
    let key = MasterKey::new(&[7; 32]).unwrap();
    let key = key.job(job.metadata.uid.as_deref().unwrap());
    let owner = Owner::of(&job).unwrap().with_keys(&key);
    let built = children(&owner, 7, &record, Size::of(1), &pods()).unwrap();
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
    let name = secret.unwrap().secret_name.unwrap();
    assert!(name.starts_with("delays-tls-"), "{name}");
}

#[test]
fn only_a_jobs_own_pods_and_the_operator_reach_its_ports() {
    let settings = NetworkSettings {
        operator_namespace: "streamkeeper-system".to_owned(),
        operator_labels: [(
            "app.kubernetes.io/name".to_owned(),
            "streamkeeper".to_owned(),
        )]
        .into(),
        metrics_from: Vec::new(),
    };
    let owner = Owner::of(&job(json!({"sql": {"text": "x"}}))).unwrap();
    let policy = network_policy::build(&owner, &settings);
    compare("network-policy", &serde_yaml::to_string(&policy).unwrap());
    let selected = policy.spec.unwrap().pod_selector.unwrap().match_labels;
    for spec in [
        json!({"sql": {"text": "x"}}),
        json!({"sql": {"text": "x"}, "workers": {"podTemplate": {"labels": {"streamkeeper.dev/job": "other"}}}}),
    ] {
        let set = built(spec, 1).stateful_set.spec.unwrap();
        let labels = set.template.metadata.unwrap().labels.unwrap();
        for (name, value) in selected.iter().flatten() {
            assert_eq!(
                labels.get(name),
                Some(value),
                "it covers every pod of the job"
            );
        }
    }
}

#[test]
fn the_content_of_a_revision_survives_the_way_through_the_api_server() {
    let job =
        job(json!({"sql": {"text": "x"}, "workers": {"resources": {"requests": {"cpu": 1}}}}));
    let record = RevisionRecord::of(&job, "SELECT 1", &settings(), None).unwrap();
    let built = children(&Owner::of(&job).unwrap(), 7, &record, Size::of(1), &pods()).unwrap();
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

/// The manifests in `tests/manifests`: what users of streaming operators put into their pods, each
/// as the spec of a job.
fn manifests() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut all: Vec<(String, Value)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            (name, serde_yaml::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

#[test]
fn pods_in_the_shapes_that_users_write_keep_the_worker_as_it_must_be() {
    let all = manifests();
    assert!(all.len() >= 12);
    let plain = pod_of(json!({"sql": {"text": "x"}}));
    let worker = &plain["containers"][0];
    for (name, spec) in all {
        let written = spec["workers"]["podTemplate"].clone();
        let pod = pod_of(spec);
        let found = &pod["containers"][0];
        for field in ["name", "image", "ports", "readinessProbe", "livenessProbe"] {
            assert_eq!(found[field], worker[field], "{name}: {field}");
        }
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        // Nothing that was written is lost.
        let template = written.get("spec").cloned().unwrap_or_default();
        for (field, value) in template.as_object().into_iter().flatten() {
            match field.as_str() {
                "containers" | "volumes" | "tolerations" | "initContainers" => {
                    for item in value.as_array().unwrap() {
                        let there = pod[field].as_array().unwrap();
                        let key = if field == "tolerations" {
                            "key"
                        } else {
                            "name"
                        };
                        assert!(
                            there.iter().any(|other| other[key] == item[key]),
                            "{name}: {field} {item}"
                        );
                    }
                }
                "securityContext" | "nodeSelector" => {
                    for (inner, value) in value.as_object().unwrap() {
                        assert_eq!(&pod[field][inner], value, "{name}: {field}.{inner}");
                    }
                }
                "topologySpreadConstraints" => assert_eq!(
                    pod[field].as_array().unwrap().len(),
                    value.as_array().unwrap().len(),
                    "{name}"
                ),
                _ => assert_eq!(&pod[field], value, "{name}: {field}"),
            }
        }
        // Every mount has its volume, and no name is there twice.
        let volumes: Vec<&str> = pod["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| volume["name"].as_str().unwrap())
            .collect();
        let mut unique = volumes.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), volumes.len(), "{name}: {volumes:?}");
        for mount in found["volumeMounts"].as_array().unwrap() {
            assert!(
                volumes.contains(&mount["name"].as_str().unwrap()),
                "{name}: {mount}"
            );
        }
    }
}

fn pod_of(spec: Value) -> Value {
    let set = built(spec, 1).stateful_set.spec.unwrap();
    serde_json::to_value(set.template.spec.unwrap()).unwrap()
}

/// The pods of some of them, to the byte.
#[test]
fn a_pod_template_and_the_worker_become_these_pods() {
    for name in ["env-from", "hardened", "log-shipper"] {
        let spec = manifests()
            .into_iter()
            .find(|(other, _)| other == name)
            .unwrap()
            .1;
        golden(&format!("template-{name}"), &built(spec, 1));
    }
}

#[test]
fn variables_of_the_spec_come_before_those_of_the_template() {
    let spec = manifests()
        .into_iter()
        .find(|(name, _)| name == "env-from")
        .unwrap()
        .1;
    let pod = pod_of(spec);
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| -> Vec<&Value> {
        let named = env.iter().filter(|variable| variable["name"] == name);
        named.map(|variable| &variable["value"]).collect()
    };
    assert_eq!(value("BROKERS"), ["kafka:9092"]);
    assert_eq!(value("RUST_LOG"), ["debug"], "not the operator's filter");
}

#[test]
fn a_longer_grace_period_is_told_to_the_worker() {
    let pod = pod_of(
        json!({"sql": {"text": "x"}, "workers": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 300}}}}),
    );
    assert_eq!(pod["terminationGracePeriodSeconds"], 300);
    let args = pod["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&json!("--grace=300s")), "{args:?}");
}

#[test]
fn a_platform_that_gives_users_and_groups_is_left_to_do_so() {
    let job = job(json!({"sql": {"text": "x"}}));
    let record = RevisionRecord::of(&job, "x", &settings(), None).unwrap();
    let pods = PodSettings {
        platform_ids: true,
        image_pull_secrets: vec!["default-registry".to_owned()],
        ..pods()
    };
    let built = children(&Owner::of(&job).unwrap(), 7, &record, Size::of(1), &pods).unwrap();
    let pod = built.stateful_set.spec.unwrap().template.spec.unwrap();
    let security = pod.security_context.unwrap();
    assert_eq!(
        (
            security.run_as_user,
            security.run_as_group,
            security.fs_group
        ),
        (None, None, None)
    );
    assert_eq!(security.run_as_non_root, Some(true));
    assert_eq!(pod.image_pull_secrets.unwrap()[0].name, "default-registry");
}

#[test]
fn memory_that_cannot_be_meant_makes_no_revision() {
    let of = |memory: Value| {
        let job = job(
            json!({"sql": {"text": "x"}, "workers": {"resources": {"limits": {"memory": memory}}}}),
        );
        RevisionRecord::of(&job, "x", &settings(), None).map_err(|error| error.to_string())
    };
    let said = of(json!("2048m")).unwrap_err();
    assert!(
        said.starts_with("spec.workers.resources.limits: "),
        "{said}"
    );
    assert!(said.contains("write 2Gi or 2048Mi"), "{said}");
    assert!(of(json!(2048)).unwrap_err().contains("less than 1Mi"));
    assert!(of(json!("2Gi")).is_ok());
}

#[test]
fn how_the_state_is_written_is_told_to_workers_and_old_records_say_nothing_of_it() {
    let flags = |spec: Value, settings: &Settings, held: Option<&ResolvedStorage>| {
        let job = job(spec);
        let record = RevisionRecord::of(&job, "x", settings, held).unwrap();
        let owner = Owner::of(&job).unwrap();
        let built = children(&owner, 7, &record, Size::of(1), &pods()).unwrap();
        let pod = built.stateful_set.spec.unwrap().template.spec.unwrap();
        let told = pod.containers[0].args.clone().unwrap_or_default();
        let about = |flag: &String| flag.starts_with("--sse") || flag.starts_with("--unsigned");
        let told: Vec<String> = told.into_iter().filter(about).collect();
        (told, record)
    };
    let own = json!({"uri": "s3://streams/prod", "endpoint": "https://s3.example.com", "unsignedPayload": true,
        "sse": {"type": "aws:kms", "kmsKeyId": "alias/own"}});
    let (told, record) = flags(
        json!({"sql": {"text": "x"}, "storage": {"s3": own}}),
        &settings(),
        None,
    );
    assert_eq!(
        told,
        [
            "--sse=aws:kms",
            "--sse-kms-key-id=alias/own",
            "--unsigned-payload=true"
        ]
    );
    let kept: RevisionRecord =
        serde_json::from_value(serde_json::to_value(&record).unwrap()).unwrap();
    assert_eq!(kept, record);

    // Without a storage of its own, as the operator's default says, also where the state lies there
    // already.
    let plain = json!({"sql": {"text": "x"}});
    let (told, old) = flags(plain.clone(), &settings(), None);
    assert_eq!(told, Vec::<String>::new());
    let kept = serde_json::to_value(&old).unwrap();
    assert_eq!(
        (
            kept["storage"].get("sse"),
            kept["storage"].get("unsignedPayload")
        ),
        (None, None),
        "a record from before reads the same"
    );
    let mut encrypted = settings();
    if let Some(storage) = &mut encrypted.storage {
        storage.sse = Some(Sse {
            kind: SseType::Kms,
            kms_key_id: None,
        });
    }
    let (told, _) = flags(plain.clone(), &encrypted, Some(&old.storage));
    assert_eq!(told, ["--sse=aws:kms"]);
    // State elsewhere is not the default's to say.
    let elsewhere = ResolvedStorage {
        uri: "s3://former/prod".to_owned(),
        bucket: "former".to_owned(),
        ..old.storage
    };
    let (told, _) = flags(plain, &encrypted, Some(&elsewhere));
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn a_folder_of_certificates_that_a_template_names_is_the_one() {
    let named = json!({"spec": {"containers": [{"name": "streamjob", "env": [{"name": "SSL_CERT_DIR", "value": "/mine"}]}]}});
    let job = job(json!({"sql": {"text": "x"}, "workers": {"podTemplate": named}}));
    let record = RevisionRecord::of(&job, "x", &settings(), None).unwrap();
    let pods = PodSettings {
        ca_bundle: Some("company-ca".to_owned()),
        ..pods()
    };
    let built = children(&Owner::of(&job).unwrap(), 7, &record, Size::of(1), &pods).unwrap();
    let pod = built.stateful_set.spec.unwrap().template.spec.unwrap();
    let variables = pod.containers[0].env.clone().unwrap_or_default();
    let told: Vec<_> = variables
        .into_iter()
        .filter(|one| one.name == "SSL_CERT_DIR")
        .map(|one| one.value)
        .collect();
    assert_eq!(told, [Some("/mine".to_owned())]);
}

#[test]
fn certificates_of_a_private_authority_are_added_to_those_of_the_image() {
    let job = job(json!({"sql": {"text": "x"}}));
    let record = RevisionRecord::of(&job, "x", &settings(), None).unwrap();
    let pods = PodSettings {
        ca_bundle: Some("company-ca".to_owned()),
        ..pods()
    };
    let built = children(&Owner::of(&job).unwrap(), 7, &record, Size::of(1), &pods).unwrap();
    let pod = built.stateful_set.spec.unwrap().template.spec.unwrap();
    let pod = serde_json::to_value(pod).unwrap();
    let has = |list: &Value, wanted: Value| list.as_array().unwrap().contains(&wanted);
    let volume =
        json!({"name": "ca-bundle", "configMap": {"name": "company-ca", "optional": true}});
    assert!(has(&pod["volumes"], volume));
    let worker = &pod["containers"][0];
    let mount = json!({"name": "ca-bundle", "mountPath": "/etc/streamjob-ca", "readOnly": true});
    assert!(has(&worker["volumeMounts"], mount));
    // SSL_CERT_FILE is of the image and stays.
    assert!(has(
        &worker["env"],
        json!({"name": "SSL_CERT_DIR", "value": "/etc/streamjob-ca"})
    ));
}
