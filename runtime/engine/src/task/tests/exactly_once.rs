//! After any interleaving, crash and rescale the output is that of one undisturbed pass; where
//! records may count again, it contains all of that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    key_group::Assignment,
    manifest::{CheckpointKind, Guarantee},
    plan::{NodeId, Operator as PlanOperator, Phase, StreamPlan, Window, WindowAggregate},
    types::{DataType, Field, LogicalType, Schema},
};

use super::{
    parts::{
        Assigner, HoldBack, Row, RunningCount, TestSink, TestSource, WINDOW, WindowCount, plan,
        table,
    },
    rig::{GROUPS, Rig, Stored},
};
use crate::{
    operator::{Operator, Place},
    operators,
    task::{NodePart, splits_of},
};

/// source → assigner → hold back ─hash(key)→ running count → sink; └─hash(key)→ window count
///                              ─hash(window)→ running count per window → sink.
fn job() -> StreamPlan {
    plan(vec![
        (PlanOperator::Source(table("input")), vec![]),
        (PlanOperator::Union, vec![(0, None)]),
        (PlanOperator::Union, vec![(1, None)]),
        (PlanOperator::Union, vec![(2, Some(vec![1]))]),
        (PlanOperator::Sink(table("counts")), vec![(3, None)]),
        (PlanOperator::Union, vec![(2, Some(vec![1]))]),
        (PlanOperator::Union, vec![(5, Some(vec![1]))]),
        (PlanOperator::Sink(table("windows")), vec![(6, None)]),
    ])
}

fn build(
    splits: &[Vec<Row>],
    seed: u64,
) -> impl Fn(u32, &Arc<Assignment>, &Stored) -> Vec<NodePart> {
    move |subtask, assignment, stored| {
        let owns = {
            let assignment = assignment.clone();
            move |group: u16| assignment.owner[usize::from(group)] == subtask
        };
        let restored = splits_of("source", stored.of(0, "splits", &owns)).unwrap();
        let source = TestSource::open(
            splits,
            &owns,
            GROUPS,
            &restored,
            seed + u64::from(subtask),
            true,
        );
        let keyed = |node: usize, mut operator: Box<dyn Operator>| {
            operator
                .restore(
                    "values",
                    &RunningCount::new(GROUPS, owns.clone()).states()[0],
                    stored.of(node, "values", &owns),
                )
                .unwrap();
            NodePart::Operator(operator)
        };
        vec![
            NodePart::Source(Box::new(source), restored),
            NodePart::Operator(Box::<Assigner>::default()),
            NodePart::Operator(Box::<HoldBack>::default()),
            keyed(3, Box::new(RunningCount::new(GROUPS, owns.clone()))),
            NodePart::Sink(Box::<TestSink>::default()),
            keyed(5, Box::new(WindowCount::new(GROUPS, owns.clone()))),
            keyed(6, Box::new(RunningCount::new(GROUPS, owns.clone()))),
            NodePart::Sink(Box::<TestSink>::default()),
        ]
    }
}

fn expected(splits: &[Vec<Row>]) -> (Vec<Row>, Vec<Row>) {
    let mut per_key: BTreeMap<i64, i64> = BTreeMap::new();
    let mut windows: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for &(time, key, _) in splits.iter().flatten() {
        *per_key.entry(key).or_default() += 1;
        *windows.entry((key, time / WINDOW)).or_default() += 1;
    }
    let runs = |counts: BTreeMap<i64, i64>| -> Vec<Row> {
        counts
            .into_iter()
            .flat_map(|(key, count)| (1..=count).map(move |number| (0, key, number)))
            .collect()
    };
    let mut windows_per_key: BTreeMap<i64, i64> = BTreeMap::new();
    for (key, _) in windows.keys() {
        *windows_per_key.entry(*key).or_default() += 1;
    }
    (runs(per_key), runs(windows_per_key))
}

fn sorted(rows: Option<&Vec<Row>>) -> Vec<Row> {
    let mut rows = rows.cloned().unwrap_or_default();
    rows.sort_unstable();
    rows
}

fn splits() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let split = prop::collection::vec((0_i64..200, 0_i64..9), 0..120).prop_map(|mut rows| {
        rows.sort_unstable();
        rows.into_iter()
            .map(|(time, key)| (time, key, 1))
            .collect::<Vec<Row>>()
    });
    prop::collection::vec(split, 1..6)
}

/// Parallelism and length of the lives between crashes; the last one lasts until the input has
/// ended.
type Lives = [(u32, u64)];

/// Runs a job through several attempts; `build` makes the parts of an attempt with this seed.
/// Returns what was committed.
fn live<B>(
    plan: &StreamPlan,
    lives: &Lives,
    guarantee: Guarantee,
    credit: u32,
    seed: u64,
    build: impl Fn(u64) -> B,
) -> Result<BTreeMap<NodeId, Vec<Row>>, TestCaseError>
where
    B: Fn(u32, &Arc<Assignment>, &Stored) -> Vec<NodePart>,
{
    let (mut stored, mut committed, mut next_checkpoint) = (Stored::default(), BTreeMap::new(), 1);
    for (life, &(parallelism, rolls)) in lives.iter().enumerate() {
        let last = life + 1 == lives.len();
        let seed = seed.wrapping_add(life as u64);
        let parts = build(seed);
        let mut rig = Rig::start(plan, parallelism, guarantee, credit, seed, stored, &parts);
        (rig.committed, rig.next_checkpoint) = (committed, next_checkpoint);
        let mut running: Option<u64> = None;
        let mut rolled = 0_u64;
        let mut finished = false;
        while if last { !finished } else { rolled < rolls } {
            rolled += 1;
            prop_assert!(rolled < 2_000_000, "the job stands still");
            rig.roll();
            match running {
                None if rig.ended == parallelism as usize || rig.dice.one_in(150) => {
                    running = Some(rig.trigger(CheckpointKind::Periodic));
                }
                Some(checkpoint) if rig.is_frozen(checkpoint) => {
                    running = None;
                    if rig.dice.one_in(4) {
                        rig.abort(checkpoint);
                    } else {
                        finished = rig.complete(checkpoint);
                    }
                }
                // A coordinator that gives up waiting starts the next one while barriers of this
                // one are under way.
                _ => {}
            }
        }
        // The crash: all that was not complete is gone.
        (stored, committed, next_checkpoint) = (rig.stored, rig.committed, rig.next_checkpoint);
    }
    Ok(committed)
}

fn lives() -> impl Strategy<Value = Vec<(u32, u64)>> {
    prop::collection::vec((1_u32..4, 0_u64..4000), 1..5)
}

fn credit() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1_u32, 300, 5_000, 1 << 20])
}

/// source → assigner → windows before the shuffle ─hash(key)→ windows after it → sink: the engine's
/// own operators.
fn window_job() -> StreamPlan {
    let mut job = plan(vec![
        (PlanOperator::Source(table("input")), vec![]),
        (PlanOperator::Union, vec![(0, None)]),
        (PlanOperator::Union, vec![(1, None)]),
        (PlanOperator::Union, vec![(2, Some(vec![0]))]),
        (PlanOperator::Sink(table("windows")), vec![(3, None)]),
    ]);
    let number = LogicalType::not_null(DataType::BigInt);
    let window = |phase, time, keys| {
        PlanOperator::WindowAggregate(WindowAggregate {
            phase,
            window: Window::Hop {
                slide: WINDOW,
                size: 2 * WINDOW,
                offset: 0,
            },
            time,
            keys,
            aggregates: vec![AggregateCall {
                uid: "count".to_owned(),
                function: AggregateFunction::Count,
                arg: None,
                arg_type: None,
                distinct: false,
                filter: None,
                ty: LogicalType::not_null(DataType::BigInt),
            }],
        })
    };
    let columns = |names: &[&str]| {
        let field = |name: &&str| Field::new(*name, number.clone());
        Schema::new(names.iter().map(field).collect())
    };
    job.settings.source_idle_timeout_ms = Some(1);
    job.nodes[2].operator = window(Phase::Local, 0, vec![1]);
    job.nodes[2].schema = columns(&["key", "partial", "records", "slice_end"]);
    job.nodes[3].operator = window(Phase::Global, 3, vec![0]);
    job.nodes[3].schema = columns(&["key", "count", "window_start", "window_end", "window_time"]);
    job
}

fn window_parts(
    plan: &StreamPlan,
    splits: &[Vec<Row>],
    seed: u64,
) -> impl Fn(u32, &Arc<Assignment>, &Stored) -> Vec<NodePart> {
    move |subtask, assignment, stored| {
        let place = Place {
            subtask,
            assignment: assignment.clone(),
        };
        let owns = |group: u16| assignment.owner[usize::from(group)] == subtask;
        let restored = splits_of("source", stored.of(0, "splits", owns)).unwrap();
        let seed = seed + u64::from(subtask);
        let source = TestSource::open(splits, owns, GROUPS, &restored, seed, true).napping();
        let mut windows = operators::build(&plan.nodes[3], plan, &place).unwrap();
        let shape = windows.states().remove(0);
        let entries = stored.of(3, &shape.name, owns);
        windows.restore(&shape.name, &shape, entries).unwrap();
        vec![
            NodePart::Source(Box::new(source), restored),
            NodePart::Operator(Box::<Assigner>::default()),
            NodePart::Operator(operators::build(&plan.nodes[2], plan, &place).unwrap()),
            NodePart::Operator(windows),
            NodePart::Sink(Box::<TestSink>::default()),
        ]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    // Rows that come late because their source was idle are lost, and which ones is chance; but a
    // window is a window once.
    #[test]
    fn sources_that_fall_idle_make_no_window_appear_twice(
        splits in splits(),
        lives in lives(),
        credit in credit(),
        seed in any::<u64>(),
    ) {
        let plan = window_job();
        let committed = live(&plan, &lives, Guarantee::ExactlyOnce, credit, seed, |seed| window_parts(&plan, &splits, seed))?;
        let mut expected: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for &(time, key, _) in splits.iter().flatten() {
            let start = time / WINDOW * WINDOW;
            *expected.entry((key, start)).or_default() += 1;
            *expected.entry((key, start - WINDOW)).or_default() += 1;
        }
        for (key, count, start) in sorted(committed.get(&4)) {
            let most = expected.remove(&(key, start));
            prop_assert!(most.is_some_and(|most| (1..=most).contains(&count)), "{key} {start} {count} of {most:?}");
        }
    }

    #[test]
    fn crashes_and_rescales_leave_no_trace_in_the_output(
        splits in splits(),
        lives in lives(),
        credit in credit(),
        seed in any::<u64>(),
    ) {
        let plan = job();
        let committed = live(&plan, &lives, Guarantee::ExactlyOnce, credit, seed, |seed| build(&splits, seed))?;
        let (counts, windows) = expected(&splits);
        prop_assert_eq!(sorted(committed.get(&4)), counts);
        prop_assert_eq!(sorted(committed.get(&7)), windows);
    }

    #[test]
    fn where_records_may_count_again_crashes_and_rescales_lose_none(
        splits in splits(),
        lives in lives(),
        credit in credit(),
        seed in any::<u64>(),
    ) {
        let plan = job();
        let committed = live(&plan, &lives, Guarantee::AtLeastOnce, credit, seed, |seed| build(&splits, seed))?;
        let (counts, windows) = expected(&splits);
        for (node, expected) in [(4, counts), (7, windows)] {
            let found: BTreeSet<Row> = committed.get(&node).into_iter().flatten().copied().collect();
            let lost: Vec<Row> = expected.into_iter().filter(|row| !found.contains(row)).collect();
            prop_assert!(lost.is_empty(), "node {node} lost {lost:?}");
        }
    }
}

/// Counts that subtask 0 wrote, in a job whose subtask 1 delivers nothing to it, not even the
/// barrier.
fn written_beside_a_slow_channel(guarantee: Guarantee) -> u64 {
    let splits: Vec<Vec<Row>> = (0..8)
        .map(|split| (0..60).map(|time| (time, (time + split) % 9, 1)).collect())
        .collect();
    let parts = build(&splits, 3);
    let mut rig = Rig::start(&job(), 2, guarantee, 1 << 20, 5, Stored::default(), &parts);
    rig.held = Some((1, 0));
    let checkpoint = rig.trigger(CheckpointKind::Periodic);
    for _ in 0..20_000 {
        rig.roll();
    }
    assert!(!rig.is_frozen(checkpoint));
    let written = rig.counters[0].rows(4);
    rig.held = None;
    for _ in 0..20_000 {
        rig.roll();
    }
    assert!(rig.is_frozen(checkpoint));
    written
}

#[test]
fn a_slow_channel_holds_the_others_up_only_where_every_record_counts_once() {
    assert_eq!(written_beside_a_slow_channel(Guarantee::ExactlyOnce), 0);
    let written = written_beside_a_slow_channel(Guarantee::AtLeastOnce);
    assert!(written > 0, "nothing flows");
}
