//! The grid: every step of every transition, with every class of observation, every change of the
//! spec, and deletion.
//!
//! No case panics, every case gives the same answer twice, takes only edges that are drawn in
//! [`super::state`], keeps the rules of conditions, and comes to rest when nothing else happens;
//! every edge is taken by some case. All cases are gone through once; each test asks for the rule
//! that it is named after.

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
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { holds(stringify!($name)); })+

        #[test]
        fn every_rule_is_asked_for() {
            let asked = [$(stringify!($name)),+];
            for (rule, _) in rules::ALL {
                assert!(asked.contains(rule), "{rule}");
            }
        }
    };
}

claims![
    the_same_facts_give_the_same_plan,
    only_edges_that_are_drawn_are_taken,
    conditions_keep_the_rules_of_kstatus,
    an_edit_that_was_not_looked_at_is_not_in_force,
    what_cannot_be_undone_is_written_down_a_pass_before,
    nothing_is_started_from_nothing_unless_the_store_said_that_there_is_nothing,
    the_pods_of_whoever_has_the_job_are_deleted_only_by_a_suspension,
    an_unknown_owner_costs_nobody_his_pods,
    a_running_revision_is_not_touched_before_its_successor_is_ready,
    a_revision_that_was_given_up_is_not_tried_again,
    a_quiet_world_comes_to_rest,
    deletion_ends_once_nobody_is_left_to_ask_or_time_is_up,
    what_only_others_hold_is_left_alone,
    nothing_is_begun_before_the_finalizer_is_there,
    where_the_operator_does_not_look_pods_are_started_and_nothing_runs_unseen,
    numbers_of_revisions_only_grow,
    a_call_that_failed_rests_before_the_next,
    a_start_pushes_aside_nobody_through_whom_records_flow,
    the_state_of_another_job_is_taken_only_by_a_first_start_and_after_its_end,
    a_call_goes_to_whom_the_status_names,
    whoever_has_a_part_in_a_transition_keeps_his_pods,
    a_transition_ends_well_only_when_the_old_pods_are_gone,
    a_pod_is_removed_by_force_only_from_a_node_that_was_lost_for_long,
    a_successor_is_ready_before_it_takes_over,
    what_another_revision_or_job_says_counts_for_nothing,
    suspended_means_that_nothing_is_left,
    where_nobody_can_run_a_start_is_begun,
    a_revision_that_handed_over_does_not_run_again,
    no_pod_is_taken_from_a_job_on_its_way_to_it,
    what_is_being_handed_over_is_not_reconsidered,
    a_savepoint_is_given_up_only_for_a_lost_cause,
    a_revision_proves_itself_before_the_old_one_goes,
    nobody_is_rolled_back_before_his_time,
    with_head_unreadable_nobody_is_rolled_back_for_being_late,
    a_rollback_has_a_content_to_go_back_to,
    what_failed_is_remembered,
    a_rollback_brings_back_the_content_before,
    workers_are_up_before_the_job_moves,
    the_job_has_arrived_before_pods_go,
    a_named_successor_comes_before_a_suspension,
    a_deletion_stops_the_job_first,
    a_deletion_does_not_wait_for_a_job_that_cannot_stop,
    content_that_may_be_needed_is_kept,
    an_edit_back_cancels,
];

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
