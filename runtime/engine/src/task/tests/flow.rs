//! Single behaviours of the flow.

use std::sync::Arc;

use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::{CheckpointKind, Guarantee},
    plan::{MAX_DEPTH, Operator as PlanOperator, StreamPlan},
};

use super::{
    parts::{
        Assigner, HoldBack, ROW_BYTES, Row, RunningCount, TestSink, TestSource, WindowCount, plan,
        table,
    },
    rig::{GROUPS, Rig, Stored},
};
use crate::task::{Command, NodePart, Topology, splits_of};

/// Far more than any of these jobs needs to come to rest.
const PLENTY: usize = 2_000;

/// source → assigner → hold back ─hash(key)→ window count → sink.
fn windows() -> StreamPlan {
    plan(vec![
        (PlanOperator::Source(table("input")), vec![]),
        (PlanOperator::Union, vec![(0, None)]),
        (PlanOperator::Union, vec![(1, None)]),
        (PlanOperator::Union, vec![(2, Some(vec![1]))]),
        (PlanOperator::Sink(table("windows")), vec![(3, None)]),
    ])
}

/// Parts of [`windows`] over these splits.
fn build(
    splits: Vec<Vec<Row>>,
    bounded: bool,
) -> impl Fn(u32, &Arc<Assignment>, &Stored) -> Vec<NodePart> {
    move |subtask, assignment, stored| {
        let assignment = assignment.clone();
        let owns = move |group: u16| assignment.owner[usize::from(group)] == subtask;
        let restored = splits_of("source", stored.of(0, "splits", &owns)).unwrap();
        let source = TestSource::open(
            &splits,
            &owns,
            GROUPS,
            &restored,
            u64::from(subtask),
            bounded,
        );
        vec![
            NodePart::Source(Box::new(source), restored),
            NodePart::Operator(Box::<Assigner>::default()),
            NodePart::Operator(Box::<HoldBack>::default()),
            NodePart::Operator(Box::new(WindowCount::new(GROUPS, owns))),
            NodePart::Sink(Box::<TestSink>::default()),
        ]
    }
}

/// Two subtasks; `idle_ms` is the idle timeout.
fn start(splits: Vec<Vec<Row>>, bounded: bool, idle_ms: Option<u64>) -> Rig {
    let build = build(splits, bounded);
    let mut plan = windows();
    plan.settings.source_idle_timeout_ms = idle_ms;
    Rig::start(
        &plan,
        2,
        Guarantee::ExactlyOnce,
        1 << 16,
        7,
        Stored::default(),
        &build,
    )
}

fn rows(rig: &Rig, node: usize) -> u64 {
    rig.counters
        .iter()
        .map(|counters| counters.rows(node))
        .sum()
}

fn late(rig: &Rig) -> u64 {
    use std::sync::atomic::Ordering::Relaxed;
    rig.counters
        .iter()
        .map(|counters| counters.late.load(Relaxed))
        .sum()
}

#[test]
fn what_is_held_back_leaves_when_the_input_falls_idle() {
    // Rows of one time, so that no watermark follows the last of them. The subtask that has the
    // last split goes on after the other one is idle, and fires the other one's windows.
    let splits: Vec<Vec<Row>> = (0..8_i64)
        .map(|split| vec![(split * 1000, split, 1); 20])
        .collect();
    let mut rig = start(splits, false, Some(50));
    for _ in 0..PLENTY {
        rig.roll();
    }
    assert_eq!(rows(&rig, 0), 160, "all input was read");
    let checkpoint = rig.trigger(CheckpointKind::Periodic);
    for _ in 0..PLENTY {
        rig.roll();
    }
    assert!(rig.is_frozen(checkpoint));
    rig.complete(checkpoint);
    assert_eq!(late(&rig), 0, "no row became late while it was held back");
}

#[test]
fn sources_stand_still_after_a_final_barrier_until_they_are_told_to_go_on() {
    let splits: Vec<Vec<Row>> = (0..6_i64)
        .map(|split| (0..200).map(|time| (time, split, 1)).collect())
        .collect();
    let mut rig = start(splits, true, None);
    let checkpoint = rig.trigger(CheckpointKind::Final);
    for _ in 0..PLENTY {
        rig.roll();
    }
    assert!(rig.is_frozen(checkpoint));
    assert!(!rig.complete(checkpoint), "the input has not ended");
    let read = rows(&rig, 0);
    assert!(read < 1200);
    for _ in 0..PLENTY {
        rig.roll();
    }
    assert_eq!(rows(&rig, 0), read);
    rig.command(&Command::Resume);
    for _ in 0..20 * PLENTY {
        rig.roll();
    }
    assert_eq!((rows(&rig, 0), rig.ended), (1200, 2));
}

#[test]
fn a_subtask_with_nothing_to_read_holds_windows_back_unless_a_timeout_calls_it_idle() {
    // One split: one of the two subtasks has nothing to read, for now.
    let rows_of_split: Vec<Row> = (0..50).map(|time| (time, time % 5, 1)).collect();
    for (idle_ms, fired) in [(None, 0), (Some(0), 0), (Some(20), 5 * 4)] {
        let mut rig = start(vec![rows_of_split.clone()], false, idle_ms);
        for _ in 0..PLENTY {
            rig.roll();
        }
        assert_eq!(rows(&rig, 0), 50);
        assert_eq!(
            rows(&rig, 4),
            fired,
            "windows with a timeout of {idle_ms:?}"
        );
    }
}

#[test]
fn an_exchange_that_leads_back_into_its_own_stage_is_refused() {
    let plan = plan(vec![
        (PlanOperator::Source(table("input")), vec![]),
        (PlanOperator::Union, vec![(0, None)]),
        (PlanOperator::Union, vec![(0, None), (1, Some(vec![1]))]),
        (PlanOperator::Sink(table("output")), vec![(2, None)]),
    ]);
    let error = Topology::of(&plan, 2).unwrap_err().to_string();
    assert!(
        error.contains("no checkpoint could ever complete"),
        "{error}"
    );
    // With one subtask nothing is exchanged.
    Topology::of(&plan, 1).unwrap();
}

/// source → hold back ─hash(key)→ union → sink.
fn copy() -> StreamPlan {
    plan(vec![
        (PlanOperator::Source(table("input")), vec![]),
        (PlanOperator::Union, vec![(0, Some(vec![1]))]),
        (PlanOperator::Sink(table("output")), vec![(1, None)]),
    ])
}

/// Rows that a sink of [`copy_within_budget`] keeps at most.
const BUDGET_ROWS: usize = 40;

/// [`copy`], with a budget for its sink.
fn copy_within_budget() -> StreamPlan {
    let mut plan = copy();
    plan.settings.sink_buffer_bytes = Some((BUDGET_ROWS * ROW_BYTES) as u64);
    plan
}

/// Parts of [`copy`] over these splits.
fn build_copy(
    splits: &[Vec<Row>],
) -> impl Fn(u32, &Arc<Assignment>, &Stored) -> Vec<NodePart> + '_ {
    move |subtask, assignment, stored| {
        let assignment = assignment.clone();
        let owns = move |group: u16| assignment.owner[usize::from(group)] == subtask;
        let restored = splits_of("source", stored.of(0, "splits", &owns)).unwrap();
        let source = TestSource::open(splits, &owns, GROUPS, &restored, 5, true);
        vec![
            NodePart::Source(Box::new(source), restored),
            NodePart::Operator(Box::<HoldBack>::default()),
            NodePart::Sink(Box::<TestSink>::default()),
        ]
    }
}

#[test]
fn a_sink_without_a_checkpoint_stops_its_sources_at_its_budget() {
    let splits: Vec<Vec<Row>> = (0..6_i64)
        .map(|split| (0..200).map(|time| (time, split, 1)).collect())
        .collect();
    let total = 1200;
    for parallelism in [1, 2] {
        let build = build_copy(&splits);
        let plan = copy_within_budget();
        let mut rig = Rig::start(
            &plan,
            parallelism,
            Guarantee::ExactlyOnce,
            1 << 10,
            7,
            Stored::default(),
            &build,
        );
        for _ in 0..5 * PLENTY {
            rig.roll();
        }
        // The target is down: no checkpoint follows. A message of at most ten rows may go beyond
        // the budget.
        let written = rows(&rig, 2);
        assert!(
            written <= u64::from(parallelism) * (BUDGET_ROWS as u64 + 40),
            "{written} rows wait in the sinks"
        );
        assert!(rows(&rig, 0) < total, "the sources wait");
        // Each sink reported once that its buffer fills.
        let (told, subtasks) = (rig.filling, parallelism as usize);
        assert!((1..=subtasks).contains(&told) && rig.ended == 0, "{told}");
        // It is back: every checkpoint makes room, and the job goes on by itself.
        for _ in 0..200 {
            let checkpoint = rig.trigger(CheckpointKind::Periodic);
            while !rig.is_frozen(checkpoint) {
                rig.roll();
            }
            rig.complete(checkpoint);
            for _ in 0..200 {
                rig.roll();
            }
        }
        assert_eq!(
            (rig.committed[&2].len() as u64, rig.ended),
            (total, parallelism as usize)
        );
    }
}

#[test]
fn a_checkpoint_at_each_sink_that_fills_is_enough_for_all_input() {
    let splits: Vec<Vec<Row>> = vec![(0..400).map(|time| (time, 1, 1)).collect()];
    let build = build_copy(&splits);
    let plan = copy_within_budget();
    let exactly = Guarantee::ExactlyOnce;
    let mut rig = Rig::start(&plan, 1, exactly, 1 << 10, 7, Stored::default(), &build);
    let mut answered = 0;
    for _ in 0..20 * PLENTY {
        rig.roll();
        if rig.filling > answered {
            answered = rig.filling;
            let checkpoint = rig.trigger(CheckpointKind::Periodic);
            while !rig.is_frozen(checkpoint) {
                rig.roll();
            }
            rig.complete(checkpoint);
        }
    }
    assert_eq!(rig.ended, 1);
    // Ten budgets of rows: a checkpoint for each, and not for each row.
    assert!((8..=20).contains(&answered), "{answered} checkpoints");
}

#[test]
fn operators_in_a_row_are_limited() {
    let chain = |operators: usize| {
        let mut nodes = vec![(PlanOperator::Source(table("input")), vec![])];
        nodes.extend((1..operators - 1).map(|id| (PlanOperator::Union, vec![(id - 1, None)])));
        nodes.push((
            PlanOperator::Sink(table("output")),
            vec![(operators - 2, None)],
        ));
        plan(nodes)
    };
    Topology::of(&chain(MAX_DEPTH), 1).unwrap();
    let error = Topology::of(&chain(MAX_DEPTH + 1), 1).unwrap_err();
    assert!(error.to_string().contains("at most 500"), "{error}");
}

#[test]
fn output_that_is_not_committed_counts_against_a_sinks_budget() {
    let splits: Vec<Vec<Row>> = (0..6_i64)
        .map(|split| (0..200).map(|time| (time, split, 1)).collect())
        .collect();
    for down in [true, false] {
        let build = build_copy(&splits);
        let plan = copy_within_budget();
        let mut rig = Rig::start(
            &plan,
            2,
            Guarantee::ExactlyOnce,
            1 << 10,
            7,
            Stored::default(),
            &build,
        );
        rig.target_down = down;
        let mut waits = false;
        for _ in 0..300 {
            let checkpoint = rig.trigger(CheckpointKind::Periodic);
            let mut rolls = 0;
            while !rig.is_frozen(checkpoint) {
                rig.roll();
                rolls += 1;
                if rolls == PLENTY && rig.target_down {
                    // Checkpoints were complete, but all of their output is still in memory. Each
                    // let through what lay in the channels ahead of its barrier, until there was
                    // too much for another.
                    waits = true;
                    let most = 2 * (2 * BUDGET_ROWS as u64 + 2 * 40);
                    assert!(rows(&rig, 2) < most, "{} rows are kept", rows(&rig, 2));
                    rig.target_down = false;
                    rig.commit();
                }
            }
            rig.complete(checkpoint);
            for _ in 0..200 {
                rig.roll();
            }
        }
        assert_eq!(
            waits, down,
            "only a target that is down holds a checkpoint up"
        );
        assert_eq!((rows(&rig, 2), rig.ended), (1200, 2));
        let waiting: u64 = (0..2).map(|at| rig.counters[at].uncommitted(2)).sum();
        assert_eq!(waiting, 0);
    }
}

/// source ─hash(key)→ running count → sink, and beside it source → sink.
fn two_pipelines() -> Rig {
    let plan = plan(vec![
        (PlanOperator::Source(table("input")), vec![]),
        (PlanOperator::Union, vec![(0, Some(vec![1]))]),
        (PlanOperator::Sink(table("counts")), vec![(1, None)]),
        (PlanOperator::Source(table("other")), vec![]),
        (PlanOperator::Sink(table("others")), vec![(3, None)]),
    ]);
    let keys: Vec<Row> = (0..900).map(|key| (key, key, 1)).collect();
    let others: Vec<Row> = (0..50_000).map(|time| (time, 0, 1)).collect();
    let build = move |_: u32, _: &Arc<Assignment>, _: &Stored| {
        let source = |rows: &Vec<Row>| {
            let splits = [rows.clone()];
            let source = TestSource::open(&splits, |_| true, GROUPS, &[], 1, false);
            NodePart::Source(Box::new(source), Vec::new())
        };
        vec![
            source(&keys),
            NodePart::Operator(Box::new(RunningCount::new(GROUPS, |_| true))),
            NodePart::Sink(Box::<TestSink>::default()),
            source(&others),
            NodePart::Sink(Box::<TestSink>::default()),
        ]
    };
    let guarantee = Guarantee::ExactlyOnce;
    Rig::start(&plan, 1, guarantee, 1 << 16, 7, Stored::default(), &build)
}

#[test]
fn rows_of_another_pipeline_flow_while_state_is_frozen() {
    let meanwhile = |slice: Option<usize>| {
        let mut rig = two_pipelines();
        for subtask in &mut rig.subtasks {
            subtask.freeze_slice = slice.unwrap_or(subtask.freeze_slice);
        }
        while rows(&rig, 2) < 900 {
            rig.roll();
        }
        let checkpoint = rig.trigger(CheckpointKind::Periodic);
        while !rig.is_frozen(checkpoint) {
            rig.roll();
        }
        rows(&rig, 4) - rig.rows_at(checkpoint, 4)
    };
    // 900 keys, three of them a step; a step reads a few rows.
    assert!(meanwhile(None) > 300);
    // The control: all of them at once.
    assert!(meanwhile(Some(usize::MAX)) < 30);
}
