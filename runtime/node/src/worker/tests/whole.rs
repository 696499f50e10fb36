//! Whole runs: everything that goes in comes out once.

use std::sync::Arc;

use streamkeeper_protocol::manifest::CheckpointKind;
use streamkeeper_storage::MemoryStore;

use super::{
    fake_coordinator::FakeCoordinator,
    job::{assert_output, plan, write_input},
};
use streamkeeper_control::messages::ToWorker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_run_a_job_to_its_end_and_every_row_comes_out_once() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 9, 5_000).await;
    let mut coordinator = FakeCoordinator::new(store.clone(), plan(None), 2).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    assert_eq!(coordinator.start().await, 0);
    coordinator.run_to_the_end().await;
    assert_output(&*store, 45_000).await;
    coordinator.close().await;
}

// Elsewhere: risingwavelabs/risingwave#21142.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_after_a_crash_with_more_and_then_with_fewer_workers() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 12, 500).await;
    let mut coordinator = FakeCoordinator::new(store.clone(), plan(Some(20_000)), 1).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    coordinator.start().await;
    // Some rows are in the restore point, some come after it and are read again.
    coordinator.checkpoint(CheckpointKind::Periodic).await;
    coordinator.commit().await;
    coordinator.checkpoint(CheckpointKind::Periodic).await;
    coordinator.commit().await;
    coordinator.trigger(CheckpointKind::Periodic).await;
    coordinator.kill(1).await;
    coordinator.connect(1).await;
    coordinator.connect(2).await;
    coordinator.start().await;
    coordinator.checkpoint(CheckpointKind::Periodic).await;
    coordinator.commit().await;
    let last = coordinator.checkpoint(CheckpointKind::Final).await;
    coordinator.commit().await;
    coordinator.cancel().await;
    coordinator.kill(2).await;
    let restored = coordinator.start().await;
    assert!(restored > 0 || last.iter().all(|share| share.records_in == 0));
    coordinator.run_to_the_end().await;
    assert_output(&*store, 6_000).await;
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_final_barrier_sources_stand_still_until_they_are_resumed() {
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 4, 500).await;
    let mut coordinator = FakeCoordinator::new(store.clone(), plan(Some(20_000)), 1).await;
    coordinator.connect(0).await;
    coordinator.connect(1).await;
    coordinator.start().await;
    let sum = |shares: Vec<streamkeeper_control::messages::CheckpointAck>| {
        shares.iter().map(|share| share.records_in).sum::<u64>()
    };
    let at_final = sum(coordinator.checkpoint(CheckpointKind::Final).await);
    coordinator.commit().await;
    assert_eq!(
        sum(coordinator.checkpoint(CheckpointKind::Periodic).await),
        at_final
    );
    coordinator
        .tell_all(ToWorker::Resume {
            attempt: coordinator.attempt,
        })
        .await;
    coordinator.run_to_the_end().await;
    assert_output(&*store, 2_000).await;
    coordinator.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_sink_stands_still_until_its_output_is_committed() {
    const ROWS: i64 = 9_000;
    let store = Arc::new(MemoryStore::new());
    write_input(&*store, 9, ROWS / 9).await;
    let mut plan = plan(None);
    plan.settings.sink_buffer_bytes = Some(16 << 10);
    let mut coordinator = FakeCoordinator::new(store.clone(), plan, 1).await;
    coordinator.connect(0).await;
    coordinator.start().await;
    // Prepared output is as much in memory as output that is not prepared yet.
    let mut read = 0;
    for _ in 0..5 {
        let shares = coordinator.checkpoint(CheckpointKind::Periodic).await;
        read = shares.iter().map(|share| share.records_in).sum();
    }
    assert!(read < 5_000, "{read} rows were read into memory");
    coordinator.commit().await;
    assert!(coordinator.run_to_the_end().await > 3);
    assert_output(&*store, ROWS).await;
    coordinator.close().await;
}
