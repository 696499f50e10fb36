//! The plans, played.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use futures::{StreamExt, stream};

use super::{
    control_plane::ControlPlane,
    plans::{Plan, Undisturbed, Verdict, plans, play, rehearse},
    sandbox::CrashEnv,
    scenarios::{Scenario, all},
};
#[cfg(feature = "test-acts-first")]
use super::{
    crash_injector::{CrashPoint, Effect},
    operator::can_act_first,
};

/// Plans of a run that asks for no number.
const A_FEW: usize = 16;
/// More than these are chosen from all scenarios: each transition once has fewer than are asked
/// for.
const MANY: usize = 100;

/// What the environment chooses.
struct Choice {
    /// None means every plan of every scenario.
    plans: Option<usize>,
    seed: u64,
    only: String,
    at_once: usize,
}

impl Choice {
    fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let plans = match variable("CRASH_PLANS").as_str() {
            "" => Some(A_FEW),
            "all" => None,
            number => Some(number.parse().expect("CRASH_PLANS is a number or `all`")),
        };
        Self {
            plans,
            seed: variable("CRASH_SEED")
                .parse()
                .unwrap_or_else(|_| u64::from(std::process::id())),
            only: variable("CRASH_ONLY"),
            at_once: variable("CRASH_AT_ONCE").parse().unwrap_or(8),
        }
    }

    /// A few scenarios for a few plans; all for many, or when some are named.
    fn scenarios(&self, dice: &mut Dice) -> Vec<Scenario> {
        let few = self.plans.is_some_and(|plans| plans <= MANY);
        let mut scenarios = all();
        if few && self.only.is_empty() {
            scenarios.retain(|scenario| !scenario.waits_for_the_clock);
        }
        scenarios.retain(|scenario| scenario.name.contains(&self.only));
        if let Some(plans) = self.plans {
            dice.shuffle(&mut scenarios);
            scenarios.truncate(plans.div_ceil(3).max(1));
        }
        scenarios
    }

    fn choose(&self, runs: &[Arc<Undisturbed>], dice: &mut Dice) -> Vec<Plan> {
        let mut chosen: Vec<Plan> = runs.iter().flat_map(plans).collect();
        if let Some(number) = self.plans {
            dice.shuffle(&mut chosen);
            chosen.truncate(number);
        }
        chosen
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (sides as u64)).expect("less than sides")
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

pub fn with_crash_env<R>(test: impl AsyncFnOnce(Arc<CrashEnv>) -> R) -> R {
    let control_plane = ControlPlane::shared();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { test(CrashEnv::open(control_plane).await).await })
}

/// Runs without faults, and what went wrong in those that failed.
async fn rehearse_all(
    env: &Arc<CrashEnv>,
    scenarios: Vec<Scenario>,
    at_once: usize,
) -> (Vec<Arc<Undisturbed>>, Vec<String>) {
    let rehearsals = scenarios
        .into_iter()
        .map(|scenario| tokio::spawn(rehearse(env.clone(), scenario)));
    let (mut runs, mut failures) = (Vec::new(), Vec::new());
    let mut rehearsed = stream::iter(rehearsals).buffered(at_once);
    while let Some(run) = rehearsed.next().await {
        match run.expect("no panic") {
            Ok(run) => {
                println!("{}: {} effects", run.scenario.name, run.effects.len());
                for (number, effect) in run.effects.iter().enumerate() {
                    println!("    {number}: {effect}");
                }
                runs.push(run);
            }
            Err(why) => {
                println!("{why}");
                let first = why.lines().next().unwrap_or_default();
                failures.push(first.to_owned());
            }
        }
    }
    (runs, failures)
}

#[test]
fn an_operator_killed_at_any_write_is_replaced_without_a_trace() {
    let choice = Choice::of_environment();
    println!("seed {}", choice.seed);
    let mut dice = Dice(choice.seed);
    let scenarios = choice.scenarios(&mut dice);
    with_crash_env(async |env| {
        let (runs, mut failures) = rehearse_all(&env, scenarios, choice.at_once).await;
        let chosen = choice.choose(&runs, &mut dice);
        let number = chosen.len();
        let mut score: BTreeMap<String, [usize; 4]> = BTreeMap::new();
        let mut played = stream::iter(chosen.into_iter().map(|plan| {
            let env = env.clone();
            async move { (plan.clone(), tokio::spawn(play(env, plan)).await) }
        }))
        .buffer_unordered(choice.at_once);
        let mut done = 0;
        while let Some((plan, verdict)) = played.next().await {
            done += 1;
            let score = score.entry(plan.run.scenario.name.clone()).or_default();
            let told = match verdict.expect("no panic") {
                Verdict::Passed => {
                    score[0] += 1;
                    "passed"
                }
                Verdict::Shifted => {
                    score[3] += 1;
                    "passed, killed at another write"
                }
                Verdict::NotReached => {
                    score[1] += 1;
                    "not reached"
                }
                Verdict::Failed(why) => {
                    score[2] += 1;
                    println!("{why}");
                    failures.push(plan.to_string());
                    "FAILED"
                }
            };
            println!("{done}/{number} {plan}: {told}");
        }
        let table = table(&score);
        println!("{table}");
        let passed: usize = score
            .values()
            .map(|[passed, _, _, shifted]| passed + shifted)
            .sum();
        assert!(
            failures.is_empty(),
            "seed {}: {} of {number} plans failed:\n{}\n{table}",
            choice.seed,
            failures.len(),
            failures.join("\n")
        );
        assert!(
            passed * 10 >= number * 8,
            "only {passed} of {number} plans came to their effect: what is compared is not what is meant\n{table}"
        );
    });
}

/// The negative control of all plans: without the guard, the plan that passes with it fails.
#[cfg(feature = "test-acts-first")]
#[test]
fn an_operator_that_has_not_written_down_what_it_does_leaves_a_trace() {
    assert!(
        can_act_first(),
        "the operator is of a build without the feature test-acts-first, which took the place of this test's; run it again alone"
    );
    let traces = [
        ("deploy with 2", "/head/revision: expected 1, found 2"),
        ("upgrade with 2", "/head/revision: expected 2, found 3"),
    ];
    with_crash_env(async |env| {
        let each = traces.map(|(name, trace)| leaves(env.clone(), name, trace));
        futures::future::join_all(each).await;
    });
}

/// Plays the same plan with the guard and without it.
#[cfg(feature = "test-acts-first")]
async fn leaves(env: Arc<CrashEnv>, name: &str, trace: &str) {
    let mut scenarios = super::scenarios::transitions().into_iter();
    let guarded = scenarios.find(|scenario| scenario.name == name);
    let guarded = guarded.expect("a transition");
    let acting_first = Scenario {
        acts_first: true,
        ..guarded.clone()
    };
    let (guarded, acting_first) = tokio::join!(
        rehearse(env.clone(), guarded),
        rehearse(env.clone(), acting_first)
    );
    let runs = [guarded, acting_first].map(|run| run.unwrap_or_else(|why| panic!("{why}")));
    let differences = runs[1].end.differences(&runs[0].end);
    assert_eq!(differences, "", "{name}: nobody was killed");
    let [guarded, acting_first] = runs.map(|run| play(env.clone(), killed_after_creation(run)));
    let (guarded, acting_first) = tokio::join!(guarded, acting_first);
    assert_eq!(guarded, Verdict::Passed, "{name}");
    let Verdict::Failed(why) = acting_first else {
        panic!("{name}: nobody noticed");
    };
    assert!(
        why.contains(trace),
        "{name}: it failed for another reason: {why}"
    );
}

/// The StatefulSet is created; the operator does not live to hear it.
#[cfg(feature = "test-acts-first")]
fn killed_after_creation(run: Arc<Undisturbed>) -> Plan {
    let created = |effect: &Effect| effect.call.starts_with("create apps/statefulsets");
    let at = run.effects.iter().position(created);
    Plan {
        at: at.expect("a StatefulSet is created"),
        run,
        point: CrashPoint::Unanswered,
    }
}

fn table(score: &BTreeMap<String, [usize; 4]>) -> String {
    let mut told = format!(
        "{:>8} {:>13} {:>11} {:>7}\n",
        "passed", "other write", "not reached", "failed"
    );
    let mut sums = [0; 4];
    for (name, counts) in score {
        let [passed, missed, failed, shifted] = counts;
        let _ = writeln!(
            told,
            "{passed:>8} {shifted:>13} {missed:>11} {failed:>7}  {name}"
        );
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    let [passed, missed, failed, shifted] = sums;
    let _ = writeln!(
        told,
        "{passed:>8} {shifted:>13} {missed:>11} {failed:>7}  all"
    );
    told
}
