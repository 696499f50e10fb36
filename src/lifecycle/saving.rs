//! StreamSnapshots that the operator takes of a job by itself: by schedule, before transitions, and which of them are kept.

use jiff::Timestamp;

use super::{
    action::{Action, Trigger},
    draft::{Draft, time},
    observed::SnapshotFacts,
    schedule,
};
use crate::api::v1alpha1::{SnapshotPhase, SnapshotSummary, Transition};

/// How a snapshot stands that a transition waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saved {
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
    fn is_complete(&self) -> bool {
        matches!(
            self.phase,
            Some(SnapshotPhase::Completed | SnapshotPhase::Verifying)
        ) && !self.deleting
    }

    fn is_in_progress(&self) -> bool {
        matches!(
            self.phase,
            None | Some(SnapshotPhase::Pending | SnapshotPhase::InProgress)
        )
    }
}

impl Draft<'_> {
    fn snapshot(&self, name: &str) -> Option<&SnapshotFacts> {
        let all = &self.input.observed.snapshots;
        all.iter().find(|found| found.name == name)
    }

    /// Name of the snapshot that a transition takes. The same whenever it is asked for, so that it is created once.
    fn name_for(&self, transition: &Transition, trigger: Trigger) -> String {
        let job = self.input.job.metadata.name.as_deref().unwrap_or_default();
        let moment = transition.key.rsplit('-').next().unwrap_or_default();
        format!("{job}-{}-{moment}", trigger.as_str().to_lowercase())
    }

    /// Takes a snapshot for a transition, or makes one of a savepoint that lies in `folder` already, and says how it stands.
    pub(super) fn save(
        &mut self,
        transition: &Transition,
        trigger: Trigger,
        folder: Option<String>,
    ) -> Saved {
        let name = self.name_for(transition, trigger);
        let Some(found) = self.snapshot(&name) else {
            self.act(Action::CreateSnapshot {
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

    /// Takes the snapshot that is due by the schedule. Runs that were missed are made up for by one.
    pub(super) fn save_by_schedule(&mut self) -> Result<(), String> {
        let snapshots = &self.input.job.spec.snapshots;
        let Some(due) = schedule::newest(snapshots, self.input.now)? else {
            // Nothing is made up for when it begins again.
            self.status.last_schedule = None;
            return Ok(());
        };
        let Some(last) = self.status.last_schedule.clone() else {
            self.status.last_schedule = Some(time(self.input.now));
            return Ok(());
        };
        if due <= last.0 {
            return Ok(());
        }
        let job = self.input.job.metadata.name.as_deref().unwrap_or_default();
        let name = format!("{job}-{}", due.strftime("%Y%m%d-%H%M"));
        // Written down only once it is seen: a crash in between takes it all the same, and once.
        if self.snapshot(&name).is_some() {
            self.status.last_schedule = Some(time(due));
            return Ok(());
        }
        let busy = self.input.observed.snapshots.iter().any(|found| {
            found.trigger.as_deref() == Some(Trigger::Schedule.as_str()) && found.is_in_progress()
        });
        if !busy {
            self.act(Action::CreateSnapshot {
                name,
                trigger: Trigger::Schedule,
                import: None,
            });
        }
        Ok(())
    }

    /// Drops what retention does not keep: of the snapshots that the operator took, never the newest complete one, never one that the job is to go back to.
    pub(super) fn drop_old_snapshots(&mut self) {
        let retain = &self.input.job.spec.snapshots.retain;
        let mut own: Vec<&SnapshotFacts> = self
            .input
            .observed
            .snapshots
            .iter()
            .filter(|found| found.trigger.is_some() && found.is_complete())
            .collect();
        own.sort_by_key(|found| (std::cmp::Reverse(found.completed), found.name.clone()));
        let too_old = |found: &SnapshotFacts| {
            retain
                .max_age
                .zip(found.completed)
                .is_some_and(|(age, completed)| self.input.passed(completed, age.to_std()))
        };
        let asked_for = self
            .input
            .job
            .spec
            .restore_from
            .as_ref()
            .and_then(|asked| asked.snapshot_ref.as_ref())
            .map(|snapshot| snapshot.name.clone());
        let count = usize::try_from(retain.count).unwrap_or(usize::MAX).max(1);
        let dropped: Vec<Action> = own
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(rank, found)| *rank >= count || too_old(found))
            .filter(|(_, found)| asked_for.as_deref() != Some(found.name.as_str()))
            .map(|(_, found)| Action::DeleteSnapshot {
                name: found.name.clone(),
                uid: found.uid.clone(),
            })
            .collect();
        for action in dropped {
            self.act(action);
        }
    }

    /// Notes the newest complete snapshot.
    pub(super) fn note_newest_snapshot(&mut self) {
        let newest = self
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
        if let Some((completed, found, checkpoint, uri)) = newest {
            self.status.last_snapshot = Some(SnapshotSummary {
                name: found.name.clone(),
                checkpoint,
                completion_time: time(completed),
                uri,
            });
        }
    }
}
