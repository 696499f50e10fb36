//! Metrics of a job after a pass.

use kube::ResourceExt;
use streamkeeper_api::{
    duration,
    v1alpha1::{HistoryEntry, StreamJob},
};

use crate::{context::shared::Context, metrics::JobFacts};

/// Sets what is known of a job.
pub(super) fn measure(job: &StreamJob, context: &Context) {
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
pub(super) fn measure_transitions(before: &StreamJob, after: &StreamJob, context: &Context) {
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
