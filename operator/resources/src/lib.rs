//! The Kubernetes objects of a revision: pure builders, one file per kind.
//!
//! A revision is a ControllerRevision (its content), a ConfigMap (the SQL text), a headless Service
//! and a StatefulSet, all named `{job}-r{n}` and owned by the StreamJob.
//!
//! * [`owner`]: the StreamJob that owns them.
//! * [`objects`]: ControllerRevision, ConfigMap, Service.
//! * [`stateful_set`] and [`pod`]: the workers; `template`: merged into what the user says of the
//!   pods.
//! * [`network_policy`]: who may reach the workers, one policy for all revisions.
//! * [`secret`]: the keys of a job, one for all its revisions.
//! * [`snapshot`]: StreamSnapshots that the operator takes by itself.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod network_policy;
pub mod objects;
pub mod owner;
pub mod pod;
pub mod secret;
pub mod snapshot;
pub mod stateful_set;
mod template;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Service},
};

pub use self::{network_policy::NetworkSettings, owner::Owner, snapshot::snapshot};
use streamkeeper_lifecycle::{RevisionRecord, revision::template::TemplateError};

/// What the operator's configuration says about pods.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodSettings {
    /// Secret in the namespace of the job whose keys become environment variables of the workers
    /// (S3 credentials), if it exists there. Never read by the operator.
    pub credentials_secret: Option<String>,
    /// Pull policy of the runtime image; unset means the default of Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Log filter of the workers.
    pub log_level: String,
    /// Seconds that a pod tolerates a lost node: longer than the operator waits, so that the
    /// operator decides.
    pub node_toleration_seconds: i64,
    /// What NetworkPolicies of jobs say; none: jobs get none.
    pub network: Option<NetworkSettings>,
    /// Secrets with the credentials of the runtime's registry, for jobs that name none.
    pub image_pull_secrets: Vec<String>,
    /// ConfigMap in the namespace of the job with certificates of private authorities, if it exists
    /// there.
    pub ca_bundle: Option<String>,
    /// Whether the platform gives pods their user and groups (OpenShift), so that they name none
    /// themselves.
    pub platform_ids: bool,
}

/// How large a revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Workers that it runs on once it has the job.
    pub workers: u32,
    /// Worker pods to begin with.
    pub replicas: u32,
}

impl Size {
    /// A revision all of whose pods start at once.
    pub const fn of(workers: u32) -> Self {
        Self {
            workers,
            replicas: workers,
        }
    }
}

/// The objects of one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Children {
    /// Content.
    pub controller_revision: ControllerRevision,
    /// SQL text.
    pub config_map: ConfigMap,
    /// Addresses of the pods.
    pub service: Service,
    /// Pods.
    pub stateful_set: StatefulSet,
}

/// Builds the objects of a revision; fails only for a pod template that this version cannot read.
pub fn children(
    owner: &Owner,
    revision: u64,
    record: &RevisionRecord,
    size: Size,
    settings: &PodSettings,
) -> Result<Children, TemplateError> {
    Ok(Children {
        controller_revision: objects::controller_revision(owner, revision, record),
        config_map: objects::config_map(owner, revision, record),
        service: objects::service(owner, revision),
        stateful_set: stateful_set::build(owner, revision, record, size, settings)?,
    })
}
