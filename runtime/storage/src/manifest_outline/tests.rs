//! What is collected, and what is refused.

use std::path::Path;

use streamkeeper_guard::{fails_without, marked};

use super::{parts::ParseError, *};

fn outline(text: &str, room: MemoryLimit, with_blocks: bool) -> Result<Outline, ParseError> {
    fields::read(OutlineBuilder::new(room, with_blocks), text.as_bytes())
}

fn manifest(runs: &str) -> String {
    format!(
        r#"{{"format": 1, "min_reader": 1, "job_uid": "u", "checkpoint": 7, "plan_hash": "p", "records_in": 1e3,
            "operators": [{{"label": "x", "states": [{{"descriptor": {{"key": [[]]}}, "runs": [{runs}]}}]}}],
            "committables": [{{"meta": {{"states": []}}, "staged": null}}]}}"#
    )
}

fn run(object: &str, offset: u64, len: u64, blocks: usize) -> String {
    let block = r#"{"offset": 0, "len": 1, "crc32c": 2, "key_groups": [0, 0]}"#;
    let blocks = vec![block; blocks].join(",");
    format!(
        r#"{{"at": {{"object": "{object}", "offset": {offset}, "len": {len}, "crc32c": 1}}, "blocks": [{blocks}]}}"#
    )
}

const CLAIMS: &[fn()] = &[
    over_the_memory_limit_blocks_are_dropped_first_and_names_are_kept,
    what_is_collected_is_no_larger_than_its_room_however_many_elements_there_are,
    offsets_that_overflow_and_ranges_that_overlap_are_refused,
    parts::tests::text_that_a_parser_would_have_to_hold_or_to_remember_without_end_is_refused,
];

#[test]
fn a_guard_of_an_outline_that_is_taken_away_is_missed_by_some_claim() {
    let guards = marked(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/manifest_outline"
    )))
    .unwrap();
    assert!(guards.len() >= 8, "only {} guards are marked", guards.len());
    let missed = |guard: &&'static str| CLAIMS.iter().any(|claim| fails_without(guard, *claim));
    let idle: Vec<_> = guards.into_iter().filter(|guard| !missed(guard)).collect();
    assert!(idle.is_empty(), "nothing notices without: {idle:#?}");
}

#[test]
fn over_the_memory_limit_blocks_are_dropped_first_and_names_are_kept() {
    let runs = [run("data/b", 0, 5, 50), run("data/a", 3, 5, 50)].join(",");
    let text = manifest(&runs);
    let whole = outline(&text, MemoryLimit::UNLIMITED, true).unwrap();
    assert_eq!(whole.blocks.len(), 100);
    assert_eq!(whole.objects().collect::<Vec<_>>(), ["data/a", "data/b"]);
    assert_eq!((whole.total_bytes, whole.checkpoint), (10, 7));
    let counts: Vec<_> = whole.spans().map(|span| span.blocks.len()).collect();
    assert_eq!(counts, [50, 50]);
    for room in [MemoryLimit(60 * BLOCK), MemoryLimit(20 * BLOCK)] {
        let narrow = outline(&text, room, true).unwrap();
        assert_eq!((narrow.blocks.len(), narrow.parts.len()), (0, 2));
        assert!(narrow.spans().all(|span| span.blocks.is_empty()));
        assert_eq!(narrow.names, whole.names);
    }
    let none = outline(&text, MemoryLimit(SPAN), true);
    assert!(matches!(none, Err(ParseError::OverMemoryLimit)), "{none:?}");
}

#[test]
fn what_is_collected_is_no_larger_than_its_room_however_many_elements_there_are() {
    let runs: Vec<_> = (0..20_000)
        .map(|n| run(&format!("data/{n}"), 0, 1, 0))
        .collect();
    let text = manifest(&runs.join(","));
    let refused = outline(&text, MemoryLimit(1 << 20), true);
    assert!(
        matches!(refused, Err(ParseError::OverMemoryLimit)),
        "{refused:?}"
    );
    // The control: without a limit it is held, and takes what was counted.
    let held = outline(&text, MemoryLimit::UNLIMITED, true).unwrap();
    let counted = 20_000 * (SPAN + NAME);
    let parts = held.parts.capacity() * size_of::<Part>();
    let names: usize = held.names.iter().map(|name| name.len() + 16).sum();
    assert!((parts + names) as u64 <= counted && counted > 1 << 20);
}

#[test]
fn offsets_that_overflow_and_ranges_that_overlap_are_refused() {
    let max = u64::MAX;
    for (runs, told) in [
        (run("data/a", max, 1, 0), "ends nowhere"),
        (
            [run("data/a", 0, max, 0), run("data/b", 0, 1, 0)].join(","),
            "more bytes than a number can tell",
        ),
        (
            [run("data/a", 4, 4, 0), run("data/a", 0, 5, 0)].join(","),
            "overlap at byte 4",
        ),
    ] {
        match outline(&manifest(&runs), MemoryLimit::UNLIMITED, true) {
            Err(ParseError::Text(why)) => assert!(why.contains(told), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let fine = [run("data/a", 4, 4, 0), run("data/a", 0, 4, 0)].join(",");
    outline(&manifest(&fine), MemoryLimit::UNLIMITED, true).unwrap();
}

#[test]
fn what_is_missing_and_what_is_too_new_is_said() {
    let text = manifest(&run("data/a", 0, 1, 0));
    for (from, to, told) in [
        (r#""checkpoint": 7,"#, "", "missing field `checkpoint`"),
        (r#""runs""#, r#""walks""#, "missing field `runs`"),
        (r#""at""#, r#""to""#, "missing field `at`"),
        (
            r#""min_reader": 1"#,
            r#""min_reader": 9"#,
            "use a newer release",
        ),
        (r#""offset": 0"#, r#""offset": -1"#, "invalid value"),
    ] {
        match outline(&text.replace(from, to), MemoryLimit::UNLIMITED, true) {
            Err(ParseError::Text(why)) => assert!(why.contains(told), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
