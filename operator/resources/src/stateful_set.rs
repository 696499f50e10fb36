//! The StatefulSet of a revision. Its template never changes: a change is a new revision.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use streamkeeper_api::names::{child_labels, revision_name, revision_selector};
use streamkeeper_lifecycle::{
    RevisionRecord,
    revision::template::{self, Template, TemplateError},
};

use super::{Owner, PodSettings, Size, pod};

/// The StatefulSet with so many workers.
pub fn build(
    owner: &Owner,
    revision: u64,
    record: &RevisionRecord,
    size: Size,
    settings: &PodSettings,
) -> Result<StatefulSet, TemplateError> {
    let template = match &record.content.pod_template {
        Some(template) => template::parse(template)?,
        None => Template::default(),
    };
    let mut labels = template.labels;
    labels.extend(child_labels(
        &owner.name,
        revision,
        env!("CARGO_PKG_VERSION"),
    ));
    Ok(StatefulSet {
        metadata: owner.metadata(revision),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::try_from(size.replicas).unwrap_or(i32::MAX)),
            service_name: Some(revision_name(&owner.name, revision)),
            // All workers at once, in any order: none of them waits for another.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            revision_history_limit: Some(1),
            selector: LabelSelector {
                match_labels: Some(revision_selector(&owner.name, revision)),
                ..LabelSelector::default()
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: (!template.annotations.is_empty()).then_some(template.annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::spec(
                    owner,
                    revision,
                    record,
                    size.workers,
                    settings,
                    template.pod,
                )),
            },
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    })
}
