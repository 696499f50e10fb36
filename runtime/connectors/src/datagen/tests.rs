//! Equal rows at any parallelism and after any number of restarts.

use std::sync::Arc;

use arrow_array::{Array as _, RecordBatch, cast::AsArray as _, types};
use proptest::prelude::*;
use streamkeeper_protocol::{key_group::Assignment, plan::TableRef, types::DataType};
use streamkeeper_storage::{MemoryStore, ObjectStore};

use crate::testing::{GROUPS, Job, Round, State, read_all, runtime, table, with};

fn no_store() -> Arc<dyn ObjectStore> {
    Arc::new(MemoryStore::new())
}

/// A table of `number-of-rows` rows, as fast as possible.
fn numbers(rows: &str) -> TableRef {
    table(
        "datagen",
        &[
            ("id", DataType::BigInt),
            ("word", DataType::Varchar { length: Some(20) }),
        ],
        &[
            ("rows-per-second", "1000000000"),
            ("number-of-rows", rows),
            ("fields.id.min", "-5"),
            ("fields.id.max", "5"),
            ("fields.word.length", "20"),
        ],
    )
}

/// Rows as text, sorted.
fn sorted(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows: Vec<String> = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1))))
        .collect();
    rows.sort_unstable();
    rows
}

fn bigints(batches: &[RecordBatch]) -> Vec<i64> {
    let columns = batches
        .iter()
        .map(|batch| batch.column(0).as_primitive::<types::Int64Type>());
    columns
        .flat_map(|column| column.values().to_vec())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_row_is_made_once_over_restarts_and_rescales(
        rows in 0_u64..600,
        attempts in prop::collection::vec((1_u32..6, 0_usize..8, 0_usize..4, 1_usize..60), 0..5),
    ) {
        let runtime = runtime();
        let store = no_store();
        let table = numbers(&rows.to_string());
        let expected = sorted(&read_all(&table, &store, runtime.handle()).unwrap());
        prop_assert_eq!(expected.len() as u64, rows);
        let (mut state, mut made) = (State::new(), Vec::new());
        let mut assignment = Assignment::even(GROUPS, 1);
        for (parallelism, before, after, max_rows) in attempts {
            assignment = assignment.rescaled(parallelism);
            let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
            for _ in 0..before {
                if let Round::Rows(batches) = job.round(max_rows).unwrap() {
                    made.extend(batches);
                }
            }
            job.checkpoint(&mut state);
            for _ in 0..after {
                let _ = job.round(max_rows).unwrap();
            }
        }
        let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
        made.extend(job.drain().unwrap());
        prop_assert_eq!(sorted(&made), expected);
    }
}

#[test]
fn a_sequence_covers_its_range_once_and_nearly_in_order() {
    let runtime = runtime();
    let options = [
        ("rows-per-second", "1000000000"),
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "-100"),
        ("fields.id.end", "4000"),
    ];
    let table = table("datagen", &[("id", DataType::BigInt)], &options);
    let one = bigints(&read_all(&table, &no_store(), runtime.handle()).unwrap());
    assert_eq!(one, (-100..=4000).collect::<Vec<_>>());
    let assignment = Assignment::even(GROUPS, 3);
    let store = no_store();
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &State::new());
    let mut three = bigints(&job.drain().unwrap());
    three.sort_unstable();
    assert_eq!(three, one);
}

#[test]
fn random_values_stay_in_their_bounds_and_reach_them() {
    let runtime = runtime();
    let batches = read_all(&numbers("2000"), &no_store(), runtime.handle()).unwrap();
    let mut ids = bigints(&batches);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, (-5..=5).collect::<Vec<_>>());
    let words = batches[0].column(1).as_string::<i32>();
    assert!(words.iter().flatten().all(|word| word.len() == 20));
    assert_ne!(words.value(0), words.value(1));
}

#[test]
fn every_type_has_values_and_null_rate_makes_nulls() {
    let runtime = runtime();
    let columns = [
        ("a", DataType::Boolean),
        ("b", DataType::TinyInt),
        ("c", DataType::SmallInt),
        ("d", DataType::Int),
        ("e", DataType::Float),
        ("f", DataType::Double),
        (
            "g",
            DataType::Decimal {
                precision: 38,
                scale: 3,
            },
        ),
        ("h", DataType::Char { length: 7 }),
        ("i", DataType::Bytes),
        ("j", DataType::Date),
        ("k", DataType::Time),
        ("l", DataType::Timestamp { precision: 3 }),
        ("m", DataType::TimestampLtz { precision: 6 }),
        ("n.o", DataType::STRING),
    ];
    let options = [
        ("number-of-rows", "1000"),
        ("rows-per-second", "1000000000"),
        ("fields.i.var-len", "true"),
    ];
    let mut table = table("datagen", &columns, &options);
    for (name, _) in &columns {
        table = with(table, &format!("fields.{name}.null-rate"), "0.5");
    }
    let batches = read_all(&table, &no_store(), runtime.handle()).unwrap();
    for column in 0..columns.len() {
        let nulls: usize = batches
            .iter()
            .map(|batch| batch.column(column).null_count())
            .sum();
        assert!(
            (350..650).contains(&nulls),
            "{nulls} NULLs in column {column}"
        );
    }
}

#[test]
fn timestamps_follow_the_schedule_and_not_the_clock() {
    let runtime = runtime();
    let columns = [
        ("ts", DataType::Timestamp { precision: 3 }),
        ("past", DataType::Timestamp { precision: 3 }),
    ];
    let options = [
        ("number-of-rows", "5"),
        ("rows-per-second", "1000"),
        ("fields.past.max-past", "1 min"),
    ];
    let table = table("datagen", &columns, &options);
    let batches = read_all(&table, &no_store(), runtime.handle()).unwrap();
    let column = |position: usize| -> Vec<i64> {
        let arrays = batches.iter().map(|batch| {
            batch
                .column(position)
                .as_primitive::<types::TimestampMillisecondType>()
        });
        arrays.flat_map(|array| array.values().to_vec()).collect()
    };
    let start = 1_357_016_400_000;
    assert_eq!(column(0), (start..start + 5).collect::<Vec<_>>());
    assert!(
        column(1)
            .iter()
            .all(|past| (start - 60_000..start + 5).contains(past))
    );
}

#[test]
fn an_unbounded_table_has_no_end_and_waits_for_its_rate() {
    let runtime = runtime();
    let table = table(
        "datagen",
        &[("id", DataType::BigInt)],
        &[("rows-per-second", "10")],
    );
    let store = no_store();
    let assignment = Assignment::even(GROUPS, 1);
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &State::new());
    for _ in 0..2 {
        let Round::Rows(batches) = job.round(1_000).unwrap() else {
            panic!("no rows")
        };
        assert_eq!(bigints(&batches).len(), 1);
    }
}

/// The rows of a table are part of what a restart must repeat: they may never change.
#[test]
fn the_first_rows_are_frozen() {
    let runtime = runtime();
    let table = numbers("3");
    let batches = read_all(&table, &no_store(), runtime.handle()).unwrap();
    let words = batches[0].column(1).as_string::<i32>();
    let rows: Vec<_> = bigints(&batches)
        .into_iter()
        .zip(words.iter().flatten())
        .collect();
    let frozen = [
        (-4, "cc5d4f3c7a889a6cdc6a"),
        (-2, "e58c046c395264db9fad"),
        (4, "69a759bfbc0ae97691b6"),
    ];
    assert_eq!(rows, frozen);
}
