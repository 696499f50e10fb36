//! From any world, with nothing more asked for and nothing more going wrong, everything comes to
//! rest as the spec says, or says what is wrong.

use std::fmt::Write as _;

use crate::tests::model::{
    Rules, Step, moves, operator,
    search::{self, Mind, print},
    world::{Said, Stands, World, works},
};

/// Passes and moves until everything has to be at rest.
const PATIENCE: usize = 400;

/// The world once every fault is repaired and no edit is left.
fn mended(world: &World) -> World {
    let mut calm = world.clone();
    calm.edits = 0;
    calm.faults = 0;
    calm.frozen = None;
    calm.storage_down = false;
    calm.deaf = 0;
    calm.settle();
    calm
}

/// What happens next when nothing goes wrong: first what is under way, then the operator, then
/// time.
fn next(world: &World, rules: Rules, mind: &mut Mind) -> Option<(Step, Result<World, String>)> {
    let mut out = Vec::new();
    out.extend(operator::arrives(world));
    if out.is_empty() {
        operator::acts(world, &mut out);
    }
    if out.is_empty() {
        moves::ordinary(world, rules, &mut mind.claims, &mut out);
    }
    if out.is_empty()
        && let Some(next) = operator::looks(world, rules, &mut mind.plans, false)
        && moves_on(world, &next)
    {
        out.push((Step::Looks, next));
    }
    if out.is_empty() {
        out.extend(moves::wait(world).map(|next| (Step::Waits, Ok(next))));
    }
    let (step, next) = out.into_iter().next()?;
    let next = next.map(|mut next| {
        next.settle();
        next
    });
    Some((step, next))
}

/// Whether a pass changes anything: to ask again what was refused, or is under way, does not.
fn moves_on(world: &World, passed: &Result<World, String>) -> bool {
    let Ok(mut now) = passed.clone() else {
        return true;
    };
    while !now.pending.is_empty() {
        let mut out = Vec::new();
        operator::acts(&now, &mut out);
        match out.into_iter().next() {
            Some((_, Ok(next))) => now = next,
            Some((_, Err(_))) | None => return true,
        }
    }
    now.settle();
    now != *world
}

/// Whether it comes to rest as it should.
pub(super) fn comes_to_rest(world: &World, rules: Rules, mind: &mut Mind) -> Result<(), String> {
    let mut calm = mended(world);
    let mut way = Vec::new();
    let result = loop {
        let print = print(&calm);
        if mind.good.contains(&print) || calm.is_beyond() {
            break Ok(());
        }
        way.push(print);
        if way.len() > PATIENCE {
            return Err("it does not come to rest".to_owned());
        }
        match next(&calm, rules, mind) {
            None => break at_rest(&calm),
            Some((_, Ok(next))) => calm = next,
            Some((_, Err(why))) => return Err(why),
        }
    };
    if result.is_ok() {
        if mind.good.len() > 8_000_000 {
            mind.good.clear();
        }
        mind.good.extend(way);
    }
    result
}

/// The way to rest, for people.
pub(super) fn tell(world: &World, rules: Rules) -> String {
    let mut mind = Mind::default();
    let mut calm = mended(world);
    let mut told = String::new();
    let mut before = Vec::new();
    for _ in 0..PATIENCE {
        if before.contains(&calm) {
            told.push_str("  and so on, for ever\n");
            break;
        }
        before.push(calm.clone());
        match next(&calm, rules, &mut mind) {
            None => {
                let _ = writeln!(told, "  AT REST: {:?}", at_rest(&calm));
                break;
            }
            Some((step, Ok(next))) => {
                let _ = writeln!(told, "{}", search::tell(&calm, step, rules));
                calm = next;
                let _ = writeln!(told, "    {}", calm.describe());
            }
            Some((_, Err(why))) => {
                let _ = writeln!(told, "  BROKEN: {why}");
                break;
            }
        }
    }
    told
}

/// What a world at rest is like.
fn at_rest(world: &World) -> Result<(), String> {
    let demand = |holds: bool, why: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("at rest, but {why}"))
        }
    };
    let Some(job) = world.job else {
        let nothing = world.revisions.iter().all(|revision| {
            // A pod on a lost node is the business of the node controller once the job is gone.
            let stuck = revision
                .pods
                .iter()
                .any(|pod| matches!(pod, crate::tests::model::world::Pod::LostLong));
            revision.is_gone() || stuck
        });
        return demand(nothing, "something of a deleted job is left");
    };
    demand(!job.deleting, "the deletion does not end")?;
    let (said, spec) = (job.status.said, job.spec);
    let runs = world.head.and_then(|head| {
        let process = world.revisions[usize::from(head.revision) - 1].process?;
        let flows = head.state == Stands::Running
            && process.role == crate::tests::model::world::Role::Running
            && process.attempt == head.attempt;
        flows.then_some((head, process))
    });
    if spec.suspended {
        let left = world.revisions.iter().any(|revision| !revision.is_gone());
        return demand(
            said == Said::Suspended && !left,
            "the job is not suspended as asked",
        );
    }
    // A person took HEAD away: only a person can help.
    if world.head.is_none() && world.began {
        return demand(said == Said::Stalled, "nobody is told that HEAD is gone");
    }
    let rejected = job.status.rejected == Some(spec.content);
    if !works(spec.content) {
        return demand(said == Said::Stalled, "nobody is told what is wrong");
    }
    // What ran before may not work itself, and what was asked for instead was given up.
    let held = world
        .head
        .and_then(|head| world.revisions[usize::from(head.revision) - 1].record);
    if rejected && said == Said::Stalled && held.is_some_and(|held| !works(held)) {
        return Ok(());
    }
    demand(runs.is_some(), "nothing runs")?;
    let Some((head, process)) = runs else {
        return Ok(());
    };
    demand(
        process.workers == spec.workers && head.workers == spec.workers,
        "it runs on another number of workers",
    )?;
    if rejected {
        return demand(said == Said::Stalled, "nobody is told that it was given up");
    }
    let content = world.revisions[usize::from(head.revision) - 1].record;
    demand(content == Some(spec.content), "another content runs")?;
    demand(job.status.transition.is_none(), "a transition does not end")?;
    demand(said == Said::Running, "nobody is told that it runs")
}
