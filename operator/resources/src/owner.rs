//! The StreamJob that owns the objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::{Resource, ResourceExt};
use streamkeeper_api::{
    names::{child_labels, keys_name, revision_name},
    v1alpha1::StreamJob,
};
use streamkeeper_security::JobKey;

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
    /// Secret with its keys; only needed for pods that get any.
    pub keys: Option<String>,
}

impl Owner {
    /// The owner; none for an object that did not come from an API server.
    pub fn of(job: &StreamJob) -> Option<Self> {
        Some(Self {
            namespace: job.namespace()?,
            name: job.name_any(),
            uid: job.uid()?,
            reference: job.controller_owner_ref(&())?,
            keys: None,
        })
    }

    /// This owner, with the Secret that holds these keys.
    #[must_use]
    pub fn with_keys(self, key: &JobKey) -> Self {
        let keys = Some(keys_name(&self.name, &key.tag()));
        Self { keys, ..self }
    }

    /// Metadata of an object of a revision. Nothing of the StreamJob's own labels and annotations
    /// is copied: tools that track by them would take the object for theirs.
    pub(super) fn metadata(&self, revision: u64) -> ObjectMeta {
        ObjectMeta {
            name: Some(revision_name(&self.name, revision)),
            namespace: Some(self.namespace.clone()),
            labels: Some(child_labels(
                &self.name,
                revision,
                env!("CARGO_PKG_VERSION"),
            )),
            owner_references: Some(vec![self.reference.clone()]),
            ..ObjectMeta::default()
        }
    }
}
