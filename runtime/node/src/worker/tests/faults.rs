//! What a worker does when something around it fails.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use streamkeeper_protocol::manifest::CheckpointKind;
use streamkeeper_storage::{Condition, MemoryStore, ObjectStore};

use super::{
    director::Director,
    job::{assert_output, plan, write_input},
};
use crate::control::{FailureKind, ToCoordinator, ToWorker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_a_checkpoint_that_was_given_up_comes_with_the_next_one() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 4, 500).await;
    let mut director = Director::new(store.clone(), plan(Some(10_000)), 1).await;
    director.hire(0).await;
    director.hire(1).await;
    director.start().await;
    for _ in 0..3 {
        let before = director.last.clone();
        director.checkpoint(CheckpointKind::Periodic).await;
        // Given up: neither manifest nor commit.
        director.last = before;
    }
    director.checkpoint(CheckpointKind::Periodic).await;
    director.commit().await;
    director.kill(0).await;
    director.hire(0).await;
    director.start().await;
    director.run_to_the_end().await;
    assert_output(&*store, 2_000).await;
    director.close().await;
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
    let mut director = Director::new(store, plan(None), 1).await;
    director.hire(0).await;
    director.hire(1).await;
    director.start().await;
    let (message, kind) = loop {
        if let (_, ToCoordinator::TaskFailed { message, kind, .. }) = director.hear().await {
            break (message, kind);
        }
    };
    assert_eq!(kind, FailureKind::Data);
    assert!(
        message.contains("input/bad.json") && message.contains("line 2"),
        "{message}"
    );
    director.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_notices_that_another_one_died() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 500).await;
    let mut director = Director::new(store, plan(Some(10)), 1).await;
    director.hire(0).await;
    director.hire(1).await;
    director.start().await;
    director.kill(1).await;
    let failure = loop {
        if let (0, ToCoordinator::TaskFailed { message, kind, .. }) = director.hear().await {
            break (message, kind);
        }
    };
    assert!(
        failure.0.contains("worker 1") && failure.1 == FailureKind::Transient,
        "{failure:?}"
    );
    director.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_control_connection_does_not_stop_the_graph_but_a_lost_coordinator_does() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 500).await;
    let mut director = Director::new(store.clone(), plan(Some(10)), 1).await;
    director.hire(0).await;
    director.start().await;
    assert_eq!(director.cut(0).await, Some(1), "the graph still runs");
    director.close().await;

    let mut director = Director::new(store, plan(Some(10)), 1).await;
    director.orphan_limit = Duration::ZERO;
    director.hire(0).await;
    director.start().await;
    // Comes back at once, or after the limit: it is a matter of time until nothing runs any more.
    while director.cut(0).await.is_some() {}
    director.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greater_attempt_takes_the_place_of_what_runs_and_a_late_one_is_ignored() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 2, 2_000).await;
    let mut director = Director::new(store.clone(), plan(Some(10_000)), 1).await;
    director.hire(0).await;
    director.hire(1).await;
    director.start().await;
    let late = director.next_deployment();
    director.attempt += 1;
    director.start().await;
    director.tell(0, ToWorker::Deploy(Box::new(late))).await;
    director.run_to_the_end().await;
    assert_output(&*store, 4_000).await;
    director.close().await;
}
