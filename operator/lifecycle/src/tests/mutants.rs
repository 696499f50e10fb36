//! Every guard that is marked in these files is taken away once; a rule of the grid, a promise of
//! the model or a claim about stores must notice, or the guard is idle or a rule is missing. `cargo
//! test --workspace --lib a_guard_of_the_lifecycle -- --nocapture` shows which does.

use std::{path::Path, thread};

use streamkeeper_guard::{fails_without, marked, without};

use crate::{
    grant,
    tests::{grid, model, snapshot_grid},
};

/// Where the operator acts in stores, and what it removes there: neither the grid nor the model of
/// jobs knows.
const CLAIMS: &[(&str, fn())] = &[
    (
        "the_operator_acts_only_below_the_own_namespace_of_an_allowed_place",
        grant::tests::the_operator_acts_only_below_the_own_namespace_of_an_allowed_place,
    ),
    (
        "a_region_that_is_no_name_is_not_part_of_a_host",
        grant::tests::a_region_that_is_no_name_is_not_part_of_a_host,
    ),
    (
        "only_a_folder_that_the_job_of_the_snapshot_has_written_is_removed",
        snapshot_grid::only_a_folder_that_the_job_of_the_snapshot_has_written_is_removed,
    ),
    (
        "a_status_does_not_say_what_is_removed",
        snapshot_grid::a_status_does_not_say_what_is_removed,
    ),
];

/// Worlds that the model looks at for each guard, unless `MODEL_WORLDS` says how many.
const WORLDS: usize = 20_000;

/// Guards that the model misses within these, at least.
const MISSED_BY_THE_MODEL: usize = 5;

/// What missed a guard, if anything did.
type Killer = Option<String>;

fn by_a_claim(guard: &'static str) -> Killer {
    let found = CLAIMS
        .iter()
        .find(|(_, claim)| fails_without(guard, *claim));
    found.map(|(name, _)| (*name).to_owned())
}

fn by_the_grid() -> Killer {
    let (rule, cases) = grid::first_broken()?;
    Some(format!("{rule} (case {cases})"))
}

fn by_the_model() -> Killer {
    let worlds = std::env::var("MODEL_WORLDS")
        .ok()
        .and_then(|worlds| worlds.parse().ok());
    let (promise, worlds) = model::first_broken(worlds.unwrap_or(WORLDS))?;
    Some(format!("{promise} (world {worlds})"))
}

/// What misses each guard, as `look` finds it.
fn hunt(look: fn(&'static str) -> Killer) -> Vec<(&'static str, Killer)> {
    let guards = marked(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))).unwrap();
    assert!(
        guards.len() >= 50,
        "only {} guards are marked",
        guards.len()
    );
    let search = |guards: &[&'static str]| -> Vec<_> {
        guards.iter().map(|guard| (*guard, look(guard))).collect()
    };
    let (some, others) = guards.split_at(guards.len() / 2);
    let found = thread::scope(|scope| {
        let beside = scope.spawn(|| search(others));
        [search(some), beside.join().unwrap()].concat()
    });
    for (guard, killer) in &found {
        println!("{guard:<52} {}", killer.as_deref().unwrap_or("-"));
    }
    found
}

#[test]
fn a_guard_of_the_lifecycle_that_is_taken_away_is_missed_by_some_rule() {
    let found = hunt(|guard| {
        by_a_claim(guard).or_else(|| without(guard, || by_the_grid().or_else(by_the_model)))
    });
    let idle: Vec<_> = found
        .iter()
        .filter(|(_, killer)| killer.is_none())
        .collect();
    assert!(idle.is_empty(), "nothing notices without: {idle:#?}");
}

/// The model knows no other job, no preflight but its own, and looks at few worlds here: it need
/// not miss all of them.
#[test]
fn the_model_alone_misses_guards_too() {
    let found = hunt(|guard| without(guard, by_the_model));
    let missed = found.iter().filter(|(_, killer)| killer.is_some()).count();
    println!("{missed} of {} guards", found.len());
    assert!(missed >= MISSED_BY_THE_MODEL, "only {missed}");
}
