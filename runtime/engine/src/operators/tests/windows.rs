use arrow_array::Array;
use proptest::prelude::*;
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    plan::{StreamPlan, Window},
};

use super::{
    naive,
    plans::{
        NAME, NUMBER, Row, TEXT, TIME, VALUE, all, batch, call, distinct, row, single, split,
        splittable,
    },
    run::{Emitted, Machine, emitted, show_time},
};
use crate::aggregate::is_value_entry;

#[derive(Debug, Clone)]
enum Step {
    Rows(Vec<Row>),
    Watermark(i64),
    Checkpoint { full: bool, restore: Option<u32> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(row(), 0..12).prop_map(Step::Rows),
        3 => (0_i64..15).prop_map(Step::Watermark),
        2 => (any::<bool>(), prop::option::of(1_u32..5)).prop_map(|(full, restore)| Step::Checkpoint { full, restore }),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1_i64..20, -5_i64..5).prop_map(|(size, offset)| Window::Tumble { size, offset }),
        (1_i64..8, 1_i64..5, -5_i64..5).prop_map(|(slide, times, offset)| Window::Hop {
            slide,
            size: slide * times,
            offset
        }),
    ]
}

fn parts(window: Window) -> (i64, i64, i64) {
    match window {
        Window::Tumble { size, offset } => (size, size, offset),
        Window::Hop {
            slide,
            size,
            offset,
        } => (size, slide, offset),
    }
}

/// Ends of the windows that hold a time.
fn ends(window: Window, time: i64) -> Vec<i64> {
    let (size, slide, offset) = parts(window);
    (time + 1..=time + size)
        .filter(|end| (end - size - offset).rem_euclid(slide) == 0)
        .collect()
}

/// Rows in time, and what every watermark fires.
struct Model {
    window: Window,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    rows: Vec<Row>,
    watermark: i64,
    late: u64,
}

impl Model {
    fn take(&mut self, rows: &[Row]) {
        for row in rows {
            if ends(self.window, row.time)
                .iter()
                .all(|end| end - 1 <= self.watermark)
            {
                self.late += 1;
            } else {
                self.rows.push(row.clone());
            }
        }
    }

    fn fire(&mut self, watermark: i64) -> Vec<Emitted> {
        let mut fired = Vec::new();
        for end in self.watermark.max(-100) + 2..=watermark + 1 {
            let inside: Vec<&Row> = self
                .rows
                .iter()
                .filter(|row| ends(self.window, row.time).contains(&end))
                .collect();
            for (_, mut columns) in naive::results(&inside, &self.keys, &self.calls) {
                columns.extend([end - parts(self.window).0, end, end - 1].map(show_time));
                fired.push(Emitted { kind: 0, columns });
            }
        }
        self.watermark = watermark;
        fired
    }
}

/// Runs the steps; with a split plan, rows pass two local subtasks first.
fn compare(
    plan: &StreamPlan,
    window: Window,
    keys: &[usize],
    calls: &[AggregateCall],
    steps: Vec<Step>,
) {
    let is_split = plan.nodes.len() == 3;
    let mut locals = if is_split {
        vec![Machine::new(plan, 1, 1), Machine::new(plan, 1, 1)]
    } else {
        Vec::new()
    };
    let mut machine = Machine::new(plan, plan.nodes.len() - 1, 2);
    let mut model = Model {
        window,
        keys: keys.to_vec(),
        calls: calls.to_vec(),
        rows: Vec::new(),
        watermark: i64::MIN,
        late: 0,
    };
    let (mut late, mut watermark) = (0, 0);
    let check_watermark =
        |machine: &mut Machine, locals: &mut Vec<Machine>, model: &mut Model, watermark: i64| {
            for local in locals.iter_mut() {
                for batch in &local.watermark(watermark) {
                    assert!(machine.process(batch).is_empty());
                }
            }
            let out = machine.watermark(watermark);
            let got = emitted(&out);
            let last = model
                .rows
                .iter()
                .map(|row| row.time + 50)
                .max()
                .unwrap_or(0);
            let mut expected = model.fire(watermark.min(last));
            model.watermark = watermark;
            if machine.subtasks.len() == 1 {
                let end = |row: &Emitted| row.columns[row.columns.len() - 2].clone();
                assert!(got.iter().map(end).is_sorted(), "windows fire in order");
            }
            let mut got = got;
            got.sort();
            expected.sort();
            assert_eq!(got, expected);
        };
    for step in steps {
        match step {
            Step::Rows(rows) => {
                model.take(&rows);
                let batch = batch(&rows, None);
                if is_split {
                    let local = rows.len() % 2;
                    for batch in &locals[local].process(&batch) {
                        assert!(machine.process(batch).is_empty());
                    }
                } else {
                    assert!(machine.process(&batch).is_empty());
                }
            }
            Step::Watermark(by) => {
                watermark += by + 1;
                check_watermark(&mut machine, &mut locals, &mut model, watermark);
            }
            Step::Checkpoint { full, restore } => {
                for local in &mut locals {
                    for batch in &local.flush() {
                        assert!(machine.process(batch).is_empty());
                    }
                }
                machine.checkpoint(full);
                if let Some(parallelism) = restore {
                    late += machine.late();
                    machine.restore(plan, parallelism);
                    for local in &mut locals {
                        late += local.late();
                        local.restore(plan, 1);
                    }
                }
            }
        }
    }
    check_watermark(&mut machine, &mut locals, &mut model, i64::MAX);
    late += machine.late() + locals.iter().map(Machine::late).sum::<u64>();
    assert_eq!(late, model.late, "split: {is_split}");
    machine.checkpoint(false);
    assert!(
        machine.store.entries.values().all(is_value_entry),
        "no group is left after the last window"
    );
    machine.checkpoint(true);
    assert!(
        machine.store.entries.is_empty(),
        "nothing is left after the last window"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn windows_in_one_phase_equal_a_recomputation(window in window(), steps in prop::collection::vec(step(), 1..14)) {
        compare(&single(window, &[NAME, NUMBER], &all()), window, &[NAME, NUMBER], &all(), steps);
    }

    #[test]
    fn windows_in_two_phases_equal_a_recomputation(window in window(), steps in prop::collection::vec(step(), 1..14)) {
        compare(&split(window, &[NAME, NUMBER], &splittable()), window, &[NAME, NUMBER], &splittable(), steps);
    }

    #[test]
    fn keys_of_one_text_or_number_or_none_equal_a_recomputation(key in prop::sample::select(vec![vec![NAME], vec![NUMBER], vec![TIME], vec![]]), window in window(), steps in prop::collection::vec(step(), 1..10)) {
        let calls = [call(AggregateFunction::Count, None), call(AggregateFunction::Sum, Some(VALUE))];
        compare(&split(window, &key, &calls), window, &key, &calls, steps.clone());
        compare(&single(window, &key, &calls), window, &key, &calls, steps);
    }
}

fn at(time: i64, value: i64) -> Row {
    Row {
        time,
        name: Some("a".to_owned()),
        number: None,
        value: Some(value),
        text: None,
        money: None,
        real: None,
        flag: None,
    }
}

#[test]
fn a_local_slice_is_held_until_the_watermark_reaches_it() {
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Sum, Some(VALUE))];
    let mut local = Machine::new(&split(window, &[NAME], &calls), 1, 1);
    assert!(local.process(&batch(&[at(12, 1)], None)).is_empty());
    assert!(local.watermark(5).is_empty());
    assert!(local.process(&batch(&[at(13, 2)], None)).is_empty());
    let sent = emitted(&local.watermark(19));
    assert_eq!(
        sent,
        [Emitted {
            kind: 0,
            columns: vec!["a".into(), "3".into(), "2".into(), "20".into()]
        }]
    );
    assert!(local.flush().is_empty());
}

#[test]
fn a_late_row_is_not_held_in_a_local_aggregate() {
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let mut local = Machine::new(&split(window, &[NAME], &calls), 1, 1);
    local.watermark(30);
    assert!(
        local
            .process(&batch(&[at(1, 1), at(31, 1)], None))
            .is_empty()
    );
    let sent = emitted(&local.watermark(50));
    assert_eq!(
        sent,
        [Emitted {
            kind: 0,
            columns: vec!["a".into(), "1".into(), "1".into(), "40".into()]
        }],
        "only the row that is in time is in it"
    );
    assert_eq!(local.late(), 1);
}

#[test]
fn many_keys_leave_in_batches_of_limited_size() {
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let calls = [
        call(AggregateFunction::Count, None),
        distinct(call(AggregateFunction::Count, Some(VALUE))),
    ];
    let mut machine = Machine::new(&single(window, &[VALUE], &calls), 1, 1);
    let rows: Vec<Row> = (0..10_000).map(|value| at(1, value)).collect();
    rows.chunks(4096)
        .for_each(|rows| assert!(machine.process(&batch(rows, None)).is_empty()));
    let out = machine.watermark(9);
    assert_eq!(
        out.iter().map(Batch::len).collect::<Vec<_>>(),
        [4096, 4096, 1808]
    );
    let mut local = Machine::new(&split(window, &[VALUE], &calls[..1]), 1, 1);
    let rows: Vec<Row> = (0..40_000).map(|value| at(1, value)).collect();
    let early: usize = rows
        .chunks(4096)
        .map(|rows| {
            local
                .process(&batch(rows, None))
                .iter()
                .map(Batch::len)
                .sum::<usize>()
        })
        .sum();
    assert!(
        early >= 32 * 1024,
        "a local aggregation does not grow without bound"
    );
}

#[test]
fn a_checkpoint_writes_only_what_changed() {
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let mut machine = Machine::new(&single(window, &[VALUE], &calls), 1, 1);
    machine.process(&batch(&[at(1, 1), at(1, 2), at(11, 1)], None));
    assert_eq!(machine.checkpoint(false), 3);
    machine.process(&batch(&[at(1, 2)], None));
    assert_eq!(machine.checkpoint(false), 1);
    assert_eq!(machine.checkpoint(false), 0);
    machine.watermark(9);
    assert_eq!(
        machine.checkpoint(false),
        2,
        "the removal of a fired window is written"
    );
    machine.process(&batch(&[at(12, 7)], None));
    machine.watermark(19);
    assert_eq!(
        machine.checkpoint(false),
        1,
        "what lived between two checkpoints leaves no trace"
    );
}

#[test]
fn a_restored_window_does_not_fire_again() {
    let window = Window::Hop {
        slide: 5,
        size: 10,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let plan = single(window, &[NAME], &calls);
    let mut machine = Machine::new(&plan, 1, 1);
    machine.process(&batch(&[at(7, 1)], None));
    assert_eq!(emitted(&machine.watermark(9)).len(), 1);
    machine.checkpoint(true);
    machine.restore(&plan, 3);
    assert!(machine.watermark(13).is_empty());
    assert_eq!(emitted(&machine.watermark(14)).len(), 1);
    assert!(machine.watermark(i64::MAX).is_empty());
}

/// What each of 20 keys has in each of its windows: (key, end of the window, rows).
fn counted(batches: &[Batch]) -> Vec<(String, String, String)> {
    let rows = emitted(batches).into_iter().map(|row| row.columns);
    rows.map(|columns| (columns[0].clone(), columns[3].clone(), columns[1].clone()))
        .collect()
}

#[test]
fn a_window_that_one_subtask_fired_stays_fired_though_the_checkpoint_keeps_a_smaller_watermark() {
    let tumble = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let hop = Window::Hop {
        slide: 5,
        size: 10,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let rows: Vec<Row> = (0..20)
        .map(|name| Row {
            name: Some(format!("n{name}")),
            ..at(7, 1)
        })
        .collect();
    for (window, full, parallelism) in [
        (tumble, true, 3),
        (tumble, false, 1),
        (hop, false, 3),
        (hop, true, 2),
    ] {
        let plan = single(window, &[NAME], &calls);
        let mut machine = Machine::new(&plan, 1, 2);
        machine.process(&batch(&rows, None));
        // The first subtask saw an input fall idle before another one sent a watermark, the second
        // after it.
        let mut out = Vec::new();
        machine.subtasks[0].watermark(9, &mut out).unwrap();
        machine.subtasks[1].watermark(4, &mut out).unwrap();
        let early: Vec<String> = counted(&out).into_iter().map(|row| row.0).collect();
        assert!(!early.is_empty() && early.len() < 20);
        for subtask in &mut machine.subtasks {
            subtask.align_watermark(Some(4));
        }
        machine.checkpoint(full);
        machine.watermark = Some(4);
        machine.restore(&plan, parallelism);
        out.extend(machine.process(&batch(&rows, None)));
        let late = if window == tumble { early.len() } else { 0 };
        assert_eq!(machine.late(), late as u64);
        out.extend(machine.watermark(i64::MAX));
        let mut got = counted(&out);
        got.sort();
        let ends = if window == tumble {
            &[10][..]
        } else {
            &[10, 15]
        };
        let mut expected: Vec<(String, String, String)> = Vec::new();
        for name in rows.iter().filter_map(|row| row.name.clone()) {
            for &end in ends {
                let once = end == 10 && early.contains(&name);
                let count = if once { "1" } else { "2" };
                expected.push((name.clone(), show_time(end), count.to_owned()));
            }
        }
        expected.sort();
        assert_eq!(got, expected, "every window of every key is emitted once");
        machine.checkpoint(false);
        assert!(machine.store.entries.is_empty(), "nothing is left behind");
    }
}

#[test]
fn a_window_at_the_start_of_time_is_a_window() {
    let window = Window::Hop {
        slide: 5,
        size: 10,
        offset: 0,
    };
    let calls = [call(AggregateFunction::Count, None)];
    let mut machine = Machine::new(&single(window, &[NAME], &calls), 1, 1);
    machine.process(&batch(&[at(i64::MIN + 1, 1), at(0, 1)], None));
    let fired: usize = machine.watermark(30).iter().map(Batch::len).sum();
    assert_eq!(fired, 4, "both rows are in two windows");
}

/// Rows of as many keys and as many texts, of 1 MiB each.
fn large(rows: i64) -> Vec<Row> {
    let large = |row: i64, word: &str| format!("{row:03}{}", word.repeat(1 << 18));
    (0..rows)
        .map(|row| Row {
            name: Some(large(row, "name")),
            text: Some(large(row, "text")),
            ..at(1, row)
        })
        .collect()
}

/// Bytes of the largest text column among batches.
fn most_text(batches: &[Batch]) -> usize {
    let columns = batches.iter().flat_map(|batch| batch.rows.columns());
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap())
        .max()
        .unwrap_or(0)
}

#[test]
fn large_keys_and_texts_leave_in_batches_of_limited_bytes() {
    const MOST: usize = 65 << 20;
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let calls = [
        call(AggregateFunction::Max, Some(TEXT)),
        call(AggregateFunction::Count, None),
    ];
    let rows = large(70);
    let mut machine = Machine::new(&single(window, &[NAME], &calls), 1, 1);
    let mut local = Machine::new(&split(window, &[NAME], &calls), 1, 1);
    let mut early = Vec::new();
    for rows in rows.chunks(10) {
        assert!(machine.process(&batch(rows, None)).is_empty());
        early.extend(local.process(&batch(rows, None)));
        let left: usize = early.iter().map(Batch::len).sum();
        assert!(left.is_multiple_of(40), "40 rows have 80 MiB of text");
    }
    assert_eq!(early.iter().map(Batch::len).collect::<Vec<_>>(), [31, 9]);
    early.extend(local.flush());
    assert_eq!(early.iter().map(Batch::len).sum::<usize>(), 70);
    let fired = machine.watermark(9);
    assert_eq!(fired.iter().map(Batch::len).sum::<usize>(), 70);
    for batches in [&early, &fired] {
        assert!(batches.len() > 2 && most_text(batches) < MOST);
    }
}
