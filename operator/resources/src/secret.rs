//! The Secret with the keys of a job. Written once, before the pods that mount it, and never read.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube_core::Resource as _;
use streamkeeper_api::names::{JOB_LABEL, MANAGER};
use streamkeeper_security::Material;

use super::Owner;

/// Builds the Secret of the job that `material` is about.
pub fn build(owner: &Owner, material: &Material) -> Secret {
    let mut secret = Secret {
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        data: Some(
            material
                .files()
                .map(|(name, content)| (name.to_owned(), ByteString(content)))
                .into(),
        ),
        ..Secret::default()
    };
    let meta = secret.meta_mut();
    meta.name.clone_from(&owner.keys);
    meta.namespace = Some(owner.namespace.clone());
    meta.owner_references = Some(vec![owner.reference.clone()]);
    meta.labels = Some(
        [
            (JOB_LABEL, owner.name.as_str()),
            ("app.kubernetes.io/managed-by", MANAGER),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    );
    secret
}
