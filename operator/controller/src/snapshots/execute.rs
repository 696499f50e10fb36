//! One call per action.

use kube::{Api, ResourceExt};
use streamkeeper_api::{names::SNAPSHOT_FINALIZER, v1alpha1::StreamSnapshot};
use streamkeeper_lifecycle::{JobCall, snapshots::SnapshotAction};

use crate::kube_ext::{delete, set_finalizer};
use crate::{context::shared::Context, jobs::execute::call, reconcile::error::ReconcileError};

/// Does one action.
pub(crate) async fn execute(
    action: &SnapshotAction,
    snapshot: &StreamSnapshot,
    context: &Context,
) -> Result<(), ReconcileError> {
    let namespace = snapshot.namespace().ok_or(ReconcileError::NoIdentity)?;
    let uid = snapshot.uid().ok_or(ReconcileError::NoIdentity)?;
    let api: Api<StreamSnapshot> = Api::namespaced(context.client.0.clone(), &namespace);
    match action {
        SnapshotAction::AddFinalizer => {
            set_finalizer(&api, snapshot, SNAPSHOT_FINALIZER, true).await?;
            Ok(())
        }
        SnapshotAction::RemoveFinalizer => {
            set_finalizer(&api, snapshot, SNAPSHOT_FINALIZER, false).await?;
            Ok(())
        }
        SnapshotAction::DeleteObject => Ok(delete(&context.client.0, &namespace, snapshot).await?),
        SnapshotAction::ForgetWork => {
            context.works.forget(&uid);
            Ok(())
        }
        SnapshotAction::Begin {
            work,
            place,
            job_uid,
        } => {
            let folders = context.ports.folders.clone();
            context
                .works
                .begin(&uid, *work, folders, place.clone(), job_uid.clone());
            Ok(())
        }
        SnapshotAction::Ask { revision, request } => {
            let job = snapshot.spec.job_ref.as_ref();
            let job = job.map_or("", |job| job.name.as_str());
            let at = (namespace.as_str(), job, *revision);
            call(context, at, &uid, &JobCall::Savepoint(request.clone())).await
        }
    }
}

/// Verb and detail of an action, for the log.
pub(super) fn describe(action: &SnapshotAction) -> (&'static str, String) {
    match action {
        SnapshotAction::AddFinalizer => ("add", "finalizer".to_owned()),
        SnapshotAction::RemoveFinalizer => ("remove", "finalizer".to_owned()),
        SnapshotAction::DeleteObject => ("delete", "StreamSnapshot".to_owned()),
        SnapshotAction::ForgetWork => ("forget", "work on the folder".to_owned()),
        SnapshotAction::Begin { work, place, .. } => {
            ("begin", format!("{work:?} below {}", place.key()))
        }
        SnapshotAction::Ask { revision, request } => (
            "ask",
            format!("revision {revision} for savepoint {}", request.key),
        ),
    }
}
