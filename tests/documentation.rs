//! What the documentation says is proved by tests is: every test that it names exists, and every row names one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{collections::BTreeSet, fs, path::Path};

/// Last column of tables whose rows name tests.
const PROOF: &str = "proved by";

/// Names of all functions in sources below these folders.
fn functions() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for folder in ["src", "tests", "runtime", "dev"] {
        collect(&root().join(folder), &mut all);
    }
    all
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, all);
            continue;
        }
        let word = match path.extension().and_then(|end| end.to_str()) {
            Some("rs") => "fn ",
            Some("py") => "def ",
            _ => continue,
        };
        let text = fs::read_to_string(&path).unwrap();
        all.extend(text.split(word).skip(1).map(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect()
        }));
    }
}

/// Rows of the tables whose last column is [`PROOF`], with that column.
fn rows(page: &str) -> Vec<(&str, &str)> {
    let mut proved = false;
    let mut found = Vec::new();
    for line in page.lines() {
        let Some(row) = line
            .strip_prefix('|')
            .and_then(|rest| rest.strip_suffix('|'))
        else {
            proved = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if last == PROOF {
            proved = true;
        } else if proved && !last.starts_with("---") {
            found.push((line, last));
        }
    }
    found
}

#[test]
fn every_row_of_the_lifecycle_names_a_test_that_exists() {
    let page = fs::read_to_string(root().join("docs/lifecycle.md")).unwrap();
    let (functions, rows) = (functions(), rows(&page));
    assert!(rows.len() > 40, "only {} rows name a proof", rows.len());
    let mut wrong = Vec::new();
    for (row, proof) in rows {
        let names: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(format!("no test is named: {row}"));
        }
        for name in names {
            if !functions.contains(name) {
                wrong.push(format!("{name} does not exist: {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_table_of_the_lifecycle_has_proofs() {
    let page = fs::read_to_string(root().join("docs/lifecycle.md")).unwrap();
    let lines: Vec<&str> = page.lines().collect();
    for pair in lines.windows(2) {
        if pair[1].starts_with("|---") {
            assert!(
                pair[0].trim_end_matches('|').trim_end().ends_with(PROOF),
                "{}",
                pair[0]
            );
        }
    }
}
