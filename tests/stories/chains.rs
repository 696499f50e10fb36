//! Chains of edits, drawn at random: wherever a job comes from, it ends as a job that was created
//! like that; an edit taken back leaves no trace. Meanwhile the operator ends, calls are lost and
//! containers die.
//!
//! `CHAINS=120 cargo test --workspace --test stories any_edit -- --nocapture` draws that many
//! chains of ten edits; `CHAIN=7` only the one with that seed.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::{Value, json};
use streamkeeper_api::{
    condition::kind,
    names::{RESTARTED_AT, REVISION_LABEL},
};
use streamkeeper_harness::{
    api_server::kinds::{CONFIG_MAPS, PODS, SERVICES, STATEFUL_SETS},
    cluster::text,
    interference::{Fate, Interference},
    kubelet::Exit,
    script::Script,
    story::{Story, tell},
};

/// Edits of a chain.
const EDITS: usize = 10;
/// Chains when nothing else is asked for.
const CHAINS: u64 = 12;
/// The image that cannot be pulled.
const MISSING: u8 = 9;

/// A source of numbers that a seed repeats (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        u8::try_from(drawn % u64::from(limit)).expect("below the limit")
    }

    /// Whether something happens that happens once in so many times.
    fn once_in(&mut self, times: u8) -> bool {
        self.below(times) == 0
    }
}

/// What a spec asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    sql: u8,
    image: u8,
    workers: u8,
    mode: u8,
    memory: u8,
    interval: u8,
    slots: u8,
    tier: u8,
    policies: u8,
    suspended: bool,
}

impl Wanted {
    const FIRST: Self = Self {
        sql: 0,
        image: 1,
        workers: 1,
        mode: 0,
        memory: 1,
        interval: 10,
        slots: 1,
        tier: 0,
        policies: 0,
        suspended: false,
    };

    fn spec(self) -> Value {
        let take = if self.policies == 3 { "Take" } else { "Skip" };
        json!({
            "sql": { "text": format!("INSERT INTO sink SELECT {} FROM source", self.sql) },
            "image": format!("runtime:{}", self.image),
            "env": [{ "name": "MODE", "value": self.mode.to_string() }],
            "workers": {
                "replicas": self.workers,
                "slots": self.slots,
                "podTemplate": { "labels": { "tier": self.tier.to_string() } },
                "resources": { "requests": {}, "limits": { "memory": format!("{}Gi", self.memory) } },
            },
            "checkpoints": { "interval": format!("{}s", self.interval) },
            "upgrade": { "standby": if self.policies == 1 { "First" } else { "Full" } },
            "rescale": { "strategy": if self.policies == 2 { "Savepoint" } else { "Auto" } },
            "snapshots": { "onUpgrade": take, "onSuspend": take },
            "suspend": self.suspended,
        })
    }

    /// Without what leaves no trace in a job at rest.
    const fn in_the_end(self) -> Self {
        Self {
            policies: 0,
            ..self
        }
    }

    /// Another spec, near this one.
    fn edited(mut self, dice: &mut Dice) -> Self {
        // More than one field at once, now and then.
        loop {
            match dice.below(11) {
                0 => self.sql = dice.below(3),
                1 => self.image = 1 + dice.below(2),
                2 | 3 => self.workers = 1 + dice.below(3),
                4 => self.mode = dice.below(2),
                5 => self.memory = 1 + dice.below(2),
                6 => self.interval = 10 + dice.below(2),
                7 => self.slots = 1 + dice.below(2),
                8 => self.tier = dice.below(2),
                9 => self.policies = dice.below(4),
                _ => self.suspended = !self.suspended,
            }
            if dice.once_in(20) {
                self.image = MISSING;
            }
            if !dice.once_in(4) {
                return self;
            }
        }
    }

    const fn works(self) -> bool {
        self.image != MISSING
    }
}

/// What there is of a job, without anything that tells when and how it came about.
fn form(story: &Story) -> Value {
    let job = story.job("delays");
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let status = job.status.unwrap_or_default();
    let suspended = job.spec.suspend;
    let mut objects = Vec::new();
    let mut numbers = Vec::new();
    for kind in [&STATEFUL_SETS, &SERVICES, &CONFIG_MAPS, &PODS] {
        for object in story.world().store.all(kind) {
            numbers.push(text(&object, "/metadata/labels/streamkeeper.dev~1revision").to_owned());
            let mut spec = object["spec"].clone();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("nodeName");
            }
            objects.push(json!({
                "kind": kind.plural, "name": object["metadata"]["name"], "labels": object["metadata"]["labels"],
                "spec": spec, "data": object["data"],
            }));
        }
    }
    let conditions: BTreeMap<&str, (&str, &str)> = status
        .conditions
        .iter()
        // It takes a checkpoint more or less.
        .filter(|condition| condition.type_ != kind::CHECKPOINTS_HEALTHY)
        .map(|condition| {
            let (truth, reason) = (condition.status.as_str(), condition.reason.as_str());
            (condition.type_.as_str(), (truth, reason))
        })
        .collect();
    let effective = status.effective.filter(|_| !suspended).map(|effective| {
        json!([
            effective.version,
            effective.image,
            effective.storage_uri,
            effective.parallelism
        ])
    });
    let workers = status
        .workers
        .filter(|_| !suspended)
        .map(|workers| json!([workers.desired, workers.replicas, workers.ready]));
    let whole = json!({
        "objects": objects, "phase": status.phase, "conditions": conditions, "effective": effective, "workers": workers,
    });
    numbers.sort();
    numbers.dedup();
    assert!(
        numbers.len() <= 1,
        "pods of more than one revision: {numbers:?}"
    );
    let mut plain = whole.to_string().replace(&uid, "UID");
    for number in numbers {
        plain = plain
            .replace(&format!("delays-r{number}"), "delays-rN")
            .replace(&format!("\"{REVISION_LABEL}\":\"{number}\""), "\"N\":\"N\"")
            .replace(&format!("--revision={number}\""), "--revision=N\"");
    }
    // How it stood by is over.
    plain = plain.replace(r#""--standby=First","#, "");
    // Workers are told how many there are when they are created; later HEAD remembers.
    for workers in 1..=3 {
        plain = plain.replace(&format!("--workers={workers}\""), "--workers=N\"");
    }
    serde_json::from_str(&plain).expect("JSON")
}

/// Waits until everything is as asked for, or a person is asked for help.
async fn settled(story: &mut Story, wanted: Wanted) {
    story
        .until(&format!("{wanted:?}"), |story| {
            let job = story.job("delays");
            let status = job.status.unwrap_or_default();
            if status.observed_generation != job.metadata.generation {
                return false;
            }
            let is = |kind| story.condition("delays", kind).0 == "True";
            if wanted.suspended {
                return is(kind::SUSPENDED) && story.pods().is_empty();
            }
            if !wanted.works() {
                return is(kind::STALLED);
            }
            let pods = story.pods();
            let replicas = story.running_sets();
            story.is_ready("delays")
                && pods.len() == usize::from(wanted.workers)
                && replicas.len() == 1
                && status
                    .workers
                    .is_some_and(|workers| workers.ready == u32::from(wanted.workers))
        })
        .await;
}

/// What a job comes to that is created like this.
fn fresh(wanted: Wanted) -> Value {
    tell(async |story| {
        story.create("delays", wanted.spec());
        settled(story, wanted).await;
        form(story)
    })
}

/// What happened in a chain.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    edits: usize,
    compared: usize,
    taken_back: usize,
    crashes: usize,
    lost: usize,
    killed: usize,
    restarts: usize,
    differences: usize,
}

/// Something goes wrong, or not.
fn meddle(story: &mut Story, dice: &mut Dice, told: &mut Told) {
    if dice.once_in(3) {
        let fate = [Fate::CrashBefore, Fate::CrashAfter, Fate::AnswerLost]
            [usize::from(dice.below(3))]
        .clone();
        told.lost += usize::from(fate == Fate::AnswerLost);
        story.interfere(Interference::nth(usize::from(dice.below(8)), fate));
    }
    let pods = story.pods();
    if dice.once_in(6) && !pods.is_empty() {
        let pod = &pods[usize::from(dice.below(u8::try_from(pods.len()).unwrap_or(1)))];
        story.kill(pod, Exit::error("killed"));
        told.killed += 1;
    }
}

/// One chain; what it came to after each edit that was waited for.
async fn chain(story: &mut Story, seed: u64) -> (Told, Vec<(Wanted, Value)>) {
    let mut dice = Dice::new(seed);
    let mut told = Told::default();
    let mut forms = Vec::new();
    let missing = Script {
        missing_image: true,
        ..Script::default()
    };
    story.script(&format!("runtime:{MISSING}"), missing);
    let mut wanted = Wanted::FIRST;
    story.create("delays", wanted.spec());
    let mut before = wanted;
    for _ in 0..EDITS {
        let next = if dice.once_in(4) {
            told.taken_back += 1;
            before
        } else {
            wanted.edited(&mut dice)
        };
        (before, wanted) = (wanted, next);
        meddle(story, &mut dice, &mut told);
        story.edit("delays", wanted.spec());
        told.edits += 1;
        if dice.once_in(8) {
            told.restarts += 1;
            let when = story.now().to_string();
            story.annotate("delays", RESTARTED_AT, &when);
        }
        // Some edits come while the one before is under way.
        if dice.once_in(4) {
            let moment = Duration::from_millis(u64::from(dice.below(40)) * 100);
            story.pass(moment).await;
            continue;
        }
        settled(story, wanted).await;
        story.world().interferences.clear();
        if wanted.works() {
            forms.push((wanted.in_the_end(), form(story)));
        }
    }
    told.crashes = story.crashes;
    (told, forms)
}

/// Where two values differ first.
fn difference(at: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            keys.into_iter().find_map(|key| {
                let part = |all: &serde_json::Map<String, Value>| {
                    all.get(key).cloned().unwrap_or(Value::Null)
                };
                difference(&format!("{at}/{key}"), &part(one), &part(other))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs
                .into_iter()
                .find_map(|(n, (one, other))| difference(&format!("{at}/{n}"), one, other))
        }
        _ => {
            (one != other).then(|| format!("{at}: {one} but {other} when it is created like that"))
        }
    }
}

fn tell_chains(seeds: &[u64]) -> (Told, Vec<String>) {
    let mut known: BTreeMap<Wanted, Value> = BTreeMap::new();
    let (mut sum, mut wrong) = (Told::default(), Vec::new());
    for &seed in seeds {
        let (told, forms) = tell(async |story| chain(story, seed).await);
        sum.edits += told.edits;
        sum.taken_back += told.taken_back;
        sum.crashes += told.crashes;
        sum.lost += told.lost;
        sum.killed += told.killed;
        sum.restarts += told.restarts;
        for (wanted, form) in forms {
            sum.compared += 1;
            let expected = known.entry(wanted).or_insert_with(|| fresh(wanted));
            if let Some(difference) = difference("", &form, expected) {
                sum.differences += 1;
                wrong.push(format!("seed {seed}, {wanted:?}: {difference}"));
            }
        }
    }
    (sum, wrong)
}

// Elsewhere: FLINK-34566.
#[test]
fn any_edit_from_anywhere_ends_as_if_the_job_had_been_created_like_that() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds: Vec<u64> = match number("CHAIN") {
        Some(seed) => vec![seed],
        None => (0..number("CHAINS").unwrap_or(CHAINS)).collect(),
    };
    let (some, others) = seeds.split_at(seeds.len() / 2);
    let found = thread::scope(|scope| {
        let beside = scope.spawn(|| tell_chains(others));
        [tell_chains(some), beside.join().expect("no panic")]
    });
    println!("seeds {}..={}", seeds[0], seeds[seeds.len() - 1]);
    let mut wrong = Vec::new();
    for (told, differences) in found {
        println!("{told:?}");
        wrong.extend(differences);
    }
    assert!(wrong.is_empty(), "{} differences: {wrong:#?}", wrong.len());
}

#[test]
fn jobs_that_were_created_differently_are_told_apart() {
    let first = fresh(Wanted::FIRST);
    assert_eq!(first, fresh(Wanted::FIRST));
    let others = [
        Wanted {
            sql: 1,
            ..Wanted::FIRST
        },
        Wanted {
            image: 2,
            ..Wanted::FIRST
        },
        Wanted {
            workers: 2,
            ..Wanted::FIRST
        },
        Wanted {
            mode: 1,
            ..Wanted::FIRST
        },
        Wanted {
            memory: 2,
            ..Wanted::FIRST
        },
        Wanted {
            interval: 11,
            ..Wanted::FIRST
        },
        Wanted {
            slots: 2,
            ..Wanted::FIRST
        },
        Wanted {
            tier: 1,
            ..Wanted::FIRST
        },
        Wanted {
            suspended: true,
            ..Wanted::FIRST
        },
    ];
    for other in others {
        assert!(
            difference("", &first, &fresh(other)).is_some(),
            "{other:?} looks like the first"
        );
    }
}
