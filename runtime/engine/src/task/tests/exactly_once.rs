//! Whatever the interleaving, the crash and the rescale, the output is that of one undisturbed pass.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::CheckpointKind,
    plan::{Operator as PlanOperator, StreamPlan},
};

use super::{
    parts::{
        Assigner, HoldBack, Row, RunningCount, TestSink, TestSource, WINDOW, WindowCount, plan,
        table,
    },
    rig::{Rig, Stored},
};
use crate::{
    operator::Operator,
    task::{NodePart, splits_of},
};

const GROUPS: u16 = 16;

/// source → assigner → hold back ─hash(key)→ running count → sink;
///                              └─hash(key)→ window count ─hash(window)→ running count per window → sink.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]
    #[test]
    fn crashes_and_rescales_leave_no_trace_in_the_output(
        splits in splits(),
        lives in prop::collection::vec((1_u32..4, 0_u64..4000), 1..5),
        credit in prop::sample::select(vec![1_u32, 300, 5_000, 1 << 20]),
        seed in any::<u64>(),
    ) {
        let plan = job();
        let (mut stored, mut committed, mut next_checkpoint) = (Stored::default(), BTreeMap::new(), 1);
        for (life, &(parallelism, rolls)) in lives.iter().enumerate() {
            let last = life + 1 == lives.len();
            let seed = seed.wrapping_add(life as u64);
            let mut rig = Rig::start(&plan, parallelism, GROUPS, credit, seed, stored, &build(&splits, seed));
            (rig.committed, rig.next_checkpoint) = (committed, next_checkpoint);
            let mut running: Option<u64> = None;
            let mut rolled = 0_u64;
            let mut finished = false;
            while if last { !finished } else { rolled < rolls } {
                rolled += 1;
                prop_assert!(rolled < 2_000_000, "the job stands still");
                rig.roll();
                match running {
                    None if rig.ended == parallelism as usize || rig.dice.one_in(150) => running = Some(rig.trigger(CheckpointKind::Periodic)),
                    Some(checkpoint) if rig.is_frozen(checkpoint) => {
                        running = None;
                        if rig.dice.one_in(4) { rig.abort(checkpoint) } else { finished = rig.complete(checkpoint) }
                    }
                    // A coordinator that gives up waiting starts the next one while barriers of this one are under way.
                    _ => {}
                }
            }
            // The crash: whatever was not complete is gone.
            (stored, committed, next_checkpoint) = (rig.stored, rig.committed, rig.next_checkpoint);
        }
        let (counts, windows) = expected(&splits);
        prop_assert_eq!(sorted(committed.get(&4)), counts);
        prop_assert_eq!(sorted(committed.get(&7)), windows);
    }
}
