//! `docs/runbooks`: everything that the operator asks for help with has a page, and the pages say
//! what the code says.
//!
//! * [`code`]: what the code can ask for.
//! * [`messages`]: whether a message that a page shows is made by the code.
//! * [`fields`]: fields that a page names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

mod code;
mod fields;
mod messages;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use code::{unhealthy_checkpoints, warnings};
use fields::{fields, has_field, schemas, words};
use messages::{is_made_by, literals, message};
use streamkeeper_api::condition::Stalled;

/// What every page has, in this order.
const PARTS: [&str; 5] = [
    "## What you see",
    "## Meanwhile",
    "## Look closer",
    "## What to do",
    "## Over when",
];
/// A page is read at night.
const LINES: std::ops::RangeInclusive<usize> = 15..=48;
/// Fields of Kubernetes' own objects.
const FIELDS_OF_OTHERS: [&str; 1] = ["spec.nodeName"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Pages by name, without the index.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name != "README" {
            pages.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    assert!(!pages.is_empty());
    pages
}

fn index() -> String {
    fs::read_to_string(root().join("docs/runbooks/README.md")).unwrap()
}

#[test]
fn everything_that_asks_for_help_has_a_page() {
    let pages = pages();
    let stalled = Stalled::ALL.map(|reason| reason.as_str().to_owned());
    let all: BTreeSet<String> = stalled
        .into_iter()
        .chain(unhealthy_checkpoints())
        .chain(warnings())
        .collect();
    let missing: Vec<&String> = all
        .iter()
        .filter(|name| !pages.contains_key(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "no page in docs/runbooks for {missing:?}"
    );
}

#[test]
fn every_page_is_in_the_index_with_its_first_sentence() {
    let index = index();
    for (name, text) in pages() {
        let sentence = text.split("\n\n").nth(1).unwrap().replace('\n', " ");
        let row = format!("| [{name}]({name}.md) | {sentence} |");
        assert!(
            index.contains(&row),
            "docs/runbooks/README.md has no row\n{row}"
        );
    }
}

#[test]
fn every_page_is_short_and_has_the_same_parts() {
    for (name, text) in pages() {
        assert!(
            text.starts_with(&format!("# {name}\n")),
            "{name}: its heading"
        );
        let parts: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(parts, PARTS, "{name}");
        let lines = text.lines().count();
        assert!(LINES.contains(&lines), "{name} has {lines} lines");
    }
}

#[test]
fn every_link_resolves() {
    for folder in ["docs/runbooks", "docs/proofs", "docs/adr", "docs", "."] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                for link in links(&text) {
                    let target = path.parent().unwrap().join(link);
                    assert!(target.exists(), "{}: {link}", path.display());
                }
            }
        }
    }
}

#[test]
fn a_page_shows_its_reason_and_only_messages_that_the_code_makes() {
    let made = literals();
    for (name, text) in pages() {
        let (seen, _) = text.split_once(PARTS[1]).unwrap();
        let shown: Vec<&str> = seen.lines().filter_map(message).collect();
        assert!(
            !shown.is_empty() || name == "Drain",
            "{name} shows no message"
        );
        for message in shown {
            if let Err(part) = is_made_by(&made, message) {
                panic!("{name}: no code makes `{part}` of\n{message}");
            }
        }
        let of_stalled = Stalled::named(&name).is_some();
        let shows = seen.contains(&format!("Reason:                {name}\n"));
        assert!(shows || !of_stalled, "{name} does not show its reason");
    }
}

#[test]
fn a_message_that_no_code_makes_is_found() {
    let made = literals();
    let right = "revision 2 was given up: it was not ready within 10m: 1 of 2 pods are up. Revision 1 was not touched";
    assert_eq!(is_made_by(&made, right), Ok(()));
    for wrong in [
        "revision 2 was abandoned: it was not ready within 10m: 1 of 2 pods are up. Revision 1 was not touched",
        "revision 2 was given up: it took longer than it is allowed to take by its spec. Revision 1 was not touched",
    ] {
        assert!(is_made_by(&made, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_field_and_annotation_that_a_page_names_exists() {
    let schemas = schemas();
    let names = fs::read_to_string(root().join("operator/api/src/names.rs")).unwrap();
    let mut named = 0;
    for (name, text) in pages().into_iter().chain([("README".to_owned(), index())]) {
        for path in fields(&text) {
            named += 1;
            let known = schemas.iter().any(|schema| has_field(schema, &path));
            assert!(
                known || FIELDS_OF_OTHERS.contains(&path.as_str()),
                "{name}: {path}"
            );
        }
        for key in words(&text).filter(|word| word.starts_with("streamkeeper.dev/")) {
            let known = names.contains(&format!("\"{key}\""));
            assert!(known, "{name}: {key} is not in operator/api/src/names.rs");
        }
    }
    assert!(named > 50, "only {named} fields were found");
}

/// Targets of relative links, without what follows `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|after| after.split_once(')').map(|(link, _)| link))
        .filter(|link| !link.contains("://"))
        .filter_map(|link| link.split('#').next())
        .filter(|link| !link.is_empty())
}
