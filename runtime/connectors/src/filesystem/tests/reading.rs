//! Positions: every row exactly once, wherever a job stops and however it goes on.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use proptest::prelude::*;
use streamkeeper_protocol::{key_group::Assignment, types::DataType};
use streamkeeper_storage::{Action, Fault, FaultStore, MemoryStore, ObjectStore, Rule};

use super::{gzip, ids, put, store_of, strings, words};
use crate::testing::{GROUPS, Job, Round, State, read_all, runtime, table, with};

#[derive(Debug, Clone)]
struct TestObject {
    rows: usize,
    compressed: bool,
    /// Empty lines and, in CSV, comments between the rows.
    noise: bool,
    last_line_open: bool,
}

fn object() -> impl Strategy<Value = TestObject> {
    (0_usize..60, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(rows, compressed, noise, last_line_open)| TestObject {
            rows,
            compressed,
            noise,
            last_line_open,
        },
    )
}

/// One attempt: parallelism, rounds before the checkpoint, rounds after it, rows per poll.
type Attempt = (u32, usize, usize, usize);

fn content(object: &TestObject, csv: bool, next_id: &mut i64) -> Vec<u8> {
    let mut text = String::new();
    for row in 0..object.rows {
        if object.noise && row % 3 == 0 {
            text.push_str(if csv { "# \"a comment\n" } else { " \r\n" });
        }
        let end = if object.last_line_open && row + 1 == object.rows {
            ""
        } else {
            "\n"
        };
        let id = *next_id;
        // A CSV record of two lines now and then.
        let line = if csv {
            format!("{id},\"w\n{id}\"{end}")
        } else {
            format!("{{\"id\":{id}}}{end}")
        };
        text.push_str(&line);
        *next_id += 1;
    }
    if object.compressed {
        gzip(text.as_bytes())
    } else {
        text.into_bytes()
    }
}

fn check(objects: &[TestObject], attempts: &[Attempt], csv: bool, watched: bool) {
    let runtime = runtime();
    let mut next_id = 0;
    let contents: Vec<_> = objects
        .iter()
        .enumerate()
        .map(|(number, object)| {
            let extension = if object.compressed { ".gz" } else { "" };
            (
                format!("in/{number:03}{extension}"),
                content(object, csv, &mut next_id),
            )
        })
        .collect();
    let contents: Vec<_> = contents
        .iter()
        .map(|(key, bytes)| (key.as_str(), bytes.as_slice()))
        .collect();
    let store = store_of(&contents, runtime.handle());
    let mut table = words(if csv { "csv" } else { "json" });
    if csv {
        table = with(table, "csv.allow-comments", "true");
    }
    if watched {
        table = with(table, "source.monitor-interval", "1 ms");
    }
    let (mut state, mut counted) = (State::new(), Vec::new());
    let mut assignment = Assignment::even(GROUPS, 1);
    for &(parallelism, before, after, max_rows) in attempts {
        assignment = assignment.rescaled(parallelism);
        let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
        for _ in 0..before {
            match job.round(max_rows).unwrap() {
                Round::Rows(batches) => counted.extend(ids(&batches)),
                Round::Idle | Round::End => break,
            }
        }
        job.checkpoint(&mut state);
        for _ in 0..after {
            // Lost: the next attempt reads them again.
            let _ = job.round(max_rows).unwrap();
        }
    }
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
    counted.extend(ids(&job.drain().unwrap()));
    counted.sort_unstable();
    assert_eq!(counted, (0..next_id).collect::<Vec<_>>());
    job.checkpoint(&mut state);
    let mut again = Job::start(&table, &store, runtime.handle(), &assignment, &state);
    assert!(
        again.drain().unwrap().is_empty(),
        "a finished job has nothing left"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_row_is_counted_once_over_restarts_and_rescales(
        objects in prop::collection::vec(object(), 1..12),
        attempts in prop::collection::vec((1_u32..5, 0_usize..12, 0_usize..4, 1_usize..40), 0..5),
        csv: bool,
        watched: bool,
    ) {
        check(&objects, &attempts, csv, watched);
    }
}

#[test]
fn rows_come_in_the_order_of_keys_even_after_a_rescale() {
    let runtime = runtime();
    let keys: Vec<_> = (0..20)
        .map(|day| {
            (
                format!("in/{day:02}"),
                format!("{{\"id\":{day}}}\n{{\"id\":{day}}}"),
            )
        })
        .collect();
    let objects: Vec<_> = keys
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_bytes()))
        .collect();
    let store = store_of(&objects, runtime.handle());
    let mut state = State::new();
    let mut assignment = Assignment::even(GROUPS, 4);
    for parallelism in [4, 2, 3, 1] {
        assignment = assignment.rescaled(parallelism);
        let mut job = Job::start(
            &words("json"),
            &store,
            runtime.handle(),
            &assignment,
            &state,
        );
        for _ in 0..3 {
            let _ = job.round(1).unwrap();
        }
        job.checkpoint(&mut state);
    }
    let mut job = Job::start(
        &words("json"),
        &store,
        runtime.handle(),
        &assignment,
        &state,
    );
    let rest = ids(&job.drain().unwrap());
    assert!(rest.is_sorted(), "{rest:?}");
}

#[test]
fn a_bounded_table_keeps_to_the_objects_of_its_first_listing() {
    let runtime = runtime();
    let store = store_of(&[("in/b", b"{\"id\":1}\n{\"id\":2}\n")], runtime.handle());
    let assignment = Assignment::even(GROUPS, 2);
    let mut state = State::new();
    let mut job = Job::start(
        &words("json"),
        &store,
        runtime.handle(),
        &assignment,
        &state,
    );
    assert!(matches!(job.round(1), Ok(Round::Rows(_))));
    // Every subtask must have seen its listing, which the end of the other one shows.
    while !job
        .sources
        .iter_mut()
        .any(|source| matches!(source.poll(1), Ok(crate::source::Polled::End)))
    {}
    job.checkpoint(&mut state);
    put(&store, "in/a", b"{\"id\":7}\n", runtime.handle());
    put(&store, "in/c", b"{\"id\":8}\n", runtime.handle());
    let mut job = Job::start(
        &words("json"),
        &store,
        runtime.handle(),
        &assignment,
        &state,
    );
    let left = ids(&job.drain().unwrap());
    assert!(!left.contains(&7) && !left.contains(&8), "{left:?}");
}

#[test]
fn a_watched_table_reads_objects_that_come_later_and_is_idle_between() {
    let runtime = runtime();
    let store = store_of(&[], runtime.handle());
    let table = with(words("json"), "source.monitor-interval", "1 ms");
    let assignment = Assignment::even(GROUPS, 2);
    let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &State::new());
    assert!(job.drain().unwrap().is_empty());
    for id in 0..3 {
        let line = format!("{{\"id\":{id}}}\n");
        put(
            &store,
            &format!("in/{}", 9 - id),
            line.as_bytes(),
            runtime.handle(),
        );
        let rows = loop {
            if let Round::Rows(batches) = job.round(10).unwrap() {
                break batches;
            }
        };
        assert_eq!(ids(&rows), [id]);
    }
}

#[test]
fn an_object_replaced_while_half_read_is_an_error_that_names_it() {
    for rows in [10, 100] {
        let runtime = runtime();
        let lines = |word: &str| -> String {
            let line = |id| format!("{{\"id\":{id},\"word\":\"{word}\"}}\n");
            (0..rows).map(line).collect()
        };
        let store = store_of(&[("in/a", lines("old").as_bytes())], runtime.handle());
        let assignment = Assignment::even(GROUPS, 1);
        let mut state = State::new();
        let mut job = Job::start(
            &words("json"),
            &store,
            runtime.handle(),
            &assignment,
            &state,
        );
        assert!(matches!(job.round(4), Ok(Round::Rows(_))));
        job.checkpoint(&mut state);
        drop(job);
        put(&store, "in/a", lines("new").as_bytes(), runtime.handle());
        let mut job = Job::start(
            &words("json"),
            &store,
            runtime.handle(),
            &assignment,
            &state,
        );
        let error = job.drain().unwrap_err().to_string();
        assert!(
            error.contains("/in/a line 4: the object was replaced"),
            "{error}"
        );
    }
}

#[test]
fn an_object_that_was_read_to_its_end_may_be_replaced_or_removed() {
    for watched in [false, true] {
        let runtime = runtime();
        let objects: [(&str, &[u8]); 2] = [("in/a", b"{\"id\":1}\n"), ("in/b", b"{\"id\":2}\n")];
        let store = store_of(&objects, runtime.handle());
        let mut table = words("json");
        if watched {
            table = with(table, "source.monitor-interval", "1 ms");
        }
        let assignment = Assignment::even(GROUPS, 1);
        let mut state = State::new();
        let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
        assert_eq!(ids(&job.drain().unwrap()), [1, 2]);
        job.checkpoint(&mut state);
        put(
            &store,
            "in/a",
            b"{\"id\":3}\n{\"id\":4}\n",
            runtime.handle(),
        );
        runtime.block_on(store.delete("in/b")).unwrap();
        let mut job = Job::start(&table, &store, runtime.handle(), &assignment, &state);
        assert!(job.drain().unwrap().is_empty());
    }
}

#[test]
fn hidden_and_neighbouring_objects_are_not_input() {
    let runtime = runtime();
    let line = |id: i64| format!("{{\"id\":{id}}}\n");
    let keys = [
        ("in/a.json", 1),
        ("in/sub/b.json", 2),
        ("in/.hidden", 90),
        ("in/_temporary/c", 91),
        ("inside/d", 92),
        ("in/", 93),
        ("in2", 94),
        ("in/e.txt", 3),
    ];
    let lines: Vec<_> = keys.iter().map(|(key, id)| (*key, line(*id))).collect();
    let objects: Vec<_> = lines
        .iter()
        .map(|(key, line)| (*key, line.as_bytes()))
        .collect();
    let store = store_of(&objects, runtime.handle());
    let read = |table| {
        let mut found = ids(&read_all(&table, &store, runtime.handle()).unwrap());
        found.sort_unstable();
        found
    };
    assert_eq!(read(words("json")), [1, 2, 3]);
    assert_eq!(
        read(with(
            words("json"),
            "source.path.regex-pattern",
            "/in/.*\\.json"
        )),
        [1, 2]
    );
    assert_eq!(
        read(with(words("json"), "path", "s3://bucket/in/e.txt")),
        [3]
    );
    assert_eq!(read(with(words("json"), "path", "s3://bucket/in/sub")), [2]);
}

#[test]
fn a_bounded_table_without_any_object_is_an_error() {
    let runtime = runtime();
    let store = store_of(&[("other/a", b"")], runtime.handle());
    let error = read_all(&words("json"), &store, runtime.handle())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no object at or below s3://bucket/in"),
        "{error}"
    );
}

#[test]
fn a_store_that_does_not_answer_for_a_moment_stops_nothing() {
    let runtime = runtime();
    let faulty = FaultStore::new(MemoryStore::new());
    for (action, key) in [
        (Action::List, "in"),
        (Action::Get, "in/a"),
        (Action::GetRange, "in/b"),
    ] {
        faulty.fail(Rule::once(action, key, Fault::Unavailable));
    }
    let store: Arc<dyn ObjectStore> = Arc::new(faulty);
    let line = |id| format!("{{\"id\":{id}}}\n");
    let long: String = (1..50).map(line).collect();
    put(&store, "in/a", b"{\"id\":0}\n", runtime.handle());
    put(&store, "in/b", long.as_bytes(), runtime.handle());
    let read = ids(&read_all(&words("json"), &store, runtime.handle()).unwrap());
    assert_eq!(read, (0..50).collect::<Vec<_>>());
}

#[test]
fn denied_access_is_reported_with_its_action() {
    let runtime = runtime();
    let faulty = FaultStore::new(MemoryStore::new());
    faulty.fail(Rule::once(Action::List, "in", Fault::Denied));
    let store: Arc<dyn ObjectStore> = Arc::new(faulty);
    let error = read_all(&words("json"), &store, runtime.handle())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ListObjectsV2") && error.contains("access denied"),
        "{error}"
    );
}

#[test]
fn gzip_members_follow_each_other_and_a_cut_stream_is_an_error() {
    let runtime = runtime();
    let mut two = gzip(b"{\"id\":1,\"word\":\"a\"}\n{\"id\":2,");
    two.extend(gzip(b"\"word\":\"b\"}\n"));
    let store = store_of(&[("in/two.gz", &two)], runtime.handle());
    let batches = read_all(&words("json"), &store, runtime.handle()).unwrap();
    assert_eq!(
        strings(&batches, 1),
        [Some("a".to_owned()), Some("b".to_owned())]
    );

    let whole = gzip(b"{\"id\":1}\n");
    let store = store_of(
        &[("in/cut.gz", &whole[..whole.len() - 6])],
        runtime.handle(),
    );
    let error = read_all(&words("json"), &store, runtime.handle())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("in/cut.gz") && error.contains("damaged or cut off"),
        "{error}"
    );

    let store = store_of(&[("in/a.zst", b"x")], runtime.handle());
    let error = read_all(&words("json"), &store, runtime.handle())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("'.zst' is not a supported compression"),
        "{error}"
    );
}

#[test]
fn gzip_is_read_whatever_the_name_and_zeros_after_it_are_left_out() {
    let runtime = runtime();
    let line = |id: usize| format!("{{\"id\":{id},\"word\":\"{id:x}\"}}\n");
    let many: String = (0..2_000).map(line).collect();
    let mut padded = gzip(many.as_bytes());
    padded.extend([0; 512]);
    // Small ones are read by one request, large ones in ranges.
    let small = gzip(line(2_000).as_bytes());
    let objects: [(&str, &[u8]); 2] = [("in/a.json", &padded), ("in/b", &small)];
    let store = store_of(&objects, runtime.handle());
    let batches = read_all(&words("json"), &store, runtime.handle()).unwrap();
    assert_eq!(ids(&batches), (0..=2_000).collect::<Vec<i64>>());

    let mut trailing = gzip(line(1).as_bytes());
    trailing.extend(b"more");
    for (key, content, what) in [
        ("in/t.gz", &trailing[..], "neither another member nor zeros"),
        ("in/z", b"\x28\xb5\x2f\xfd..", "compressed with zstd"),
        ("in/p", b"PK\x03\x04..", "compressed with zip"),
    ] {
        let store = store_of(&[(key, content)], runtime.handle());
        let error = read_all(&words("json"), &store, runtime.handle())
            .unwrap_err()
            .to_string();
        assert!(error.contains(key) && error.contains(what), "{error}");
    }
    // A line of BYTES is never taken for something else.
    let path = [("path", "s3://b/in"), ("format", "raw")];
    let raw = table("filesystem", &[("x", DataType::Bytes)], &path);
    let store = store_of(&[("in/a", &small)], runtime.handle());
    let batches = read_all(&raw, &store, runtime.handle()).unwrap();
    let column = batches[0].column(0).as_binary::<i32>();
    assert!(column.value(0).starts_with(b"\x1f\x8b"));
}
