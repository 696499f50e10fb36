//! Savepoints stand alone.

use streamkeeper_protocol::paths::StatePaths;
use streamkeeper_storage::{
    Action, Fault, FaultStore, MemoryStore, ObjectStore, Rule, StorageError, copy_savepoint,
    read_savepoint, savepoint::delete_savepoint, write_plan,
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
        // The same again, as after a crash, changes nothing.
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
        delete_savepoint(&*store, &moved).await.unwrap();
        assert_eq!(store.list(&prefix).await.unwrap(), []);
    }
}

#[tokio::test]
async fn half_a_savepoint_is_none() {
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
            .put(
                "s/manifest.json",
                forged.encode().into(),
                streamkeeper_storage::Condition::Always,
            )
            .await
            .unwrap();
        let error = read_savepoint(&store, "s").await.unwrap_err().to_string();
        assert!(error.contains("outside the savepoint"), "{error}");
    }
}
