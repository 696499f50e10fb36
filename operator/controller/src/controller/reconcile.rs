//! The loop body: observe, plan, persist, execute. It decides nothing.

use std::sync::Arc;

use kube::{Api, Resource, ResourceExt, runtime::controller::Action as Requeue};
use streamkeeper_api::{
    duration,
    names::FINALIZER,
    v1alpha1::{HistoryEntry, StreamJob},
};
use streamkeeper_lifecycle::{Input, Plan, plan};
use tracing::Instrument;

use super::{
    context::Context,
    error::{ReconcileError, retry_after},
    execute::{describe, execute},
    expectations::Kind,
    observe::observe,
    watch::SETTLED,
};
use crate::{
    kube_ext::{bounded, write_status_unless_changed},
    metrics::JobFacts,
};

/// Reconciles one job.
pub(super) async fn reconcile(
    job: Arc<StreamJob>,
    context: Arc<Context>,
) -> Result<Requeue, ReconcileError> {
    // The Controller waits for the StreamJobs only.
    context.caches.filled().await;
    let began = context.clock.now();
    let span = tracing::info_span!(
        "job",
        namespace = job.namespace().unwrap_or_default(),
        name = job.name_any()
    );
    let result = Box::pin(pass(&job, &context)).instrument(span).await;
    let seconds = (context.clock.now().as_millisecond() - began.as_millisecond()).max(0);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one pass")]
    let seconds = seconds as f64 / 1000.0;
    let outcome = match &result {
        Ok((outcome, _)) => outcome,
        Err(_) => "failed",
    };
    context.metrics.reconciled(outcome, seconds);
    result.map(|(_, requeue)| {
        context.succeeded(&job.uid().unwrap_or_default());
        requeue
    })
}

/// When to try again after a failure.
#[expect(clippy::needless_pass_by_value, reason = "as the Controller calls it")]
pub(super) fn on_error(
    job: Arc<StreamJob>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Requeue {
    let failures = context.failed(&job.uid().unwrap_or_default());
    tracing::warn!(namespace = job.namespace().unwrap_or_default(), name = job.name_any(), %error, failures, "reconcile failed");
    let asked = error.asked_to_wait();
    if !asked.is_zero() {
        context.wait(&job.uid().unwrap_or_default(), asked);
    }
    Requeue::requeue(retry_after(failures).max(asked))
}

async fn pass(
    job: &StreamJob,
    context: &Context,
) -> Result<(&'static str, Requeue), ReconcileError> {
    let api: Api<StreamJob> = Api::namespaced(
        context.client.0.clone(),
        &job.namespace().unwrap_or_default(),
    );
    let uid = job.uid().unwrap_or_default();
    if let Some(behind) = context.behind(job) {
        tracing::debug!(what = ?behind.what, "not seen yet");
        return Ok(("behind", Requeue::requeue(behind.after)));
    }
    if let Err(wait) = context.turn(&uid) {
        tracing::debug!(?wait, "changes too often");
        return Ok(("paced", Requeue::requeue(wait)));
    }
    let observed = observe(job, context).await;
    let input = Input {
        job,
        observed: &observed,
        settings: &context.settings,
        now: context.clock.now(),
    };
    let plan = plan(&input);
    tracing::debug!(why = plan.why, actions = plan.actions.len(), "planned");
    #[cfg(feature = "test-acts-first")]
    let plan = super::acting_first::act(&input, plan, context).await?;

    let Some(current) = persist(&api, job, &plan, context).await? else {
        // The world moved on; what is planned next starts from there.
        return Ok(("conflict", Requeue::requeue(retry_after(0))));
    };
    // What others hold is forgotten already.
    let ours = current.finalizers().iter().any(|name| name == FINALIZER);
    if ours || current.meta().deletion_timestamp.is_none() {
        measure(&current, context);
        measure_transitions(job, &current, context);
    }
    let reference = current.object_ref(&());
    for event in &plan.events {
        tracing::info!(reason = event.reason, note = event.note, "event");
        context.events.publish(&reference, event).await;
    }
    for action in &plan.actions {
        let (verb, detail) = describe(action);
        tracing::info!(verb, detail, why = plan.why, "acting");
        execute(action, &current, context).await?;
    }
    if current.meta().deletion_timestamp.is_some()
        && plan
            .actions
            .contains(&streamkeeper_lifecycle::Action::RemoveFinalizer)
    {
        context.forget(&current.uid().unwrap_or_default());
        context.metrics.forget_job(
            &current.namespace().unwrap_or_default(),
            &current.name_any(),
        );
        return Ok(("acted", Requeue::await_change()));
    }
    let outcome = if !plan.actions.is_empty() {
        "acted"
    } else if current
        .status
        .as_ref()
        .is_some_and(|status| status.transition.is_some())
    {
        "waiting"
    } else {
        "settled"
    };
    Ok((outcome, Requeue::requeue(plan.requeue.min(SETTLED))))
}

/// Writes the planned status, if it differs, to exactly the version that was observed; answers the
/// object to act on, or nothing when it had changed. With nothing to write but something to do, the
/// version is checked all the same: the cache may be late.
async fn persist(
    api: &Api<StreamJob>,
    job: &StreamJob,
    plan: &Plan,
    context: &Context,
) -> Result<Option<StreamJob>, ReconcileError> {
    let same = job.status.as_ref() == Some(&plan.status)
        || (job.status.is_none()
            && plan.status == streamkeeper_api::v1alpha1::StreamJobStatus::default());
    if same {
        if plan.actions.is_empty() {
            return Ok(Some(job.clone()));
        }
        let fresh = bounded(
            "read",
            format!("StreamJob {}", job.name_any()),
            api.get_opt(&job.name_any()),
        )
        .await?;
        return Ok(fresh.filter(|fresh| fresh.resource_version() == job.resource_version()));
    }
    let mut next = job.clone();
    next.status = Some(plan.status.clone());
    let written = write_status_unless_changed(api, &next).await?;
    if let Some(written) = &written {
        let uid = job.uid().unwrap_or_default();
        context.wrote_version(&uid, Kind::StreamJob, written);
    }
    Ok(written)
}

fn measure(job: &StreamJob, context: &Context) {
    let Some(status) = &job.status else { return };
    let effective = status.effective.as_ref();
    let facts = JobFacts {
        restarts: status
            .restarts
            .as_ref()
            .map_or(0, |restarts| restarts.count),
        last_checkpoint: status
            .last_checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.completion_time.0.as_second()),
        conditions: status
            .conditions
            .iter()
            .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
            .collect(),
        engine: format!("{:?}", job.spec.engine),
        version: effective.map_or("", |effective| effective.version.as_str()),
        image: effective.map_or("", |effective| effective.image.as_str()),
        revision: status.current_revision().unwrap_or(0),
    };
    context.metrics.observe_job(
        &job.namespace().unwrap_or_default(),
        &job.name_any(),
        &facts,
    );
}

/// Transitions that ended with this pass, and pauses that became known with it.
fn measure_transitions(before: &StreamJob, after: &StreamJob, context: &Context) {
    let history = |job: &StreamJob| {
        let status = job.status.as_ref();
        status.map(|status| status.history.clone())
    };
    let (known, Some(entries)) = (history(before).unwrap_or_default(), history(after)) else {
        return;
    };
    let (namespace, name) = (after.namespace().unwrap_or_default(), after.name_any());
    for entry in entries {
        let same = |other: &&HistoryEntry| {
            other.kind == entry.kind && other.started == entry.started && other.time == entry.time
        };
        let earlier = known.iter().find(same);
        if earlier.is_none() {
            let took = entry.time.0.duration_since(entry.started.0);
            context.metrics.ended(
                &namespace,
                &name,
                (&format!("{:?}", entry.kind), &format!("{:?}", entry.result)),
                took.as_secs_f64().max(0.0),
            );
        }
        let pause = entry.pause.as_deref().and_then(|pause| {
            let length: duration::Duration = pause.parse().ok()?;
            Some(length.to_std())
        });
        if let Some(pause) = pause.filter(|_| earlier.is_none_or(|entry| entry.pause.is_none())) {
            context
                .metrics
                .paused(&namespace, &name, pause.as_secs_f64());
        }
    }
}
