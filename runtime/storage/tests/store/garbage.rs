//! What nothing needs goes, what something needs stays, and in doubt nothing goes.

use bytes::Bytes;
use streamkeeper_protocol::{
    head::{ClaimDecision, Claimant, Head, Ids, Order, claim},
    job_api::PromoteFrom,
    paths::StatePaths,
};
use streamkeeper_storage::{
    Action, Condition, Fault, FaultStore, MemoryStore, ObjectStore, Rule, collect_garbage,
    write_plan,
};

use crate::{
    clean,
    records::{data, manifest, plan, publish},
    stores,
};

pub(crate) fn new_head() -> Head {
    let claimant = Claimant {
        job_uid: "job",
        revision: 1,
        plan_hash: "p",
        max_parallelism: 1,
        workers: 1,
        pod: "",
    };
    let order = Order::Promoted {
        key: "k",
        from: &PromoteFrom::Empty,
        running_owner: None,
    };
    match claim(
        None,
        &claimant,
        order,
        Ids {
            nonce: "n",
            token: "t",
            lineage: "l",
        },
    ) {
        ClaimDecision::Create(head) => head,
        other => panic!("{other:?}"),
    }
}

/// Decision for a revision of that job.
pub(crate) fn claimed(head: &Head, revision: u64, order: Order<'_>) -> ClaimDecision {
    let claimant = Claimant {
        job_uid: "job",
        revision,
        plan_hash: "p",
        max_parallelism: 1,
        workers: 1,
        pod: "",
    };
    let ids = Ids {
        nonce: "m",
        token: "u",
        lineage: "l",
    };
    claim(Some(head), &claimant, order, ids)
}

async fn keys(store: &dyn ObjectStore, paths: &StatePaths) -> Vec<String> {
    let root = format!("{}/", paths.root());
    let listed = store.list(&root).await.unwrap();
    listed
        .into_iter()
        .map(|entry| entry.key[root.len()..].to_owned())
        .collect()
}

// Elsewhere: FLINK-35857, ArroyoSystems/arroyo#802, ArroyoSystems/arroyo#688.
#[tokio::test]
async fn only_what_no_kept_checkpoint_needs_is_removed() {
    for (store, prefix, _keep) in stores("garbage") {
        let store = &*store;
        let paths = StatePaths::at(&prefix);
        write_plan(store, &paths, &plan()).await.unwrap();
        store
            .put(
                &format!("{prefix}/data/notes.txt"),
                Bytes::new(),
                Condition::Always,
            )
            .await
            .unwrap();
        let one = data(store, &paths, 1, 1, "one").await;
        let mut head = publish(
            store,
            &paths,
            &new_head(),
            &manifest(1, 1, std::slice::from_ref(&one)),
            1,
        )
        .await;
        assert_eq!(
            collect_garbage(store, &paths, &head).await.unwrap().removed,
            0
        );
        // Checkpoint 2 failed after an upload and a manifest; 3 still needs what 1 wrote.
        data(store, &paths, 2, 1, "orphan").await;
        streamkeeper_storage::write_manifest(store, &paths, &manifest(2, 1, &[]))
            .await
            .unwrap();
        let three = data(store, &paths, 3, 1, "three").await;
        head = publish(
            store,
            &paths,
            &head,
            &manifest(3, 1, &[one.clone(), three.clone()]),
            1,
        )
        .await;
        // A savepoint of 3 is being copied while the job goes on.
        head = head
            .change()
            .add_savepoint("s", "k2", "s")
            .unwrap()
            .seal("n")
            .unwrap();
        for number in 4..=6 {
            let object = data(store, &paths, number, 1, "next").await;
            head = publish(store, &paths, &head, &manifest(number, 1, &[object]), 1).await;
        }
        // The next checkpoint is under way; a worker of another attempt left something, too.
        data(store, &paths, 7, 1, "under-way").await;
        data(store, &paths, 5, 2, "newer-attempt").await;
        let collected = collect_garbage(store, &paths, &head).await.unwrap();
        let expected = [
            "chk/000000000003/1/manifest.json",
            "chk/000000000005/1/manifest.json",
            "chk/000000000006/1/manifest.json",
            "data/000000000001-1-0-one",
            "data/000000000003-1-0-three",
            "data/000000000005-1-0-next",
            "data/000000000005-2-0-newer-attempt",
            "data/000000000006-1-0-next",
            "data/000000000007-1-0-under-way",
            "data/notes.txt",
        ];
        let left = keys(store, &paths).await;
        assert_eq!(left[..10], expected, "{left:?}");
        assert!(left[10].starts_with("plan/") && left.len() == 11);
        assert_eq!((collected.removed, collected.kept), (5, 10));
        // The copy is complete: what only the savepoint needed goes as well.
        head = head
            .change()
            .finish_savepoint("s")
            .unwrap()
            .seal("n")
            .unwrap();
        assert_eq!(
            collect_garbage(store, &paths, &head).await.unwrap().removed,
            3
        );
        assert_eq!(
            collect_garbage(store, &paths, &head).await.unwrap().removed,
            0
        );
        clean(store, &prefix).await;
    }
}

// Elsewhere: FLINK-35857, ArroyoSystems/arroyo#802, ArroyoSystems/arroyo#688.
#[tokio::test]
async fn in_doubt_nothing_is_removed() {
    let store = FaultStore::new(MemoryStore::new());
    let paths = StatePaths::at("job");
    let mut head = new_head();
    for number in 1..=4 {
        let object = data(&store, &paths, number, 1, "x").await;
        head = publish(&store, &paths, &head, &manifest(number, 1, &[object]), 1).await;
    }
    let before = store.inner().keys();
    for fault in [Fault::Unavailable, Fault::Denied] {
        store.fail(Rule::once(Action::Get, "chk/000000000003", fault));
        assert!(collect_garbage(&store, &paths, &head).await.is_err());
        assert_eq!(store.inner().keys(), before);
    }
    store
        .inner()
        .put(
            &paths.manifest(3, 1),
            Bytes::from_static(b"{}"),
            Condition::Always,
        )
        .await
        .unwrap();
    assert!(collect_garbage(&store, &paths, &head).await.is_err());
    store.delete(&paths.manifest(3, 1)).await.unwrap();
    assert!(collect_garbage(&store, &paths, &head).await.is_err());
    assert_eq!(store.inner().keys().len(), before.len() - 1);
}

#[tokio::test]
async fn an_old_owner_that_still_sweeps_removes_nothing_its_successor_needs() {
    let store = MemoryStore::new();
    let paths = StatePaths::at("job");
    let one = data(&store, &paths, 1, 1, "one").await;
    let old = publish(
        &store,
        &paths,
        &new_head(),
        &manifest(1, 1, std::slice::from_ref(&one)),
        1,
    )
    .await;
    let two = data(&store, &paths, 2, 1, "two").await;
    let old = publish(
        &store,
        &paths,
        &old,
        &manifest(2, 1, &[one.clone(), two.clone()]),
        1,
    )
    .await;
    // The successor goes on from 2 and keeps a run of 1.
    let ClaimDecision::Replace(new) = claimed(&old, 1, Order::None) else {
        panic!()
    };
    let three = data(&store, &paths, 3, 2, "three").await;
    let new = publish(
        &store,
        &paths,
        &new,
        &manifest(3, 2, &[one.clone(), three.clone()]),
        0,
    )
    .await;
    collect_garbage(&store, &paths, &old).await.unwrap();
    let needed = [&one, &three, &paths.manifest(3, 2)];
    let holds = |store: &MemoryStore| needed.iter().all(|key| store.keys().contains(*key));
    assert!(holds(&store));
    collect_garbage(&store, &paths, &new).await.unwrap();
    assert!(holds(&store) && !store.keys().contains(&two));
}
