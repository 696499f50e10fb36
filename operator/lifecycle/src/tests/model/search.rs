//! Breadth first through every world that can be reached, from each of them to rest, and the story
//! of the first that breaks a promise.

use std::{
    collections::HashSet,
    fmt::Write as _,
    hash::{BuildHasherDefault, Hash, Hasher},
    thread,
};

use crate::tests::model::{
    Rules, Step, liveness,
    moves::{self, Claims},
    operator::{self, Plans},
    translate,
    world::World,
};

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Edits of the spec on a way.
    pub(super) edits: u8,
    /// Faults on a way.
    pub(super) faults: u8,
    /// Worlds looked at.
    pub(super) states: usize,
    pub(super) threads: usize,
}

/// What was looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Looked {
    pub(super) states: usize,
    pub(super) moves: usize,
    pub(super) depth: usize,
    /// Whether every world that can be reached was looked at.
    pub(super) all: bool,
}

/// A broken promise.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) why: String,
    pub(super) looked: Looked,
    /// From the first world to it.
    pub(super) story: String,
}

/// What one thread remembers.
#[derive(Debug, Default)]
pub(super) struct Mind {
    pub(super) plans: Plans,
    pub(super) claims: Claims,
    /// Worlds from which everything comes to rest as it should.
    pub(super) good: Prints,
}

/// Entries of a memory before it starts afresh.
const MEMORY: usize = 3_000_000;
/// Worlds that are looked at between two updates of what is known.
const BATCH: usize = 50_000;

pub(super) type Prints = HashSet<u128, BuildHasherDefault<Printed>>;

/// 128 bits of anything: two of 20 million worlds share them with a probability of 10⁻²⁴.
pub(super) fn print(what: &impl Hash) -> u128 {
    let mut mix = Mix {
        a: 0x9e37_79b9_7f4a_7c15,
        b: 0xc2b2_ae3d_27d4_eb4f,
    };
    what.hash(&mut mix);
    mix.end()
}

struct Mix {
    a: u64,
    b: u64,
}

impl Mix {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.a ^ word) * 0x9e6c_63d0_676a_9a99;
        let (low, high) = (low(product), low(product >> 64));
        self.a = low ^ high.rotate_left(29) ^ self.b;
        self.b = (self.b.rotate_left(23) ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd) ^ low;
    }

    fn end(mut self) -> u128 {
        self.add(1);
        self.add(2);
        self.add(3);
        (u128::from(self.a) << 64) | u128::from(self.b)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is meant"
)]
const fn low(wide: u128) -> u64 {
    wide as u64
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.a
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.add(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.add(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }
}

/// Hashes what is a print already.
#[derive(Debug, Default)]
pub(super) struct Printed(u64);

impl Hasher for Printed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, word: u128) {
        self.0 = low(word);
    }
}

/// Everything that may come next, in a fixed order.
pub(super) fn successors(
    world: &World,
    rules: Rules,
    mind: &mut Mind,
) -> Vec<(Step, Result<World, String>)> {
    let mut out = Vec::with_capacity(24);
    if mind.plans.len() > MEMORY {
        mind.plans.clear();
    }
    for (old, step) in [(false, Step::Looks), (true, Step::LooksOld)] {
        let next = operator::looks(world, rules, &mut mind.plans, old);
        out.extend(next.map(|next| (step, next)));
    }
    operator::acts(world, &mut out);
    moves::ordinary(world, rules, &mut mind.claims, &mut out);
    out.extend(operator::arrives(world));
    out.extend(moves::wait(world).map(|next| (Step::Waits, Ok(next))));
    moves::edits(world, &mut out);
    moves::faults(world, &mut out);
    for (_, next) in &mut out {
        if let Ok(world) = next {
            world.settle();
            if let Err(why) = world.check() {
                *next = Err(why);
            }
        }
    }
    out
}

impl World {
    /// What holds in every world.
    fn check(&self) -> Result<(), String> {
        let Some(head) = &self.head else {
            return Ok(());
        };
        let owners = self
            .processes()
            .filter(|(_, process)| process.leads() && process.attempt == head.attempt)
            .count();
        if owners > 1 {
            return Err(format!("{owners} coordinators own HEAD"));
        }
        Ok(())
    }
}

/// A world that was not known, and how it came about.
struct New {
    print: u128,
    parent: u32,
    nth: u16,
    world: World,
}

#[derive(Default)]
struct Batch {
    new: Vec<New>,
    moves: usize,
    /// Parent, which of its successors (none: the way from there to rest), and why.
    broken: Option<(u32, Option<u16>, String)>,
}

fn expand(frontier: &[(u32, World)], rules: Rules, seen: &Prints, mind: &mut Mind) -> Batch {
    let mut batch = Batch::default();
    for (index, world) in frontier {
        if let Err(why) = liveness::comes_to_rest(world, rules, mind) {
            batch.broken = Some((*index, None, why));
            return batch;
        }
        for (nth, (_, next)) in successors(world, rules, mind).into_iter().enumerate() {
            batch.moves += 1;
            let nth = u16::try_from(nth).unwrap();
            match next {
                Err(why) => {
                    batch.broken = Some((*index, Some(nth), why));
                    return batch;
                }
                Ok(next) => {
                    let print = print(&next);
                    if !seen.contains(&print) {
                        batch.new.push(New {
                            print,
                            parent: *index,
                            nth,
                            world: next,
                        });
                    }
                }
            }
        }
    }
    batch
}

/// Looks at worlds, nearest first, until there are no more or the limit is reached.
pub(super) fn explore(limits: Limits, rules: Rules) -> Result<Looked, Broken> {
    let first = World::new(limits.edits, limits.faults);
    let mut seen = Prints::default();
    seen.insert(print(&first));
    let mut parents: Vec<(u32, u16)> = vec![(0, 0)];
    let mut frontier = vec![(0_u32, first)];
    let mut minds: Vec<Mind> = (0..limits.threads).map(|_| Mind::default()).collect();
    let mut looked = Looked {
        states: 1,
        ..Looked::default()
    };
    while !frontier.is_empty() {
        looked.depth += 1;
        let mut next = Vec::new();
        for part in frontier.chunks(BATCH) {
            let share = part.len().div_ceil(limits.threads);
            let batches: Vec<Batch> = if limits.threads == 1 {
                // On this thread: guards are taken away thread by thread.
                vec![expand(part, rules, &seen, &mut minds[0])]
            } else {
                thread::scope(|scope| {
                    let seen = &seen;
                    let running: Vec<_> = part
                        .chunks(share)
                        .zip(&mut minds)
                        .map(|(part, mind)| scope.spawn(move || expand(part, rules, seen, mind)))
                        .collect();
                    running
                        .into_iter()
                        .map(|thread| thread.join().unwrap())
                        .collect()
                })
            };
            for batch in batches {
                looked.moves += batch.moves;
                if let Some((index, nth, why)) = batch.broken {
                    let story = story(limits, rules, &parents, index, nth);
                    return Err(Broken { why, looked, story });
                }
                for new in batch.new {
                    if looked.states < limits.states && seen.insert(new.print) {
                        looked.states += 1;
                        let index = u32::try_from(parents.len()).unwrap();
                        parents.push((new.parent, new.nth));
                        next.push((index, new.world));
                    }
                }
            }
        }
        frontier = next;
    }
    looked.all = looked.states < limits.states;
    Ok(looked)
}

/// Everything that happened on the way to a world.
fn story(
    limits: Limits,
    rules: Rules,
    parents: &[(u32, u16)],
    index: u32,
    last: Option<u16>,
) -> String {
    let mut way: Vec<u16> = last.into_iter().collect();
    let mut at = index;
    while at != 0 {
        let (parent, nth) = parents[at as usize];
        way.push(nth);
        at = parent;
    }
    way.reverse();
    let mut mind = Mind::default();
    let mut world = World::new(limits.edits, limits.faults);
    let mut told = String::new();
    for nth in way {
        let (step, next) = successors(&world, rules, &mut mind).swap_remove(usize::from(nth));
        let _ = writeln!(told, "{}", tell(&world, step, rules));
        match next {
            Ok(next) => world = next,
            Err(why) => {
                let _ = writeln!(told, "  BROKEN: {why}");
                return told;
            }
        }
        let _ = writeln!(told, "    {}", world.describe());
    }
    if last.is_none() {
        let _ = writeln!(
            told,
            "--- and from here, without any more edits and faults:"
        );
        told.push_str(&liveness::tell(&world, rules));
    }
    told
}

/// A step in words.
pub(super) fn tell(world: &World, step: Step, rules: Rules) -> String {
    match (step, world.sight(step == Step::LooksOld, rules.told)) {
        (Step::Looks, Some(sight)) => {
            format!("the operator looks: {}", translate::pass(&sight).why)
        }
        (Step::LooksOld, Some(sight)) => {
            format!(
                "an operator of before looks: {}",
                translate::pass(&sight).why
            )
        }
        (Step::Acts(act), _) => format!("the operator does: {}", translate::say(act)),
        (Step::Ends(act), _) => format!("the operator ends before: {}", translate::say(act)),
        (Step::EndsAfter(act), _) => format!("the operator ends after: {}", translate::say(act)),
        (Step::EndsWithin(act), _) => format!("the operator ends within: {}", translate::say(act)),
        (Step::GoesAstray(act), _) => {
            format!(
                "the operator ends, still under way: {}",
                translate::say(act)
            )
        }
        (Step::Arrives(act), _) => format!("late arrives: {}", translate::say(act)),
        (step, _) => format!("{step:?}"),
    }
}

impl World {
    /// In a line.
    pub(super) fn describe(&self) -> String {
        let mut out = String::new();
        match &self.job {
            None => out.push_str("the job is gone;"),
            Some(job) => {
                let _ = write!(
                    out,
                    "asked {:?}{}; says {:?}, current {}, latest {}, rejected {:?}, {};",
                    job.spec,
                    if job.deleting { " deleting" } else { "" },
                    job.status.said,
                    job.status.current,
                    job.status.latest,
                    job.status.rejected,
                    job.status.transition.map_or_else(
                        || "no transition".to_owned(),
                        |known| format!(
                            "{:?} {:?} {}->{} ({} retries)",
                            known.kind, known.step, known.from, known.to, known.retries
                        )
                    )
                );
            }
        }
        match &self.head {
            None => out.push_str(" no HEAD;"),
            Some(head) => {
                let _ = write!(
                    out,
                    " HEAD r{} a{} {:?} on {}, saved {};",
                    head.revision, head.attempt, head.state, head.workers, head.saved
                );
            }
        }
        for (at, revision) in self.revisions.iter().enumerate() {
            if revision.record.is_some() || !revision.is_gone() {
                let _ = write!(
                    out,
                    " r{} content {:?} set {:?} pods {:?} {:?};",
                    at + 1,
                    revision.record,
                    revision.set,
                    revision.pods,
                    revision
                        .process
                        .map(|process| (process.role, process.attempt, process.asked))
                );
            }
        }
        if let Some((revision, process)) = &self.zombie {
            let _ = write!(out, " zombie of r{revision} a{};", process.attempt);
        }
        if self.storage_down {
            out.push_str(" storage down;");
        }
        if self.frozen.is_some() {
            out.push_str(" an operator of before is still there;");
        }
        if self.deaf > 0 {
            let _ = write!(out, " r{} does not answer;", self.deaf);
        }
        out
    }
}
