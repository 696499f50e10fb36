//! One call per action.

use kube::{Api, ResourceExt};
use streamkeeper_api::{names::SNAPSHOT_FINALIZER, v1alpha1::StreamSnapshot};
use streamkeeper_lifecycle::{JobCall, snapshots::SnapshotAction};

use super::super::{context::Context, error::ReconcileError, execute::call};
use crate::kube_ext::{delete, set_finalizer};

/// Does one action.
pub(super) async fn execute(
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
