//! Complete, failed or deleted: what becomes of a snapshot afterwards.

use std::time::Duration;

use jiff::Timestamp;
use streamkeeper_api::{
    condition::{self, kind, sentence},
    names::SNAPSHOT_FINALIZER,
    v1alpha1::SnapshotPhase,
};
use streamkeeper_protocol::head::OperationResult;

use crate::{
    observed::facts::DAMAGED,
    snapshots::{
        action::SnapshotAction,
        folder,
        folder_work::{TroubleKind, Work},
        input::SnapshotJob,
        plan_builder::{
            QUIET, SELDOM, SOON, SnapshotPlanBuilder, Verdict, WorkWait, time_left, wish,
        },
    },
};
use crate::{
    observed::facts::Fact,
    plan::{action::EventKind, units::time},
};

/// How seldom to try to remove a folder again.
const AT_LEAST_EVERY: Duration = Duration::from_mins(5);
/// How long a coordinator that does not answer may be copying.
const SILENCE: Duration = Duration::from_mins(1);

/// It is being deleted.
pub(super) fn delete(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    if !plan.holds_finalizer() {
        return Verdict::Reconciling("Deleting", "it holds nothing of ours".to_owned());
    }
    let since = plan.input.snapshot.metadata.deletion_timestamp.as_ref();
    let since = since.map_or(plan.input.now, |since| since.0);
    if let Some(job) = plan.input.needed_by {
        plan.requeue = plan.pace(since, SOON, SELDOM);
        let message = format!(
            "StreamJob {job} is to go on from it (spec.restoreFrom); it is removed after, or once that is taken back"
        );
        return Verdict::Reconciling("Deleting", message);
    }
    if plan.status.uri.is_none() {
        plan.actions.push(SnapshotAction::RemoveFinalizer);
        return Verdict::Reconciling("Deleting", "it has no folder".to_owned());
    }
    if let Some(why) = folder::must_stay(plan) {
        return left(plan, &why);
    }
    if let Some(why) = is_written_to(plan, since) {
        return Verdict::Reconciling("Deleting", format!("{why}; its folder is removed after"));
    }
    match folder::work(plan, Work::Remove) {
        Ok(_) => removed(plan),
        Err(WorkWait::Trouble(trouble)) if trouble.kind == TroubleKind::Missing => removed(plan),
        Err(WorkWait::Trouble(trouble)) if trouble.kind == TroubleKind::NotOurs => {
            left(plan, &trouble.message)
        }
        Err(WorkWait::NotAllowed(why)) => left(plan, &why),
        Err(WorkWait::Trouble(trouble)) => {
            plan.actions.push(SnapshotAction::ForgetWork);
            plan.requeue = plan.pace(since, Duration::from_secs(10), AT_LEAST_EVERY);
            let message = format!(
                "its folder could not be removed and is tried again: {} To leave the folder, remove the finalizer {SNAPSHOT_FINALIZER}",
                sentence(&trouble.message)
            );
            Verdict::Stalled(trouble.kind.reason(), message)
        }
        Err(WorkWait::Running(progress)) => {
            Verdict::Reconciling("Deleting", format!("removing its folder{progress}"))
        }
    }
}

/// Whether its coordinator still copies: what it writes after the folder is removed would be
/// no job's. That is not waited for without end, for it may never be told.
fn is_written_to(plan: &SnapshotPlanBuilder<'_>, since: Timestamp) -> Option<String> {
    let timeout = plan.input.snapshot.spec.timeout.to_std();
    let runs = |job: &SnapshotJob| job.current.is_some() && !job.suspended && !job.completed;
    let (why, limit) = match plan.input.operation {
        Fact::Known(Some(operation)) if operation.result == OperationResult::Running => {
            ("the job is still copying to it".to_owned(), timeout)
        }
        Fact::Unknown(unknown)
            if plan.status.checkpoint.is_none()
                && plan.input.snapshot.spec.import_from.is_none()
                && plan.input.job.is_some_and(runs) =>
        {
            let why = format!("waiting for whoever may be copying to it: {}", unknown.why);
            (why, timeout.min(SILENCE))
        }
        Fact::Known(_) | Fact::Unknown(_) => return None,
    };
    (!plan.passed(since, limit)).then_some(why)
}

pub(super) fn removed(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    plan.actions.push(SnapshotAction::RemoveFinalizer);
    let uri = plan.status.uri.clone().unwrap_or_default();
    plan.emit_event(
        EventKind::Normal,
        "SnapshotDeleted",
        format!("{uri} was removed"),
    );
    Verdict::Reconciling("Deleting", "its folder is gone".to_owned())
}

/// The object goes and the folder stays.
fn left(plan: &mut SnapshotPlanBuilder<'_>, why: &str) -> Verdict {
    plan.actions.push(SnapshotAction::RemoveFinalizer);
    let uri = plan.status.uri.clone().unwrap_or_default();
    let message =
        format!("{uri} was left as it is: {why}; remove the folder yourself if nothing needs it");
    plan.emit_event(EventKind::Normal, "SnapshotFolderKept", message);
    Verdict::Reconciling("Deleting", "its folder stays".to_owned())
}

/// It is complete: is it to be verified again, is its time up?
pub(super) fn keep(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    expire(plan);
    let wish = wish(plan.input.snapshot).cloned();
    let complete = plan.status.checkpoint.as_ref().map_or_else(
        || "it is complete".to_owned(),
        |held| format!("it holds checkpoint {}", held.id),
    );
    if wish.is_none() || wish == plan.status.verified_for {
        plan.status.phase = Some(SnapshotPhase::Completed);
        return match condition::get(&plan.status.conditions, kind::STALLED) {
            Some(known) if known.reason == DAMAGED => {
                Verdict::Stalled(DAMAGED, known.message.clone())
            }
            Some(_) | None => Verdict::Ready(complete),
        };
    }
    plan.requeue = SOON;
    plan.status.phase = Some(SnapshotPhase::Verifying);
    match folder::work(plan, Work::Verify) {
        Ok(_) => {
            plan.status.verified_for = wish;
            plan.status.verified_time = Some(time(plan.input.now));
            plan.status.phase = Some(SnapshotPhase::Completed);
            plan.actions.push(SnapshotAction::ForgetWork);
            condition::clear(&mut plan.status.conditions, kind::STALLED);
            Verdict::Ready(format!("{complete}, and all its checksums are right"))
        }
        Err(WorkWait::Trouble(trouble)) => {
            plan.actions.push(SnapshotAction::ForgetWork);
            if matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Damaged) {
                plan.status.verified_for = wish;
                plan.status.phase = Some(SnapshotPhase::Completed);
                let message = format!(
                    "{}; do not restore from it, take another one",
                    trouble.message
                );
                plan.emit_event(EventKind::Warning, "SnapshotFailed", message.clone());
                return Verdict::Stalled(DAMAGED, message);
            }
            plan.requeue = Duration::from_secs(10);
            Verdict::Stalled(trouble.kind.reason(), trouble.message)
        }
        Err(WorkWait::NotAllowed(why)) => {
            plan.actions.push(SnapshotAction::ForgetWork);
            plan.status.verified_for = wish;
            plan.status.phase = Some(SnapshotPhase::Completed);
            Verdict::Ready(format!(
                "{complete}; its checksums were not compared: {why}"
            ))
        }
        Err(WorkWait::Running(progress)) => {
            Verdict::Reconciling("Verifying", format!("comparing checksums{progress}"))
        }
    }
}

pub(super) fn failed_before(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    expire(plan);
    match condition::get(&plan.status.conditions, kind::STALLED) {
        Some(known) => Verdict::Stalled("SnapshotFailed", known.message.clone()),
        None => Verdict::Stalled("SnapshotFailed", "it failed".to_owned()),
    }
}

/// Deletes the object when its time is up, and looks again then.
pub(super) fn expire(plan: &mut SnapshotPlanBuilder<'_>) {
    plan.requeue = QUIET;
    let ended = plan.status.completion_time.as_ref();
    if let (Some(ttl), Some(ended)) = (plan.input.snapshot.spec.ttl, ended) {
        let ttl = ttl.to_std();
        if plan.passed(ended.0, ttl) {
            plan.actions.push(SnapshotAction::DeleteObject);
        } else {
            let left = time_left(plan.input.now, ended.0, ttl);
            plan.requeue = left.clamp(SOON, QUIET);
        }
    }
}
