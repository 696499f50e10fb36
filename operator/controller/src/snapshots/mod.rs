//! StreamSnapshots, as the reconcile loop sees them.
//!
//! * `observe`: the job, its coordinator and the work on the folder into facts.
//! * `needs`: which jobs folders stay for.
//! * `execute`: one call per action.

mod execute;
pub(crate) mod needs;
mod observe;

use kube::ResourceExt;
use streamkeeper_api::v1alpha1::{StreamSnapshot, StreamSnapshotStatus};
use streamkeeper_lifecycle::snapshots::{SnapshotAction, plan_snapshot};
use tracing::Span;

use crate::{
    context::shared::Context,
    reconcile::{Planned, Reconciled, error::ReconcileError},
    watches::written::Kind,
};

impl Reconciled for StreamSnapshot {
    const KIND: Kind = Kind::StreamSnapshot;
    type Action = SnapshotAction;
    type Status = StreamSnapshotStatus;

    fn span(&self) -> Span {
        tracing::info_span!(
            "snapshot",
            namespace = self.namespace().unwrap_or_default(),
            name = self.name_any()
        )
    }

    fn status(&self) -> Option<&StreamSnapshotStatus> {
        self.status.as_ref()
    }

    fn with_status(&self, status: StreamSnapshotStatus) -> Self {
        Self {
            status: Some(status),
            ..self.clone()
        }
    }

    async fn plan(&self, context: &Context) -> Result<Planned<Self>, ReconcileError> {
        let observed = observe::observe(self, context).await?;
        let plan = plan_snapshot(&observed.input(self, &context.settings, context.clock.now()));
        Ok(Planned {
            why: format!("phase {:?}", plan.status.phase),
            status: plan.status,
            actions: plan.actions,
            events: plan.events,
            also_about: observed.job_reference,
            requeue: plan.requeue,
        })
    }

    async fn execute(
        &self,
        action: &SnapshotAction,
        context: &Context,
    ) -> Result<(), ReconcileError> {
        execute::execute(action, self, context).await
    }

    fn describe(action: &SnapshotAction) -> (&'static str, String) {
        execute::describe(action)
    }

    fn is_released(&self, actions: &[SnapshotAction]) -> bool {
        actions.contains(&SnapshotAction::RemoveFinalizer)
    }

    fn at_rest(&self) -> &'static str {
        "settled"
    }
}
