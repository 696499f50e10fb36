//! Is the output what the input says, row for row?
//!
//! Nothing here knows how the engine works: plain maps over the raw rows answer the job's questions
//! again.

use std::{collections::BTreeMap, fmt::Debug};

use jiff::civil::DateTime;
use serde::{Deserialize, de::DeserializeOwned};

use super::input::Row;

/// Differences that are told.
const EXAMPLES: usize = 10;

/// A file that a sink put in place.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) table: String,
    pub(crate) lineage: String,
    pub(crate) checkpoint: u64,
    pub(crate) subtask: u32,
    text: String,
}

impl Part {
    /// Reads a file of a table; its name is `part-<lineage>-<sink>-<subtask>-<checkpoint>.json`.
    pub(crate) fn read(table: &str, name: &str, content: &[u8]) -> Result<Self, String> {
        let strange = || format!("{table}/{name} is not a file that a commit puts in place");
        let stem = name.strip_suffix(".json").ok_or_else(strange)?;
        let words: Vec<&str> = stem.split('-').collect();
        let ["part", lineage, _, subtask, checkpoint] = words[..] else {
            return Err(strange());
        };
        if checkpoint.len() != 12 || content.last() != Some(&b'\n') {
            return Err(strange());
        }
        Ok(Self {
            table: table.to_owned(),
            lineage: lineage.to_owned(),
            checkpoint: checkpoint.parse().map_err(|_| strange())?,
            subtask: subtask.parse().map_err(|_| strange())?,
            text: String::from_utf8_lossy(content).into_owned(),
        })
    }

    fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>, String> {
        let row = |line: &str| {
            serde_json::from_str(line).map_err(|error| format!("{}: {error}: {line}", self.table))
        };
        self.text.lines().map(row).collect()
    }
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Passed {
    id: i64,
    k: String,
    v: i64,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Window {
    #[serde(rename = "window_start")]
    start: String,
    k: String,
    n: i64,
    total: Option<i64>,
    /// Only the second revision of the job has it.
    #[serde(default)]
    worst: Option<i64>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Count {
    k: String,
    n: i64,
    total: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    before: Option<Count>,
    after: Option<Count>,
    op: String,
}

/// Rows that were found to be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) windows: usize,
    pub(crate) counts: usize,
    /// Windows whose added aggregate saw every row.
    pub(crate) worst_of_all: usize,
    /// Windows that were open when the aggregate was added: it saw the later rows.
    pub(crate) worst_of_some: usize,
}

/// Holds all output against a recomputation of all input.
pub(crate) fn check(rows: &[Row], parts: &[Part]) -> Result<Tally, String> {
    let mut wrong = Vec::new();
    let mut passed: Vec<Passed> = Vec::new();
    let mut windows: Vec<Window> = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut ordered: Vec<&Part> = parts.iter().collect();
    ordered.sort_by_key(|part| (part.checkpoint, part.subtask));
    for part in ordered {
        match part.table.as_str() {
            "passed" => passed.extend(part.rows()?),
            "windows" => windows.extend(part.rows()?),
            "counts" => changes.extend(part.rows()?),
            table => wrong.push(format!("no table is called {table}")),
        }
    }
    let (worst_of_all, worst_of_some) = check_worst(rows, &mut windows, &mut wrong);
    let tally = Tally {
        passed: compare("passed", expected_passed(rows), passed, &mut wrong),
        windows: compare("windows", expected_windows(rows), windows, &mut wrong),
        counts: compare(
            "counts",
            expected_counts(rows),
            fold(changes, &mut wrong),
            &mut wrong,
        ),
        worst_of_all,
        worst_of_some,
    };
    if wrong.is_empty() {
        return Ok(tally);
    }
    let all = wrong.len();
    wrong.truncate(EXAMPLES);
    Err(format!(
        "the ledger has {all} differences:\n  {}",
        wrong.join("\n  ")
    ))
}

/// Holds output whose records may count more than once against a recomputation: nothing may be
/// missing. How many rows are there again.
pub(crate) fn check_nothing_lost(rows: &[Row], parts: &[Part]) -> Result<usize, String> {
    let mut passed: Vec<Passed> = Vec::new();
    let mut windows: Vec<Window> = Vec::new();
    for part in parts {
        match part.table.as_str() {
            "passed" => passed.extend(part.rows()?),
            "windows" => windows.extend(part.rows()?),
            _ => {}
        }
    }
    let expected = expected_passed(rows);
    let again = passed.len().saturating_sub(expected.len());
    if let Some(lost) = expected.iter().find(|row| !passed.contains(row)) {
        return Err(format!("passed: lost {lost:?}"));
    }
    for expected in expected_windows(rows) {
        let same = |found: &&Window| (&found.start, &found.k) == (&expected.start, &expected.k);
        let counted: i64 = windows.iter().filter(same).map(|window| window.n).sum();
        if counted < expected.n {
            return Err(format!("windows: {counted} rows counted of {expected:?}"));
        }
    }
    Ok(again)
}

fn expected_passed(rows: &[Row]) -> Vec<Passed> {
    let passed = |row: &Row| {
        let v = row.value.filter(|value| *value >= 0)?;
        Some(Passed {
            id: row.id,
            k: row.key.to_owned(),
            v,
        })
    };
    rows.iter().filter_map(passed).collect()
}

fn expected_windows(rows: &[Row]) -> Vec<Window> {
    let groups = grouped(rows, |row| (window_of(row), row.key.to_owned()));
    let window = |((start, k), values): (_, Vec<Option<i64>>)| Window {
        start,
        k,
        n: i64::try_from(values.len()).unwrap(),
        total: total(&values),
        worst: None,
    };
    groups.into_iter().map(window).collect()
}

fn expected_counts(rows: &[Row]) -> Vec<Count> {
    let count = |(k, values): (_, Vec<Option<i64>>)| Count {
        k,
        n: i64::try_from(values.len()).unwrap(),
        total: total(&values),
    };
    let groups = grouped(rows, |row| row.key.to_owned());
    groups.into_iter().map(count).collect()
}

fn grouped<K: Ord>(rows: &[Row], key: impl Fn(&Row) -> K) -> BTreeMap<K, Vec<Option<i64>>> {
    let mut groups: BTreeMap<K, Vec<Option<i64>>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row.value);
    }
    groups
}

/// `SUM`: NULL when there is nothing to add.
fn total(values: &[Option<i64>]) -> Option<i64> {
    let known: Vec<i64> = values.iter().copied().flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

fn window_of(row: &Row) -> String {
    let second = row.time.second() / 10 * 10;
    let start: DateTime = row
        .time
        .with()
        .second(second)
        .subsec_nanosecond(0)
        .build()
        .unwrap();
    start.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Takes the added aggregate out of the windows; answers how many saw all rows, and how many only
/// some.
fn check_worst(rows: &[Row], windows: &mut [Window], wrong: &mut Vec<String>) -> (usize, usize) {
    let groups = grouped(rows, |row| (window_of(row), row.key.to_owned()));
    let (mut all, mut some) = (0, 0);
    for window in windows {
        let Some(worst) = window.worst.take() else {
            continue;
        };
        let group = groups.get(&(window.start.clone(), window.k.clone()));
        let values = group.map(Vec::as_slice).unwrap_or_default();
        if values.iter().flatten().max() == Some(&worst) {
            all += 1;
        } else if values.contains(&Some(worst)) {
            some += 1;
        } else {
            wrong.push(format!("windows: no row has {worst}: {window:?}"));
        }
    }
    (all, some)
}

/// Applies a changelog; what takes back something that is not there is a difference.
fn fold(changes: Vec<Change>, wrong: &mut Vec<String>) -> Vec<Count> {
    let mut there: Vec<Count> = Vec::new();
    for Change { before, after, op } in changes {
        match (before, after, op.as_str()) {
            (None, Some(after), "c") => there.push(after),
            (Some(before), None, "d") => match there.iter().position(|row| *row == before) {
                Some(at) => drop(there.swap_remove(at)),
                None => wrong.push(format!("counts: takes back what is not there: {before:?}")),
            },
            other => wrong.push(format!("counts: no change of Debezium's: {other:?}")),
        }
    }
    there
}

/// Both as multisets; answers how many rows are in both.
fn compare<T: Ord + Debug>(
    table: &str,
    expected: Vec<T>,
    found: Vec<T>,
    wrong: &mut Vec<String>,
) -> usize {
    let mut balance: BTreeMap<T, (usize, usize)> = BTreeMap::new();
    for row in expected {
        balance.entry(row).or_default().0 += 1;
    }
    for row in found {
        balance.entry(row).or_default().1 += 1;
    }
    let mut same = 0;
    for (row, (expected, found)) in balance {
        same += expected.min(found);
        if expected != found {
            wrong.push(format!(
                "{table}: expected {expected} times, found {found} times: {row:?}"
            ));
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::input;

    fn part(table: &str, checkpoint: u64, lines: &[&str]) -> Part {
        let name = format!("part-ABCDEFGH-12345678-0-{checkpoint:012}.json");
        let text = lines.join("\n") + "\n";
        Part::read(table, &name, text.as_bytes()).unwrap()
    }

    fn three_rows() -> Vec<Row> {
        let mut rows = input::rows(1, 3);
        for (row, (key, value)) in
            rows.iter_mut()
                .zip([("amber", Some(5)), ("beryl", None), ("amber", Some(-3))])
        {
            row.key = key;
            row.value = value;
            row.time = "2026-01-31T23:58:19.5".parse().unwrap();
        }
        rows
    }

    const PASSED: &str = r#"{"id":0,"k":"amber","v":5}"#;
    const AMBER: &str = r#"{"window_start":"2026-01-31 23:58:10","k":"amber","n":2,"total":2}"#;
    const BERYL: &str = r#"{"window_start":"2026-01-31 23:58:10","k":"beryl","n":1,"total":null}"#;
    const COUNTS: [&str; 4] = [
        r#"{"before":null,"after":{"k":"amber","n":1,"total":5},"op":"c"}"#,
        r#"{"before":null,"after":{"k":"beryl","n":1,"total":null},"op":"c"}"#,
        r#"{"before":{"k":"amber","n":1,"total":5},"after":null,"op":"d"}"#,
        r#"{"before":null,"after":{"k":"amber","n":2,"total":2},"op":"c"}"#,
    ];

    #[test]
    fn a_right_ledger_is_right_and_every_kind_of_wrong_one_is_not() {
        let rows = three_rows();
        let right = || {
            vec![
                part("passed", 1, &[PASSED]),
                part("windows", 2, &[AMBER, BERYL]),
                // Listed before the part it follows.
                part("counts", 2, &COUNTS[2..]),
                part("counts", 1, &COUNTS[..2]),
            ]
        };
        let tally = check(&rows, &right()).unwrap();
        assert_eq!((tally.passed, tally.windows, tally.counts), (1, 2, 2));
        let wrong = |table: &str, lines: &[&str]| {
            let mut parts = right();
            parts.retain(|part| part.table != table);
            if !lines.is_empty() {
                parts.push(part(table, 1, lines));
            }
            check(&rows, &parts).unwrap_err()
        };
        assert!(wrong("passed", &[]).contains("expected 1 times, found 0"));
        assert!(wrong("passed", &[PASSED, PASSED]).contains("found 2 times"));
        assert!(wrong("windows", &[AMBER]).contains("beryl"));
        let stale = AMBER.replace("\"total\":2", "\"total\":1");
        assert!(wrong("windows", &[&stale, BERYL]).contains("total: Some(1)"));
        let backwards = [COUNTS[2], COUNTS[0], COUNTS[1], COUNTS[3]];
        assert!(wrong("counts", &backwards).contains("not there"));
        assert!(Part::read("passed", "part-1.json.tmp", b"{}\n").is_err());
    }

    #[test]
    fn rows_that_are_there_again_are_fine_where_they_may_be_and_lost_ones_are_not() {
        let rows = three_rows();
        let twice = AMBER.replace("\"n\":2", "\"n\":4");
        let parts = |passed: &[&str], windows: &[&str]| {
            [part("passed", 1, passed), part("windows", 2, windows)]
        };
        let lenient = |parts: &[Part]| check_nothing_lost(&rows, parts);
        assert_eq!(lenient(&parts(&[PASSED, PASSED], &[&twice, BERYL])), Ok(1));
        assert_eq!(lenient(&parts(&[PASSED], &[AMBER, BERYL])), Ok(0));
        let lost = [part("windows", 2, &[AMBER, BERYL])];
        assert!(lenient(&lost).unwrap_err().contains("lost"));
        let short = AMBER.replace("\"n\":2", "\"n\":1");
        let short = lenient(&parts(&[PASSED], &[&short, BERYL]));
        assert!(short.unwrap_err().contains("1 rows counted"));
    }

    #[test]
    fn an_added_aggregate_may_have_seen_some_rows_but_never_others() {
        let rows = three_rows();
        let with = |worst: &str| {
            let window = AMBER.replace('}', &format!(",\"worst\":{worst}}}"));
            let parts = [
                part("passed", 1, &[PASSED]),
                part("windows", 1, &[&window, BERYL]),
                part("counts", 1, &COUNTS),
            ];
            check(&rows, &parts).map(|tally| (tally.worst_of_all, tally.worst_of_some))
        };
        assert_eq!(with("5"), Ok((1, 0)));
        assert_eq!(with("-3"), Ok((0, 1)));
        assert!(with("4").unwrap_err().contains("no row has 4"));
    }
}
