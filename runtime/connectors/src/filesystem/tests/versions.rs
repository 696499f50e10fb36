//! Objects that change while they are read: no row of a second version is ever handed out.

use std::sync::Arc;

use streamkeeper_protocol::key_group::Assignment;
use streamkeeper_storage::{DirStore, ObjectStore};

use super::{put, store_of, strings, words};
use crate::testing::{GROUPS, Job, Round, State, runtime};

/// More rows than are read ahead.
const ROWS: usize = 40_000;

fn lines(word: &str) -> String {
    let line = |id: usize| format!("{{\"id\":{id},\"word\":\"{word}\"}}\n");
    (0..ROWS).map(line).collect()
}

/// Reads until something fails while `change` happens after the first rows; returns the words of
/// all rows and the error.
fn read_while(store: &Arc<dyn ObjectStore>, change: impl FnOnce()) -> (Vec<String>, String) {
    let runtime = runtime();
    let assignment = Assignment::even(GROUPS, 1);
    let mut job = Job::start(
        &words("json"),
        store,
        runtime.handle(),
        &assignment,
        &State::new(),
    );
    let (mut seen, mut change) = (Vec::new(), Some(change));
    loop {
        match job.round(1_000) {
            Ok(Round::Rows(batches)) => seen.extend(strings(&batches, 1).into_iter().flatten()),
            Ok(_) => return (seen, "no error".to_owned()),
            Err(error) => return (seen, error.to_string()),
        }
        if let Some(change) = change.take() {
            change();
        }
    }
}

#[track_caller]
fn assert_only_old((seen, error): &(Vec<String>, String)) {
    assert!(
        error.contains("/in/a line") && error.contains("the object was replaced while"),
        "{error}"
    );
    assert!(!seen.is_empty() && seen.len() < ROWS, "{} rows", seen.len());
    assert!(seen.iter().all(|word| word == "old"), "{seen:?}");
}

#[test]
fn no_row_of_an_object_that_replaces_one_half_read_is_handed_out() {
    let runtime = runtime();
    let store = store_of(&[("in/a", lines("old").as_bytes())], runtime.handle());
    let replace = || put(&store, "in/a", lines("new").as_bytes(), runtime.handle());
    assert_only_old(&read_while(&store, replace));
}

#[test]
fn no_row_of_a_file_that_replaces_one_half_read_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let (file, new) = (dir.path().join("in/a"), dir.path().join("new"));
    let store: Arc<dyn ObjectStore> = Arc::new(DirStore::new(dir.path()));
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let begin = || std::fs::write(&file, lines("old")).unwrap();
    // Renamed over it, also with the former's time; written on in place.
    begin();
    let renamed = || {
        std::fs::write(&new, lines("new")).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    assert_only_old(&read_while(&store, renamed));
    begin();
    let disguised = || {
        let former = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&new, lines("new")).unwrap();
        let handle = std::fs::File::options().write(true).open(&new).unwrap();
        handle.set_modified(former).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    assert_only_old(&read_while(&store, disguised));
    begin();
    let appended = || std::fs::write(&file, lines("old") + &lines("new")).unwrap();
    assert_only_old(&read_while(&store, appended));
}
