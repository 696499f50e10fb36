//! StreamJobs, as the reconcile loop sees them.
//!
//! * `observe`: caches, Job API and S3 into [`streamkeeper_lifecycle::Observed`].
//! * `execute`: one call per action.
//! * `measure`: metrics of a job.
//! * `negative_control`: what the loop must never do, for a test; no image has it.

pub(crate) mod execute;
mod measure;
#[cfg(feature = "test-acts-first")]
mod negative_control;
pub(crate) mod observe;

use std::time::Duration;

use kube::{Resource, ResourceExt};
use streamkeeper_api::{
    names::FINALIZER,
    v1alpha1::{StreamJob, StreamJobStatus},
};
use streamkeeper_lifecycle::{Action, Input, plan};
use tracing::Span;

use crate::{
    context::shared::Context,
    reconcile::{Planned, Reconciled, error::ReconcileError},
    watches::written::Kind,
};

/// Time between two looks at a job that is settled and silent.
const SETTLED: Duration = Duration::from_mins(1);

impl Reconciled for StreamJob {
    const KIND: Kind = Kind::StreamJob;
    type Action = Action;
    type Status = StreamJobStatus;

    fn span(&self) -> Span {
        tracing::info_span!(
            "job",
            namespace = self.namespace().unwrap_or_default(),
            name = self.name_any()
        )
    }

    fn status(&self) -> Option<&StreamJobStatus> {
        self.status.as_ref()
    }

    fn with_status(&self, status: StreamJobStatus) -> Self {
        Self {
            status: Some(status),
            ..self.clone()
        }
    }

    async fn plan(&self, context: &Context) -> Result<Planned<Self>, ReconcileError> {
        let observed = observe::observe(self, context).await;
        let input = Input {
            job: self,
            observed: &observed,
            settings: &context.settings,
            now: context.clock.now(),
        };
        let plan = plan(&input);
        #[cfg(feature = "test-acts-first")]
        let plan = negative_control::act(&input, plan, context).await?;
        Ok(Planned {
            status: plan.status,
            actions: plan.actions,
            events: plan.events,
            also_about: None,
            requeue: plan.requeue.min(SETTLED),
            why: plan.why,
        })
    }

    async fn execute(&self, action: &Action, context: &Context) -> Result<(), ReconcileError> {
        execute::execute(action, self, context).await
    }

    fn describe(action: &Action) -> (&'static str, String) {
        execute::describe(action)
    }

    fn is_released(&self, actions: &[Action]) -> bool {
        self.meta().deletion_timestamp.is_some() && actions.contains(&Action::RemoveFinalizer)
    }

    fn at_rest(&self) -> &'static str {
        let status = self.status.as_ref();
        if status.is_some_and(|status| status.transition.is_some()) {
            "waiting"
        } else {
            "settled"
        }
    }

    fn measure(&self, before: &Self, context: &Context) {
        // What others hold is forgotten already.
        let ours = self.finalizers().iter().any(|name| name == FINALIZER);
        if ours || self.meta().deletion_timestamp.is_none() {
            measure::measure(self, context);
            measure::measure_transitions(before, self, context);
        }
    }

    fn count(outcome: &'static str, seconds: f64, context: &Context) {
        context.metrics.reconciled(outcome, seconds);
    }
}
