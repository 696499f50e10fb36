//! What a worker does when something around it fails.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use streamkeeper_protocol::manifest::CheckpointKind;
use streamkeeper_storage::{Condition, MemoryStore, ObjectStore};

use super::{
    fake_coordinator::FakeCoordinator,
    job::{assert_output, plan, write_input},
};
use streamkeeper_control::messages::{FailureKind, ToCoordinator, ToWorker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_a_checkpoint_that_was_given_up_comes_with_the_next_one() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 4, 500).await;
    let mut coordinator = FakeCoordinator::new(store.clone(), plan(Some(10_000)), 1).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    coordinator.start().await;
    for _ in 0..3 {
        let before = coordinator.last.clone();
        coordinator.checkpoint(CheckpointKind::Periodic).await;
        // Given up: neither manifest nor commit.
        coordinator.last = before;
    }
    coordinator.checkpoint(CheckpointKind::Periodic).await;
    coordinator.commit().await;
    coordinator.kill(0).await;
    coordinator.connect(0).await;
    coordinator.start().await;
    coordinator.run_to_the_end().await;
    assert_output(&*store, 2_000).await;
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecodable_record_fails_the_graph_with_object_and_line() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 10).await;
    store
        .put(
            "input/bad.json",
            Bytes::from_static(b"{\"id\":1}\n{\"id\":\n"),
            Condition::Always,
        )
        .await
        .unwrap();
    let mut coordinator = FakeCoordinator::new(store, plan(None), 1).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    coordinator.start().await;
    let (message, kind) = loop {
        if let (_, ToCoordinator::TaskFailed { message, kind, .. }) =
            coordinator.next_message().await
        {
            break (message, kind);
        }
    };
    assert_eq!(kind, FailureKind::Data);
    assert!(
        message.contains("input/bad.json") && message.contains("line 2"),
        "{message}"
    );
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_notices_that_another_one_died() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 500).await;
    let mut coordinator = FakeCoordinator::new(store, plan(Some(10)), 1).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    coordinator.start().await;
    coordinator.kill(1).await;
    let failure = loop {
        if let (0, ToCoordinator::TaskFailed { message, kind, .. }) =
            coordinator.next_message().await
        {
            break (message, kind);
        }
    };
    assert!(
        failure.0.contains("worker 1") && failure.1 == FailureKind::Transient,
        "{failure:?}"
    );
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_control_connection_does_not_stop_the_graph_but_a_lost_coordinator_does() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 500).await;
    let mut coordinator = FakeCoordinator::new(store.clone(), plan(Some(10)), 1).await;
    coordinator.connect(0).await;
    coordinator.start().await;
    assert_eq!(coordinator.cut(0).await, Some(1), "the graph still runs");
    coordinator.close().await;

    let mut coordinator = FakeCoordinator::new(store, plan(Some(10)), 1).await;
    coordinator.orphan_limit = Duration::ZERO;
    coordinator.connect(0).await;
    coordinator.start().await;
    // Comes back at once, or after the limit: it is a matter of time until nothing runs any more.
    while coordinator.cut(0).await.is_some() {}
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greater_attempt_takes_the_place_of_what_runs_and_a_late_one_is_ignored() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 2_000).await;
    let mut coordinator = FakeCoordinator::new(store.clone(), plan(Some(10_000)), 1).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    coordinator.start().await;
    let late = coordinator.next_deployment();
    coordinator.attempt += 1;
    coordinator.start().await;
    coordinator.tell(0, ToWorker::Deploy(Box::new(late))).await;
    coordinator.run_to_the_end().await;
    assert_output(&*store, 4_000).await;
    coordinator.close().await;
}
