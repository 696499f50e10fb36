//! Flags and environment of the operator, validated once.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{ArgAction, Args};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use streamkeeper_api::{
    duration,
    v1alpha1::{Resources, S3, Sse},
};
use streamkeeper_lifecycle::{AllowedPlaces, Settings, revision::template::memory};
use streamkeeper_resources::{NetworkSettings, PodSettings};
use streamkeeper_security::{MasterKey, rustls::time_provider::DefaultTimeProvider};

use crate::keyring::Keyring;

/// Flags of `streamkeeper run`, as typed.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone, Args)]
pub struct RunFlags {
    /// Namespaces to watch, separated by commas; empty means all.
    #[arg(long, env = "STREAMKEEPER_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Namespace of the operator itself, where its Lease lies.
    #[arg(long, env = "STREAMKEEPER_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Name of this replica in the Lease.
    #[arg(long, env = "STREAMKEEPER_IDENTITY", default_value = "streamkeeper")]
    pub identity: String,
    /// Uid of this replica's pod, if it has one to itself: a process that starts again in it takes
    /// the Lease over from the one before it, which has ended.
    #[arg(long, env = "STREAMKEEPER_POD_UID")]
    pub pod_uid: Option<String>,
    /// Compete with other replicas for a Lease and do nothing but watch while another one holds it.
    /// Without it there may be one replica only.
    #[arg(long, env = "STREAMKEEPER_LEADER_ELECT")]
    pub leader_elect: bool,
    /// Name of the Lease.
    #[arg(long, env = "STREAMKEEPER_LEASE_NAME", default_value = "streamkeeper")]
    pub lease_name: String,
    /// How long the Lease of a replica that ended without a word keeps the others waiting.
    #[arg(long, env = "STREAMKEEPER_LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,
    /// Image of the runtime for jobs that name none.
    #[arg(
        long,
        env = "STREAMKEEPER_RUNTIME_IMAGE",
        default_value = "streamjob-runtime:dev"
    )]
    pub runtime_image: String,
    /// Pull policy of the runtime image.
    #[arg(long, env = "STREAMKEEPER_RUNTIME_IMAGE_PULL_POLICY")]
    pub runtime_image_pull_policy: Option<String>,
    /// Default storage of jobs that name none, like s3://bucket/prefix.
    #[arg(long, env = "STREAMKEEPER_STORAGE_URI")]
    pub storage_uri: Option<String>,
    /// Default region of buckets.
    #[arg(long, env = "STREAMKEEPER_STORAGE_REGION")]
    pub storage_region: Option<String>,
    /// Default URL of an S3-compatible server.
    #[arg(long, env = "STREAMKEEPER_STORAGE_ENDPOINT")]
    pub storage_endpoint: Option<String>,
    /// How the default storage encrypts the state of jobs (JSON), like
    /// {"type":"aws:kms","kmsKeyId":"alias/streams"}; empty: as the bucket says.
    #[arg(long, env = "STREAMKEEPER_STORAGE_SSE", value_parser = encryption)]
    pub storage_sse: Option<Encryption>,
    /// Whether jobs leave the content of writes to the default storage out of their signature; it
    /// takes https.
    #[arg(long, env = "STREAMKEEPER_STORAGE_UNSIGNED_PAYLOAD", default_value_t = false, action = ArgAction::Set)]
    pub storage_unsigned_payload: bool,
    /// Places beside the default storage where the operator may act with its own credentials, as a
    /// JSON list of {endpoint, bucket, prefix}.
    #[arg(long, env = "STREAMKEEPER_STORAGE_ALLOWED")]
    pub storage_allowed: Vec<AllowedPlaces>,
    /// Secret in the namespace of a job whose keys become environment variables of its workers.
    #[arg(long, env = "STREAMKEEPER_CREDENTIALS_SECRET")]
    pub credentials_secret: Option<String>,
    /// Log filter of the workers.
    #[arg(long, env = "STREAMKEEPER_RUNTIME_LOG", default_value = "info")]
    pub runtime_log: String,
    /// How long a node must be lost before its pods are force-deleted.
    #[arg(long, env = "STREAMKEEPER_NODE_LOST_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub node_lost_timeout: Duration,
    /// How long an image may fail to be pulled before a new revision is given up.
    #[arg(long, env = "STREAMKEEPER_IMAGE_PULL_GRACE", default_value = "20s", value_parser = duration)]
    pub image_pull_grace: Duration,
    /// How long a pod may be unschedulable before a new revision is given up.
    #[arg(long, env = "STREAMKEEPER_UNSCHEDULABLE_GRACE", default_value = "1m", value_parser = duration)]
    pub unschedulable_grace: Duration,
    /// How long the deletion of a StreamJob may wait for its last checkpoint.
    #[arg(long, env = "STREAMKEEPER_DELETE_TIMEOUT", default_value = "2m", value_parser = duration)]
    pub delete_timeout: Duration,
    /// Whether coordinators and workers of new revisions talk TLS 1.3, with certificates of their
    /// job on both sides. Without it only the token of the job, which anyone who reads the
    /// network sees, says who may call.
    #[arg(long, env = "STREAMKEEPER_TLS", default_value_t = true, action = ArgAction::Set)]
    pub tls: bool,
    /// File with the master key, at least 32 random bytes: from it follow the certificates and
    /// tokens of all jobs.
    #[arg(long, env = "STREAMKEEPER_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
    /// File with the master key before this one, for revisions that were started under it; it need
    /// not exist.
    #[arg(long, env = "STREAMKEEPER_PREVIOUS_MASTER_KEY_FILE")]
    pub previous_master_key_file: Option<PathBuf>,
    /// Whether /metrics is served.
    #[arg(long, env = "STREAMKEEPER_METRICS", default_value_t = true, action = ArgAction::Set)]
    pub metrics: bool,
    /// Whether every job gets a NetworkPolicy: only its own pods and the operator reach its ports.
    #[arg(long, env = "STREAMKEEPER_JOB_NETWORK_POLICIES", default_value_t = true, action = ArgAction::Set)]
    pub job_network_policies: bool,
    /// Labels of the operator's pods, like a=b,c=d, for the NetworkPolicies of jobs; empty means
    /// every pod of the operator's namespace.
    #[arg(long, env = "STREAMKEEPER_OPERATOR_LABELS", value_delimiter = ',', value_parser = label)]
    pub operator_labels: Vec<(String, String)>,
    /// Peers (JSON, as in a NetworkPolicy) that may read health and metrics of jobs; empty means
    /// everyone.
    #[arg(long, env = "STREAMKEEPER_JOB_METRICS_FROM", default_value = "[]", value_parser = peers)]
    pub job_metrics_from: Peers,
    /// Whether pods of jobs have PodDisruptionBudgets: of a revision, one pod is evicted at a time.
    #[arg(long, env = "STREAMKEEPER_JOB_DISRUPTION_BUDGETS", default_value_t = true, action = ArgAction::Set)]
    pub job_disruption_budgets: bool,
    /// Secrets in the namespace of a job with the credentials of the runtime's registry, separated
    /// by commas, for jobs that name none.
    #[arg(
        long,
        env = "STREAMKEEPER_JOB_IMAGE_PULL_SECRETS",
        value_delimiter = ','
    )]
    pub job_image_pull_secrets: Vec<String>,
    /// ConfigMap with certificates of private authorities (PEM), mounted into workers if the
    /// namespace of the job has one of that name.
    #[arg(long, env = "STREAMKEEPER_JOB_CA_BUNDLE")]
    pub job_ca_bundle: Option<String>,
    /// Resources (JSON) of workers whose job names none, like
    /// {"requests":{"cpu":"500m"},"limits":{"memory":"1Gi"}}.
    #[arg(long, env = "STREAMKEEPER_JOB_RESOURCES", value_parser = resources)]
    pub job_resources: Option<Resources>,
    /// Whether pods of jobs name the user and the groups that they run as; false where the platform
    /// gives them, as OpenShift does.
    #[arg(long, env = "STREAMKEEPER_JOB_FIXED_IDS", default_value_t = true, action = ArgAction::Set)]
    pub job_fixed_ids: bool,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "STREAMKEEPER_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

/// A value that is not empty: where a chart leaves one open, an empty variable may stand.
fn given(value: Option<&String>) -> Option<String> {
    value.filter(|value| !value.is_empty()).cloned()
}

/// Encryption by the store, if one is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption(pub Option<Sse>);

fn encryption(text: &str) -> Result<Encryption, String> {
    if text.trim().is_empty() {
        return Ok(Encryption(None));
    }
    let example = r#"write JSON like {"type":"aws:kms","kmsKeyId":"alias/streams"}"#;
    let read = serde_json::from_str(text).map_err(|error| format!("{error}; {example}"))?;
    Ok(Encryption(Some(read)))
}

/// A duration as Kubernetes writes it.
pub fn duration(text: &str) -> Result<Duration, duration::NotADuration> {
    text.parse::<duration::Duration>()
        .map(duration::Duration::to_std)
}

/// Peers of a NetworkPolicy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Peers(pub Vec<NetworkPolicyPeer>);

fn peers(text: &str) -> Result<Peers, String> {
    serde_json::from_str(text).map(Peers).map_err(|error| {
        format!("{error}; write a JSON list of peers, like [{{\"namespaceSelector\": {{}}}}]")
    })
}

fn resources(text: &str) -> Result<Resources, String> {
    let example = r#"write JSON like {"requests":{"cpu":"500m"},"limits":{"memory":"1Gi"}}"#;
    let read: Resources =
        serde_json::from_str(text).map_err(|error| format!("{error}; {example}"))?;
    match memory::fault(&read.requests).or_else(|| memory::fault(&read.limits)) {
        Some(why) => Err(why),
        None => Ok(read),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.trim().split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no label; write name=value")),
    }
}

/// A Lease knows whole seconds only, and one of a few seconds is lost whenever the API server takes
/// a breath.
fn lease_duration(text: &str) -> Result<Duration, String> {
    let given = duration(text).map_err(|error| error.to_string())?;
    if given < Duration::from_secs(3) || given.subsec_nanos() != 0 {
        return Err("a Lease lasts whole seconds, at least 3s; try 15s".to_owned());
    }
    Ok(given)
}

impl RunFlags {
    /// Namespaces to watch; none means all.
    pub fn namespaces(&self) -> Vec<Option<String>> {
        let mut named: Vec<Option<String>> = self
            .watch_namespaces
            .iter()
            .map(|name| name.trim())
            .filter(|name| !name.is_empty())
            .map(|name| Some(name.to_owned()))
            .collect();
        named.sort();
        named.dedup();
        if named.is_empty() { vec![None] } else { named }
    }

    /// The master keys.
    pub fn keyring(&self) -> Result<Keyring, String> {
        let key = |path: &Path, bytes: &[u8]| {
            MasterKey::new(bytes).map_err(|error| format!("{}: {error}", path.display()))
        };
        let unreadable = |path: &Path, error: io::Error| {
            format!("cannot read the master key {}: {error}", path.display())
        };
        let path = &self.master_key_file;
        let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
        let mut keys = vec![key(path, &bytes)?];
        if let Some(path) = &self.previous_master_key_file {
            match fs::read(path) {
                Ok(bytes) => keys.push(key(path, &bytes)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(path, error)),
            }
        }
        Ok(Keyring::new(keys, Arc::new(DefaultTimeProvider)))
    }

    /// What decisions depend on; new revisions are started under this master key.
    pub fn settings(&self, master_key: Option<String>) -> Settings {
        Settings {
            image: self.runtime_image.clone(),
            storage: given(self.storage_uri.as_ref()).map(|uri| S3 {
                uri,
                region: given(self.storage_region.as_ref()),
                endpoint: given(self.storage_endpoint.as_ref()),
                sse: self.storage_sse.clone().and_then(|encryption| encryption.0),
                unsigned_payload: Some(self.storage_unsigned_payload),
            }),
            storage_allowed: AllowedPlaces(
                self.storage_allowed
                    .iter()
                    .flat_map(|places| places.0.iter().cloned())
                    .collect(),
            ),
            node_lost_timeout: self.node_lost_timeout,
            image_pull_grace: self.image_pull_grace,
            unschedulable_grace: self.unschedulable_grace,
            delete_timeout: self.delete_timeout,
            master_key,
            tls: self.tls,
            resources: self.job_resources.clone(),
            disruption_budgets: self.job_disruption_budgets,
            ..Settings::default()
        }
    }

    /// What pods are built with.
    pub fn pod_settings(&self) -> PodSettings {
        PodSettings {
            credentials_secret: self.credentials_secret.clone(),
            image_pull_policy: self.runtime_image_pull_policy.clone(),
            log_level: self.runtime_log.clone(),
            node_toleration_seconds: i64::try_from(self.node_lost_timeout.as_secs()).unwrap_or(0)
                + 300,
            image_pull_secrets: (self.job_image_pull_secrets.iter())
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            platform_ids: !self.job_fixed_ids,
            ca_bundle: self.job_ca_bundle.clone().filter(|name| !name.is_empty()),
            network: self.job_network_policies.then(|| NetworkSettings {
                operator_namespace: self.namespace.clone(),
                operator_labels: self.operator_labels.iter().cloned().collect(),
                metrics_from: self.job_metrics_from.0.clone(),
            }),
        }
    }
}
