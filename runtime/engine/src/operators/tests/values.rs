//! Values of `DISTINCT`, and of extremes over changes: each is an entry of the state.

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::prelude::*;
use streamkeeper_connectors::batch::{DELETE, INSERT};
use streamkeeper_protocol::{
    aggregate::{
        AggregateCall,
        AggregateFunction::{Count, Max, Sum},
    },
    compatibility::{Fit, catalog, check},
    key_group::{Assignment, KEY_HASH},
    manifest::{CheckpointKind, Manifest, OperatorState, StateDescriptor, StateRef},
    plan::{ChangelogMode, StreamPlan, Window},
};
use streamkeeper_state::{Entry, FrozenState, encode_run};

use super::{
    naive,
    plans::{NAME, Row, TEXT, VALUE, batch, call, distinct, grouped, single},
    run::{GROUPS, Machine, Store, emitted},
};
use crate::aggregate::is_value_entry;

/// Entries as state of version 1 had them, written by the release that did; and of version 2.
const VERSION_1: &str = include_str!("golden/groups-v1.txt");
const VERSION_2: &str = include_str!("golden/groups-v2.txt");

fn at(name: Option<&str>, value: i64, text: &str) -> Row {
    Row {
        time: 0,
        name: name.map(str::to_owned),
        number: None,
        value: Some(value),
        text: Some(text.to_owned()),
        money: None,
        real: None,
        flag: None,
    }
}

fn calls() -> Vec<AggregateCall> {
    vec![
        distinct(call(Count, Some(TEXT))),
        call(Count, None),
        distinct(call(Sum, Some(VALUE))),
        call(Max, Some(VALUE)),
    ]
}

fn plan() -> StreamPlan {
    let changes = ChangelogMode::Retract;
    grouped(&[NAME], &calls(), changes, changes)
}

/// What the golden files were made of.
fn golden_rows() -> (Vec<Row>, Vec<i8>) {
    let rows = vec![
        at(Some("a"), 7, "x"),
        at(Some("a"), 7, "y"),
        at(Some("a"), 3, ""),
        at(None, -1, "x"),
        at(Some("b"), 9, "z"),
        at(Some("a"), 7, "x"),
        at(Some("b"), 9, "z"),
        at(Some("a"), 3, ""),
    ];
    let kinds = [[INSERT; 6].as_slice(), &[DELETE; 2]].concat();
    (rows, kinds)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Box<[u8]> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn shown(store: &Store) -> String {
    let line = |entry: &Entry| {
        let value = hex(entry.value.as_ref().unwrap());
        format!("{} {} {value}\n", entry.key_group, hex(&entry.key))
    };
    store.entries.values().map(line).collect()
}

fn read(golden: &str, version: u32) -> Store {
    let entry = |line: &str| {
        let parts: Vec<&str> = line.split(' ').collect();
        let entry = Entry {
            key_group: parts[0].parse().unwrap(),
            key: unhex(parts[1]),
            value: Some(unhex(parts[2])),
        };
        (entry.key.to_vec(), entry)
    };
    let planned = catalog(&plan()).remove(0).descriptor;
    Store {
        written: Some(StateDescriptor { version, ..planned }),
        entries: golden.lines().map(entry).collect(),
    }
}

/// What the next rows make of the state.
fn next(machine: &mut Machine) -> Vec<Vec<String>> {
    let rows = [
        at(Some("a"), 7, "x"),
        at(Some("a"), 8, "w"),
        at(None, 4, "v"),
        at(Some("b"), 1, "u"),
    ];
    let kinds = vec![DELETE, INSERT, INSERT, INSERT];
    let out = emitted(&machine.process(&batch(&rows, Some(kinds))));
    out.into_iter().map(|row| row.columns).collect()
}

#[test]
fn the_layout_is_that_of_the_golden_file() {
    let mut machine = Machine::new(&plan(), 1, 1);
    let (rows, kinds) = golden_rows();
    machine.process(&batch(&rows, Some(kinds)));
    machine.checkpoint(true);
    assert_eq!(shown(&machine.store), VERSION_2);
}

#[test]
fn state_of_either_version_continues_without_a_difference() {
    let mut whole = Machine::new(&plan(), 1, 1);
    let (rows, kinds) = golden_rows();
    whole.process(&batch(&rows, Some(kinds)));
    let expected = next(&mut whole);
    for (golden, version) in [(VERSION_1, 1), (VERSION_2, 2)] {
        for parallelism in 1..4 {
            let mut machine = Machine::new(&plan(), 1, 2);
            machine.store = read(golden, version);
            machine.restore(&plan(), parallelism);
            // The first checkpoint of another version holds everything.
            machine.checkpoint(version == 1);
            let written = machine.store.written.as_ref().unwrap();
            assert_eq!(written.version, 2);
            machine.restore(&plan(), 1);
            assert_eq!(next(&mut machine), expected, "version {version}");
        }
    }
}

fn verdict(planned: &StreamPlan, written: StateDescriptor) -> Fit {
    let planned = catalog(planned);
    let manifest = Manifest {
        format: 1,
        min_reader: 1,
        job_uid: String::new(),
        lineage: String::new(),
        revision: 1,
        attempt: 1,
        checkpoint: 1,
        kind: CheckpointKind::Periodic,
        started_ms: 0,
        completed_ms: 0,
        max_parallelism: GROUPS,
        key_hash: KEY_HASH.to_owned(),
        assignment: Assignment::even(GROUPS, 1),
        plan_hash: String::new(),
        operators: vec![OperatorState {
            state_uid: planned[0].state_uid.clone(),
            label: String::new(),
            watermark: None,
            watermarks: Vec::new(),
            states: vec![StateRef {
                descriptor: written,
                runs: Vec::new(),
            }],
        }],
        committables: Vec::new(),
        records_in: 0,
        records_out: 0,
        last_record_ms: None,
    };
    check(&planned, GROUPS, &manifest).remove(0).fit
}

#[test]
fn only_state_with_such_values_is_of_the_newer_version() {
    let changes = ChangelogMode::Retract;
    let plain = grouped(&[NAME], &[call(Count, None)], changes, changes);
    let state = |plan: &StreamPlan| catalog(plan).remove(0).descriptor;
    assert_eq!((state(&plain).version, state(&plan()).version), (1, 2));
    // A query that no longer needs the values reads the state that it keeps.
    let dropped = verdict(&plain, state(&plan()));
    assert!(matches!(dropped, Fit::Evolve { .. }), "{dropped:?}");
    let older = StateDescriptor {
        version: 1,
        ..state(&plan())
    };
    assert_eq!(verdict(&plan(), older), Fit::Exact);
    let newer = StateDescriptor {
        version: 3,
        ..state(&plan())
    };
    let Fit::Incompatible { why } = verdict(&plan(), newer) else {
        panic!("a version nobody knows fits");
    };
    assert!(
        why.contains("reads up to version 2: use a newer image"),
        "{why}"
    );
}

/// The entry of a group with a set of texts, as version 1 had it.
fn whole_set(texts: &[String]) -> Vec<u8> {
    let mut set = u32::try_from(texts.len()).unwrap().to_le_bytes().to_vec();
    for text in texts {
        set.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        set.extend(text.as_bytes());
        set.extend(1_i64.to_le_bytes());
    }
    set
}

/// Entries, and bytes of their run, of the checkpoint after ten new texts in a set of `size`.
fn delta(plan: &StreamPlan, size: usize) -> (usize, u64) {
    let text = |number: usize| format!("text {number:06}");
    let rows = |from: usize, to: usize| -> Vec<Row> {
        (from..to)
            .map(|number| at(Some("a"), 1, &text(number)))
            .collect()
    };
    let mut machine = Machine::new(plan, 1, 1);
    machine.process(&batch(&rows(0, size), None));
    machine.checkpoint(false);
    machine.process(&batch(&rows(size, size + 10), None));
    let frozen: Vec<FrozenState> = machine.subtasks[0].freeze(false).unwrap();
    let entries = frozen[0].entries().count();
    let run = encode_run(frozen.into_iter().next().unwrap())
        .unwrap()
        .unwrap();
    (entries, run.bytes.len() as u64)
}

#[test]
fn a_delta_does_not_grow_with_the_set() {
    let inserts = ChangelogMode::InsertOnly;
    let calls = [distinct(call(Count, Some(TEXT)))];
    let window = Window::Tumble {
        size: 10,
        offset: 0,
    };
    let plans = [
        grouped(&[NAME], &calls, inserts, ChangelogMode::Retract),
        single(window, &[NAME], &calls),
    ];
    for plan in plans {
        let (small, large) = (delta(&plan, 100), delta(&plan, 4_000));
        assert_eq!((small.0, large.0), (11, 11), "ten values and their group");
        assert!(large.1 < small.1 + 64, "{small:?} {large:?}");
    }
    // So it was: the set itself is the entry.
    let set = |size: usize| {
        let texts: Vec<String> = (0..size)
            .map(|number| format!("text {number:06}"))
            .collect();
        whole_set(&texts).len()
    };
    assert!(set(4_010) > 30 * set(110));
}

#[test]
fn a_delta_holds_the_values_whose_count_changed() {
    let mut machine = Machine::new(&plan(), 1, 1);
    let mut run = |rows: &[Row], kinds: &[i8]| {
        machine.process(&batch(rows, Some(kinds.to_vec())));
        let frozen = machine.subtasks[0].freeze(false).unwrap();
        let entries = frozen.into_iter().flat_map(FrozenState::into_entries);
        let (apart, groups): (Vec<Entry>, Vec<Entry>) = entries.partition(is_value_entry);
        let gone = |entries: &[Entry]| entries.iter().filter(|entry| entry.value.is_none()).count();
        (groups.len(), gone(&groups), apart.len(), gone(&apart))
    };
    let a = |text| at(Some("a"), 5, text);
    // A text, and one number for both the sum and the maximum.
    assert_eq!(run(&[a("x"), a("y")], &[INSERT; 2]), (1, 0, 4, 0));
    assert_eq!(run(&[], &[]), (0, 0, 0, 0));
    // It came and went.
    assert_eq!(run(&[a("z"), a("z")], &[INSERT, DELETE]), (1, 0, 0, 0));
    // One more of y: its count, and those of 5.
    assert_eq!(run(&[a("y")], &[INSERT]), (1, 0, 3, 0));
    // The last x.
    assert_eq!(run(&[a("x")], &[DELETE]), (1, 0, 3, 1));
    // A group takes its values along.
    assert_eq!(run(&[a("y"), a("y")], &[DELETE; 2]), (1, 1, 0, 0));
}

#[test]
fn what_a_group_left_behind_is_not_taken_for_that_of_the_next_with_its_key() {
    let mut machine = Machine::new(&plan(), 1, 1);
    // The rows leave, and their values stay: the retraction has other values than the insertion.
    let rows = [at(Some("a"), 5, "x"), at(Some("a"), 6, "y")];
    machine.process(&batch(&rows, Some(vec![INSERT, INSERT])));
    machine.checkpoint(false);
    let others = [at(Some("a"), 7, "p"), at(Some("a"), 8, "q")];
    machine.process(&batch(&others, Some(vec![DELETE, DELETE])));
    machine.checkpoint(false);
    let left = machine
        .store
        .entries
        .values()
        .filter(|entry| is_value_entry(entry));
    assert_eq!(left.count(), 6, "no tombstone for each");
    machine.process(&batch(&[at(Some("a"), 1, "y")], Some(vec![INSERT])));
    machine.checkpoint(false);
    for parallelism in [1, 3] {
        machine.restore(&plan(), parallelism);
        let out = emitted(&machine.process(&batch(&[at(Some("a"), 2, "z")], Some(vec![INSERT]))));
        assert_eq!(out.last().unwrap().columns, ["a", "2", "2", "3", "2"]);
        machine.process(&batch(&[at(Some("a"), 2, "z")], Some(vec![DELETE])));
    }
    machine.checkpoint(true);
    let left = machine
        .store
        .entries
        .values()
        .filter(|entry| is_value_entry(entry));
    assert_eq!(
        left.count(),
        3,
        "a base holds nothing of a group that is gone"
    );
}

#[test]
fn damaged_values_are_refused() {
    let mut machine = Machine::new(&plan(), 1, 1);
    let (rows, kinds) = golden_rows();
    machine.process(&batch(&rows, Some(kinds)));
    machine.checkpoint(true);
    let written = machine.store.written.clone().unwrap();
    let entries: Vec<Entry> = machine.store.entries.values().cloned().collect();
    let number = entries.iter().position(is_value_entry).unwrap();
    let damage = |change: &dyn Fn(&mut Entry)| {
        let mut entries = entries.clone();
        change(&mut entries[number]);
        let mut machine = Machine::new(&plan(), 1, 1);
        machine.subtasks[0].restore("groups", &written, entries)
    };
    assert!(damage(&|_| {}).is_ok(), "the control");
    let cut = |bytes: &[u8]| bytes[..bytes.len() - 1].into();
    assert!(damage(&|entry| entry.value = Some(cut(entry.value.as_ref().unwrap()))).is_err());
    assert!(damage(&|entry| entry.key = cut(&entry.key)).is_err());
    assert!(damage(&|entry| entry.value.as_mut().unwrap()[0] = 200).is_err());
    assert!(
        damage(&|entry| entry.key = entries[number + 1].key.clone()).is_err(),
        "twice"
    );
}

#[derive(Debug, Clone)]
enum Step {
    /// Inserts, or takes back a row that is there.
    Rows(Vec<(u8, u8, Option<prop::sample::Index>)>),
    Checkpoint {
        full: bool,
    },
    /// Starts from the last checkpoint, with this many subtasks.
    Crash(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = prop::option::weighted(0.5, any::<prop::sample::Index>());
    prop_oneof![
        5 => prop::collection::vec((0..3_u8, 0..6_u8, pick), 1..12).prop_map(Step::Rows),
        3 => prop::bool::weighted(0.2).prop_map(|full| Step::Checkpoint { full }),
        1 => (1_u32..5).prop_map(Step::Crash),
    ]
}

/// Rows by key after applying the changes.
type View = BTreeMap<String, Vec<String>>;

fn follow(steps: Vec<Step>) {
    let (plan, calls) = (plan(), calls());
    let mut machine = Machine::new(&plan, 1, 2);
    let (mut live, mut view): (Vec<Row>, View) = (Vec::new(), View::new());
    let mut durable = (live.clone(), view.clone());
    for step in steps {
        match step {
            Step::Rows(changes) => {
                let (mut rows, mut kinds) = (Vec::new(), Vec::new());
                for (name, value, pick) in changes {
                    if let Some(pick) = pick.filter(|_| !live.is_empty()) {
                        rows.push(live.swap_remove(pick.index(live.len())));
                        kinds.push(DELETE);
                    } else {
                        let name = format!("k{name}");
                        let row = at(Some(&name), value.into(), &format!("t{value}"));
                        live.push(row.clone());
                        rows.push(row);
                        kinds.push(INSERT);
                    }
                }
                for change in emitted(&machine.process(&batch(&rows, Some(kinds)))) {
                    let key = change.columns[0].clone();
                    if change.kind == DELETE {
                        view.remove(&key);
                    } else {
                        view.insert(key, change.columns);
                    }
                }
            }
            Step::Checkpoint { full } => {
                machine.checkpoint(full);
                durable = (live.clone(), view.clone());
                if full {
                    let mut texts: Vec<_> = live.iter().map(|row| (&row.name, &row.text)).collect();
                    texts.sort();
                    texts.dedup();
                    let apart = machine
                        .store
                        .entries
                        .values()
                        .filter(|entry| is_value_entry(entry));
                    // A text and a number are one to one here, and the number is kept twice.
                    assert_eq!(apart.count(), 3 * texts.len());
                }
            }
            Step::Crash(parallelism) => {
                machine.restore(&plan, parallelism);
                (live, view) = durable.clone();
            }
        }
        let expected = naive::results(&live.iter().collect::<Vec<_>>(), &[NAME], &calls);
        let expected: View = expected
            .into_iter()
            .map(|(mut key, columns)| (key.remove(0), columns))
            .collect();
        assert_eq!(view, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn values_equal_a_recomputation_after_crashes_and_rescales(steps in prop::collection::vec(step(), 1..40)) {
        follow(steps);
    }
}
