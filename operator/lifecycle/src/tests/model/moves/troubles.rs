//! What people ask for, and what breaks.

use crate::tests::model::{
    Step,
    moves::Moved,
    world::{CONTENTS, Job, Pod, Process, REVISIONS, Spec, World, small},
};

/// What people ask for.
pub(in crate::tests::model) fn edits(world: &World, out: &mut Vec<(Step, Moved)>) {
    let Some(job) = world.job.filter(|job| !job.deleting && world.edits > 0) else {
        return;
    };
    let mut edit = |step: Step, change: &dyn Fn(&mut World)| {
        let mut next = world.clone();
        next.edits -= 1;
        change(&mut next);
        out.push((step, Ok(next)));
    };
    let mut spec = |change: &dyn Fn(&mut Spec)| {
        let mut wanted = job.spec;
        change(&mut wanted);
        edit(Step::Edits(wanted), &|world| {
            if let Some(job) = &mut world.job {
                job.spec = wanted;
            }
        });
    };
    for content in (0..CONTENTS).filter(|content| *content != job.spec.content) {
        spec(&|spec| spec.content = content);
    }
    spec(&|spec| spec.workers = 3 - spec.workers);
    spec(&|spec| spec.suspended = !spec.suspended);
    edit(Step::Deletes, &|world| {
        world.job = world.job.filter(|job| job.finalizer).map(|job| Job {
            deleting: true,
            ..job
        });
    });
}

/// What breaks, and what mends itself.
pub(in crate::tests::model) fn faults(world: &World, out: &mut Vec<(Step, Moved)>) {
    let mut happens = |step: Step, cost: u8, change: &dyn Fn(&mut World)| {
        if world.faults >= cost {
            let mut next = world.clone();
            next.faults -= cost;
            change(&mut next);
            out.push((step, Ok(next)));
        }
    };
    for revision in 1..=small(REVISIONS as u64) {
        let known = &world.revisions[usize::from(revision) - 1];
        for (pod, state) in known.pods.iter().enumerate() {
            if *state != Pod::Up {
                continue;
            }
            let ordinal = small(pod as u64);
            happens(Step::Crashes(revision, ordinal), 1, &|world| {
                let known = world.revision(revision);
                known.pods[pod] = Pod::Sick;
                if pod == 0 {
                    known.process = None;
                }
            });
        }
        if known.pods[0] == Pod::Up && world.zombie.is_none() {
            happens(Step::LosesNode(revision), 1, &|world| {
                let known = world.revision(revision);
                known.pods[0] = Pod::Lost;
                let process = known.process.take();
                world.zombie = process
                    .filter(Process::leads)
                    .map(|process| (revision, process));
            });
            if world.deaf == 0 {
                happens(Step::Deaf(revision), 1, &|world| world.deaf = revision);
            }
        }
    }
    if world.deaf > 0 {
        happens(Step::Deaf(0), 0, &|world| world.deaf = 0);
    }
    if world.storage_down {
        happens(Step::Storage(true), 0, &|world| world.storage_down = false);
    } else if world.began {
        happens(Step::Storage(false), 1, &|world| world.storage_down = true);
    }
    // Before the status knows that it ran, no fact tells it.
    let known = world.job.is_some_and(|job| job.status.current > 0);
    // A request outlives its operator by moments, and no user empties a bucket in these.
    let known = known && world.late.is_none();
    if world.head.is_some() && known && !world.storage_down {
        happens(Step::LosesHead, 1, &|world| world.head = None);
    }
    if world.frozen.is_some() {
        happens(Step::Thaws, 0, &|world| world.frozen = None);
    } else if let Some(job) = world.job.filter(|job| job.finalizer) {
        happens(Step::Freezes, 1, &|world| {
            let mut seen = world.revisions;
            for revision in &mut seen {
                revision.process = None;
            }
            world.frozen = Some(Box::new((job, seen)));
        });
    }
}
