//! Stored records of this release. Later releases must read them and write them without a change.

use streamkeeper_protocol::{
    head::{Head, HeadError, RunState},
    manifest::{Manifest, ManifestError},
};

const HEAD: &str = include_str!("../../../tests/golden/head-v1.json");
const OPEN_STOP: &str = include_str!("../../../tests/golden/head-v1-open-stop.json");
const LEFT: &str = include_str!("../../../tests/golden/head-v1-left.json");
const MANIFEST: &str = include_str!("../../../tests/golden/manifest-v1.json");

/// Compares what this release writes with a golden file, as JSON values.
fn is_written_as_it_was(written: &[u8], golden: &str) {
    let written: serde_json::Value = serde_json::from_slice(written).unwrap();
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, golden);
}

#[test]
pub(super) fn head_of_format_1_is_read_and_written_as_it_was() {
    let head = Head::parse(HEAD.as_bytes()).unwrap();
    is_written_as_it_was(&head.encode(), HEAD);
    assert_eq!(
        (head.state, head.next_checkpoint, head.retained.len()),
        (RunState::HandingOver { to: 4 }, 43, 2)
    );
    assert_eq!(head.operations.len(), 4);
}

#[test]
pub(super) fn a_stop_that_is_open_is_read_and_written_as_it_was() {
    let head = Head::parse(OPEN_STOP.as_bytes()).unwrap();
    is_written_as_it_was(&head.encode(), OPEN_STOP);
    let open = head.open_stop().unwrap();
    assert_eq!((open.key.as_str(), open.release), ("u-r3-stop-1", true));
}

#[test]
pub(super) fn a_state_that_was_left_behind_is_read_and_written_as_it_was() {
    let head = Head::parse(LEFT.as_bytes()).unwrap();
    is_written_as_it_was(&head.encode(), LEFT);
    assert_eq!(head.left.unwrap().checkpoint, 37);
    // Older records do not have this field.
    assert_eq!(Head::parse(HEAD.as_bytes()).unwrap().left, None);
}

#[test]
pub(super) fn fields_and_formats_of_newer_writers_are_read_as_long_as_they_say_so() {
    let newer = HEAD.replace("\"v\": 1", "\"v\": 7, \"of_tomorrow\": {\"a\": 1}");
    assert_eq!(Head::parse(newer.as_bytes()).unwrap().v, 7);
    let too_new = newer.replace("\"min_reader\": 1", "\"min_reader\": 2");
    let error = Head::parse(too_new.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        HeadError::TooNew {
            format: 7,
            min_reader: 2
        }
    );
    assert!(error.to_string().contains("use a newer release"), "{error}");
    // The refusal does not depend on understanding anything else.
    assert!(matches!(
        Head::parse(br#"{"v": 9, "min_reader": 9}"#),
        Err(HeadError::TooNew { .. })
    ));
}

#[test]
pub(super) fn a_damaged_head_is_an_error_with_its_position() {
    for (damaged, part) in [
        ("", "line 1 column 0"),
        ("{\"v\": 1,\n \"min_reader\": }", "line 2"),
        ("{}", "v"),
        ("{\"v\":1,\"min_reader\":1}", "seq"),
    ] {
        let error = Head::parse(damaged.as_bytes()).unwrap_err();
        assert!(
            matches!(error, HeadError::Malformed { .. }) && error.to_string().contains(part),
            "{error}"
        );
    }
    for end in 0..HEAD.trim_end().len() {
        assert!(Head::parse(&HEAD.as_bytes()[..end]).is_err(), "{end} bytes");
    }
}

#[test]
pub(super) fn manifest_of_format_1_is_read_and_written_as_it_was() {
    let manifest = Manifest::parse(MANIFEST.as_bytes()).unwrap();
    is_written_as_it_was(&manifest.encode(), MANIFEST);
    assert_eq!(
        manifest.objects(),
        [
            "state/ns/job/data/000000000041-3-0-01J",
            "state/ns/job/data/000000000042-3-0-01K"
        ]
    );
    assert_eq!(manifest.total_bytes(), 1000 + 200 + 50);
    let too_new = MANIFEST.replace("\"min_reader\": 1", "\"min_reader\": 2");
    assert_eq!(
        Manifest::parse(too_new.as_bytes()).unwrap_err(),
        ManifestError::TooNew {
            format: 1,
            min_reader: 2
        }
    );
}
