use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use streamkeeper_connectors::batch::{Batch, DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};
use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    key_group::Assignment,
    plan::{ChangelogMode, StreamPlan},
};

use super::{
    naive,
    plans::{NAME, NUMBER, Row, TEXT, VALUE, all, batch, call, grouped, row},
    run::{Emitted, Machine, emitted},
};
use crate::{aggregate::is_value_entry, operator::Place, operators::build};

#[derive(Debug, Clone)]
enum Step {
    /// Rows to insert, and picks among the live rows to take back at a position.
    Batch(Vec<(Row, Option<prop::sample::Index>)>),
    Checkpoint {
        full: bool,
        restore: Option<u32>,
    },
}

fn step(retracts: bool) -> impl Strategy<Value = Step> {
    let pick = prop::option::weighted(0.45, any::<prop::sample::Index>())
        .prop_map(move |pick| pick.filter(|_| retracts));
    prop_oneof![
        5 => prop::collection::vec((row(), pick), 0..14).prop_map(Step::Batch),
        2 => (any::<bool>(), prop::option::of(1_u32..5)).prop_map(|(full, restore)| Step::Checkpoint { full, restore }),
    ]
}

/// The result after applying the changes.
#[derive(Default)]
struct View {
    rows: BTreeMap<Vec<String>, Vec<String>>,
    pending: Option<Vec<String>>,
}

impl View {
    fn apply(&mut self, change: &Emitted, keys: usize, upsert: bool) {
        let key = change.columns[..keys].to_vec();
        if change.kind != UPDATE_AFTER {
            assert!(self.pending.is_none(), "+U follows its -U at once");
        }
        match change.kind {
            INSERT => assert!(
                self.rows.insert(key, change.columns.clone()).is_none(),
                "+I of a key that is there"
            ),
            UPDATE_BEFORE => {
                assert!(!upsert, "-U in upsert mode");
                assert_eq!(
                    self.rows.get(&key),
                    Some(&change.columns),
                    "-U of what is there"
                );
                self.pending = Some(key);
            }
            UPDATE_AFTER => {
                if !upsert {
                    assert_eq!(self.pending.take().as_ref(), Some(&key));
                }
                let before = self.rows.insert(key, change.columns.clone());
                assert!(
                    before.is_some_and(|before| before != change.columns),
                    "+U changes something"
                );
            }
            DELETE => assert_eq!(
                self.rows.remove(&key),
                Some(change.columns.clone()),
                "-D of what is there"
            ),
            other => panic!("kind {other}"),
        }
    }
}

fn compare(
    plan: &StreamPlan,
    keys: &[usize],
    calls: &[AggregateCall],
    upsert: bool,
    steps: Vec<Step>,
) {
    let mut machine = Machine::new(plan, 1, 2);
    let mut live: Vec<Row> = Vec::new();
    let mut view = View::default();
    for step in steps {
        match step {
            Step::Batch(changes) => {
                let (mut rows, mut kinds) = (Vec::new(), Vec::new());
                for (row, pick) in changes {
                    let even = kinds.len() % 2 == 0;
                    if let Some(pick) = pick.filter(|_| !live.is_empty()) {
                        rows.push(live.swap_remove(pick.index(live.len())));
                        kinds.push(if even { DELETE } else { UPDATE_BEFORE });
                    } else {
                        live.push(row.clone());
                        rows.push(row);
                        kinds.push(if even { INSERT } else { UPDATE_AFTER });
                    }
                }
                let inserts_only = plan.nodes[0].changelog == ChangelogMode::InsertOnly;
                let out =
                    emitted(&machine.process(&batch(&rows, (!inserts_only).then_some(kinds))));
                let mut seen = BTreeSet::new();
                for change in out {
                    assert!(
                        seen.insert((change.columns[..keys.len()].to_vec(), change.kind)),
                        "a key changes once per batch"
                    );
                    view.apply(&change, keys.len(), upsert);
                }
                assert!(view.pending.is_none());
                assert_eq!(
                    view.rows,
                    naive::results(&live.iter().collect::<Vec<_>>(), keys, calls)
                );
            }
            Step::Checkpoint { full, restore } => {
                machine.checkpoint(full);
                let entries = machine.store.entries.values();
                assert_eq!(
                    entries.filter(|entry| !is_value_entry(entry)).count(),
                    view.rows.len(),
                    "one entry per key that is there"
                );
                if let Some(parallelism) = restore {
                    machine.restore(plan, parallelism);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn groups_of_changes_equal_a_recomputation(steps in prop::collection::vec(step(true), 1..14)) {
        compare(&grouped(&[NAME, NUMBER], &all(), ChangelogMode::Retract, ChangelogMode::Retract), &[NAME, NUMBER], &all(), false, steps);
    }

    #[test]
    fn groups_of_inserts_equal_a_recomputation(steps in prop::collection::vec(step(false), 1..14)) {
        compare(&grouped(&[NAME], &all(), ChangelogMode::InsertOnly, ChangelogMode::Retract), &[NAME], &all(), false, steps);
    }

    #[test]
    fn upserts_equal_a_recomputation(steps in prop::collection::vec(step(true), 1..14)) {
        let calls = [call(AggregateFunction::Count, None), call(AggregateFunction::Max, Some(TEXT))];
        compare(&grouped(&[NUMBER], &calls, ChangelogMode::Retract, ChangelogMode::Upsert), &[NUMBER], &calls, true, steps);
    }

    #[test]
    fn a_group_without_keys_equals_a_recomputation(steps in prop::collection::vec(step(true), 1..14)) {
        compare(&grouped(&[], &all(), ChangelogMode::Retract, ChangelogMode::Retract), &[], &all(), false, steps);
    }
}

fn at(name: &str, value: i64) -> Row {
    Row {
        time: 0,
        name: Some(name.to_owned()),
        number: None,
        value: Some(value),
        text: None,
        money: None,
        real: None,
        flag: None,
    }
}

fn shown(rows: &[Emitted]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            format!(
                "{} {}",
                ["+I", "-U", "+U", "-D"][usize::try_from(row.kind).unwrap()],
                row.columns.join(" ")
            )
        })
        .collect()
}

fn sums() -> StreamPlan {
    grouped(
        &[NAME],
        &[call(AggregateFunction::Sum, Some(VALUE))],
        ChangelogMode::Retract,
        ChangelogMode::Retract,
    )
}

#[test]
fn a_batch_changes_a_key_once_and_only_if_its_result_changed() {
    let mut machine = Machine::new(&sums(), 1, 1);
    let mut run = |rows: &[Row], kinds: &[i8]| {
        shown(&emitted(
            &machine.process(&batch(rows, Some(kinds.to_vec()))),
        ))
    };
    assert_eq!(
        run(&[at("a", 1), at("b", 5), at("a", 2)], &[INSERT; 3]),
        ["+I a 3", "+I b 5"]
    );
    assert_eq!(
        run(&[at("a", 1), at("a", 1)], &[INSERT, INSERT]),
        ["-U a 3", "+U a 5"]
    );
    assert_eq!(run(&[at("a", 0)], &[INSERT]), Vec::<String>::new());
    assert_eq!(
        run(&[at("b", 5), at("b", 7)], &[UPDATE_BEFORE, UPDATE_AFTER]),
        ["-U b 5", "+U b 7"]
    );
    assert_eq!(run(&[at("b", 7)], &[DELETE]), ["-D b 7"]);
    assert_eq!(
        run(&[at("c", 1), at("c", 1)], &[INSERT, DELETE]),
        Vec::<String>::new()
    );
}

#[test]
fn a_retraction_of_an_unknown_key_is_ignored() {
    let mut machine = Machine::new(&sums(), 1, 1);
    let out = machine.process(&batch(
        &[at("x", 1), at("y", 2), at("x", 3)],
        Some(vec![UPDATE_BEFORE, INSERT, UPDATE_AFTER]),
    ));
    assert_eq!(shown(&emitted(&out)), ["+I y 2", "+I x 3"]);
}

#[test]
fn pairs_of_changes_are_not_torn_apart_by_the_size_of_a_batch() {
    let plan = grouped(
        &[VALUE],
        &[call(AggregateFunction::Count, None)],
        ChangelogMode::InsertOnly,
        ChangelogMode::Retract,
    );
    let mut machine = Machine::new(&plan, 1, 1);
    let rows: Vec<Row> = (1..4096).map(|value| at("a", value)).collect();
    machine.process(&batch(&rows, None));
    // One +I, then 4,095 pairs.
    let rows: Vec<Row> = (0..4096).map(|value| at("a", value)).collect();
    let out = machine.process(&batch(&rows, None));
    assert_eq!(out.iter().map(Batch::len).sum::<usize>(), 1 + 2 * 4095);
    assert!(out.iter().all(|batch| batch.kind(0) != UPDATE_AFTER));
}

#[test]
fn a_plan_with_state_ttl_is_refused() {
    let mut plan = sums();
    plan.settings.state_ttl_ms = Some(1000);
    let place = Place {
        subtask: 0,
        assignment: std::sync::Arc::new(Assignment::even(4, 1)),
    };
    let Err(error) = build(&plan.nodes[1], &plan, &place) else {
        panic!("built")
    };
    assert!(
        error
            .to_string()
            .contains("table.exec.state.ttl = 1000 ms is not implemented"),
        "{error}"
    );
}

#[test]
fn results_too_large_for_one_batch_change_in_several() {
    let plan = grouped(
        &[NAME],
        &[call(AggregateFunction::Max, Some(TEXT))],
        ChangelogMode::InsertOnly,
        ChangelogMode::Retract,
    );
    let mut machine = Machine::new(&plan, 1, 1);
    let rows = |word: &str| -> Vec<Row> {
        (0..8)
            .map(|row| Row {
                text: Some(word.repeat(1 << 20)),
                ..at(&format!("key {row}"), row)
            })
            .collect()
    };
    let first = machine.process(&batch(&rows("a"), None));
    assert_eq!(first.iter().map(Batch::len).sum::<usize>(), 8);
    assert!(first.len() > 1, "8 MiB are above the limit of tests");
    let second = machine.process(&batch(&rows("b"), None));
    let kinds: Vec<i8> = emitted(&second).iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [UPDATE_BEFORE, UPDATE_AFTER].repeat(8));
    assert!(second.len() > first.len(), "old and new texts count");
    // Small rows of those keys come in one batch again once the texts are small.
    let small = Machine::new(&plan, 1, 1).process(&batch(&[at("a", 1), at("b", 2)], None));
    assert_eq!(small.len(), 1);
}
