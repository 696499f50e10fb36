//! The content of a revision, as its ControllerRevision keeps it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use streamkeeper_api::{
    names,
    v1alpha1::{
        Checkpoints, DroppedState, EngineKind, EnvVar, PodTemplate, Resources, Restart, S3, Sse,
        Standby, StreamJob,
    },
};

use super::{
    grant,
    settings::Settings,
    template::{self, TemplateError, memory},
};

/// What a user asked for that only new pods can give: two contents are equal exactly when no new
/// revision is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Engine.
    pub engine: EngineKind,
    /// SQL text, its ConfigMap resolved.
    pub sql: String,
    /// Image as the spec names it; none means the operator's default at the time the revision was
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Subtasks per worker.
    pub slots: u32,
    /// Resources as the spec names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Pod template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Key groups.
    pub max_parallelism: u16,
    /// Storage as the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<S3>,
    /// Checkpoint schedule.
    pub checkpoints: Checkpoints,
    /// Waits between restarts.
    #[serde(default)]
    pub restart: Restart,
    /// Value of the restart annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
}

impl Content {
    /// What a job asks for.
    pub fn of(job: &StreamJob, sql: &str) -> Self {
        let spec = &job.spec;
        Self {
            engine: spec.engine,
            sql: sql.to_owned(),
            image: spec.image.clone(),
            env: spec.env.clone(),
            slots: spec.workers.slots.max(1),
            resources: spec.workers.resources.clone(),
            pod_template: spec.workers.pod_template.clone(),
            service_account_name: spec.service_account_name.clone(),
            max_parallelism: spec.max_parallelism,
            storage: spec.storage.as_ref().and_then(|storage| storage.s3.clone()),
            checkpoints: spec.checkpoints.clone(),
            restart: spec.restart.clone(),
            restarted_at: job
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(names::RESTARTED_AT))
                .cloned(),
        }
    }

    /// 16 hexadecimal digits that tell two contents apart.
    pub fn hash(&self) -> String {
        // A content consists of strings, numbers and maps keyed by strings: it always serialises.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(&bytes)[..8]);
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

/// A revision: what was asked for, and what the operator's defaults made of it at that time.
/// Immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// What was asked for.
    pub content: Content,
    /// Image that its pods run.
    pub image: String,
    /// Where its state lies.
    pub storage: ResolvedStorage,
    /// Resources of a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Whether it may drop state that its query does not have any more.
    #[serde(default)]
    pub dropped_state: DroppedState,
    /// Pods that stand by before it takes over.
    #[serde(default)]
    pub standby: Standby,
    /// Keys of its pods; none: a revision from before jobs without TLS had keys, which is talked to
    /// without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Keys of pods, and what they are used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Fingerprint of the master key that everything follows from.
    pub master_key: String,
    /// Whether the token alone is shown, without TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

/// Where state lies, defaults filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedStorage {
    /// `s3://bucket/prefix`, as the user wrote it.
    pub uri: String,
    /// Bucket.
    pub bucket: String,
    /// Prefix without leading or trailing slash; may be empty.
    pub prefix: String,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Endpoint; none means Amazon S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How the store encrypts what is written; none: as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
    /// Whether the content of writes is left out of their signature.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsigned_payload: bool,
}

/// Why a spec cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Neither the spec nor the operator names a storage.
    #[error(
        "spec.storage.s3.uri is not set and the operator has no default storage; set it to a place like s3://bucket/prefix"
    )]
    NoStorage,
    /// The URI is no S3 URI.
    #[error(
        "spec.storage.s3.uri `{0}` must name a bucket and optionally a prefix, like s3://bucket/prefix"
    )]
    BadUri(String),
    /// The bucket has a name that no store takes.
    #[error(
        "spec.storage.s3.uri `{uri}` names the bucket `{bucket}`, which is not the name of one: {why}"
    )]
    BadBucket {
        /// The URI.
        uri: String,
        /// Its bucket.
        bucket: String,
        /// What is wrong with it.
        why: String,
    },
    /// The pod template cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An amount of memory cannot be meant.
    #[error("spec.workers.resources.{list}: {why}")]
    Memory {
        /// `requests` or `limits`.
        list: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl ResolvedStorage {
    /// The storage of a job. What the spec leaves open is as it was when the job got its state
    /// (`held`): an operator with other defaults does not look for it elsewhere. Without state, the
    /// operator's defaults say.
    pub fn of(
        job: &StreamJob,
        settings: &Settings,
        held: Option<&Self>,
    ) -> Result<Self, RenderError> {
        let storage = job.spec.storage.as_ref();
        let own = storage.and_then(|storage| storage.s3.as_ref());
        let held = held.map(Self::as_asked);
        let default = held.as_ref().or(settings.storage.as_ref());
        let chosen = own.or(default).ok_or(RenderError::NoStorage)?;
        let resolved = Self::resolve(chosen, default)?;
        // How is written may change while the state stays: the operator's defaults of today count,
        // where they are about this place.
        match settings.default_storage() {
            Ok(default) if own.is_none() && resolved.is_place_of(&default) => Ok(Self {
                sse: default.sse,
                unsigned_payload: default.unsigned_payload,
                ..resolved
            }),
            Ok(_) | Err(_) => Ok(resolved),
        }
    }

    /// The same, as a spec would ask for it.
    fn as_asked(&self) -> S3 {
        S3 {
            uri: self.uri.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            sse: self.sse.clone(),
            unsigned_payload: Some(self.unsigned_payload),
        }
    }

    /// Whether state that lies here lies there too.
    pub fn is_place_of(&self, other: &Self) -> bool {
        (&self.bucket, &self.prefix) == (&other.bucket, &other.prefix)
            && self.is_in_store(other.endpoint.as_deref())
    }

    /// Whether the store with this endpoint is the one that it lies in.
    pub fn is_in_store(&self, endpoint: Option<&str>) -> bool {
        let here = self.endpoint.as_deref();
        here.map(|url| url.trim_end_matches('/')) == endpoint.map(|url| url.trim_end_matches('/'))
    }

    pub(super) fn resolve(s3: &S3, default: Option<&S3>) -> Result<Self, RenderError> {
        let bad = || RenderError::BadUri(s3.uri.clone());
        let rest = s3.uri.strip_prefix("s3://").ok_or_else(bad)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(bad());
        }
        if let Some(why) = grant::no_bucket(bucket) {
            return Err(RenderError::BadBucket {
                uri: s3.uri.clone(),
                bucket: bucket.to_owned(),
                why,
            });
        }
        Ok(Self {
            uri: s3.uri.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            region: s3
                .region
                .clone()
                .or_else(|| default.and_then(|default| default.region.clone())),
            endpoint: s3
                .endpoint
                .clone()
                .or_else(|| default.and_then(|default| default.endpoint.clone())),
            sse: s3.sse.clone(),
            unsigned_payload: s3.unsigned_payload.unwrap_or(false),
        })
    }
}

impl RevisionRecord {
    /// The revision that this job asks for now; its state lies where `held` says, if it has any.
    pub fn of(
        job: &StreamJob,
        sql: &str,
        settings: &Settings,
        held: Option<&ResolvedStorage>,
    ) -> Result<Self, RenderError> {
        let content = Content::of(job, sql);
        if let Some(template) = &content.pod_template {
            template::check(template)?;
        }
        if let Some(resources) = &content.resources {
            for (list, amounts) in [
                ("requests", &resources.requests),
                ("limits", &resources.limits),
            ] {
                if let Some(why) = memory::fault(amounts) {
                    return Err(RenderError::Memory { list, why });
                }
            }
        }
        Ok(Self {
            image: content
                .image
                .clone()
                .unwrap_or_else(|| settings.image.clone()),
            storage: ResolvedStorage::of(job, settings, held)?,
            resources: content
                .resources
                .clone()
                .or_else(|| settings.resources.clone()),
            dropped_state: job.spec.upgrade.dropped_state,
            standby: job.spec.upgrade.standby,
            tls: settings.master_key.clone().map(|master_key| Tls {
                master_key,
                plaintext: !settings.tls,
            }),
            content,
        })
    }

    /// Whether its pods would be the same, but for what they do before they have the job.
    pub fn makes_the_same_pods(&self, other: &Self) -> bool {
        let standby = self.standby;
        *self
            == Self {
                standby,
                ..other.clone()
            }
    }

    /// Whether trying the other one would be the same: equal content under the same rules.
    pub fn is_same_try(&self, other: &Self) -> bool {
        self.content == other.content && self.dropped_state == other.dropped_state
    }

    /// 16 hexadecimal digits that tell two tries apart. What was given up is tried again once it is
    /// more than it was: other content, or state that may be dropped now.
    pub fn try_hash(&self) -> String {
        let hash = self.content.hash();
        match self.dropped_state {
            DroppedState::Reject => hash,
            DroppedState::Allow => format!("{hash}-drop"),
        }
    }
}
