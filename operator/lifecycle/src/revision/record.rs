//! The content of a revision, as its ControllerRevision keeps it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use streamkeeper_api::{
    names,
    v1alpha1::{
        Checkpoints, DroppedState, EngineKind, EnvVar, PodTemplate, Resources, Restart, S3,
        Standby, StreamJob,
    },
};

use crate::{
    revision::{
        error::RenderError,
        storage::ResolvedStorage,
        template::{self, memory},
    },
    settings::Settings,
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
            storage: storage_of(job, settings, held)?,
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

/// The storage of a job. What the spec leaves open is as it was when the job got its state
/// (`held`): an operator with other defaults does not look for it elsewhere. Without state, the
/// operator's defaults say.
pub fn storage_of(
    job: &StreamJob,
    settings: &Settings,
    held: Option<&ResolvedStorage>,
) -> Result<ResolvedStorage, RenderError> {
    let storage = job.spec.storage.as_ref();
    let own = storage.and_then(|storage| storage.s3.as_ref());
    let held = held.map(ResolvedStorage::as_asked);
    let default = held.as_ref().or(settings.storage.as_ref());
    let chosen = own.or(default).ok_or(RenderError::NoStorage)?;
    let resolved = ResolvedStorage::resolve(chosen, default)?;
    // How is written may change while the state stays: the operator's defaults of today count,
    // where they are about this place.
    match settings.default_storage() {
        Ok(default) if own.is_none() && resolved.is_place_of(&default) => Ok(ResolvedStorage {
            sse: default.sse,
            unsigned_payload: default.unsigned_payload,
            ..resolved
        }),
        Ok(_) | Err(_) => Ok(resolved),
    }
}
