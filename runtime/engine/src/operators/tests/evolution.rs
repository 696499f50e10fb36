//! Restoring into a query that changed.

use streamkeeper_protocol::{
    aggregate::AggregateFunction::{Count, Max, Sum},
    compatibility::{Fit, StateVerdict, catalog},
    plan::{ChangelogMode, StreamPlan, Window},
};

use super::{
    plans::{NAME, Row, TEXT, VALUE, batch, call, distinct, grouped, single},
    run::{Machine, emitted},
};

fn at(value: i64) -> Row {
    Row {
        time: 1,
        name: Some("a".to_owned()),
        number: None,
        value: Some(value),
        text: Some(format!("t{value}")),
        money: None,
        real: None,
        flag: None,
    }
}

fn columns(machine: &mut Machine, rows: &[Row], watermark: Option<i64>) -> Vec<Vec<String>> {
    let mut out = machine.process(&batch(rows, None));
    if let Some(watermark) = watermark {
        out.extend(machine.watermark(watermark));
    }
    emitted(&out).into_iter().map(|row| row.columns).collect()
}

#[test]
fn an_added_aggregate_starts_from_no_rows_and_a_dropped_one_is_skipped() {
    let plan = |calls: &[_]| {
        grouped(
            &[NAME],
            calls,
            ChangelogMode::InsertOnly,
            ChangelogMode::Upsert,
        )
    };
    let before = plan(&[
        call(Count, None),
        call(Sum, Some(VALUE)),
        distinct(call(Count, Some(TEXT))),
    ]);
    let after = plan(&[
        distinct(call(Count, Some(TEXT))),
        call(Max, Some(VALUE)),
        call(Count, None),
    ]);
    let mut machine = Machine::new(&before, 1, 2);
    assert_eq!(
        columns(&mut machine, &[at(1), at(2)], None),
        [["a", "2", "3", "2"]]
    );
    machine.checkpoint(false);
    machine.restore(&after, 3);
    assert_eq!(
        columns(&mut machine, &[at(2)], None),
        [["a", "2", "2", "3"]]
    );
    machine.checkpoint(true);
    machine.restore(&before, 1);
    assert_eq!(
        columns(&mut machine, &[at(5)], None),
        [["a", "4", "5", "3"]]
    );
}

#[test]
fn windows_evolve_too() {
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let before = single(window, &[NAME], &[call(Sum, Some(VALUE))]);
    let after = single(
        window,
        &[NAME],
        &[call(Count, None), call(Sum, Some(VALUE))],
    );
    let mut machine = Machine::new(&before, 1, 1);
    assert!(columns(&mut machine, &[at(1), at(2)], None).is_empty());
    machine.checkpoint(false);
    machine.restore(&after, 2);
    let fired = columns(&mut machine, &[at(4)], Some(9));
    assert_eq!(fired[0][..3], ["a", "1", "7"]);
}

#[test]
fn bytes_of_another_shape_are_refused() {
    let plan: StreamPlan = grouped(
        &[NAME],
        &[call(Count, None)],
        ChangelogMode::InsertOnly,
        ChangelogMode::Upsert,
    );
    let mut machine = Machine::new(&plan, 1, 1);
    columns(&mut machine, &[at(1)], None);
    machine.checkpoint(true);
    let written = machine.store.written.clone().unwrap();
    let entry = machine.store.entries.values().next().unwrap().clone();
    for bytes in [
        vec![],
        vec![1, 0, 0],
        [entry.value.as_ref().unwrap().as_ref(), &[0]].concat(),
        {
            let mut bytes = entry.value.as_ref().unwrap().to_vec();
            bytes[12] = 9;
            bytes
        },
    ] {
        let mut machine = Machine::new(&plan, 1, 1);
        let broken = streamkeeper_state::Entry {
            value: Some(bytes.into()),
            ..entry.clone()
        };
        assert!(
            machine.subtasks[0]
                .restore("groups", &written, vec![broken])
                .is_err()
        );
    }
    assert!(
        machine.subtasks[0]
            .restore("slices", &written, Vec::new())
            .is_err()
    );
}

/// The verdicts of the compatibility check describe that evolution.
#[test]
fn the_check_calls_it_an_evolution() {
    let of = |calls: &[_]| {
        catalog(&grouped(
            &[NAME],
            calls,
            ChangelogMode::InsertOnly,
            ChangelogMode::Upsert,
        ))
        .remove(0)
    };
    let (before, after) = (
        of(&[call(Count, None)]),
        of(&[call(Count, None), call(Sum, Some(VALUE))]),
    );
    let manifest = streamkeeper_protocol::manifest::Manifest {
        format: 1,
        min_reader: 1,
        job_uid: String::new(),
        lineage: String::new(),
        revision: 1,
        attempt: 1,
        checkpoint: 1,
        kind: streamkeeper_protocol::manifest::CheckpointKind::Periodic,
        started_ms: 0,
        completed_ms: 0,
        max_parallelism: 16,
        key_hash: streamkeeper_protocol::key_group::KEY_HASH.to_owned(),
        assignment: streamkeeper_protocol::key_group::Assignment::even(16, 1),
        plan_hash: String::new(),
        operators: vec![streamkeeper_protocol::manifest::OperatorState {
            state_uid: before.state_uid.clone(),
            label: before.label.clone(),
            watermark: None,
            watermarks: Vec::new(),
            states: vec![streamkeeper_protocol::manifest::StateRef {
                descriptor: before.descriptor,
                runs: Vec::new(),
            }],
        }],
        committables: Vec::new(),
        records_in: 0,
        records_out: 0,
        last_record_ms: None,
    };
    let verdicts: Vec<StateVerdict> =
        streamkeeper_protocol::compatibility::check(&[after], 16, &manifest);
    assert!(
        matches!(
            &verdicts[..],
            [StateVerdict {
                fit: Fit::Evolve { .. },
                ..
            }]
        ),
        "{verdicts:?}"
    );
}
