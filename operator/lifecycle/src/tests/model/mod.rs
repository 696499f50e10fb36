//! The model: a job, its operator, a few revisions, pods, coordinators, HEAD; the operator decides
//! with the real `plan` and `required_reads`, coordinators with the real rules of HEAD. Everything
//! else may happen in any order: the operator ends between any two effects, has another beside it
//! whose caches stand still, sends what arrives late; pods crash, nodes are lost with a coordinator
//! that runs on, the storage or a coordinator does not answer, HEAD is taken away, people edit,
//! suspend, resume, delete, time passes.
//!
//! In every world that can be reached, nearest first:
//! * (revision, attempt) in HEAD only grows, at most one coordinator owns it, the restore point is
//!   never lost, nothing is handed over without one;
//! * a job that ran is never started from nothing; a number stands for one content for ever;
//! * the operator calls no coordinator before its status says why, and never deletes the pods of
//!   the revision that has the job;
//! * with nothing more going wrong it comes to rest as the spec says, or Stalled; a deletion ends.
//!
//! `MODEL_STATES=20000000 cargo test --workspace --lib the_model -- --nocapture` looks at that many
//! worlds.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "it simulates, it does not decide"
)]

mod liveness;
mod moves;
mod operator;
mod search;
mod translate;
mod world;

use self::{
    moves::Who,
    search::{Broken, Limits, Looked, explore},
    world::{Act, Spec},
};

/// What can be switched off, to see that it is needed.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// A write of HEAD needs the version that it replaces.
    fence: bool,
    /// A status is written only to the version that was seen, and nothing is done without.
    gate: bool,
    /// The operator does not look into the store: pods tell what HEAD holds.
    told: bool,
}

const ALL_RULES: Rules = Rules {
    fence: true,
    gate: true,
    told: false,
};

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Looks,
    LooksOld,
    Acts(Act),
    Ends(Act),
    EndsAfter(Act),
    EndsWithin(Act),
    GoesAstray(Act),
    Arrives(Act),
    Pod(u8, u8),
    Claims(Who),
    Runs(Who),
    Restarts(Who),
    Checkpoint(Who),
    Does(Who),
    Fails(Who),
    Fenced(Who),
    Waits,
    Edits(Spec),
    Deletes,
    Crashes(u8, u8),
    LosesNode(u8),
    LosesHead,
    Deaf(u8),
    Storage(bool),
    Freezes,
    Thaws,
}

/// Worlds looked at when nothing else is asked for.
const STATES: usize = 400_000;

fn show(looked: Looked, seconds: f64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let speed = looked.states as f64 / seconds;
    println!(
        "{} states, {} moves, depth {}{}, {seconds:.1} s, {speed:.0} states/s",
        looked.states,
        looked.moves,
        looked.depth,
        if looked.all { " (all)" } else { "" },
    );
}

#[expect(clippy::disallowed_methods, reason = "a figure for people")]
fn timed(limits: Limits, rules: Rules) -> Result<Looked, Broken> {
    let began = std::time::Instant::now();
    let looked = explore(limits, rules)?;
    show(looked, began.elapsed().as_secs_f64());
    Ok(looked)
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_model_keeps_every_promise_where_the_operator_does_not_look() {
    let limits = Limits {
        edits: 2,
        faults: 1,
        states: number("MODEL_STATES").unwrap_or(STATES / 4),
        threads: 2,
    };
    let rules = Rules {
        told: true,
        ..ALL_RULES
    };
    if let Err(broken) = timed(limits, rules) {
        panic!("{} ({:?})\n{}", broken.why, broken.looked, broken.story);
    }
}

#[test]
fn the_model_keeps_every_promise_and_comes_to_rest() {
    let states = number("MODEL_STATES").unwrap_or(STATES);
    let limits = Limits {
        edits: number("MODEL_EDITS").map_or(2, |edits| u8::try_from(edits).unwrap()),
        faults: number("MODEL_FAULTS").map_or(2, |faults| u8::try_from(faults).unwrap()),
        states,
        threads: 2,
    };
    if let Err(broken) = timed(limits, ALL_RULES) {
        panic!("{} ({:?})\n{}", broken.why, broken.looked, broken.story);
    }
}

fn breaks_without(rules: Rules) -> Broken {
    let limits = Limits {
        edits: 0,
        faults: 1,
        states: STATES,
        threads: 2,
    };
    explore(limits, rules).expect_err("it must be needed")
}

#[test]
fn without_the_fence_the_model_finds_a_zombie_that_writes() {
    let broken = breaks_without(Rules {
        fence: false,
        ..ALL_RULES
    });
    assert!(broken.why.contains("went back"), "{}", broken.why);
}

#[test]
fn without_the_version_of_the_status_the_model_finds_what_an_old_cache_does() {
    let broken = breaks_without(Rules {
        gate: false,
        ..ALL_RULES
    });
    println!("{}\n{}", broken.why, broken.story);
}

/// Looks until some promise breaks; which, after how many worlds.
pub(crate) fn first_broken(states: usize) -> Option<(String, usize)> {
    let limits = Limits {
        edits: 2,
        faults: 1,
        states,
        threads: 1,
    };
    let broken = explore(limits, ALL_RULES).err()?;
    Some((broken.why, broken.looked.states))
}
