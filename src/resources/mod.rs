//! The Kubernetes objects of a revision: pure builders, one file per kind.
//!
//! A revision is a ControllerRevision (its content), a ConfigMap (the SQL text), a headless Service and a StatefulSet, all named `{job}-r{n}` and owned by the StreamJob.

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{ConfigMap, Service},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};

use crate::{api::v1alpha1::StreamJob, lifecycle::RevisionRecord};

/// The StreamJob that owns the objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Reference to it, as controller.
    pub reference: OwnerReference,
}

impl Owner {
    /// The owner; none for an object that did not come from an API server.
    pub fn of(job: &StreamJob) -> Option<Self> {
        Some(Self {
            namespace: job.namespace()?,
            name: job.name_any(),
            uid: job.uid()?,
            reference: job.controller_owner_ref(&())?,
        })
    }
}

/// What the operator's configuration says about pods.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodSettings {
    /// Secret in the namespace of the job whose keys become environment variables of the workers (S3 credentials), if it exists there. Never read by the operator.
    pub credentials_secret: Option<String>,
    /// Pull policy of the runtime image; unset means the default of Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Log filter of the workers.
    pub log_level: String,
    /// Seconds that a pod tolerates a lost node, so that the operator decides first.
    pub node_toleration_seconds: i64,
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

/// The objects of a revision.
pub fn children(owner: &Owner, revision: u64, record: &RevisionRecord, replicas: u32, settings: &PodSettings) -> Children {
    let _ = (owner, revision, record, replicas, settings);
    Children {
        controller_revision: ControllerRevision::default(),
        config_map: ConfigMap::default(),
        service: Service::default(),
        stateful_set: StatefulSet::default(),
    }
}
