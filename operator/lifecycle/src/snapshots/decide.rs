//! What happens next to a StreamSnapshot, decided by one pure function, [`plan_snapshot`].

use streamkeeper_api::v1alpha1::{DeletionPolicy, SnapshotPhase, StreamSnapshot};

use crate::snapshots::{
    action::{SnapshotAction, SnapshotPlan},
    input::{SnapshotInput, SnapshotJob},
    plan_builder::{SOON, SnapshotPlanBuilder, Verdict, waiting, wish},
    retention, take,
};

/// Whether something hangs on the job that is not taken back: where the snapshot lies, or that it
/// has failed. A late cache of it will not do then.
pub fn is_decided_by(snapshot: &StreamSnapshot, job: Option<&SnapshotJob>) -> bool {
    let status = snapshot.status.as_ref();
    let phase = status.and_then(|status| status.phase);
    let ended = matches!(
        phase,
        Some(SnapshotPhase::Completed | SnapshotPhase::Verifying | SnapshotPhase::Failed)
    );
    if ended || snapshot.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let begun = status.is_some_and(|status| status.uri.is_some());
    if snapshot.spec.import_from.is_some() {
        return !begun;
    }
    job.map_or(begun, |job| {
        let runs = job.current.is_some() && !job.suspended;
        job.deleting || job.completed || (runs && !begun)
    })
}

/// Whether a snapshot is complete, or has failed, and no user asks for anything: then its job does
/// not matter to it.
pub fn is_at_rest(snapshot: &StreamSnapshot) -> bool {
    let ended = snapshot.status.as_ref().is_some_and(|status| {
        matches!(
            status.phase,
            Some(SnapshotPhase::Completed | SnapshotPhase::Failed)
        ) && wish(snapshot).is_none_or(|wish| status.verified_for.as_ref() == Some(wish))
    });
    ended && snapshot.metadata.deletion_timestamp.is_none()
}

/// What to do next about a snapshot. Total and deterministic.
pub fn plan_snapshot(input: &SnapshotInput<'_>) -> SnapshotPlan {
    let mut plan = SnapshotPlanBuilder {
        input: *input,
        status: input.snapshot.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        events: Vec::new(),
        requeue: SOON,
    };
    let verdict = decide(&mut plan);
    plan.write(&verdict);
    SnapshotPlan {
        status: plan.status,
        actions: plan.actions,
        events: plan.events,
        requeue: plan.requeue,
    }
}

fn decide(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    let spec = &plan.input.snapshot.spec;
    if plan.input.snapshot.metadata.deletion_timestamp.is_some() {
        return retention::delete(plan);
    }
    if spec.deletion_policy == DeletionPolicy::Delete && !plan.holds_finalizer() {
        plan.actions.push(SnapshotAction::AddFinalizer);
        return waiting("the StreamSnapshot was seen");
    }
    match plan.status.phase {
        // It was never seen complete.
        Some(SnapshotPhase::Verifying) if plan.status.completion_time.is_none() => take::take(plan),
        Some(SnapshotPhase::Completed | SnapshotPhase::Verifying) => retention::keep(plan),
        Some(SnapshotPhase::Failed) => retention::failed_before(plan),
        None
        | Some(SnapshotPhase::Pending | SnapshotPhase::InProgress | SnapshotPhase::Deleting) => {
            take::take(plan)
        }
    }
}
