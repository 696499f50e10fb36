//! Manifests and plans of others are looked at within bounds of memory.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use streamkeeper_protocol::{manifest::Manifest, paths::StatePaths};
use streamkeeper_storage::{
    Begin, Condition, MemoryLimit, MemoryStore, Object, ObjectMeta, ObjectStore, Removal,
    SavepointError, SavepointMetadata, StorageError, StoreFuture, copy_savepoint,
    delete_savepoint_within, read_savepoint, verify_savepoint, verify_savepoint_within, write_plan,
};

use crate::{
    clean,
    records::{data, manifest, plan},
    stores,
};

/// A store that counts how many bytes of its responses are still held.
#[derive(Debug, Default)]
struct Counting {
    inner: MemoryStore,
    held: Arc<AtomicUsize>,
    most: AtomicUsize,
}

/// Bytes of a response; they count until their last reader drops them.
struct Held(Bytes, Arc<AtomicUsize>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

impl Counting {
    fn hand_out(&self, bytes: Bytes) -> Bytes {
        let held = self.held.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        self.most.fetch_max(held, Ordering::SeqCst);
        Bytes::from_owner(Held(bytes, self.held.clone()))
    }

    /// Most bytes that were held at once since the last call.
    fn most(&self) -> usize {
        self.most.swap(0, Ordering::SeqCst)
    }
}

impl ObjectStore for Counting {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        Box::pin(async move {
            let object = self.inner.get(key).await?;
            let bytes = self.hand_out(object.bytes);
            Ok(Object { bytes, ..object })
        })
    }

    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        Box::pin(async move {
            let begin = self.inner.begin(key, len).await?;
            let bytes = self.hand_out(begin.bytes);
            Ok(Begin { bytes, ..begin })
        })
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move { Ok(self.hand_out(self.inner.get_range(key, range).await?)) })
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let bytes = self.inner.get_range_of(key, version, range).await?;
            Ok(self.hand_out(bytes))
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        self.inner.put(key, bytes, condition)
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        self.inner.delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        self.inner.copy(from, to)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// A savepoint of two objects in folder `s`.
async fn saved(store: &dyn ObjectStore) -> Manifest {
    let paths = StatePaths::at("job");
    write_plan(store, &paths, &plan()).await.unwrap();
    let objects = [
        data(store, &paths, 1, 1, "a").await,
        data(store, &paths, 2, 1, "b").await,
    ];
    copy_savepoint(store, &paths, &manifest(2, 1, &objects), "s")
        .await
        .unwrap();
    let text = store.get("s/manifest.json").await.unwrap().bytes;
    Manifest::parse(&text).unwrap()
}

async fn put(store: &dyn ObjectStore, key: &str, bytes: Vec<u8>) {
    let always = Condition::Always;
    store.put(key, bytes.into(), always).await.unwrap();
}

/// Replaces the manifest, and the metadata of its objects.
async fn forge(store: &dyn ObjectStore, manifest: &Manifest) {
    let text = store.get("s/metadata.json").await.unwrap().bytes;
    let metadata: SavepointMetadata = serde_json::from_slice(&text).unwrap();
    let metadata = SavepointMetadata {
        objects: manifest.objects().len() as u64,
        total_bytes: manifest.total_bytes(),
        ..metadata
    };
    put(store, "s/manifest.json", manifest.encode()).await;
    let text = serde_json::to_vec(&metadata).unwrap();
    put(store, "s/metadata.json", text).await;
}

async fn verified(store: &dyn ObjectStore, room: MemoryLimit) -> Result<u64, SavepointError> {
    let checked = verify_savepoint_within(store, "s", room, &mut |_| {}).await?;
    Ok(checked.bytes)
}

#[tokio::test]
async fn a_read_of_the_first_bytes_returns_the_size_of_the_object() {
    for (store, prefix, _keep) in stores("begin") {
        let (store, key) = (&*store, format!("{prefix}/object"));
        put(store, &key, b"0123456789".to_vec()).await;
        for (len, bytes) in [
            (1, "0"),
            (4, "0123"),
            (10, "0123456789"),
            (99, "0123456789"),
        ] {
            let begin = store.begin(&key, len).await.unwrap();
            assert_eq!((&*begin.bytes, begin.size), (bytes.as_bytes(), 10));
            let rest = store.get_range_of(&key, &begin.etag, 8..10).await;
            assert_eq!(rest, Ok(Bytes::from_static(b"89")));
        }
        let none = store.begin(&format!("{prefix}/none"), 4).await;
        assert!(
            matches!(none, Err(StorageError::NotFound { .. })),
            "{none:?}"
        );
        clean(store, &prefix).await;
    }
}

#[tokio::test]
async fn a_manifest_of_many_mebibytes_is_looked_at_and_removed_in_small_parts() {
    let store = Counting::default();
    let mut large = saved(&store).await;
    // No reader needs it, so none holds it.
    let noise = serde_json::json!(vec!["x".repeat(1000); 6000]);
    large.committables[0].meta = noise;
    forge(&store, &large).await;
    let size = large.encode().len();
    assert!(size > 5 << 20, "{size}");

    store.most();
    assert_eq!(verified(&store, MemoryLimit(4 << 20)).await, Ok(6));
    let most = store.most();
    assert!(most <= 1 << 20, "{most} of {size} bytes at once");
    // The control: a reader of the whole manifest holds all of it.
    read_savepoint(&store, "s").await.unwrap();
    assert!(store.most() >= size);

    let removed = delete_savepoint_within(&store, "s", Some("job"), MemoryLimit(4 << 20)).await;
    assert_eq!(removed, Ok(Removal::Done));
    let most = store.most();
    assert!(most <= 1 << 20, "{most} of {size} bytes at once");
    assert_eq!(store.list("s/").await, Ok(Vec::new()));
    assert_eq!(store.held.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_manifest_over_the_memory_limit_is_not_touched_and_is_reported() {
    let store = MemoryStore::new();
    let mut many = saved(&store).await;
    let run = many.operators[0].states[0].runs[0].clone();
    let runs = (0..5000).map(|n| {
        let mut run = run.clone();
        run.at.object = format!("data/{n}");
        run
    });
    many.operators[0].states[0].runs.extend(runs);
    forge(&store, &many).await;
    let before = store.keys();
    let refused = verified(&store, MemoryLimit(256 << 10)).await.unwrap_err();
    assert!(
        matches!(&refused, SavepointError::Storage(StorageError::OverMemoryLimit { at, .. }) if at.ends_with("s/manifest.json")),
        "{refused}"
    );
    let refused = delete_savepoint_within(&store, "s", None, MemoryLimit(256 << 10)).await;
    assert!(
        matches!(refused, Err(StorageError::OverMemoryLimit { .. })),
        "{refused:?}"
    );
    assert_eq!(store.keys(), before);
    // The control: with room for it, it is removed.
    let removed = delete_savepoint_within(&store, "s", None, MemoryLimit(2 << 20)).await;
    assert_eq!(removed, Ok(Removal::Done));
    assert!(store.keys().iter().all(|key| !key.starts_with("s/")));
}

#[tokio::test]
async fn a_text_that_is_hard_on_a_parser_is_damage() {
    let store = MemoryStore::new();
    let fine = saved(&store).await.encode();
    let fine = String::from_utf8(fine).unwrap();
    let with = |noise: &str| {
        let begin = format!("{{\"noise\": {noise}, ");
        fine.replacen('{', &begin, 1).into_bytes()
    };
    let (deep, long) = ("[".repeat(1 << 20), "a".repeat(1 << 20));
    let plain = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for (noise, told) in [
        (deep.clone(), "nested deeper than"),
        (format!("{{\"{long}\": 1}}"), "longer than"),
        ("1".repeat(1 << 20), "longer than"),
        ("[".to_owned(), "expected"),
    ] {
        put(&store, "s/manifest.json", with(&noise)).await;
        let error = verified(&store, MemoryLimit::UNLIMITED).await.unwrap_err();
        assert!(
            matches!(&error, SavepointError::Damaged { detail, .. } if detail.contains(told)),
            "{error}"
        );
        delete_savepoint_within(&store, "s", None, MemoryLimit::UNLIMITED)
            .await
            .unwrap_err();
    }
    put(&store, "s/manifest.json", with(&plain)).await;
    verified(&store, MemoryLimit::UNLIMITED).await.unwrap();
    for text in [format!("{{\"nodes\": {deep}"), "{}".to_owned()] {
        put(&store, "s/plan.json", text.into_bytes()).await;
        let error = verified(&store, MemoryLimit::UNLIMITED).await.unwrap_err();
        assert!(
            matches!(&error, SavepointError::Damaged { at, .. } if at.ends_with("s/plan.json")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn forged_numbers_are_reported_as_damage_without_a_read() {
    let store = MemoryStore::new();
    let fine = saved(&store).await;
    let broken = |edit: fn(&mut Manifest)| {
        let mut broken = fine.clone();
        edit(&mut broken);
        broken
    };
    for (broken, told) in [
        (
            broken(|all| all.operators[0].states[0].runs[0].at.offset = u64::MAX),
            "ends nowhere",
        ),
        (
            broken(|all| {
                for run in &mut all.operators[0].states[0].runs {
                    run.at.len = u64::MAX / 2 + 2;
                }
            }),
            "more bytes than a number can tell",
        ),
        (
            broken(|all| {
                let mut again = all.operators[0].states[0].runs[0].clone();
                (again.at.offset, again.at.len) = (1, 2);
                all.operators[0].states[0].runs.push(again);
            }),
            "overlap at byte 1",
        ),
    ] {
        forge(&store, &broken).await;
        let error = verify_savepoint(&store, "s", &mut |_| {}).await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, SavepointError::Damaged { detail, .. } if detail.contains(told)),
            "{error}"
        );
    }
    // More, or less, than its metadata says.
    forge(&store, &fine).await;
    let mut twice = fine.clone();
    let again = twice.operators[0].states[0].runs[0].clone();
    twice.operators[0].states[0].runs.push(again);
    put(&store, "s/manifest.json", twice.encode()).await;
    let error = verified(&store, MemoryLimit::UNLIMITED)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("it tells of 6 bytes"), "{error}");
    forge(&store, &twice).await;
    assert_eq!(verified(&store, MemoryLimit::UNLIMITED).await, Ok(8));
}
