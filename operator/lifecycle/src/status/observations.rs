//! What the status keeps of what was observed: workers, checkpoint, restarts, failures, pauses.

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::{
    names::revision_selector_text,
    v1alpha1::{
        CheckpointStatus, Effective, FailureStatus, HistoryEntry, Outcome, RestartsStatus,
        RestoreStatus, Step, TransitionKind, WorkersStatus,
    },
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::{CheckpointReport, Pause, PauseReason, Report};

use crate::plan::units::{bytes, millis_at, seconds, time};
use crate::{
    observed::facts::PodFacts,
    plan::{
        action::EventKind,
        ownership::Ownership,
        plan_builder::{HISTORY, PlanBuilder},
    },
    status::failures,
};

/// A newer checkpoint alone is written at most this often.
const CHECKPOINT_EVERY_MS: i64 = 60_000;

/// Notes who runs the job. Decisions start from here, so this comes first.
pub(crate) fn owner(plan: &mut PlanBuilder<'_>) {
    let current = match &plan.ownership {
        Ownership::Runs { revision }
        | Ownership::Stopped { revision }
        | Ownership::Completed { revision }
        | Ownership::Released { revision } => *revision,
        Ownership::HandingOver { from, .. } => *from,
        Ownership::Unknown { .. } | Ownership::Nothing | Ownership::Foreign { .. } => return,
    };
    let revision = plan.status.revision.get_or_insert_default();
    // A late answer of an old coordinator never takes the job back.
    if revision
        .current
        .is_none_or(|known| guard!("the current revision only grows": known < current))
    {
        revision.current = Some(current);
    }
    revision.latest =
        guard!("the latest number only grows": revision.latest.max(current), else current);
}

/// Notes what the running revision says about itself.
pub(crate) fn observations(plan: &mut PlanBuilder<'_>) {
    workers(plan);
    evictions(plan);
    let Some(report) = plan
        .current()
        .and_then(|current| plan.input.report(current))
    else {
        return;
    };
    restarts(plan, report);
    pauses(plan, report);
    failures::note(plan, report);
    effective(plan, report);
}

/// Notes the newest checkpoint: at once when the rest of the status changes anyway, else now and
/// then.
pub(crate) fn checkpoint(plan: &mut PlanBuilder<'_>, changed: bool) {
    let Some(newest) = newest_checkpoint(plan) else {
        return;
    };
    let known = plan.status.last_checkpoint.as_ref();
    let due = known.is_none_or(|known| {
        let age =
            newest.completion_time.0.as_millisecond() - known.completion_time.0.as_millisecond();
        known.id < newest.id && (changed || age >= CHECKPOINT_EVERY_MS)
    });
    if due {
        plan.status.last_checkpoint = Some(newest);
    }
}

fn newest_checkpoint(plan: &PlanBuilder<'_>) -> Option<CheckpointStatus> {
    let reported = plan
        .current()
        .and_then(|current| plan.input.report(current))
        .and_then(|report| report.last_checkpoint.as_ref())
        .map(status_of);
    let uid = plan.input.uid();
    let head = plan
        .input
        .observed
        .head
        .known()
        .and_then(Option::as_ref)
        .filter(|head| head.job_uid == uid);
    let in_head = head.and_then(|head| head.last.as_ref()).map(|last| {
        status_of(&CheckpointReport {
            id: last.checkpoint,
            completed_ms: last.completed_ms,
            duration_ms: last.duration_ms,
            total_bytes: last.total_bytes,
            manifest: last.manifest.clone(),
            committed: last.committed,
        })
    });
    reported
        .into_iter()
        .chain(in_head)
        .max_by_key(|checkpoint| checkpoint.id)
}

fn status_of(checkpoint: &CheckpointReport) -> CheckpointStatus {
    CheckpointStatus {
        id: checkpoint.id,
        completion_time: millis_at(checkpoint.completed_ms),
        duration: Some(seconds(checkpoint.duration_ms)),
        size: Some(bytes(checkpoint.total_bytes)),
        uri: Some(checkpoint.manifest.clone()),
    }
}

fn workers(plan: &mut PlanBuilder<'_>) {
    let desired = plan.replicas();
    let Some(current) = plan.current().or_else(|| {
        plan.status
            .transition
            .as_ref()
            .and_then(|transition| transition.to)
    }) else {
        return;
    };
    let pods = &plan.input.revision(current).pods;
    let count = |all: usize| u32::try_from(all).unwrap_or(u32::MAX);
    let ready = count(pods.iter().filter(|pod| pod.ready && !pod.deleting).count());
    let name = plan.input.job.metadata.name.as_deref().unwrap_or_default();
    plan.status.workers = Some(WorkersStatus {
        desired,
        replicas: count(pods.len()),
        ready,
        summary: format!("{ready}/{desired}"),
        selector: revision_selector_text(name, current),
    });
}

fn effective(plan: &mut PlanBuilder<'_>, report: &Report) {
    let Some(record) = plan.current_record() else {
        return;
    };
    plan.status.effective = Some(Effective {
        version: report.version.clone(),
        image: record.image.clone(),
        storage_uri: record.storage.uri.clone(),
        parallelism: report.parallelism,
    });
}

/// Every start of the graph has its own attempt. A transition asks for one of them; those that none
/// asked for followed a failure.
fn restarts(plan: &mut PlanBuilder<'_>, report: &Report) {
    let Some(attempt) = report.attempt else {
        return;
    };
    let known = plan.status.restarts.clone().unwrap_or_default();
    if attempt <= known.attempt {
        return;
    }
    let asked_by = asked_for_a_start(plan, known.started_by.as_deref());
    let seen = attempt - known.attempt;
    let failed = if known.attempt == 0 {
        0
    } else {
        seen - u64::from(asked_by.is_some())
    };
    if failed > 0 {
        let why = report
            .last_failure
            .as_ref()
            .map_or("its coordinator was restarted", |failure| {
                failure.message.as_str()
            })
            .to_owned();
        plan.emit_event(EventKind::Warning, "JobRestarting", why);
    }
    plan.status.restarts = Some(RestartsStatus {
        count: known.count + failed,
        attempt,
        since: if failed == 0 {
            known.since
        } else {
            Some(time(plan.input.now))
        },
        started_by: asked_by.or(known.started_by),
    });
}

/// The key of the transition in progress, or of the one that ends in this pass, if it started the
/// job and that start was not `known` yet.
fn asked_for_a_start(plan: &PlanBuilder<'_>, known: Option<&str>) -> Option<String> {
    let written = plan.input.job.status.as_ref();
    let before = written.and_then(|status| status.transition.as_ref());
    [before, plan.status.transition.as_ref()]
        .into_iter()
        .flatten()
        .find(|transition| {
            let stops = matches!(
                transition.kind,
                TransitionKind::Suspend | TransitionKind::Delete
            );
            // One that has not reached the running revision yet starts nothing there.
            let waits = matches!(transition.step, Step::Preparing | Step::Scaling);
            !stops && !waits && known != Some(transition.key.as_str())
        })
        .map(|transition| transition.key.clone())
}

fn pauses(plan: &mut PlanBuilder<'_>, report: &Report) {
    for pause in report.pauses.iter().rev() {
        let Some(after) = pause.first_after_ms else {
            continue;
        };
        match pause.reason {
            PauseReason::Failure | PauseReason::CoordinatorRestart => restored(plan, pause, after),
            PauseReason::HandOver => fill(
                plan,
                &[
                    TransitionKind::Upgrade,
                    TransitionKind::Rollback,
                    TransitionKind::Restore,
                ],
                pause,
                after,
            ),
            PauseReason::Rescale => fill(plan, &[TransitionKind::Rescale], pause, after),
            PauseReason::Resume => fill(
                plan,
                &[TransitionKind::Resume, TransitionKind::Restore],
                pause,
                after,
            ),
        }
    }
}

/// A failure that is over becomes an entry of its own.
fn restored(plan: &mut PlanBuilder<'_>, pause: &Pause, after: i64) {
    let time = millis_at(after);
    let known = plan
        .status
        .history
        .iter()
        .any(|entry| entry.kind == TransitionKind::Restore && entry.time.0 >= time.0);
    let older_than_all = plan.status.history.len() >= HISTORY
        && plan
            .status
            .history
            .iter()
            .all(|entry| entry.time.0 > time.0);
    if known || older_than_all {
        return;
    }
    let length = length(pause, after);
    if let Some(checkpoint) = pause.restored_from {
        plan.status.last_restore = Some(RestoreStatus {
            checkpoint,
            time: time.clone(),
            pause: Some(length.clone()),
        });
    }
    let from = pause.restored_from.map_or_else(
        || "from nothing".to_owned(),
        |checkpoint| format!("from checkpoint {checkpoint}"),
    );
    plan.emit_event(
        EventKind::Normal,
        "JobRestored",
        format!("{from}, after {length} without records"),
    );
    plan.status.history.insert(
        0,
        HistoryEntry {
            revision: plan.current(),
            kind: TransitionKind::Restore,
            started: millis_at(pause.last_before_ms),
            time,
            pause: Some(length),
            restored_from: pause.restored_from,
            result: Outcome::Succeeded,
            message: String::new(),
        },
    );
    plan.status.history.truncate(HISTORY);
}

/// The pause of a transition is known some time after its end.
fn fill(plan: &mut PlanBuilder<'_>, kinds: &[TransitionKind], pause: &Pause, after: i64) {
    let length = length(pause, after);
    let after = millis_at(after);
    let entry = plan.status.history.iter_mut().find(|entry| {
        kinds.contains(&entry.kind)
            && entry.result == Outcome::Succeeded
            && entry.pause.is_none()
            && entry.started.0 <= after.0
    });
    if let Some(entry) = entry {
        entry.pause = Some(length.clone());
        entry.restored_from = pause.restored_from;
        if let Some(checkpoint) = pause.restored_from {
            plan.status.last_restore = Some(RestoreStatus {
                checkpoint,
                time: after,
                pause: Some(length),
            });
        }
    }
}

/// Notes what happened to a pod, and tells of it, unless the status knows of something as late
/// already.
pub(crate) fn happened(
    plan: &mut PlanBuilder<'_>,
    reason: &'static str,
    (event, pod): (&'static str, &PodFacts),
    since: Timestamp,
    message: String,
) {
    let known = plan.status.last_failure.as_ref();
    if known.is_some_and(|known| known.time.0 >= time(since).0) {
        return;
    }
    plan.emit_event(EventKind::Warning, event, message.clone());
    plan.status.last_failure = Some(FailureStatus {
        time: time(since),
        reason: reason.to_owned(),
        worker: Some(pod.name.clone()),
        message,
    });
}

/// Healthy pods of the running revision that are ended from outside.
fn evictions(plan: &mut PlanBuilder<'_>) {
    let Some(current) = plan.current() else {
        return;
    };
    for pod in &plan.input.revision(current).pods {
        let Some(disruption) = &pod.disruption else {
            continue;
        };
        let node = pod.node.as_deref().unwrap_or("unknown");
        let message = format!(
            "pod {} has to leave node {node} ({}: {}); it is given time for a final checkpoint, and the job goes on from there once its next pod is up",
            pod.name, disruption.reason, disruption.message
        );
        happened(
            plan,
            "Evicted",
            ("WorkerEvicted", pod),
            disruption.since,
            message,
        );
    }
}

fn length(pause: &Pause, after: i64) -> String {
    seconds(u64::try_from(after - pause.last_before_ms).unwrap_or(0))
}
