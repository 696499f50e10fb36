//! What the documentation says is proved by tests is: every test that it names exists, and every
//! row names one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{collections::BTreeMap, fs, path::Path};

/// Last column of tables whose rows name tests.
const PROOF: &str = "proved by";

/// Pages with such tables, each with the number of rows that it has at least.
const PAGES: [(&str, usize); 2] = [("lifecycle.md", 70), ("elsewhere.md", 25)];

/// All functions in sources below these folders, each with the comments and attributes directly
/// above it.
fn functions() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for folder in ["src", "operator", "tests", "runtime", "dev"] {
        collect(&root().join(folder), &mut all);
    }
    all
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

fn collect(folder: &Path, all: &mut BTreeMap<String, String>) {
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
        let mut above = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if line.trim_start().starts_with(['/', '#']) {
                above += line;
                above.push('\n');
                continue;
            }
            for rest in line.split(word).skip(1) {
                let name = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                all.insert(name, above.clone());
            }
            above.clear();
        }
    }
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
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
fn every_row_names_a_test_that_exists() {
    let functions = functions();
    let mut wrong = Vec::new();
    for (name, least) in PAGES {
        let page = page(name);
        let rows = rows(&page);
        let count = rows.len();
        assert!(count >= least, "{name}: only {count} rows name a proof");
        for (row, proof) in rows {
            let names = quoted(proof);
            if names.is_empty() {
                wrong.push(format!("{name}: no test is named: {row}"));
            }
            for test in names {
                if !functions.contains_key(test) {
                    wrong.push(format!("{name}: {test} does not exist: {row}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_table_has_proofs() {
    for (name, _) in PAGES {
        let page = page(name);
        let lines: Vec<&str> = page.lines().collect();
        for pair in lines.windows(2) {
            if pair[1].starts_with("|---") {
                assert!(
                    pair[0].trim_end_matches('|').trim_end().ends_with(PROOF),
                    "{name}: {}",
                    pair[0]
                );
            }
        }
    }
}

#[test]
fn tests_name_the_stories_from_elsewhere_that_they_are_about() {
    let functions = functions();
    let page = page("elsewhere.md");
    let mut wrong = Vec::new();
    for (row, proof) in rows(&page) {
        let told: Vec<&str> = row.split('|').nth(2).unwrap().split(',').collect();
        let names = quoted(proof);
        let cites = |test: &str, source: &str| {
            let above = functions.get(test).map_or("", String::as_str);
            above
                .split([' ', ',', ':', '\n'])
                .any(|word| word.trim_end_matches('.') == source)
        };
        for test in &names {
            if !told.iter().any(|source| cites(test, source.trim())) {
                wrong.push(format!("{test} names none of {told:?}"));
            }
        }
        for source in told.iter().map(|source| source.trim()) {
            if !names.iter().any(|test| cites(test, source)) {
                wrong.push(format!("no test names {source}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
