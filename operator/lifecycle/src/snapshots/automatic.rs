//! StreamSnapshots that the operator takes of a job by itself: by schedule, before transitions, and
//! which of them are kept.

use jiff::Timestamp;
use streamkeeper_api::v1alpha1::{SnapshotPhase, SnapshotSummary, Transition};

use crate::plan::units::time;
use crate::{
    observed::facts::SnapshotFacts,
    plan::{
        action::{Action, Trigger},
        plan_builder::PlanBuilder,
    },
    snapshots::{needs::is_named, schedule},
};

/// Failed snapshots that are kept, the newest ones: enough to see why.
const FAILED: usize = 3;

/// How a snapshot stands that a transition waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It is complete.
    Done,
    /// It does not exist yet; this pass creates it.
    Begun(String),
    /// It exists and is not complete yet.
    Waiting(String),
    /// It will not come.
    Failed(String),
}

impl SnapshotFacts {
    pub(crate) fn is_complete(&self) -> bool {
        matches!(
            self.phase,
            Some(SnapshotPhase::Completed | SnapshotPhase::Verifying)
        ) && !self.deleting
            && !self.damaged
    }

    /// It is complete, and no check has found damage.
    fn is_good(&self) -> bool {
        self.is_complete() && self.phase == Some(SnapshotPhase::Completed)
    }

    pub(crate) fn is_in_progress(&self) -> bool {
        matches!(
            self.phase,
            None | Some(SnapshotPhase::Pending | SnapshotPhase::InProgress)
        )
    }
}

fn snapshot<'a>(plan: &PlanBuilder<'a>, name: &str) -> Option<&'a SnapshotFacts> {
    let all = &plan.input.observed.snapshots;
    all.iter().find(|found| found.name == name)
}

/// Name of the snapshot that a transition takes. The same whenever it is asked for, so that it
/// is created once.
fn name_for(plan: &PlanBuilder<'_>, transition: &Transition, trigger: Trigger) -> String {
    let job = plan.input.job.metadata.name.as_deref().unwrap_or_default();
    let moment = transition.key.rsplit('-').next().unwrap_or_default();
    format!("{job}-{}-{moment}", trigger.as_str().to_lowercase())
}

/// The snapshot of a transition, if there is one.
pub(crate) fn saved<'a>(
    plan: &PlanBuilder<'a>,
    transition: &Transition,
    trigger: Trigger,
) -> Option<&'a SnapshotFacts> {
    snapshot(plan, &name_for(plan, transition, trigger))
}

/// Takes a snapshot for a transition, or makes one of a savepoint that lies in `folder`
/// already, and says how it stands.
pub(crate) fn save(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    trigger: Trigger,
    folder: Option<String>,
) -> Saved {
    let name = name_for(plan, transition, trigger);
    let Some(found) = snapshot(plan, &name) else {
        plan.push_action(Action::CreateSnapshot {
            name: name.clone(),
            trigger,
            import: folder,
        });
        return Saved::Begun(format!("taking StreamSnapshot {name}"));
    };
    if found.is_complete() {
        return Saved::Done;
    }
    if found.is_in_progress() {
        let so_far = match found.message.as_str() {
            "" => String::new(),
            some => format!(": {some}"),
        };
        return Saved::Waiting(format!("waiting for StreamSnapshot {name}{so_far}"));
    }
    Saved::Failed(format!("StreamSnapshot {name} failed: {}", found.message))
}

/// Takes the snapshot that is due by the schedule. Runs that were missed are made up for by
/// one.
pub(crate) fn save_by_schedule(plan: &mut PlanBuilder<'_>) -> Result<(), String> {
    let snapshots = &plan.input.job.spec.snapshots;
    let Some(due) = schedule::newest(snapshots, plan.input.now)? else {
        // Nothing is made up for when it begins again.
        plan.status.last_schedule = None;
        return Ok(());
    };
    let Some(last) = plan.status.last_schedule.clone() else {
        plan.status.last_schedule = Some(time(plan.input.now));
        return Ok(());
    };
    if due <= last.0 {
        return Ok(());
    }
    let job = plan.input.job.metadata.name.as_deref().unwrap_or_default();
    let name = format!("{job}-{}", due.strftime("%Y%m%d-%H%M"));
    // Written down only once it is seen: a crash in between takes it all the same, and once.
    if snapshot(plan, &name).is_some() {
        plan.status.last_schedule = Some(time(due));
        return Ok(());
    }
    let busy = plan.input.observed.snapshots.iter().any(|found| {
        found.trigger.as_deref() == Some(Trigger::Schedule.as_str()) && found.is_in_progress()
    });
    if !busy {
        plan.push_action(Action::CreateSnapshot {
            name,
            trigger: Trigger::Schedule,
            import: None,
        });
    }
    Ok(())
}

/// Drops what retention does not keep of the snapshots that the operator took of this very job:
/// never the newest good one, never one that a job is to go to. One that is damaged, or is
/// being read again, takes no place of a good one. Of those that failed a few are kept.
pub(crate) fn drop_old_snapshots(plan: &mut PlanBuilder<'_>) {
    let retain = &plan.input.job.spec.snapshots.retain;
    let uid = plan.input.uid();
    let all = plan.input.observed.snapshots.iter();
    let mut own: Vec<&SnapshotFacts> = all
        .filter(|found| found.trigger.is_some() && found.taken_of.as_deref() == Some(uid))
        .filter(|found| !found.deleting)
        .collect();
    own.sort_by_key(|found| (std::cmp::Reverse(found.completed), found.name.clone()));
    let too_old = |found: &SnapshotFacts| {
        retain
            .max_age
            .zip(found.completed)
            .is_some_and(|(age, completed)| plan.input.passed(completed, age.to_std()))
    };
    let count = usize::try_from(retain.count).unwrap_or(usize::MAX).max(1);
    let mut dropped = Vec::new();
    let (mut good, mut failed) = (0, 0);
    for found in own {
        let goes = if found.phase == Some(SnapshotPhase::Completed) {
            good >= count || (good > 0 && too_old(found))
        } else {
            found.phase == Some(SnapshotPhase::Failed) && failed >= FAILED
        };
        good += usize::from(found.is_good());
        failed += usize::from(found.phase == Some(SnapshotPhase::Failed));
        if goes && !found.needed && !names(plan, found) {
            dropped.push(Action::DeleteSnapshot {
                name: found.name.clone(),
                uid: found.uid.clone(),
            });
        }
    }
    for action in dropped {
        plan.push_action(action);
    }
}

/// Whether `spec.restoreFrom` names a snapshot, acted on or not.
fn names(plan: &PlanBuilder<'_>, found: &SnapshotFacts) -> bool {
    let asked = plan.input.job.spec.restore_from.as_ref();
    asked.is_some_and(|asked| is_named(asked, Some(&found.name), found.uri.as_deref()))
}

/// Notes the newest complete snapshot, if there is one.
pub(crate) fn note_newest_snapshot(plan: &mut PlanBuilder<'_>) {
    let newest = plan
        .input
        .observed
        .snapshots
        .iter()
        .filter(|found| found.is_complete())
        .filter_map(|found| {
            let completed: Timestamp = found.completed?;
            Some((completed, found, found.checkpoint?, found.uri.clone()?))
        })
        .max_by_key(|(completed, found, ..)| (*completed, found.name.clone()));
    plan.status.last_snapshot = newest.map(|(completed, found, checkpoint, uri)| SnapshotSummary {
        name: found.name.clone(),
        checkpoint,
        completion_time: time(completed),
        uri,
    });
}
