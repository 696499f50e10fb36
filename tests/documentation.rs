//! The promises of the documentation are proved by tests. Each promise of a page has a mark such as
//! `[U1]`, and `docs/proofs` has one row of tests for each mark. The tests of a row exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{collections::BTreeMap, fs, path::Path};

/// Last column of the tables whose rows name tests.
const PROOF: &str = "proved by";

/// Pages with promises. Each has a page of proofs below `docs/proofs` with at least this many rows.
const PAGES: [(&str, usize); 2] = [("lifecycle.md", 97), ("elsewhere.md", 30)];

/// Returns all functions in sources below these folders, each with the comments and attributes
/// directly above it.
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

fn proofs(name: &str) -> String {
    page(&format!("proofs/{name}"))
}

/// Returns what stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the cells of a line of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

fn is_rule(cells: &[&str]) -> bool {
    cells.iter().all(|cell| cell.starts_with("---"))
}

/// Returns the rows of a page of proofs: the mark of a promise, and the last column.
fn rows(page: &str) -> Vec<(&str, &str)> {
    page.lines()
        .filter_map(cells)
        .filter(|cells| !is_rule(cells) && cells.last() != Some(&PROOF))
        .map(|cells| (cells[0], *cells.last().unwrap()))
        .collect()
}

/// Returns the marks of promises in a text: `U1` for `[U1]`.
fn marks(text: &str) -> Vec<&str> {
    text.split('[')
        .skip(1)
        .filter_map(|after| after.split_once(']').map(|(mark, _)| mark))
        .filter(|mark| {
            mark.strip_prefix(|c: char| c.is_ascii_uppercase())
                .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
        })
        .collect()
}

/// Returns the statements of a page that have to carry a mark: rows of tables, items of lists, and
/// paragraphs below the first section. A paragraph that ends with a colon introduces a table or a
/// list, and makes no promise of its own.
fn statements(page: &str) -> Vec<String> {
    let (_, sections) = page.split_once("\n## ").unwrap();
    let mut found = Vec::new();
    for block in sections.split("\n\n").skip(1) {
        if block.starts_with('|') {
            found.extend(block.lines().skip(2).map(str::to_owned));
        } else if let Some(items) = block.strip_prefix("- ") {
            found.extend(items.split("\n- ").map(str::to_owned));
        } else if !block.starts_with("## ") && !block.ends_with(':') {
            found.push(block.to_owned());
        }
    }
    found
}

#[test]
fn every_row_names_a_test_that_exists() {
    let functions = functions();
    let mut wrong = Vec::new();
    for (name, least) in PAGES {
        let proofs = proofs(name);
        let rows = rows(&proofs);
        let count = rows.len();
        assert!(count >= least, "{name}: only {count} rows name a proof");
        for (mark, proof) in rows {
            let names = quoted(proof);
            if names.is_empty() {
                wrong.push(format!("{name}: {mark} names no test"));
            }
            for test in names {
                if !functions.contains_key(test) {
                    wrong.push(format!("{name}: {mark}: {test} does not exist"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_promise_has_one_row_and_every_row_a_promise() {
    for (name, _) in PAGES {
        let (page, proofs) = (page(name), proofs(name));
        let mut promised = [marks(&page), marks(&proofs)].concat();
        let mut proved: Vec<&str> = rows(&proofs).into_iter().map(|(mark, _)| mark).collect();
        promised.sort_unstable();
        proved.sort_unstable();
        assert_eq!(promised, proved, "{name}");
        let mut once = proved.clone();
        once.dedup();
        assert_eq!(once, proved, "{name}: marks are there once");
    }
}

#[test]
fn every_statement_is_a_promise() {
    for (name, least) in PAGES {
        let page = page(name);
        let statements = statements(&page);
        assert!(
            statements.len() * 10 >= least * 9,
            "{name}: {statements:#?}"
        );
        for statement in statements {
            assert!(!marks(&statement).is_empty(), "{name}: {statement}");
        }
    }
}

#[test]
fn a_statement_without_a_mark_is_found() {
    let page = "# Title\n\nWords.\n\n## One\n\nIt holds. [A1]\n\nThis:\n\n- a\n- b [A2]\n\n\
                ## Two\n\n| x | |\n|---|---|\n| y | [A3] |\n| z | |\n\nIt [does](x.md) too.\n";
    let found = statements(page);
    let without: Vec<&str> = found
        .iter()
        .filter(|statement| marks(statement).is_empty())
        .map(|statement| statement.trim())
        .collect();
    assert_eq!(without, ["a", "| z | |", "It [does](x.md) too."]);
}

#[test]
fn every_table_of_proofs_has_proofs() {
    for (name, _) in PAGES {
        let proofs = proofs(name);
        let lines: Vec<Vec<&str>> = proofs.lines().filter_map(cells).collect();
        for pair in lines.windows(2) {
            if is_rule(&pair[1]) {
                assert_eq!(pair[0].last(), Some(&PROOF), "{name}: {:?}", pair[0]);
            }
        }
    }
}

/// Returns all files below a folder, as paths from the root of the repository.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_file_and_folder_of_the_code_that_the_architecture_names_exists() {
    let page = page("architecture.md");
    let all: Vec<String> = ["src", "operator", "runtime"]
        .into_iter()
        .flat_map(files)
        .map(|file| format!("/{file}"))
        .collect();
    let named: Vec<&str> = page
        .split(|c: char| c.is_whitespace() || ",`()".contains(c))
        .filter(|word| {
            word.strip_suffix(".rs")
                .or(word.strip_suffix('/'))
                .is_some_and(|name| {
                    !name.is_empty()
                        && name
                            .chars()
                            .all(|c| c.is_ascii_lowercase() || "_/".contains(c))
                })
        })
        .collect();
    assert!(named.len() > 60, "{named:?}");
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| {
            let inside = format!("/{name}");
            !all.iter().any(|file| {
                if name.ends_with('/') {
                    file.contains(&inside)
                } else {
                    file.ends_with(&inside)
                }
            })
        })
        .collect();
    assert!(missing.is_empty(), "not in the code: {missing:?}");
}

#[test]
fn tests_name_the_stories_from_elsewhere_that_they_are_about() {
    let functions = functions();
    let (page, proofs) = (page("elsewhere.md"), proofs("elsewhere.md"));
    let proofs: BTreeMap<&str, &str> = rows(&proofs).into_iter().collect();
    let mut wrong = Vec::new();
    let reports = page.lines().filter_map(cells).filter(|row| !is_rule(row));
    for row in reports.filter(|row| row[1] != "reported in") {
        let [mark] = marks(row[3])[..] else {
            panic!("one mark a row: {row:?}");
        };
        let told: Vec<&str> = row[1].split(',').collect();
        let proof = proofs[mark];
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
