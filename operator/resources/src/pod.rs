//! The pod of a worker. Passes the restricted Pod Security Standard, and talks to no API server.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapKeySelector, ConfigMapVolumeSource, Container, ContainerPort,
        EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction,
        LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretEnvSource, SecretKeySelector,
        SecretVolumeSource, SecurityContext, Toleration, TopologySpreadConstraint, Volume,
        VolumeMount,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use streamkeeper_api::{
    names::{CONTAINER, SQL_KEY, pod_address, revision_name, revision_selector},
    v1alpha1::{self, Backoff, DroppedState, Guarantee, SseType, Standby},
};
use streamkeeper_lifecycle::{RevisionRecord, Tls};
use streamkeeper_protocol::job_api::{CONTROL_PORT, DATA_PORT, HEALTH_PORT, JOB_API_PORT};

use super::{Owner, PodSettings, template::merge};

/// User and group of the worker; the image has no names for them.
const NOBODY: i64 = 65532;
/// Seconds between SIGTERM and SIGKILL: what a final checkpoint may take.
const GRACE_SECONDS: i64 = 60;
/// Folder of the SQL text.
const SQL_FOLDER: &str = "/etc/streamjob";
/// Folder of the job's keys where pods talk TLS; `streamjob-runtime report` looks for them there.
const TLS_FOLDER: &str = "/etc/streamjob-tls";
/// Folder of the job's keys where pods show only the token.
const TOKEN_FOLDER: &str = "/etc/streamjob-token";
/// Folder of certificates of private authorities. The image names its own file of public ones in
/// `SSL_CERT_FILE`; those in `SSL_CERT_DIR` are added to them.
const CA_FOLDER: &str = "/etc/streamjob-ca";
/// Volume of [`CA_FOLDER`].
const CA_VOLUME: &str = "ca-bundle";
/// Variable with the names of those that SQL may use. A variable, not a flag: a runtime that does
/// not know it starts all the same.
const SQL_VARIABLES: &str = "STREAMKEEPER_VARIABLES";
/// Taints of a lost node.
const LOST: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// Builds the pod of a worker: the operator's own, merged into the template of the user.
pub fn spec(
    owner: &Owner,
    revision: u64,
    record: &RevisionRecord,
    workers: u32,
    settings: &PodSettings,
    template: PodSpec,
) -> PodSpec {
    let grace = template
        .termination_grace_period_seconds
        .unwrap_or(GRACE_SECONDS);
    let keys = record.tls.as_ref().map(|_| Volume {
        name: "keys".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: owner.keys.clone(),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let authorities = settings.ca_bundle.as_ref().map(|name| Volume {
        name: CA_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: name.clone(),
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    });
    let own = [
        Volume {
            name: "sql".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: revision_name(&owner.name, revision),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "tmp".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ];
    // What the template says of the worker's variables comes before what the operator would say.
    let workers_own = template.containers.iter();
    let workers_own = workers_own.filter(|container| container.name == CONTAINER);
    let variables = workers_own.flat_map(|container| container.env.iter().flatten());
    let said: BTreeSet<&str> = variables.map(|one| one.name.as_str()).collect();
    let fixed = (!settings.platform_ids).then_some(NOBODY);
    let own = PodSpec {
        service_account_name: record.content.service_account_name.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: fixed,
            run_as_group: fixed,
            fs_group: fixed,
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(
            owner,
            (revision, record, workers),
            settings,
            (grace, &said),
        )],
        volumes: Some(own.into_iter().chain(keys).chain(authorities).collect()),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            // A job that has to squeeze is better than one that waits.
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(revision_selector(&owner.name, revision)),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        }]),
        image_pull_secrets: (!settings.image_pull_secrets.is_empty()).then(|| {
            let secrets = settings.image_pull_secrets.iter().cloned();
            secrets.map(|name| LocalObjectReference { name }).collect()
        }),
        tolerations: Some(tolerations(
            template.tolerations.as_deref().unwrap_or_default(),
            settings.node_toleration_seconds,
        )),
        ..PodSpec::default()
    };
    merge(template, own)
}

fn container(
    owner: &Owner,
    (revision, record, workers): (u64, &RevisionRecord, u32),
    settings: &PodSettings,
    (grace, said): (i64, &BTreeSet<&str>),
) -> Container {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let ports = vec![
        port("api", JOB_API_PORT),
        port("data", DATA_PORT),
        port("control", CONTROL_PORT),
        port("health", HEALTH_PORT),
    ];
    let mut mounts = vec![mount("sql", SQL_FOLDER, true), mount("tmp", "/tmp", false)];
    if let Some(tls) = &record.tls {
        mounts.push(mount("keys", keys_folder(tls), true));
    }
    let log_level = if said.contains("RUST_LOG") {
        ""
    } else {
        &settings.log_level
    };
    let mut variables = environment(record, log_level);
    if settings.ca_bundle.is_some() {
        mounts.push(mount(CA_VOLUME, CA_FOLDER, true));
        let own = "SSL_CERT_DIR";
        let mut in_spec = record.content.env.iter();
        if !said.contains(own) && in_spec.all(|variable| variable.name != own) {
            variables.push(EnvVar {
                name: own.to_owned(),
                value: Some(CA_FOLDER.to_owned()),
                ..EnvVar::default()
            });
        }
    }
    Container {
        name: CONTAINER.to_owned(),
        image: Some(record.image.clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        args: Some(arguments(owner, revision, record, workers, grace)),
        env: Some(variables),
        env_from: settings
            .credentials_secret
            .as_ref()
            .map(|secret| vec![credentials(secret)]),
        ports: Some(ports),
        readiness_probe: Some(probe("/readyz", 1, 3)),
        liveness_probe: Some(probe("/healthz", 5, 6)),
        resources: record
            .resources
            .as_ref()
            .map(|resources| ResourceRequirements {
                requests: (!resources.requests.is_empty()).then(|| resources.requests.clone()),
                limits: (!resources.limits.is_empty()).then(|| resources.limits.clone()),
                ..ResourceRequirements::default()
            }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn keys_folder(tls: &Tls) -> &'static str {
    if tls.plaintext {
        TOKEN_FOLDER
    } else {
        TLS_FOLDER
    }
}

/// Flags of `streamjob-runtime node`.
fn arguments(
    owner: &Owner,
    revision: u64,
    record: &RevisionRecord,
    workers: u32,
    grace: i64,
) -> Vec<String> {
    let content = &record.content;
    let coordinator = format!(
        "{}:{CONTROL_PORT}",
        pod_address(&owner.name, &owner.namespace, revision, 0)
    );
    let mut flags = vec![
        ("job-namespace", owner.namespace.clone()),
        ("job-name", owner.name.clone()),
        ("job-uid", owner.uid.clone()),
        ("revision", revision.to_string()),
        ("workers", workers.to_string()),
        ("slots", content.slots.to_string()),
        ("max-parallelism", content.max_parallelism.to_string()),
        ("storage-uri", record.storage.uri.clone()),
        ("sql-file", format!("{SQL_FOLDER}/{SQL_KEY}")),
        (
            "checkpoint-interval",
            content.checkpoints.interval.to_string(),
        ),
        (
            "checkpoint-timeout",
            content.checkpoints.timeout.to_string(),
        ),
        ("retain", content.checkpoints.retain.to_string()),
        ("coordinator", coordinator),
        ("grace", format!("{grace}s")),
        ("listen-health", format!("0.0.0.0:{HEALTH_PORT}")),
    ];
    flags.extend(policies(record));
    if let Some(tls) = &record.tls {
        let flag = if tls.plaintext {
            "token-folder"
        } else {
            "tls-folder"
        };
        flags.push((flag, keys_folder(tls).to_owned()));
    }
    flags.extend(
        record
            .storage
            .endpoint
            .clone()
            .map(|endpoint| ("endpoint", endpoint)),
    );
    flags.extend(
        record
            .storage
            .region
            .clone()
            .map(|region| ("region", region)),
    );
    std::iter::once("node".to_owned())
        .chain(
            flags
                .into_iter()
                .map(|(flag, value)| format!("--{flag}={value}")),
        )
        .collect()
}

/// Flags that differ from the runtime's defaults: an older runtime need not know those that no job
/// asks for.
fn policies(record: &RevisionRecord) -> Vec<(&'static str, String)> {
    let content = &record.content;
    let backoff = &content.restart.backoff;
    let mut flags = Vec::new();
    if *backoff != Backoff::default() {
        flags.push(("restart-initial", backoff.initial.to_string()));
        flags.push(("restart-max", backoff.max.to_string()));
    }
    if content.checkpoints.guarantee == Guarantee::AtLeastOnce {
        flags.push(("guarantee", "AtLeastOnce".to_owned()));
    }
    if record.dropped_state == DroppedState::Allow {
        flags.push(("dropped-state", "Allow".to_owned()));
    }
    if record.standby == Standby::First {
        flags.push(("standby", "First".to_owned()));
    }
    if let Some(sse) = &record.storage.sse {
        let kind = match sse.kind {
            SseType::Kms => "aws:kms",
        };
        flags.push(("sse", kind.to_owned()));
        flags.extend(sse.kms_key_id.clone().map(|key| ("sse-kms-key-id", key)));
    }
    if record.storage.unsigned_payload {
        flags.push(("unsigned-payload", "true".to_owned()));
    }
    flags
}

fn environment(record: &RevisionRecord, log_level: &str) -> Vec<EnvVar> {
    let own = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut variables = vec![
        own("STREAMKEEPER_ADVERTISE_ADDRESS", "status.podIP"),
        own("STREAMKEEPER_POD_UID", "metadata.uid"),
    ];
    let user = &record.content.env;
    if !log_level.is_empty() && user.iter().all(|variable| variable.name != "RUST_LOG") {
        variables.push(EnvVar {
            name: "RUST_LOG".to_owned(),
            value: Some(log_level.to_owned()),
            ..EnvVar::default()
        });
    }
    // The operator's word on what SQL may use is not the user's to change.
    let user = user
        .iter()
        .filter(|variable| variable.name != SQL_VARIABLES);
    let names: Vec<&str> = user
        .clone()
        .map(|variable| variable.name.as_str())
        .collect();
    variables.push(EnvVar {
        name: SQL_VARIABLES.to_owned(),
        value: Some(names.join(",")),
        ..EnvVar::default()
    });
    variables.extend(user.map(variable));
    variables
}

fn variable(variable: &v1alpha1::EnvVar) -> EnvVar {
    let source = variable.value_from.as_ref().map(|source| EnvVarSource {
        secret_key_ref: source.secret_key_ref.as_ref().map(|key| SecretKeySelector {
            name: key.name.clone(),
            key: key.key.clone(),
            optional: key.optional,
        }),
        config_map_key_ref: source
            .config_map_key_ref
            .as_ref()
            .map(|key| ConfigMapKeySelector {
                name: key.name.clone(),
                key: key.key.clone(),
                optional: key.optional,
            }),
        ..EnvVarSource::default()
    });
    EnvVar {
        name: variable.name.clone(),
        value: variable.value.clone(),
        value_from: source,
    }
}

/// The kubelet reads the Secret; the operator only names it.
fn credentials(secret: &str) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret.to_owned(),
            optional: Some(true),
        }),
        ..EnvFromSource::default()
    }
}

/// Asks on a port of its own: the kubelet has no certificate of the job, and a NetworkPolicy can
/// open that port alone to whatever collects metrics.
fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// Kubernetes evicts pods from a lost node after 300 s by default, but nothing confirms their end
/// there, so they would only hang. The operator removes them by force much earlier, because HEAD
/// fences them; these tolerations keep Kubernetes from getting in its way whatever its timeout is
/// set to.
fn tolerations(user: &[Toleration], seconds: i64) -> Vec<Toleration> {
    let tolerated = |taint: &str| {
        user.iter()
            .any(|toleration| toleration.key.as_deref() == Some(taint))
    };
    let lost = LOST
        .into_iter()
        .filter(|taint| !tolerated(taint))
        .map(|taint| Toleration {
            key: Some(taint.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            toleration_seconds: Some(seconds),
            ..Toleration::default()
        });
    user.iter().cloned().chain(lost).collect()
}
