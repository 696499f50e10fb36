//! What happens outside the operator: pods come and go, coordinators claim, run and end as the real
//! rules of HEAD let them, people edit, things break.

mod coordinator;
mod troubles;

use std::collections::HashMap;

use self::coordinator::coordinator;
pub(super) use self::{
    coordinator::command,
    troubles::{edits, faults},
};

use crate::tests::model::{
    Rules, Step,
    world::{PODS, Pod, Process, REVISIONS, Record, Role, Stands, World, small},
};

/// Which coordinator: the one in pod 0 of a revision, or the one on a lost node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    InPod(u8),
    Zombie,
}

/// What the rules of HEAD said before.
pub(super) type Claims = HashMap<(Option<Record>, u8, u8), Option<Record>>;

type Moved = Result<World, String>;

impl World {
    pub(super) fn process(&self, who: Who) -> Option<(u8, Process)> {
        match who {
            Who::InPod(revision) => {
                let known = &self.revisions[usize::from(revision) - 1];
                (known.pods[0] == Pod::Up)
                    .then_some(known.process)
                    .flatten()
                    .map(|process| (revision, process))
            }
            Who::Zombie => self.zombie,
        }
    }

    fn put(&mut self, who: Who, process: Process) {
        match who {
            Who::InPod(revision) => self.revision(revision).process = Some(process),
            Who::Zombie => {
                if let Some((_, zombie)) = &mut self.zombie {
                    *zombie = process;
                }
            }
        }
    }

    /// A write of HEAD, and what every one must keep.
    fn write(&mut self, next: Record) -> Result<(), String> {
        match &self.head {
            None if self.began => {
                return Err("the job was started from nothing although it ran before".to_owned());
            }
            None => {}
            Some(before) => {
                if (next.revision, next.attempt) < (before.revision, before.attempt) {
                    return Err(format!(
                        "(revision, attempt) went back from {:?} to {:?}",
                        (before.revision, before.attempt),
                        (next.revision, next.attempt)
                    ));
                }
                if before.saved && !next.saved {
                    return Err("the restore point was lost".to_owned());
                }
            }
        }
        if matches!(next.state, Stands::HandingOver(_)) && !next.saved {
            return Err("the job was handed over without a restore point".to_owned());
        }
        self.began = true;
        self.head = Some(next);
        Ok(())
    }

    /// What controllers of the cluster do at once: a StatefulSet has as many pods as it asks for,
    /// nothing outlives its owner.
    pub(super) fn settle(&mut self) {
        for revision in &mut self.revisions {
            if self.job.is_none() {
                revision.record = None;
                revision.extras = false;
                revision.set = None;
            }
            let wanted = usize::from(revision.set.unwrap_or(0));
            for (ordinal, pod) in revision.pods.iter_mut().enumerate() {
                match pod {
                    Pod::Absent if ordinal < wanted => *pod = Pod::Starting,
                    Pod::Starting | Pod::Up | Pod::Sick if ordinal >= wanted => {
                        *pod = Pod::Leaving;
                    }
                    Pod::Absent
                    | Pod::Starting
                    | Pod::Up
                    | Pod::Sick
                    | Pod::Leaving
                    | Pod::Lost
                    | Pod::LostLong => {}
                }
            }
        }
        self.normalise();
    }
}

/// Everything that may happen by itself, without faults.
pub(super) fn ordinary(
    world: &World,
    rules: Rules,
    claims: &mut Claims,
    out: &mut Vec<(Step, Moved)>,
) {
    for revision in 1..=small(REVISIONS as u64) {
        for pod in 0..PODS {
            pods(world, revision, pod, out);
        }
        coordinator(world, Who::InPod(revision), rules, claims, out);
    }
    coordinator(world, Who::Zombie, rules, claims, out);
}

fn pods(world: &World, revision: u8, pod: usize, out: &mut Vec<(Step, Moved)>) {
    let now = world.revisions[usize::from(revision) - 1].pods[pod];
    let step = Step::Pod(revision, small(pod as u64));
    match now {
        Pod::Starting | Pod::Sick => {
            let mut next = world.clone();
            let known = next.revision(revision);
            known.pods[pod] = Pod::Up;
            if pod == 0 {
                known.process = Some(Process::NEW);
            }
            out.push((step, Ok(next)));
        }
        Pod::Leaving => {
            let mut next = world.clone();
            let known = next.revision(revision);
            known.pods[pod] = Pod::Absent;
            let process = if pod == 0 { known.process.take() } else { None };
            let mut moved = Ok(());
            // It is asked to end: one more checkpoint if records flow.
            if let (Some(process), Some(head)) = (process, world.head)
                && process.role == Role::Running
                && process.attempt == head.attempt
                && !world.storage_down
            {
                moved = next.write(Record {
                    saved: true,
                    ..head
                });
            }
            out.push((step, moved.map(|()| next)));
        }
        Pod::Absent | Pod::Up | Pod::Lost | Pod::LostLong => {}
    }
}

/// Time: every deadline that counts from now or before is over. None if there is none.
pub(super) fn wait(world: &World) -> Option<World> {
    let mut next = world.clone();
    if let Some(transition) = next
        .job
        .as_mut()
        .and_then(|job| job.status.transition.as_mut())
    {
        transition.late = true;
        transition.step_late = true;
    }
    for pod in next
        .revisions
        .iter_mut()
        .flat_map(|revision| &mut revision.pods)
    {
        if *pod == Pod::Lost {
            *pod = Pod::LostLong;
        }
    }
    (next != *world).then_some(next)
}
