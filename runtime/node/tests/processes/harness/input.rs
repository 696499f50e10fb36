//! Rows from a seed, in objects whose order is that of time.

use jiff::{SignedDuration, civil::DateTime};
use serde_json::json;

use super::dice::Dice;

const KEYS: [&str; 7] = [
    "amber", "beryl", "coral", "drift", "ember", "flint", "grove",
];
/// Event time between two rows.
const STEP_MS: i64 = 100;
/// So far rows come out of order; less than the watermark's delay.
const JITTER_MS: u64 = 3_000;
/// Rows of an object.
pub(crate) const OBJECT_ROWS: usize = 150;

/// One row of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) key: &'static str,
    pub(crate) value: Option<i64>,
    pub(crate) time: DateTime,
}

/// The first `count` rows of this seed.
pub(crate) fn rows(seed: u64, count: usize) -> Vec<Row> {
    let mut dice = Dice::seeded(seed);
    let start: DateTime = "2026-01-31T23:58:00".parse().unwrap();
    (0..i64::try_from(count).unwrap())
        .map(|id| {
            let late = i64::try_from(dice.below(JITTER_MS)).unwrap();
            let after = SignedDuration::from_millis(id * STEP_MS + 3_000 - late);
            Row {
                id,
                key: KEYS[usize::try_from(dice.below(7)).unwrap()],
                value: (dice.below(10) != 0).then(|| i64::try_from(dice.below(100)).unwrap() - 20),
                time: start.checked_add(after).unwrap(),
            }
        })
        .collect()
}

/// Objects that hold them, by name.
pub(crate) fn objects(rows: &[Row]) -> Vec<(String, String)> {
    let line = |row: &Row| {
        let time = row.time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        let row = json!({"id": row.id, "k": row.key, "v": row.value, "ts": time});
        format!("{row}\n")
    };
    let object = |(number, rows): (usize, &[Row])| {
        (
            format!("{number:04}.json"),
            rows.iter().map(line).collect::<String>(),
        )
    };
    rows.chunks(OBJECT_ROWS).enumerate().map(object).collect()
}
