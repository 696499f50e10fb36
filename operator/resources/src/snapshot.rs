//! A StreamSnapshot that the operator takes by itself. The StreamJob does not own it: it may
//! outlive the job.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use streamkeeper_api::{
    names::{JOB_LABEL, JOB_UID_LABEL, MANAGER, TRIGGER_LABEL},
    v1alpha1::{DeletionPolicy, ImportFrom, ObjectRef, StreamSnapshot, StreamSnapshotSpec},
};
use streamkeeper_lifecycle::Trigger;

use super::Owner;

/// The StreamSnapshot. Retention of the job drops its folder with it, but for the last one of a job
/// that is being deleted: such a snapshot stays, for the next job of that name has another uid.
pub fn snapshot(
    owner: &Owner,
    name: &str,
    trigger: Trigger,
    import: Option<&str>,
) -> StreamSnapshot {
    let labels = BTreeMap::from([
        (JOB_LABEL.to_owned(), owner.name.clone()),
        (JOB_UID_LABEL.to_owned(), owner.uid.clone()),
        (TRIGGER_LABEL.to_owned(), trigger.as_str().to_owned()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            MANAGER.to_owned(),
        ),
    ]);
    let deletion_policy = match trigger {
        Trigger::Delete => DeletionPolicy::Retain,
        Trigger::Schedule | Trigger::Upgrade | Trigger::Rescale | Trigger::Suspend => {
            DeletionPolicy::Delete
        }
    };
    StreamSnapshot {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(owner.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: StreamSnapshotSpec {
            job_ref: Some(ObjectRef {
                name: owner.name.clone(),
            }),
            import_from: import.map(|uri| ImportFrom {
                uri: uri.to_owned(),
            }),
            deletion_policy,
            ..StreamSnapshotSpec::default()
        },
        status: None,
    }
}
