//! What every store promises.

use bytes::Bytes;
use streamkeeper_storage::{
    Action, Condition, DirStore, Fault, FaultStore, MemoryStore, ObjectStore, Rule, StorageError,
    probe,
};

use crate::{clean, stores};

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn objects_are_written_read_listed_copied_and_removed() {
    for (store, prefix, _keep) in stores("objects") {
        let key = |name: &str| format!("{prefix}/{name}");
        let absent = store.get(&key("a")).await.unwrap_err();
        assert!(
            matches!(&absent, StorageError::NotFound { at, .. } if at.ends_with(&key("a"))),
            "{absent}"
        );
        for name in ["b/two", "a", "b/one", "b.x", "c d+e%é=1"] {
            store
                .put(
                    &key(name),
                    Bytes::from(format!("<{name}>")),
                    Condition::Always,
                )
                .await
                .unwrap();
        }
        let first = store.get(&key("b/one")).await.unwrap();
        assert_eq!(
            (text(&first.bytes), first.etag.is_empty()),
            ("<b/one>", false)
        );
        let listed = |prefix: String| {
            let store = store.clone();
            async move { store.list(&prefix).await.unwrap() }
        };
        let keys: Vec<String> = listed(key(""))
            .await
            .into_iter()
            .map(|entry| entry.key)
            .collect();
        assert_eq!(keys, ["a", "b.x", "b/one", "b/two", "c d+e%é=1"].map(key));
        let below = listed(key("b/")).await;
        assert_eq!(
            below.iter().map(|entry| entry.size).collect::<Vec<_>>(),
            [7, 7]
        );
        assert_eq!(listed(key("b/o")).await.len(), 1);
        assert_eq!(listed(key("none/")).await, []);
        store
            .copy(&key("c d+e%é=1"), &key("copy/of it"))
            .await
            .unwrap();
        assert_eq!(
            text(&store.get(&key("copy/of it")).await.unwrap().bytes),
            "<c d+e%é=1>"
        );
        assert!(matches!(
            store.copy(&key("none"), &key("x")).await,
            Err(StorageError::NotFound { .. })
        ));
        // Removing twice is as good as once.
        store.delete(&key("a")).await.unwrap();
        store.delete(&key("a")).await.unwrap();
        assert!(matches!(
            store.get(&key("a")).await,
            Err(StorageError::NotFound { .. })
        ));
        clean(&*store, &key("")).await;
        assert_eq!(listed(key("")).await, []);
    }
}

#[tokio::test]
async fn a_range_is_exactly_what_was_asked_for_or_an_error() {
    for (store, prefix, _keep) in stores("range") {
        let key = format!("{prefix}/object");
        store
            .put(&key, Bytes::from_static(b"0123456789"), Condition::Always)
            .await
            .unwrap();
        assert_eq!(store.get_range(&key, 2..5).await.unwrap(), "234");
        assert_eq!(store.get_range(&key, 0..10).await.unwrap(), "0123456789");
        assert_eq!(store.get_range(&key, 4..4).await.unwrap(), "");
        for outside in [8..11, 10..12, 50..60] {
            let error = store.get_range(&key, outside.clone()).await.unwrap_err();
            assert!(
                matches!(error, StorageError::Invalid { .. }),
                "{outside:?}: {error:?}"
            );
        }
        assert!(matches!(
            store.get_range("none", 0..1).await,
            Err(StorageError::NotFound { .. })
        ));
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_range_of_a_version_is_never_of_another_one() {
    for (store, prefix, _keep) in stores("versions") {
        let key = format!("{prefix}/object");
        let put = |bytes: &'static str| {
            let (store, key) = (store.clone(), key.clone());
            async move {
                store
                    .put(&key, bytes.into(), Condition::Always)
                    .await
                    .unwrap()
            }
        };
        put("0123456789").await;
        let listed = store.list(&key).await.unwrap();
        let version = &listed[0].etag;
        for (range, there) in [(2..5, "234"), (0..10, "0123456789"), (4..4, "")] {
            let read = store.get_range_of(&key, version, range).await;
            assert_eq!(read.unwrap(), there);
        }
        let outside = store.get_range_of(&key, version, 8..11).await;
        assert!(
            matches!(outside, Err(StorageError::Invalid { .. })),
            "{outside:?}"
        );
        // As long as the version before.
        put("9876543210").await;
        let read = store.get_range_of(&key, version, 2..5).await;
        assert!(
            matches!(read, Err(StorageError::Precondition { .. })),
            "{}: {read:?}",
            store.describe()
        );
        store.delete(&key).await.unwrap();
        assert!(matches!(
            store.get_range_of(&key, version, 0..1).await,
            Err(StorageError::NotFound { .. })
        ));
    }
}

#[tokio::test]
async fn a_conditional_write_happens_only_under_its_condition() {
    for (store, prefix, _keep) in stores("conditions") {
        let key = format!("{prefix}/head");
        let put = |bytes: &'static str, condition: Condition| {
            store.put(&key, Bytes::from_static(bytes.as_bytes()), condition)
        };
        let absent = put("x", Condition::Matches("\"0\"".to_owned()))
            .await
            .unwrap_err();
        assert!(
            matches!(
                absent,
                StorageError::NotFound { .. } | StorageError::Precondition { .. }
            ),
            "{absent:?}"
        );
        let one = put("one", Condition::Absent).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().etag, one);
        assert!(matches!(
            put("x", Condition::Absent).await,
            Err(StorageError::Precondition { .. })
        ));
        let two = put("two", Condition::Matches(one.clone())).await.unwrap();
        assert_ne!(one, two);
        for stale in [one, "\"00000000000000000000000000000000\"".to_owned()] {
            assert!(matches!(
                put("x", Condition::Matches(stale)).await,
                Err(StorageError::Precondition { .. })
            ));
        }
        assert_eq!(store.get(&key).await.unwrap().bytes, "two");
        store.delete(&key).await.unwrap();
    }
}

/// A server may let rivals wait for each other (SeaweedFS: each up to some seconds), so a response
/// may be lost here as anywhere: such a writer reads the object to find out whether it won, as
/// HEAD's writers do.
#[tokio::test]
async fn one_of_several_concurrent_writers_wins() {
    const WRITERS: usize = 4;
    for (store, prefix, _keep) in stores("race") {
        let key = format!("{prefix}/race");
        // A version may be a hash of the content, so no two writes are equal.
        let race = async |round: &'static str, condition: Condition| -> String {
            let mut racers = tokio::task::JoinSet::new();
            for racer in 0..WRITERS {
                let (store, key, condition) = (store.clone(), key.clone(), condition.clone());
                let written = format!("{round} {racer}");
                racers.spawn(async move {
                    let answer = store
                        .put(&key, Bytes::from(written.clone()), condition)
                        .await;
                    (written, answer)
                });
            }
            let (mut won, mut unanswered) = (Vec::new(), Vec::new());
            while let Some(raced) = racers.join_next().await {
                match raced.unwrap() {
                    (written, Ok(etag)) => won.push((written, etag)),
                    (written, Err(StorageError::Unknown { .. })) => unanswered.push(written),
                    (_, Err(StorageError::Precondition { .. } | StorageError::Conflict { .. })) => {
                    }
                    (written, Err(other)) => panic!("{written}: {other}"),
                }
            }
            let object = store.get(&key).await.unwrap();
            match &won[..] {
                [] => assert!(unanswered.iter().any(|written| *written == object.bytes)),
                [(written, etag)] => {
                    assert_eq!((text(&object.bytes), &object.etag), (&**written, etag));
                }
                more => panic!("{}: {more:?} were told that they won", store.describe()),
            }
            object.etag
        };
        let mut version = race("create", Condition::Absent).await;
        for round in ["replace", "again"] {
            version = race(round, Condition::Matches(version)).await;
        }
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_correct_store_passes_the_probe_and_keeps_no_object_of_it() {
    for (store, prefix, _keep) in stores("probe") {
        probe(&*store, &prefix).await.unwrap();
        assert_eq!(store.list(&prefix).await.unwrap(), []);
    }
}

/// A server that does not keep conditions, as several do not.
#[derive(Debug)]
struct Careless(MemoryStore, Flaw);

/// How a server fails to keep conditions.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    /// It ignores these.
    Ignores(fn(&Condition) -> bool),
    /// It looks whether an object is there, and writes it then.
    LooksFirst,
}

impl ObjectStore for Careless {
    fn get<'a>(
        &'a self,
        key: &'a str,
    ) -> streamkeeper_storage::StoreFuture<'a, streamkeeper_storage::Object> {
        self.0.get(key)
    }

    fn get_range<'a>(
        &'a self,
        key: &'a str,
        range: std::ops::Range<u64>,
    ) -> streamkeeper_storage::StoreFuture<'a, Bytes> {
        self.0.get_range(key, range)
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: std::ops::Range<u64>,
    ) -> streamkeeper_storage::StoreFuture<'a, Bytes> {
        self.0.get_range_of(key, version, range)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> streamkeeper_storage::StoreFuture<'a, String> {
        Box::pin(async move {
            let ignored = match self.1 {
                Flaw::Ignores(ignores) => ignores(&condition),
                Flaw::LooksFirst => {
                    let there = self.0.get(key).await.is_ok();
                    tokio::task::yield_now().await;
                    condition == Condition::Absent && !there
                }
            };
            let condition = if ignored {
                Condition::Always
            } else {
                condition
            };
            self.0.put(key, bytes, condition).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> streamkeeper_storage::StoreFuture<'a, ()> {
        self.0.delete(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> streamkeeper_storage::StoreFuture<'a, Vec<streamkeeper_storage::ObjectMeta>> {
        self.0.list(prefix)
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> streamkeeper_storage::StoreFuture<'a, ()> {
        self.0.copy(from, to)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_with_a_clear_message() {
    type Ignored = fn(&Condition) -> bool;
    let ignores: [(Ignored, &str); 2] = [
        (
            |condition| *condition == Condition::Absent,
            "more than one of several creations",
        ),
        (
            |condition| matches!(condition, Condition::Matches(_)),
            "a replacement of a version that never was",
        ),
    ];
    for (ignore, part) in ignores {
        let store = Careless(MemoryStore::new(), Flaw::Ignores(ignore));
        let error = probe(&store, "").await.unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("does not do conditional writes"),
            "{error}"
        );
        assert!(
            error.contains("PutObject") && error.contains("spec.storage.s3"),
            "{error}"
        );
        assert!(store.0.keys().is_empty());
    }
}

#[tokio::test]
async fn a_store_that_lets_two_of_several_creations_win_is_refused() {
    let store = Careless(MemoryStore::new(), Flaw::LooksFirst);
    let error = probe(&store, "").await.unwrap_err().to_string();
    assert!(
        error.contains("more than one of several creations"),
        "{error}"
    );
    assert!(store.0.keys().is_empty());
}

#[tokio::test]
async fn a_store_that_cannot_be_probed_now_is_not_reported_as_unsuitable() {
    let store = FaultStore::new(MemoryStore::new());
    store.fail(Rule::once(Action::Put, "probe", Fault::Denied));
    assert!(matches!(
        probe(&store, "").await,
        Err(StorageError::AccessDenied { .. })
    ));
}

#[tokio::test]
async fn a_directory_never_serves_what_is_outside_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "x").unwrap();
    let store = DirStore::new(dir.path().join("root"));
    store
        .put("inside", Bytes::from_static(b"1"), Condition::Absent)
        .await
        .unwrap();
    for key in [
        "../secret",
        "a/../../secret",
        "/etc/hostname",
        "",
        "a//b",
        ".",
        "a/",
        "a\\b",
        ".streamkeeper-lock",
    ] {
        let answers = [
            store.get(key).await.map(drop),
            store.get_range(key, 0..1).await.map(drop),
            store.get_range_of(key, "\"1-1\"", 0..1).await.map(drop),
            store
                .put(key, Bytes::new(), Condition::Always)
                .await
                .map(drop),
            store.delete(key).await,
            store.copy(key, "b").await,
            store.copy("inside", key).await,
        ];
        for answer in answers {
            assert!(
                matches!(answer, Err(StorageError::Invalid { .. })),
                "{key}: {answer:?}"
            );
        }
    }
    // The store's own files are in no listing.
    let keys: Vec<String> = store
        .list("")
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    assert_eq!(keys, ["inside"]);
}

#[tokio::test]
async fn a_directory_that_is_not_there_can_be_written_to_but_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path().join("none"));
    assert!(matches!(
        store.list("").await,
        Err(StorageError::NoSuchBucket { .. })
    ));
    assert!(matches!(
        store.get("a").await,
        Err(StorageError::NotFound { .. })
    ));
    store
        .put("deep/a", Bytes::new(), Condition::Absent)
        .await
        .unwrap();
    assert_eq!(store.list("deep/").await.unwrap().len(), 1);
    // A file where a folder should be.
    assert!(matches!(
        store.get("deep/a/b").await,
        Err(StorageError::NotFound { .. })
    ));
}

/// Keys of everything below a directory.
async fn keys_of(dir: &std::path::Path, prefix: &str) -> Vec<String> {
    let listed = DirStore::new(dir).list(prefix).await.unwrap();
    listed.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn links_in_a_directory_show_every_file_once_and_never_loop() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for file in ["in/a/1", "in/b/2", "in/_v1/3", "outside/4"] {
        std::fs::create_dir_all(at(file).parent().unwrap()).unwrap();
        std::fs::write(at(file), file).unwrap();
    }
    // Loops: to the folder itself, to the one above the listed one, to one another.
    symlink(".", at("in/self")).unwrap();
    symlink("..", at("in/up")).unwrap();
    symlink("../b", at("in/a/to-b")).unwrap();
    symlink("../a", at("in/b/to-a")).unwrap();
    // The only way to what is outside or hidden is a link.
    symlink("../outside", at("in/linked")).unwrap();
    symlink("_v1", at("in/current")).unwrap();
    // A link to a file is a file.
    symlink("a/1", at("in/same")).unwrap();
    let input: &std::path::Path = &at("in");
    let mut expected = vec![
        "_v1/3",
        "a/1",
        "b/2",
        "current/3",
        "linked/4",
        "same",
        "up/outside/4",
    ];
    assert_eq!(keys_of(input, "").await, expected);
    // Seen from above, `up` and `linked` lead to what is listed anyway.
    expected.truncate(4);
    expected.push("same");
    let mut expected: Vec<_> = expected.iter().map(|key| format!("in/{key}")).collect();
    expected.push("outside/4".to_owned());
    assert_eq!(keys_of(dir.path(), "").await, expected);
    assert_eq!(keys_of(input, "self").await, [] as [&str; 0]);
    assert_eq!(
        keys_of(input, "a/to-b/").await,
        ["a/to-b/2", "a/to-b/to-a/1"]
    );
}

#[tokio::test]
async fn what_is_no_file_is_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert_eq!(keys_of(dir.path(), "").await, ["file"]);
}

#[tokio::test]
async fn a_file_that_is_replaced_or_written_on_is_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let store = DirStore::new(dir.path());
    std::fs::write(&path, "0123").unwrap();
    let former = std::fs::metadata(&path).unwrap().modified().unwrap();
    let version = store.list("").await.unwrap()[0].etag.clone();
    let read = async || store.get_range_of("file", &version, 0..2).await;
    assert_eq!(read().await.unwrap(), "01");
    // Another file with equal length and time.
    std::fs::write(dir.path().join("new"), "9876").unwrap();
    let new = std::fs::File::options()
        .write(true)
        .open(dir.path().join("new"));
    new.unwrap().set_modified(former).unwrap();
    std::fs::rename(dir.path().join("new"), &path).unwrap();
    assert!(matches!(
        read().await,
        Err(StorageError::Precondition { .. })
    ));
    // That file, longer.
    let version = store.list("").await.unwrap()[0].etag.clone();
    std::fs::write(&path, "98765").unwrap();
    let read = store.get_range_of("file", &version, 0..2).await;
    assert!(
        matches!(read, Err(StorageError::Precondition { .. })),
        "{read:?}"
    );
}
