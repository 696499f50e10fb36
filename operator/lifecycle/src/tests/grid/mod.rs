//! The grid: every step of every transition, with every class of observation, every change of the
//! spec, and deletion.
//!
//! No case panics, every case gives the same answer twice, takes only edges that are drawn in
//! [`edges`](crate::transitions::edges), keeps the rules of conditions, and comes to rest when
//! nothing else happens; every edge is taken by some case. All cases are gone through once; each
//! test asks for the rule that it is named after.

mod cases;
mod facts;
mod rules;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    thread,
};

use streamkeeper_api::v1alpha1::{Step, StreamJobStatus, TransitionKind::Delete};

use self::cases::Case;
use crate::{
    decide::plan,
    transitions::edges::{EDGES, Position},
};

/// What was found when all cases were gone through.
#[derive(Debug, Default)]
struct Findings {
    cases: usize,
    edges: BTreeSet<(Position, Position)>,
    /// The first case that breaks a rule, by the rule's name, and how many do.
    broken: BTreeMap<&'static str, (String, usize)>,
}

static FINDINGS: LazyLock<Findings> = LazyLock::new(|| {
    let contexts = cases::contexts();
    let (some, others) = contexts.split_at(contexts.len() / 2);
    let (mut all, more) = thread::scope(|scope| {
        let beside = scope.spawn(|| go_through(others));
        (go_through(some), beside.join().unwrap())
    });
    all.cases += more.cases;
    all.edges.extend(more.edges);
    for (rule, (first, count)) in more.broken {
        all.broken.entry(rule).or_insert((first, 0)).1 += count;
    }
    all
});

fn go_through(contexts: &[Case]) -> Findings {
    let mut findings = Findings::default();
    cases::all(contexts, |case| {
        findings.cases += 1;
        let (planned, again) = case.with_input(|input| (plan(input), plan(input)));
        findings
            .edges
            .insert((case.position(), position(&planned.status)));
        if planned != again {
            let found = || (format!("{planned:#?}\n{again:#?}\n{case:#?}"), 0);
            findings.broken.entry(SAME).or_insert_with(found).1 += 1;
        }
        for (rule, check) in rules::ALL {
            if let Err(why) = check(case, &planned) {
                let found = || (format!("{why}\n{}\n{case:#?}", planned.why), 0);
                findings.broken.entry(rule).or_insert_with(found).1 += 1;
            }
        }
    });
    findings
}

/// Goes through the cases in an order of its own until one breaks a rule; which rule, after how
/// many cases.
pub(crate) fn first_broken() -> Option<(&'static str, usize)> {
    /// A prime greater than the number of cases: every case has its turn, and neighbours are far
    /// apart.
    const STRIDE: usize = 10_000_019;
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let mut all = Vec::new();
        cases::all(&cases::contexts(), |case| all.push(*case));
        assert!(all.len() < STRIDE);
        all
    });
    (0..CASES.len()).find_map(|at| {
        let case = &CASES[at * STRIDE % CASES.len()];
        let planned = case.with_input(plan);
        rules::ALL
            .iter()
            .find(|(_, check)| check(case, &planned).is_err())
            .map(|(rule, _)| (*rule, at + 1))
    })
}

fn position(status: &StreamJobStatus) -> Position {
    status
        .transition
        .as_ref()
        .map(|transition| (transition.kind, transition.step))
}

/// The one rule that takes two plans.
const SAME: &str = "the_same_facts_give_the_same_plan";

#[track_caller]
fn holds(rule: &str) {
    assert!(
        rule == SAME || rules::ALL.iter().any(|(name, _)| *name == rule),
        "no rule is named {rule}"
    );
    if let Some((first, count)) = FINDINGS.broken.get(rule) {
        panic!("{count} of {} cases break it: {first}", FINDINGS.cases);
    }
}

/// A test for each rule.
macro_rules! claims {
    ($($name:ident),+ $(,)? ; $($step:ident),+ $(,)?) => {
        $(#[test] fn $name() { holds(stringify!($name)); })+
        $(#[test] fn $step() { holds(stringify!($step)); })+
    };
}

rules::every_rule!(claims);

#[test]
fn the_same_facts_give_the_same_plan() {
    holds(SAME);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let names: BTreeSet<_> = rules::ALL.iter().map(|(rule, _)| rule).collect();
    assert_eq!(names.len(), rules::ALL.len());
}

#[test]
fn every_edge_that_is_drawn_is_taken_by_some_case() {
    let deletions = cases::positions().into_iter().filter_map(|from| {
        (from != Some((Delete, Step::Removing))).then_some((from, Some((Delete, Step::Stopping))))
    });
    let missing: Vec<(Position, Position)> = EDGES
        .iter()
        .copied()
        .chain(deletions)
        .filter(|edge| !FINDINGS.edges.contains(edge))
        .collect();
    assert!(missing.is_empty(), "no case takes: {missing:#?}");
}

#[test]
fn the_grid_is_not_empty() {
    assert!(FINDINGS.cases > 100_000, "only {} cases", FINDINGS.cases);
}

#[test]
fn a_place_that_is_not_on_the_map_leads_back_to_it() {
    for from in cases::impossible_places() {
        for deleting in [false, true] {
            let case = Case {
                position: Some(from),
                deleting,
                ..Case::default()
            };
            let planned = case.with_input(plan);
            let to = position(&planned.status);
            assert!(
                to.is_none() || cases::positions().contains(&to),
                "{from:?} -> {to:?}"
            );
            assert!(
                planned.actions.is_empty(),
                "{from:?}: {:?}",
                planned.actions
            );
        }
    }
}
