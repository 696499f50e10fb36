//! What is missing or damaged in a savepoint is found and named.

use bytes::Bytes;
use streamkeeper_protocol::{
    manifest::{BlockRef, Manifest, RunKind, RunRef},
    paths::StatePaths,
};
use streamkeeper_storage::{
    Action, Checked, Condition, Fault, FaultStore, MemoryStore, ObjectStore, Rule, SavepointError,
    StorageError, copy_savepoint, read_savepoint, verify_manifest, verify_savepoint, write_plan,
};

use crate::{
    clean,
    records::{data, manifest, plan, range},
    stores,
};

/// A savepoint of two objects in `folder`.
async fn save(store: &dyn ObjectStore, paths: &StatePaths, folder: &str) {
    write_plan(store, paths, &plan()).await.unwrap();
    let objects = [
        data(store, paths, 1, 1, "a").await,
        data(store, paths, 2, 1, "bcd").await,
    ];
    copy_savepoint(store, paths, &manifest(2, 1, &objects), folder)
        .await
        .unwrap();
}

async fn verify(store: &dyn ObjectStore, folder: &str) -> Result<Checked, SavepointError> {
    verify_savepoint(store, folder, &mut |_| {}).await
}

#[tokio::test]
async fn a_complete_savepoint_is_verified_and_every_damaged_object_is_named() {
    for (store, prefix, _keep) in stores("verify") {
        let store = &*store;
        let (paths, folder) = (
            StatePaths::at(&format!("{prefix}/job")),
            format!("{prefix}/s"),
        );
        save(store, &paths, &folder).await;
        let mut heard = Vec::new();
        let found = verify_savepoint(store, &folder, &mut |checked| heard.push(checked)).await;
        // The second object holds a run and staged rows, which are equal bytes here.
        let whole = Checked {
            objects: 2,
            of_objects: 2,
            bytes: 2 + 4 + 4,
            of_bytes: 10,
        };
        assert_eq!(found, Ok(whole));
        assert!(heard.is_sorted_by_key(|checked| checked.bytes), "{heard:?}");
        assert_eq!(heard.last(), Some(&whole));
        for entry in store.list(&format!("{folder}/data/")).await.unwrap() {
            let key = &entry.key;
            let bytes = store.get(key).await.unwrap().bytes;
            let named = |error: SavepointError| {
                assert!(error.to_string().contains(key), "{error}");
                error
            };
            let mut flipped = bytes.to_vec();
            flipped[1] ^= 1;
            for damage in [
                Bytes::from(flipped),
                bytes.slice(..bytes.len() - 1),
                Bytes::new(),
            ] {
                store.put(key, damage, Condition::Always).await.unwrap();
                let error = named(verify(store, &folder).await.unwrap_err());
                assert!(matches!(error, SavepointError::Damaged { .. }), "{error}");
            }
            store.delete(key).await.unwrap();
            let error = named(verify(store, &folder).await.unwrap_err());
            assert!(matches!(error, SavepointError::Missing { .. }), "{error}");
            store.put(key, bytes, Condition::Always).await.unwrap();
        }
        assert_eq!(verify(store, &folder).await, Ok(whole));
        for file in ["plan.json", "manifest.json"] {
            let key = format!("{folder}/{file}");
            let bytes = store.get(&key).await.unwrap().bytes;
            store
                .put(&key, Bytes::from_static(b"{"), Condition::Always)
                .await
                .unwrap();
            let error = verify(store, &folder).await.unwrap_err();
            assert!(
                matches!(&error, SavepointError::Damaged { at, .. } if at.ends_with(&key)),
                "{error}"
            );
            store.delete(&key).await.unwrap();
            let error = verify(store, &folder).await.unwrap_err();
            assert!(
                matches!(&error, SavepointError::Missing { at } if at.ends_with(&key)),
                "{error}"
            );
            store.put(&key, bytes, Condition::Always).await.unwrap();
        }
        store
            .delete(&format!("{folder}/metadata.json"))
            .await
            .unwrap();
        let error = verify(store, &folder).await.unwrap_err();
        assert!(
            matches!(&error, SavepointError::NotFound { at } if at.ends_with(&folder)),
            "{error}"
        );
        clean(store, &prefix).await;
    }
}

/// One run of some blocks of these lengths, with bytes that differ from place to place.
fn large(lengths: &[usize]) -> (Bytes, Manifest) {
    let mut state = 7_u32;
    let mut dice = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let total: usize = lengths.iter().sum();
    let bytes: Vec<u8> = (0..total).map(|_| dice()).collect();
    let mut offset = 0;
    let blocks = lengths.iter().map(|length| {
        let block = &bytes[offset..offset + length];
        offset += length;
        BlockRef {
            offset: (offset - length) as u64,
            len: *length as u64,
            key_groups: (0, 0),
            crc32c: crc32c::crc32c(block),
        }
    });
    let mut manifest = manifest(1, 1, &["data/large".to_owned()]);
    manifest.committables.clear();
    let run = RunRef {
        kind: RunKind::Base,
        blocks: blocks.collect(),
        ..manifest.operators[0].states[0].runs[0].clone()
    };
    let mut at = range("data/large");
    at.len = bytes.len() as u64;
    at.crc32c = crc32c::crc32c(&bytes);
    manifest.operators[0].states[0].runs = vec![RunRef { at, ..run }];
    (bytes.into(), manifest)
}

#[tokio::test]
async fn a_large_run_is_read_in_parts_and_the_damaged_block_is_named() {
    const MIB: usize = 1 << 20;
    // One block is larger than a part, and few end where a part does.
    let lengths = [MIB, MIB - 5, 3, 5 * MIB, 1, MIB, MIB / 2];
    let (bytes, manifest) = large(&lengths);
    let store = FaultStore::new(MemoryStore::new());
    let put = async |bytes: Bytes| {
        store
            .put("data/large", bytes, Condition::Always)
            .await
            .unwrap();
    };
    put(bytes.clone()).await;
    let mut parts = Vec::new();
    let mut heard = |checked: Checked| parts.push(checked.bytes);
    let checked = verify_manifest(&store, &manifest, &mut heard).await;
    assert_eq!(checked.unwrap().bytes, bytes.len() as u64);
    let largest = parts.windows(2).map(|two| two[1] - two[0]).max();
    assert_eq!(largest, Some(4 << 20), "{parts:?}");
    let mut start = 0;
    for length in lengths {
        for at in [start, start + length - 1] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x40;
            put(damaged.into()).await;
            let error = verify_manifest(&store, &manifest, &mut |_| {}).await;
            let error = error.unwrap_err().to_string();
            let block = format!("the block of {length} bytes at byte {start} ");
            assert!(error.contains(&block), "byte {at}: {error}");
        }
        start += length;
    }
    put(bytes).await;
    let broken = |edit: fn(&mut RunRef)| {
        let mut manifest = manifest.clone();
        edit(&mut manifest.operators[0].states[0].runs[0]);
        manifest
    };
    for (manifest, told) in [
        (broken(|run| run.at.crc32c ^= 1), "written was"),
        (
            broken(|run| {
                run.blocks.remove(2);
            }),
            "back to back",
        ),
        (
            broken(|run| {
                let last = run.blocks.last().unwrap().clone();
                run.blocks.push(last);
            }),
            "its blocks are more",
        ),
    ] {
        let error = verify_manifest(&store, &manifest, &mut |_| {}).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_fails_says_nothing_about_the_savepoint() {
    let store = FaultStore::new(MemoryStore::new());
    save(&store, &StatePaths::at("job"), "s").await;
    for (action, key) in [
        (Action::Get, "metadata.json"),
        (Action::Get, "plan.json"),
        (Action::GetRange, "s/data/"),
    ] {
        store.fail(Rule::once(action, key, Fault::Unavailable));
        let error = verify(&store, "s").await.unwrap_err();
        let unavailable = SavepointError::Storage(StorageError::Unavailable {
            action: "",
            at: String::new(),
            detail: String::new(),
        });
        assert_eq!(
            std::mem::discriminant(&error),
            std::mem::discriminant(&unavailable),
            "{error}"
        );
    }
    verify(&store, "s").await.unwrap();
}

#[tokio::test]
async fn a_copy_that_is_damaged_never_becomes_a_savepoint() {
    let store = MemoryStore::new();
    let paths = StatePaths::at("job");
    write_plan(&store, &paths, &plan()).await.unwrap();
    let object = data(&store, &paths, 2, 1, "b").await;
    store
        .put(&object, Bytes::from_static(b"2c"), Condition::Always)
        .await
        .unwrap();
    let error = copy_savepoint(&store, &paths, &manifest(2, 1, &[object]), "s").await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, SavepointError::Damaged { at, .. } if at.contains("/s/data/0000-")),
        "{error}"
    );
    assert!(matches!(
        read_savepoint(&store, "s").await,
        Err(StorageError::NotFound { .. })
    ));
}
