//! A savepoint becomes a checkpoint of a job.

use streamkeeper_protocol::{
    head::{ClaimDecision, Head, LastCheckpoint, Order, RunState},
    job_api::PromoteFrom,
    paths::StatePaths,
};
use streamkeeper_storage::{
    MemoryStore, ObjectStore, collect_garbage, copy_savepoint, import_objects, import_plan,
    read_manifest, read_plan, read_savepoint, savepoint::delete_savepoint, write_imported_manifest,
    write_plan,
};

use crate::{
    garbage::{claimed, new_head},
    records::{data, manifest, plan, publish},
};

#[tokio::test]
async fn what_was_imported_needs_its_savepoint_no_more_and_no_collector_takes_it() {
    let store = MemoryStore::new();
    let from = StatePaths::at("from");
    write_plan(&store, &from, &plan()).await.unwrap();
    let objects = [
        data(&store, &from, 1, 1, "a").await,
        data(&store, &from, 2, 1, "b").await,
    ];
    copy_savepoint(&store, &from, &manifest(2, 1, &objects), "saved")
        .await
        .unwrap();

    // The job it goes to runs on, and collects garbage, while it is copied.
    let paths = StatePaths::at("to");
    let object = data(&store, &paths, 4, 1, "d").await;
    let head = publish(&store, &paths, &new_head(), &manifest(4, 1, &[object]), 1).await;
    let saved = PromoteFrom::Savepoint {
        uri: "saved".to_owned(),
    };
    let order = Order::Promoted {
        key: "restore",
        from: &saved,
        running_owner: None,
    };
    let ClaimDecision::Import(import) = claimed(&head, 2, order) else {
        panic!()
    };
    let (number, attempt) = (import.checkpoint(), import.head().attempt);
    assert_eq!((number, attempt), (5, 2));
    let (metadata, mut brought, _) = read_savepoint(&store, "saved").await.unwrap();
    let copies = import_objects(&store, &paths, &brought, number, attempt)
        .await
        .unwrap();
    copies.rename(&mut brought);
    brought.checkpoint = number;
    brought.attempt = attempt;
    let key = write_imported_manifest(&store, &paths, &brought)
        .await
        .unwrap();
    import_plan(&store, &paths, "saved", &metadata.plan_hash)
        .await
        .unwrap();
    // The loser of the race for HEAD overwrites nothing.
    let other = write_imported_manifest(&store, &paths, &brought)
        .await
        .unwrap();
    assert_ne!(key, other);
    let object = data(&store, &paths, 9, 1, "e").await;
    let before = publish(&store, &paths, &head, &manifest(9, 1, &[object]), 1).await;
    collect_garbage(&store, &paths, &before).await.unwrap();

    let last = LastCheckpoint {
        checkpoint: number,
        manifest: key,
        needs_commit: false,
        committed: true,
        completed_ms: 0,
        written_bytes: 0,
        total_bytes: 0,
        duration_ms: 0,
    };
    let next: Head = import.with(last, &metadata.plan_hash).unwrap();
    assert_eq!(next.state, RunState::Running);
    delete_savepoint(&store, "saved", None).await.unwrap();
    let object = data(&store, &paths, 6, 2, "f").await;
    let after = publish(&store, &paths, &next, &manifest(6, 2, &[object]), 1).await;
    collect_garbage(&store, &paths, &after).await.unwrap();
    // What was left behind can still be read.
    let left = read_manifest(&store, &after.left.as_ref().unwrap().manifest).await;
    let left = left.unwrap();
    assert_eq!(left.checkpoint, 4);
    store.get(left.objects()[0]).await.unwrap();
    let kept = read_manifest(&store, &after.retained[0].manifest).await;
    let kept = kept.unwrap();
    assert_eq!((kept.checkpoint, kept.objects().len()), (5, 2));
    for object in kept.objects() {
        assert!(object.starts_with("to/data/"), "{object}");
        store.get(object).await.unwrap();
    }
    let stored = read_plan(&store, &paths, &kept.plan_hash).await.unwrap();
    assert_eq!(stored, plan());
    // A manifest that HEAD does not name is removed like any other orphan.
    assert!(store.get(&other).await.is_err());
}
