//! Savepoints stand alone.

use streamkeeper_protocol::paths::StatePaths;
use streamkeeper_storage::{
    Action, Condition, Fault, FaultStore, MemoryStore, ObjectStore, Removal, Rule, StorageError,
    copy_savepoint, delete_savepoint, read_savepoint, write_plan,
};

use crate::{
    clean,
    records::{data, manifest, plan},
    stores,
};

#[tokio::test]
async fn a_savepoint_outlives_all_it_was_made_of_and_may_be_moved() {
    for (store, prefix, _keep) in stores("savepoint") {
        let paths = StatePaths::at(&format!("{prefix}/job"));
        write_plan(&*store, &paths, &plan()).await.unwrap();
        let objects = [
            data(&*store, &paths, 1, 1, "a").await,
            data(&*store, &paths, 2, 1, "b").await,
        ];
        let written = manifest(2, 1, &objects);
        let folder = format!("{prefix}/save/s1");
        let metadata = copy_savepoint(&*store, &paths, &written, &folder)
            .await
            .unwrap();
        assert_eq!(
            (metadata.checkpoint, metadata.objects, metadata.total_bytes),
            (2, 2, 6)
        );
        // A repeated call, as after a crash, changes nothing.
        assert_eq!(
            copy_savepoint(&*store, &paths, &written, &folder)
                .await
                .unwrap(),
            metadata
        );
        clean(&*store, paths.root()).await;
        let moved = format!("{prefix}/elsewhere");
        for entry in store.list(&folder).await.unwrap() {
            store
                .copy(&entry.key, &entry.key.replace(&folder, &moved))
                .await
                .unwrap();
            store.delete(&entry.key).await.unwrap();
        }
        let (read, found, plan_read) = read_savepoint(&*store, &moved).await.unwrap();
        assert_eq!((read, plan_read), (metadata, plan()));
        let contents: Vec<String> = {
            let mut all = Vec::new();
            for object in found.objects() {
                assert!(object.starts_with(&moved), "{object}");
                all.push(
                    String::from_utf8(store.get(object).await.unwrap().bytes.to_vec()).unwrap(),
                );
            }
            all
        };
        assert_eq!(contents, ["1a", "2b"]);
        assert!(
            found.committables[0]
                .staged
                .as_ref()
                .unwrap()
                .object
                .starts_with(&moved)
        );
        assert_eq!(
            delete_savepoint(&*store, &moved, None).await.unwrap(),
            Removal::Done
        );
        assert_eq!(store.list(&prefix).await.unwrap(), []);
    }
}

#[tokio::test]
async fn an_incomplete_savepoint_is_not_a_savepoint() {
    let store = FaultStore::new(MemoryStore::new());
    let paths = StatePaths::at("job");
    write_plan(&store, &paths, &plan()).await.unwrap();
    let written = manifest(2, 1, &[data(&store, &paths, 2, 1, "b").await]);
    for (action, key) in [
        (Action::Copy, "data/"),
        (Action::Copy, "plan/"),
        (Action::Put, "manifest.json"),
        (Action::Put, "metadata.json"),
    ] {
        store.fail(Rule::once(action, key, Fault::Unavailable));
        assert!(
            copy_savepoint(&store, &paths, &written, "s").await.is_err(),
            "{key}"
        );
        assert!(
            matches!(
                read_savepoint(&store, "s").await,
                Err(StorageError::NotFound { .. })
            ),
            "{key}"
        );
    }
    copy_savepoint(&store, &paths, &written, "s").await.unwrap();
    read_savepoint(&store, "s").await.unwrap();
}

#[tokio::test]
async fn a_savepoint_that_names_what_is_outside_is_refused() {
    let store = MemoryStore::new();
    let paths = StatePaths::at("job");
    write_plan(&store, &paths, &plan()).await.unwrap();
    let written = manifest(2, 1, &[data(&store, &paths, 2, 1, "b").await]);
    copy_savepoint(&store, &paths, &written, "s").await.unwrap();
    for outside in ["data/../../job/HEAD.json", "job/data/x"] {
        let forged = manifest(2, 1, &[outside.to_owned()]);
        store
            .put("s/manifest.json", forged.encode().into(), Condition::Always)
            .await
            .unwrap();
        let error = read_savepoint(&store, "s").await.unwrap_err().to_string();
        assert!(error.contains("outside the savepoint"), "{error}");
    }
}

async fn keys(store: &dyn ObjectStore) -> Vec<String> {
    let all = store.list("").await.unwrap();
    all.into_iter().map(|entry| entry.key).collect()
}

/// A job's root as the operator must never touch it: data, manifests and a plan, but no savepoint.
#[tokio::test]
async fn a_removal_deletes_only_objects_that_the_manifest_of_the_folder_names() {
    let store = MemoryStore::new();
    for key in [
        "s/data/of-a-running-job",
        "s/plan/1.json",
        "s/chk/1/manifest.json",
    ] {
        let always = Condition::Always;
        store.put(key, "x".into(), always).await.unwrap();
    }
    let before = keys(&store).await;
    let removed = delete_savepoint(&store, "s", None).await.unwrap();
    assert_eq!(
        (removed, keys(&store).await),
        (Removal::Done, before.clone())
    );

    let paths = StatePaths::at("job");
    write_plan(&store, &paths, &plan()).await.unwrap();
    let written = manifest(2, 1, &[data(&store, &paths, 2, 1, "b").await]);
    let outside = keys(&store).await;
    copy_savepoint(&store, &paths, &written, "s").await.unwrap();
    delete_savepoint(&store, "s", None).await.unwrap();
    assert_eq!(keys(&store).await, outside);
}

#[tokio::test]
async fn a_savepoint_of_another_job_is_not_removed() {
    let store = MemoryStore::new();
    let paths = StatePaths::at("job");
    write_plan(&store, &paths, &plan()).await.unwrap();
    let written = manifest(2, 1, &[data(&store, &paths, 2, 1, "b").await]);
    copy_savepoint(&store, &paths, &written, "s").await.unwrap();
    let before = keys(&store).await;
    let other = delete_savepoint(&store, "s", Some("another-uid")).await;
    let job_uid = written.job_uid.clone();
    assert_eq!(
        other.unwrap(),
        Removal::NotOurs {
            job_uid: job_uid.clone()
        }
    );
    assert_eq!(keys(&store).await, before);
    let own = delete_savepoint(&store, "s", Some(&job_uid)).await.unwrap();
    assert_eq!(own, Removal::Done);
    read_savepoint(&store, "s").await.unwrap_err();
}

#[tokio::test]
async fn what_a_copy_that_never_ended_has_left_is_removed_too() {
    let store = FaultStore::new(MemoryStore::new());
    let paths = StatePaths::at("job");
    write_plan(&store, &paths, &plan()).await.unwrap();
    let first = data(&store, &paths, 2, 1, "b").await;
    let next = data(&store, &paths, 3, 1, "c").await;
    let before = keys(&store).await;
    for (checkpoint, object) in [(2, &first), (3, &next)] {
        store.fail(Rule::once(Action::Copy, "plan/", Fault::Unavailable));
        let written = manifest(checkpoint, 1, std::slice::from_ref(object));
        copy_savepoint(&store, &paths, &written, "s")
            .await
            .unwrap_err();
    }
    let left: Vec<String> = keys(&store)
        .await
        .into_iter()
        .filter(|key| key.starts_with("s/"))
        .collect();
    assert_eq!(left.len(), 2, "the manifest and one object: {left:?}");
    delete_savepoint(&store, "s", None).await.unwrap();
    assert_eq!(keys(&store).await, before);
}

#[tokio::test]
async fn a_record_that_is_larger_than_any_of_its_kind_is_refused() {
    let store = MemoryStore::new();
    let large = vec![b' '; (1 << 20) + 1];
    let always = Condition::Always;
    store
        .put("s/metadata.json", large.into(), always)
        .await
        .unwrap();
    let error = read_savepoint(&store, "s").await.unwrap_err();
    assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
}
