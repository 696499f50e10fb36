//! HEAD under every fault a store may have: a writer that is reported as the winner has won, and a
//! writer that won is reported as the winner.

use std::sync::Arc;

use streamkeeper_protocol::{
    head::{ClaimDecision, Claimant, Head, Ids, LastCheckpoint, Order, claim},
    job_api::PromoteFrom,
    paths::StatePaths,
};
use streamkeeper_storage::{
    Action, Condition, Fault, FaultStore, HeadAccessError, MemoryStore, ObjectStore, Rule,
    StorageError, SwapResult, read_head, swap_head,
};

use crate::{clean, stores};

const KEY: &str = "root/HEAD.json";

fn paths() -> StatePaths {
    StatePaths::at("root")
}

fn claimant(revision: u64) -> Claimant<'static> {
    Claimant {
        job_uid: "job",
        revision,
        plan_hash: "plan",
        max_parallelism: 128,
        workers: 1,
        pod: "",
    }
}

fn first(name: &str) -> Head {
    let order = Order::Promoted {
        key: name,
        from: &PromoteFrom::Empty,
        running_owner: None,
    };
    let ids = Ids {
        nonce: name,
        token: name,
        lineage: name,
    };
    match claim(None, &claimant(1), order, ids) {
        ClaimDecision::Create(head) => head,
        other => panic!("{other:?}"),
    }
}

fn taken(head: &Head, name: &str) -> Head {
    match claim(
        Some(head),
        &claimant(head.revision),
        Order::None,
        Ids {
            nonce: name,
            token: name,
            lineage: name,
        },
    ) {
        ClaimDecision::Replace(head) => head,
        other => panic!("{other:?}"),
    }
}

fn next(head: &Head, nonce: &str) -> Head {
    let last = LastCheckpoint {
        checkpoint: head.next_checkpoint,
        manifest: "m".to_owned(),
        needs_commit: false,
        committed: false,
        completed_ms: 0,
        written_bytes: 0,
        total_bytes: 0,
        duration_ms: 0,
    };
    head.change()
        .publish(last, "plan", 1)
        .unwrap()
        .0
        .seal(nonce)
        .unwrap()
}

/// A store with a HEAD, its owner's copy of it, and its version.
async fn owned() -> (FaultStore<MemoryStore>, Head, String) {
    let store = FaultStore::new(MemoryStore::new());
    let head = first("first");
    match swap_head(&store, &paths(), &head, Condition::Absent)
        .await
        .unwrap()
    {
        SwapResult::Won { etag } => (store, head, etag),
        other => panic!("{other:?}"),
    }
}

async fn stored(store: &dyn ObjectStore) -> Head {
    read_head(store, &paths()).await.unwrap().unwrap().0
}

fn matches(etag: &str) -> Condition {
    Condition::Matches(etag.to_owned())
}

#[tokio::test]
async fn head_is_created_once_and_then_swapped() {
    for (store, prefix, _keep) in stores("head") {
        let paths = StatePaths::at(&prefix);
        assert_eq!(read_head(&*store, &paths).await.unwrap(), None);
        let ours = first("ours");
        let SwapResult::Won { etag } = swap_head(&*store, &paths, &ours, Condition::Absent)
            .await
            .unwrap()
        else {
            panic!()
        };
        assert_eq!(
            read_head(&*store, &paths).await.unwrap(),
            Some((ours.clone(), etag.clone()))
        );
        let lost = swap_head(&*store, &paths, &first("theirs"), Condition::Absent)
            .await
            .unwrap();
        assert!(matches!(lost, SwapResult::Fenced { by } if by.token == "ours"));
        // A restart takes over; the former owner's next write is refused, and it learns by whom.
        let restarted = taken(&ours, "restarted");
        let SwapResult::Won { .. } = swap_head(&*store, &paths, &restarted, matches(&etag))
            .await
            .unwrap()
        else {
            panic!()
        };
        let zombie = swap_head(&*store, &paths, &next(&ours, "zombie"), matches(&etag))
            .await
            .unwrap();
        assert!(
            matches!(zombie, SwapResult::Fenced { by } if by.attempt == 2 && by.token == "restarted")
        );
        store.delete(&paths.head()).await.unwrap();
        let gone = swap_head(&*store, &paths, &next(&restarted, "n"), matches(&etag))
            .await
            .unwrap();
        assert_eq!(gone, SwapResult::Gone);
        clean(&*store, &prefix).await;
    }
}

#[tokio::test]
async fn the_outcome_of_a_write_with_a_lost_response_is_found_out() {
    for fault in [
        Fault::LostAnswer,
        Fault::RefusedAfterSuccess,
        Fault::LostRequest,
    ] {
        let (store, head, etag) = owned().await;
        store.fail(Rule::once(Action::Put, KEY, fault));
        let ours = next(&head, "ours");
        let answer = swap_head(&store, &paths(), &ours, matches(&etag))
            .await
            .unwrap();
        let (found, now) = read_head(&store, &paths()).await.unwrap().unwrap();
        assert_eq!(
            (answer, found),
            (SwapResult::Won { etag: now }, ours),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn the_outcome_of_a_creation_with_a_lost_response_is_found_out() {
    for fault in [
        Fault::LostAnswer,
        Fault::RefusedAfterSuccess,
        Fault::LostRequest,
    ] {
        let store = FaultStore::new(MemoryStore::new());
        store.fail(Rule::once(Action::Put, KEY, fault));
        let answer = swap_head(&store, &paths(), &first("ours"), Condition::Absent)
            .await
            .unwrap();
        assert!(
            matches!(answer, SwapResult::Won { .. }),
            "{fault:?}: {answer:?}"
        );
        assert_eq!(stored(&store).await.nonce, "ours");
    }
}

#[tokio::test]
async fn a_claimant_that_came_second_decides_again_and_an_owner_that_was_replaced_ends() {
    let (store, head, etag) = owned().await;
    // A checkpoint was published between the claimant's look and its write.
    let SwapResult::Won { etag: newer } =
        swap_head(&store, &paths(), &next(&head, "n"), matches(&etag))
            .await
            .unwrap()
    else {
        panic!()
    };
    match swap_head(&store, &paths(), &taken(&head, "late"), matches(&etag))
        .await
        .unwrap()
    {
        SwapResult::Lost { found, etag } => assert_eq!((found.nonce.as_str(), etag), ("n", newer)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_outcome_that_cannot_be_found_out_stays_open_until_it_can() {
    let (store, head, etag) = owned().await;
    let ours = next(&head, "ours");
    store.fail(Rule::once(Action::Put, KEY, Fault::LostAnswer));
    store.fail(Rule::once(Action::Get, KEY, Fault::Unavailable));
    let open = swap_head(&store, &paths(), &ours, matches(&etag))
        .await
        .unwrap_err();
    assert!(
        matches!(
            open,
            HeadAccessError::Storage(StorageError::Unavailable { .. })
        ),
        "{open}"
    );
    // A repeated call settles it, although the first write had happened.
    let settled = swap_head(&store, &paths(), &ours, matches(&etag))
        .await
        .unwrap();
    assert!(matches!(settled, SwapResult::Won { .. }));
    assert_eq!(stored(&store).await, ours);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_loses_every_request_leaves_the_outcome_open() {
    let (store, head, etag) = owned().await;
    store.fail(Rule {
        action: Some(Action::Put),
        key: KEY.to_owned(),
        after: 0,
        times: usize::MAX,
        fault: Fault::LostRequest,
    });
    let open = swap_head(&store, &paths(), &next(&head, "ours"), matches(&etag))
        .await
        .unwrap_err();
    assert!(
        matches!(open, HeadAccessError::Storage(StorageError::Unknown { .. })),
        "{open}"
    );
    assert_eq!(stored(&store).await, head);
}

#[tokio::test]
async fn denied_is_an_error_and_not_a_lost_race() {
    let (store, head, etag) = owned().await;
    store.fail(Rule::once(Action::Put, KEY, Fault::Denied));
    let denied = swap_head(&store, &paths(), &next(&head, "ours"), matches(&etag))
        .await
        .unwrap_err();
    assert!(
        matches!(
            denied,
            HeadAccessError::Storage(StorageError::AccessDenied { .. })
        ),
        "{denied}"
    );
    store.fail(Rule::once(Action::Get, KEY, Fault::Denied));
    assert!(
        read_head(&store, &paths()).await.is_err(),
        "a HEAD that cannot be read is not a missing one"
    );
}

#[tokio::test]
async fn a_head_of_a_newer_format_is_refused_and_not_replaced() {
    let (store, ..) = owned().await;
    let future = r#"{"v": 9, "min_reader": 9}"#;
    store
        .put(KEY, future.into(), Condition::Always)
        .await
        .unwrap();
    let error = read_head(&store, &paths()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("memory:///root/HEAD.json: HEAD has format 9"),
        "{error}"
    );
}

/// Several owners-to-be over one store that fails at random; each does what a coordinator does.
#[tokio::test(start_paused = true)]
async fn under_random_faults_every_win_is_real_and_numbers_never_go_back() {
    for seed in 1..=40_u64 {
        let store = FaultStore::new(MemoryStore::new());
        let mut created = first("created");
        created.token = "nobody".to_owned();
        store
            .put(KEY, created.encode().into(), Condition::Always)
            .await
            .unwrap();
        store.fail_by_chance(seed, 300);
        let store = Arc::new(store);
        let mut processes = tokio::task::JoinSet::new();
        for process in 0..3 {
            processes.spawn(live(store.clone(), format!("{seed}-{process}")));
        }
        let mut wins = Vec::new();
        while let Some(done) = processes.join_next().await {
            wins.extend(done.unwrap());
        }
        store.heal();
        // Every win was a step of its own: no number twice, and none lost.
        wins.sort_unstable();
        let steps: Vec<u64> = wins.iter().map(|win| win.0).collect();
        let expected: Vec<u64> = (2..2 + steps.len() as u64).collect();
        assert_eq!(steps, expected, "seed {seed}");
        assert_eq!(
            stored(&*store).await.seq,
            1 + steps.len() as u64,
            "seed {seed}"
        );
        assert!(
            wins.windows(2)
                .all(|pair| pair[0].1 <= pair[1].1 && pair[0].2 <= pair[1].2),
            "seed {seed}: {wins:?}"
        );
    }
}

/// Claims HEAD whenever it can and publishes until it is fenced; `(seq, attempt, next_checkpoint)`
/// of every win.
async fn live(store: Arc<FaultStore<MemoryStore>>, name: String) -> Vec<(u64, u64, u64)> {
    let mut wins = Vec::new();
    let mut writes = 0;
    let mut nonce = || {
        writes += 1;
        format!("{name}-{writes}")
    };
    for _ in 0..6 {
        let Ok(Some((found, etag))) = read_head(&*store, &paths()).await else {
            continue;
        };
        let mut held = None;
        let mut proposal = (taken(&found, &nonce()), etag);
        for _ in 0..8 {
            match settle(&store, &proposal.0, &proposal.1).await {
                SwapResult::Won { etag } => {
                    wins.push((
                        proposal.0.seq,
                        proposal.0.attempt,
                        proposal.0.next_checkpoint,
                    ));
                    held = Some((proposal.0.clone(), etag));
                }
                SwapResult::Lost { found, etag } if held.is_some() => held = Some((*found, etag)),
                SwapResult::Lost { .. } | SwapResult::Fenced { .. } => break,
                SwapResult::Gone => panic!("HEAD is gone"),
            }
            let Some((head, etag)) = held.clone() else {
                break;
            };
            proposal = (next(&head, &nonce()), etag);
            tokio::task::yield_now().await;
        }
    }
    wins
}

/// Repeats the call until its outcome is known, as a coordinator does.
async fn settle(store: &FaultStore<MemoryStore>, ours: &Head, etag: &str) -> SwapResult {
    loop {
        if let Ok(result) = swap_head(store, &paths(), ours, matches(etag)).await {
            return result;
        }
    }
}
