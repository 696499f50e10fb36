//! The reasons and events of all stories are those that `docs/events.md` lists, no more and no
//! less.

use std::{collections::BTreeSet, fs};

use streamkeeper_api::condition::{Reconciling, Stalled};

use crate::TRACES;

/// First words of the rows of the tables of a page, without their ticks.
fn listed(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(word, _)| word.to_owned())
        .collect()
}

#[test]
fn every_reason_and_event_that_is_documented_comes_up_in_some_story_and_no_other_does() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
    let documented = listed(&fs::read_to_string(page).expect("docs/events.md"));
    let mut told = BTreeSet::new();
    for trace in TRACES.iter() {
        told.extend(trace.told.clone());
    }
    let silent: Vec<&String> = documented.difference(&told).collect();
    let unknown: Vec<&String> = told.difference(&documented).collect();
    assert!(
        silent.is_empty() && unknown.is_empty(),
        "in docs/events.md, but no story tells it: {silent:#?}\ntold, but not in docs/events.md: {unknown:#?}"
    );
    let reasons = Stalled::ALL.map(Stalled::as_str).into_iter();
    for reason in reasons.chain(Reconciling::ALL.map(Reconciling::as_str)) {
        assert!(
            documented.contains(reason),
            "{reason} is not in docs/events.md"
        );
    }
}
