//! StreamSnapshots: the same loop as for jobs, around [`streamkeeper_lifecycle::snapshots`].
//!
//! * [`observe`]: the job, its coordinator and the work on the folder into facts.
//! * [`needs`]: for whose sake folders stay.
//! * [`execute`]: one call per action.
//! * [`waiting`]: who is looked at when a job changes.
//! * [`work`]: work on folders, beside the reconciles.

mod execute;
pub(super) mod needs;
mod observe;
mod waiting;
mod work;

use std::sync::Arc;

use kube::{Api, Resource, ResourceExt, runtime::controller::Action as Requeue};
use tracing::Instrument;

pub(super) use self::{waiting::Waiting, work::FolderTasks};
use super::{
    context::Context,
    error::{ReconcileError, retry_after},
};
use crate::kube_ext::write_status_unless_changed;
use streamkeeper_api::v1alpha1::StreamSnapshot;
use streamkeeper_lifecycle::snapshots::{SnapshotAction, SnapshotPlan, plan_snapshot};

/// Reconciles one snapshot.
pub(super) async fn reconcile(
    snapshot: Arc<StreamSnapshot>,
    context: Arc<Context>,
) -> Result<Requeue, ReconcileError> {
    context.caches.filled().await;
    let span = tracing::info_span!(
        "snapshot",
        namespace = snapshot.namespace().unwrap_or_default(),
        name = snapshot.name_any()
    );
    let requeue = pass(&snapshot, &context).instrument(span).await?;
    context.succeeded(&snapshot.uid().unwrap_or_default());
    Ok(requeue)
}

/// When to try again after a failure.
#[expect(clippy::needless_pass_by_value, reason = "as the Controller calls it")]
pub(super) fn on_error(
    snapshot: Arc<StreamSnapshot>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Requeue {
    let failures = context.failed(&snapshot.uid().unwrap_or_default());
    tracing::warn!(namespace = snapshot.namespace().unwrap_or_default(), name = snapshot.name_any(), %error, failures, "reconcile of a snapshot failed");
    Requeue::requeue(retry_after(failures).max(error.asked_to_wait()))
}

async fn pass(
    snapshot: &StreamSnapshot,
    context: &Arc<Context>,
) -> Result<Requeue, ReconcileError> {
    let observed = observe::observe(snapshot, context).await?;
    let plan = plan_snapshot(&observed.input(snapshot, &context.settings, context.clock.now()));
    tracing::debug!(actions = plan.actions.len(), phase = ?plan.status.phase, "planned");
    let Some(current) = persist(snapshot, &plan, context).await? else {
        return Ok(Requeue::requeue(retry_after(0)));
    };
    let about = [Some(current.object_ref(&())), observed.job_reference];
    for event in &plan.events {
        tracing::info!(reason = event.reason, note = event.note, "event");
        for reference in about.iter().flatten() {
            context.events.publish(reference, event).await;
        }
    }
    for action in &plan.actions {
        tracing::info!(?action, "acting");
        execute::execute(action, &current, context).await?;
    }
    if plan.actions.contains(&SnapshotAction::RemoveFinalizer) {
        context.forget(&current.uid().unwrap_or_default());
        return Ok(Requeue::await_change());
    }
    Ok(Requeue::requeue(plan.requeue))
}

/// Writes the planned status, if it differs, to exactly the version that was observed; answers the
/// object to act on, or nothing when it had changed.
async fn persist(
    snapshot: &StreamSnapshot,
    plan: &SnapshotPlan,
    context: &Context,
) -> Result<Option<StreamSnapshot>, ReconcileError> {
    if snapshot.status.as_ref() == Some(&plan.status) {
        return Ok(Some(snapshot.clone()));
    }
    let api: Api<StreamSnapshot> = Api::namespaced(
        context.client.0.clone(),
        &snapshot.namespace().unwrap_or_default(),
    );
    let mut next = snapshot.clone();
    next.status = Some(plan.status.clone());
    Ok(write_status_unless_changed(&api, &next).await?)
}
