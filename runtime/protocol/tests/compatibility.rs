//! What a plan keeps, and whether a checkpoint fits it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;

use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    compatibility::{CatalogEntry, Fit, StateVerdict, catalog, check, summary},
    key_group::{Assignment, KEY_HASH},
    manifest::{
        AccumulatorDescriptor, CheckpointKind, MANIFEST_FORMAT, Manifest, OperatorState,
        StateDescriptor, StateKind, StateRef,
    },
    plan::{
        ChangelogMode, Exchange, Input, Operator, PLAN_FORMAT, Phase, PlanNode, Settings,
        StreamPlan, TableRef, Window, WindowAggregate,
    },
    types::{DataType, Field, LogicalType, Schema},
};

fn call(uid: &str, function: AggregateFunction, arg: Option<DataType>) -> AggregateCall {
    AggregateCall {
        uid: uid.to_owned(),
        function,
        arg: arg.as_ref().map(|_| 1),
        arg_type: arg.map(LogicalType::nullable),
        distinct: false,
        filter: None,
        ty: LogicalType::nullable(DataType::BigInt),
    }
}

fn node(id: usize, operator: Operator, inputs: &[usize], fields: &[(&str, DataType)]) -> PlanNode {
    let fields = fields
        .iter()
        .map(|(name, data)| Field::new(*name, LogicalType::nullable(data.clone())))
        .collect();
    PlanNode {
        id,
        state_uid: format!("uid-{id}"),
        label: format!("Node{id}"),
        operator,
        inputs: inputs
            .iter()
            .map(|node| Input {
                node: *node,
                exchange: Exchange::Forward,
            })
            .collect(),
        schema: Schema::new(fields),
        changelog: ChangelogMode::InsertOnly,
    }
}

fn table() -> TableRef {
    TableRef {
        name: "t".to_owned(),
        connector: "datagen".to_owned(),
        options: BTreeMap::new(),
        schema: Schema::default(),
        primary_key: Vec::new(),
    }
}

/// Source → local window → global window (by carrier) → unbounded group (by carrier), and an equal
/// group over the source.
fn plan(aggregates: &[AggregateCall]) -> StreamPlan {
    let columns = [
        ("carrier", DataType::STRING),
        ("delay", DataType::Int),
        ("at", DataType::Timestamp { precision: 3 }),
    ];
    let window = |phase| {
        Operator::WindowAggregate(WindowAggregate {
            phase,
            window: Window::Tumble {
                size: 3_600_000,
                offset: 0,
            },
            time: 2,
            keys: vec![0],
            aggregates: aggregates.to_vec(),
        })
    };
    let group = || Operator::GroupAggregate {
        keys: vec![0],
        aggregates: aggregates.to_vec(),
    };
    let mut nodes = vec![
        node(0, Operator::Source(table()), &[], &columns),
        node(1, window(Phase::Local), &[0], &columns),
        node(2, window(Phase::Global), &[1], &columns),
        node(3, group(), &[2], &columns),
        node(4, group(), &[0], &columns),
        node(5, Operator::Sink(table()), &[3], &columns),
    ];
    nodes[2].changelog = ChangelogMode::Retract;
    StreamPlan {
        format: PLAN_FORMAT,
        nodes,
        settings: Settings::default(),
    }
}

fn counts() -> Vec<AggregateCall> {
    vec![
        call("count", AggregateFunction::Count, None),
        call("sum", AggregateFunction::Sum, Some(DataType::Int)),
    ]
}

/// A checkpoint of exactly these states.
fn manifest(states: &[CatalogEntry]) -> Manifest {
    let operators = states.iter().map(|entry| OperatorState {
        state_uid: entry.state_uid.clone(),
        label: entry.label.clone(),
        watermark: None,
        watermarks: Vec::new(),
        states: vec![StateRef {
            descriptor: entry.descriptor.clone(),
            runs: Vec::new(),
        }],
    });
    Manifest {
        format: MANIFEST_FORMAT,
        min_reader: MANIFEST_FORMAT,
        job_uid: "job".to_owned(),
        lineage: "l".to_owned(),
        revision: 1,
        attempt: 1,
        checkpoint: 1,
        kind: CheckpointKind::Periodic,
        started_ms: 0,
        completed_ms: 0,
        max_parallelism: 128,
        key_hash: KEY_HASH.to_owned(),
        assignment: Assignment::even(128, 1),
        plan_hash: String::new(),
        operators: operators.collect(),
        committables: Vec::new(),
        records_in: 0,
        records_out: 0,
        last_record_ms: None,
    }
}

fn fit_of<'a>(verdicts: &'a [StateVerdict], state_uid: &str) -> &'a Fit {
    &verdicts
        .iter()
        .find(|verdict| verdict.state_uid == state_uid)
        .unwrap()
        .fit
}

/// The verdict on the one state of node 4 after `change` of what was written.
fn after(change: impl Fn(&mut StateDescriptor)) -> Fit {
    let planned = catalog(&plan(&counts()));
    let mut written = planned.clone();
    change(
        &mut written
            .iter_mut()
            .find(|entry| entry.state_uid == "uid-4")
            .unwrap()
            .descriptor,
    );
    let verdicts = check(&planned, 128, &manifest(&written));
    assert!(
        verdicts
            .iter()
            .filter(|verdict| verdict.state_uid != "uid-4")
            .all(|verdict| verdict.fit == Fit::Exact)
    );
    fit_of(&verdicts, "uid-4").clone()
}

fn columns(accumulator: &AccumulatorDescriptor) -> Vec<String> {
    accumulator
        .columns
        .iter()
        .map(|column| column.data.to_string())
        .collect()
}

#[test]
fn a_catalog_lists_sources_windows_after_the_shuffle_and_groups() {
    let entries = catalog(&plan(&counts()));
    let listed: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.state_uid.as_str(),
                entry.descriptor.name.as_str(),
                entry.descriptor.kind,
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("uid-0", "splits", StateKind::Splits),
            ("uid-2", "slices", StateKind::WindowSlices),
            ("uid-3", "groups", StateKind::Groups),
            ("uid-4", "groups", StateKind::Groups),
        ]
    );
    let key: Vec<String> = entries[1]
        .descriptor
        .key
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(key, ["BIGINT NOT NULL", "STRING"]);
    assert_eq!(entries[2].descriptor.value[0].name, "rows");
    assert_eq!(entries[2].label, "Node3");
}

#[test]
fn an_accumulator_tells_whether_it_keeps_values() {
    let distinct = AggregateCall {
        distinct: true,
        filter: Some(0),
        ..call("d", AggregateFunction::Count, Some(DataType::STRING))
    };
    let calls = [
        call("c", AggregateFunction::Count, None),
        call(
            "s",
            AggregateFunction::Sum,
            Some(DataType::Decimal {
                precision: 10,
                scale: 2,
            }),
        ),
        call("a", AggregateFunction::Avg, Some(DataType::Float)),
        call("m", AggregateFunction::Max, Some(DataType::Int)),
        distinct,
        AggregateCall {
            distinct: true,
            ..call("n", AggregateFunction::Min, Some(DataType::Int))
        },
    ];
    let entries = catalog(&plan(&calls));
    let described = |uid: &str| -> Vec<(String, String)> {
        let entry = entries.iter().find(|entry| entry.state_uid == uid).unwrap();
        entry
            .descriptor
            .accumulators
            .iter()
            .map(|one| (one.label.clone(), columns(one).join(", ")))
            .collect()
    };
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(label, columns)| ((*label).to_owned(), (*columns).to_owned()))
            .collect()
    };
    let insert_only = of(&[
        ("COUNT(*)", "BIGINT"),
        ("SUM(DECIMAL(10, 2))", "DECIMAL(38, 2), BIGINT"),
        ("AVG(FLOAT)", "DOUBLE, BIGINT"),
        ("MAX(INT)", "INT"),
        (
            "COUNT(DISTINCT STRING) FILTER as a multiset of values",
            "STRING, BIGINT",
        ),
        ("MIN(INT)", "INT"),
    ]);
    assert_eq!(described("uid-4"), insert_only);
    assert_eq!(described("uid-2"), insert_only);
    // Rows that may be taken back: the extremes must remember every value.
    let retractable = described("uid-3");
    assert_eq!(
        retractable[3],
        (
            "MAX(INT) as a multiset of values".to_owned(),
            "INT, BIGINT".to_owned()
        )
    );
    assert_eq!(
        retractable[5],
        (
            "MIN(INT) as a multiset of values".to_owned(),
            "INT, BIGINT".to_owned()
        )
    );
    assert_eq!(retractable[..3], insert_only[..3]);
}

#[test]
fn the_same_plan_fits_exactly() {
    let planned = catalog(&plan(&counts()));
    let verdicts = check(&planned, 128, &manifest(&planned));
    assert_eq!(verdicts.len(), 4);
    assert!(
        verdicts.iter().all(|verdict| verdict.fit == Fit::Exact),
        "{verdicts:?}"
    );
    assert_eq!(summary(&verdicts, false), Ok(()));
}

#[test]
fn aggregates_are_added_dropped_and_reordered() {
    let written = catalog(&plan(&counts()));
    let fits = |calls: &[AggregateCall]| {
        let verdicts = check(&catalog(&plan(calls)), 128, &manifest(&written));
        assert_eq!(summary(&verdicts, false), Ok(()));
        fit_of(&verdicts, "uid-4").clone()
    };
    let steps = |steps: &[&str]| Fit::Evolve {
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
    };
    let [count, sum] = <[AggregateCall; 2]>::try_from(counts()).unwrap();
    let max = call("max", AggregateFunction::Max, Some(DataType::Double));
    assert_eq!(
        fits(&[count.clone(), sum.clone(), max.clone()]),
        steps(&["add MAX(DOUBLE), starting from no rows"])
    );
    assert_eq!(fits(std::slice::from_ref(&sum)), steps(&["drop COUNT(*)"]));
    assert_eq!(
        fits(&[max, sum.clone()]),
        steps(&["add MAX(DOUBLE), starting from no rows", "drop COUNT(*)"])
    );
    assert_eq!(fits(&[sum, count]), steps(&["reorder the aggregates"]));
}

#[test]
fn what_does_not_change_the_bytes_does_not_matter() {
    let harmless: [fn(&mut StateDescriptor); 4] = [
        |written| written.key[0] = LogicalType::not_null(DataType::Varchar { length: Some(2) }),
        |written| written.key[0] = LogicalType::nullable(DataType::Char { length: 2 }),
        |written| written.accumulators[0].label = "another name".to_owned(),
        |written| written.version = 0,
    ];
    for change in harmless {
        assert_eq!(after(change), Fit::Exact);
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason_and_a_way_out() {
    type Change = fn(&mut StateDescriptor);
    let cases: [(Change, &str); 8] = [
        (
            |written| written.kind = StateKind::WindowSlices,
            "it holds windows, the new query keeps groups",
        ),
        (
            |written| written.version = 3,
            "written in version 3, this release reads up to version 2: use a newer image",
        ),
        (
            |written| written.key[0].data = DataType::Int,
            "its key was (INT), the new query groups by (STRING)",
        ),
        (
            |written| written.key.push(LogicalType::nullable(DataType::Date)),
            "its key was (STRING, DATE)",
        ),
        (|written| written.key.clear(), "its key was ()"),
        (
            |written| written.value.clear(),
            "its fields were (), now they are (rows BIGINT)",
        ),
        (
            |written| written.accumulators[0].columns[0].data = DataType::Int,
            "COUNT(*) was kept as COUNT(*) (INT)",
        ),
        (
            |written| {
                written.accumulators[1].columns.pop();
            },
            "and one cannot be made of the other",
        ),
    ];
    for (change, part) in cases {
        let Fit::Incompatible { why } = after(change) else {
            panic!("{part}")
        };
        assert!(why.contains(part), "{why}");
        assert!(
            why.contains("a StreamJob of its own") || why.contains("newer image"),
            "{why}"
        );
    }
    // Precision that changes the unit, scale that changes the digits.
    let planned = |data: DataType| {
        let mut entries = catalog(&plan(&counts()));
        for entry in &mut entries {
            entry.descriptor.key = vec![LogicalType::nullable(data.clone())];
        }
        entries
    };
    let pairs = [
        (
            DataType::Timestamp { precision: 0 },
            DataType::Timestamp { precision: 3 },
            true,
        ),
        (
            DataType::Timestamp { precision: 3 },
            DataType::Timestamp { precision: 6 },
            false,
        ),
        (
            DataType::Timestamp { precision: 3 },
            DataType::TimestampLtz { precision: 3 },
            false,
        ),
        (
            DataType::Decimal {
                precision: 5,
                scale: 2,
            },
            DataType::Decimal {
                precision: 9,
                scale: 2,
            },
            true,
        ),
        (
            DataType::Decimal {
                precision: 5,
                scale: 2,
            },
            DataType::Decimal {
                precision: 5,
                scale: 3,
            },
            false,
        ),
        (DataType::Int, DataType::BigInt, false),
    ];
    for (was, is, fits) in pairs {
        let verdicts = check(&planned(is.clone()), 128, &manifest(&planned(was.clone())));
        assert_eq!(
            verdicts.iter().all(|verdict| verdict.fit == Fit::Exact),
            fits,
            "{was} to {is}"
        );
    }
}

#[test]
fn a_dropped_state_needs_leave_and_a_new_one_does_not() {
    let written = catalog(&plan(&counts()));
    let planned: Vec<CatalogEntry> = written
        .iter()
        .filter(|entry| entry.state_uid != "uid-3")
        .cloned()
        .collect();
    let verdicts = check(&planned, 128, &manifest(&written));
    assert_eq!(fit_of(&verdicts, "uid-3"), &Fit::Dropped);
    let why = summary(&verdicts, false).unwrap_err();
    assert!(
        why.contains("state 'groups' of Node3 (uid-3)") && why.contains("a StreamJob of its own"),
        "{why}"
    );
    assert_eq!(summary(&verdicts, true), Ok(()));
    let verdicts = check(&written, 128, &manifest(&planned));
    assert_eq!(fit_of(&verdicts, "uid-3"), &Fit::New);
    assert_eq!(summary(&verdicts, false), Ok(()));
}

#[test]
fn key_groups_and_their_hash_are_fixed_for_life() {
    let planned = catalog(&plan(&counts()));
    let verdicts = check(&planned, 64, &manifest(&planned));
    let why = summary(&verdicts, true).unwrap_err();
    assert!(
        why.starts_with("key groups: the checkpoint has 128 key groups, the job is to run with 64"),
        "{why}"
    );
    let other = Manifest {
        key_hash: "murmur".to_owned(),
        ..manifest(&planned)
    };
    assert!(
        summary(&check(&planned, 128, &other), true)
            .unwrap_err()
            .contains("'murmur'")
    );
}
