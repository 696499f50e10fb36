//! What the operator does: it looks, writes its status, and acts, one effect after the other; it
//! may end between any two, and what it sent may arrive late.

use std::collections::HashMap;

use streamkeeper_api::v1alpha1::TransitionKind;

use crate::tests::model::{
    Rules, Step,
    moves::command,
    search::print,
    translate::{self, Answer, NEW, Sight},
    world::{Act, Pod, REVISIONS, Stands, Status, World, small},
};

/// What `plan` said before, by the print of what it was asked.
pub(super) type Plans = HashMap<u128, (Status, Vec<Act>)>;

type Moved = Result<World, String>;

impl World {
    /// Everything that a pass depends on; of the operator with the old caches, if `old`. It reads
    /// HEAD itself, or is `told` of it by the coordinators that answer.
    pub(super) fn sight(&self, old: bool, told: bool) -> Option<Sight> {
        let (job, mut revisions) = if old {
            **self.frozen.as_ref()?
        } else {
            (self.job?, self.revisions)
        };
        let mut answers = [None; REVISIONS];
        for (at, answer) in answers.iter_mut().enumerate() {
            let number = small(at as u64 + 1);
            let addressed = !matches!(revisions[at].pods[0], Pod::Absent | Pod::Starting);
            let live = &self.revisions[at];
            if !addressed || live.pods[0] != Pod::Up || self.deaf == number {
                continue;
            }
            *answer = live.process.map(|process| Answer {
                role: process.role,
                attempt: process.attempt,
                workers: if process.workers == 0 {
                    live.set.unwrap_or(1)
                } else {
                    process.workers
                },
                saved: process.saved,
                compiles: crate::tests::model::world::compiles(self.used[at].saturating_sub(1)),
                operation: process.operation,
            });
            revisions[at].process = None;
        }
        for revision in &mut revisions {
            revision.process = None;
        }
        // One whose query does not compile reads nothing.
        let seen = !told || answers.iter().flatten().any(|answer| answer.compiles);
        Some(Sight {
            job,
            revisions,
            answers,
            head: (seen && !self.storage_down).then_some(self.head),
            told,
            refusal: self.refusal,
        })
    }

    /// Whether it goes on beyond what this world has numbers for.
    pub(super) fn is_beyond(&self) -> bool {
        self.job
            .is_some_and(|job| usize::from(job.status.latest) > REVISIONS)
    }
}

/// A pass: none when it would change nothing.
pub(super) fn looks(world: &World, rules: Rules, plans: &mut Plans, old: bool) -> Option<Moved> {
    let busy = !world.pending.is_empty() && (rules.gate || !old);
    if busy || world.is_beyond() {
        return None;
    }
    let sight = world.sight(old, rules.told)?;
    let now = world.job?;
    let (mut status, mut acts) = plans
        .entry(print(&sight))
        .or_insert_with(|| {
            let passed = translate::pass(&sight);
            (passed.status, passed.acts)
        })
        .clone();
    if status == sight.job.status && acts.is_empty() {
        return None;
    }
    // Written to the version that was seen, or not at all.
    if sight.job != now && rules.gate {
        return None;
    }
    let mut next = world.clone();
    let known = world.known_transitions();
    let id = (0..NEW).find(|id| !known.contains(id)).unwrap_or(0);
    if let Some(transition) = status.transition.as_mut()
        && transition.id == NEW
    {
        transition.id = id;
    }
    for act in &mut acts {
        if let Act::Call { key, .. } = act
            && key.transition == NEW
        {
            key.transition = id;
        }
    }
    if rules.gate
        && let Err(why) = harmless(world, &status, &acts)
    {
        return Some(Err(why));
    }
    if let Some(job) = &mut next.job {
        job.status = status;
    }
    next.pending.extend(acts);
    Some(Ok(next))
}

/// What no plan may want, whatever it has seen.
fn harmless(world: &World, status: &Status, acts: &[Act]) -> Result<(), String> {
    let Some(head) = world.head else {
        return Ok(());
    };
    let removing = status.transition.is_some_and(|known| {
        matches!(known.kind, TransitionKind::Suspend | TransitionKind::Delete)
    });
    let runs = match head.state {
        Stands::Running => head.revision,
        Stands::HandingOver(to) => to,
        Stands::Stopped | Stands::Completed | Stands::Released => return Ok(()),
    };
    if !removing && acts.contains(&Act::Delete { revision: runs }) {
        return Err(format!(
            "the pods of revision {runs}, which has the job, are deleted"
        ));
    }
    Ok(())
}

/// What becomes of the next effect.
pub(super) fn acts(world: &World, out: &mut Vec<(Step, Moved)>) {
    let Some(act) = world.pending.first().copied() else {
        return;
    };
    let rest = |mut next: World| {
        next.pending.remove(0);
        next
    };
    let dead = |mut next: World| {
        next.pending.clear();
        next.refusal = None;
        next
    };
    let known = world
        .job
        .and_then(|job| job.status.transition)
        .map(|transition| transition.id);
    if let Act::Call { key, .. } = act
        && world.job.is_some()
        && known != Some(key.transition)
    {
        let why = format!("{} is a call of which no status knows", translate::say(act));
        out.push((Step::Acts(act), Err(why)));
        return;
    }
    let done = perform(world, act, true);
    out.push((
        Step::Acts(act),
        done.clone()
            .map(|done| done.map_or_else(|| dead_pass(world), rest)),
    ));
    if world.faults == 0 {
        return;
    }
    let mut breaks = |step: Step, next: World| {
        let mut next = dead(next);
        next.faults -= 1;
        out.push((step, Ok(next)));
    };
    breaks(Step::Ends(act), world.clone());
    if let Ok(Some(done)) = done {
        breaks(Step::EndsAfter(act), done);
    }
    if let Act::Apply {
        revision, content, ..
    } = act
        && let Ok(cut) = create(world, revision, content)
    {
        breaks(Step::EndsWithin(act), cut);
    }
    // Requests that name the version they mean cannot come too late.
    let unconditional = matches!(
        act,
        Act::Apply { .. } | Act::Scale { .. } | Act::Call { .. }
    );
    if unconditional && world.late.is_none() {
        let mut next = world.clone();
        next.late = Some(act);
        breaks(Step::GoesAstray(act), next);
    }
}

/// A pass that failed does nothing more; the operator lives and remembers.
fn dead_pass(world: &World) -> World {
    let mut next = world.clone();
    next.pending.clear();
    next
}

/// A request of an operator that is gone arrives.
pub(super) fn arrives(world: &World) -> Option<(Step, Moved)> {
    let act = world.late?;
    let mut gone = world.clone();
    gone.late = None;
    let done = perform(&gone, act, false).map(|done| done.unwrap_or(gone));
    Some((Step::Arrives(act), done))
}

/// The first object of a revision alone.
fn create(world: &World, revision: u8, content: u8) -> Moved {
    let mut next = world.clone();
    let used = &mut next.used[usize::from(revision) - 1];
    if *used != 0 && *used != content + 1 {
        return Err(format!("revision {revision} stands for two contents"));
    }
    *used = content + 1;
    next.revision(revision).record = Some(content);
    Ok(next)
}

/// An effect; none when it fails.
fn perform(world: &World, act: Act, remembers: bool) -> Result<Option<World>, String> {
    let mut next = world.clone();
    match act {
        Act::AddFinalizer => {
            if let Some(job) = next.job.as_mut().filter(|job| !job.deleting) {
                job.finalizer = true;
            }
        }
        Act::RemoveFinalizer => next.job = next.job.filter(|job| !job.deleting),
        Act::Apply {
            revision,
            content,
            workers,
        } => {
            // An object without an owner is removed at once.
            if usize::from(revision) > REVISIONS || world.job.is_none() {
                return Ok(None);
            }
            let held = world.revisions[usize::from(revision) - 1].record;
            if held.is_some_and(|held| held != content) {
                return Ok(None);
            }
            if held.is_none() {
                next = create(world, revision, content)?;
            }
            let known = next.revision(revision);
            known.extras = true;
            known.set = known.set.or(Some(workers));
        }
        Act::Scale { revision, workers } => {
            let known = next.revision(revision);
            if known.set.is_none() {
                return Ok(None);
            }
            known.set = Some(workers);
        }
        Act::Delete { revision } => {
            let known = next.revision(revision);
            known.extras = false;
            known.set = None;
        }
        Act::Forget { revision } => next.revision(revision).record = None,
        Act::Force { revision, pod } => {
            let pod = &mut next.revision(revision).pods[usize::from(pod)];
            if matches!(*pod, Pod::Lost | Pod::LostLong) {
                *pod = Pod::Absent;
            }
        }
        Act::Call {
            revision,
            key,
            call,
        } => {
            if world.deaf == revision {
                return Ok(None);
            }
            return Ok(
                command(world, revision, key, call)?.map(|(mut next, refused)| {
                    if remembers {
                        next.refusal = refused.then_some((key, false));
                    }
                    next
                }),
            );
        }
    }
    Ok(Some(next))
}
