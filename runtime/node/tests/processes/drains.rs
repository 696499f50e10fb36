//! Pods are asked to end: a node is drained, a pod evicted.

use rustix::process::Signal;
use streamkeeper_protocol::{
    head::LastCheckpoint,
    job_api::{JobPhase, PromoteFrom, Report},
    manifest::{CheckpointKind, Manifest},
};
use streamkeeper_storage::read_manifest;

use crate::harness::{
    job::{Job, Settings},
    pods::pod,
    process::Ended,
    proxy::{Fault, Proxy},
    s3::Bucket,
    sql,
};

/// Records that must have been read since the last checkpoint before anything happens.
const FAR: u64 = 300;

/// No checkpoint comes by itself.
fn settings() -> Settings {
    Settings {
        rows: 2_700,
        checkpoint_interval: "0",
        ..Settings::default()
    }
}

/// Takes a savepoint, so that there is something to go back to, and lets the job get ahead of it.
async fn gets_ahead(job: &Job) -> Report {
    let name = pod(1, 0);
    job.flows(name, 0).await;
    let (saved, _) = job.save(name, "one").await;
    let (_, manifest) = restore_point(job).await;
    assert_eq!(manifest.checkpoint, saved);
    job.reported(name, "that it is far ahead", |report| {
        (report.records_in >= manifest.records_in + FAR).then(|| report.clone())
    })
    .await
}

async fn restore_point(job: &Job) -> (LastCheckpoint, Manifest) {
    let head = job.head().await.unwrap().unwrap();
    let last = head.last.unwrap();
    let manifest = read_manifest(&*job.bucket.store, &last.manifest).await;
    (last, manifest.unwrap())
}

/// What the coordinator tells once it waits for a worker.
async fn waits_for_worker(job: &Job) -> Report {
    job.reported(pod(1, 0), "that it waits for a worker", |report| {
        let waits = report.phase == JobPhase::WaitingForWorkers && report.last_failure.is_some();
        waits.then(|| report.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_end_takes_a_checkpoint_first_and_nothing_is_read_again() {
    let mut job = Job::running("drain", settings(), 2).await;
    let before = gets_ahead(&job).await;
    job.signal(pod(1, 1), Signal::TERM);
    assert_eq!(job.end_of(pod(1, 1)).await, Ended::Code(0));
    let report = waits_for_worker(&job).await;
    let (last, manifest) = restore_point(&job).await;
    assert_eq!(manifest.kind, CheckpointKind::Final);
    assert!(manifest.records_in >= before.records_in, "{manifest:?}");
    let failure = report.last_failure.unwrap();
    assert_eq!(
        (failure.terminated, failure.worker, failure.restored_from),
        (true, Some(1), Some(last.checkpoint)),
        "{failure:?}"
    );
    assert!(last.committed, "{last:?}");
    job.start(pod(1, 1), &[]);
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(
        (report.restored_from, report.restarts),
        (Some(last.checkpoint), 1)
    );
    job.ends_exactly().await;
}

/// Negative control: without the goodbye the same job goes back, and reads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_throws_the_job_back_to_its_last_checkpoint() {
    let mut job = Job::running("no-drain", settings(), 2).await;
    let before = gets_ahead(&job).await;
    let (last, _) = restore_point(&job).await;
    job.kill(pod(1, 1));
    let report = waits_for_worker(&job).await;
    let failure = report.last_failure.unwrap();
    assert_eq!(
        (failure.terminated, failure.restored_from),
        (false, Some(last.checkpoint)),
        "{failure:?}"
    );
    let (same, manifest) = restore_point(&job).await;
    assert_eq!(same.checkpoint, last.checkpoint);
    assert!(manifest.records_in + FAR <= before.records_in);
    job.start(pod(1, 1), &[]);
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pods_that_are_asked_to_end_at_once_leave_nothing_to_read_again() {
    let mut job = Job::running("drain-all", settings(), 2).await;
    let before = gets_ahead(&job).await;
    for ordinal in [1, 0] {
        job.signal(pod(1, ordinal), Signal::TERM);
    }
    for ordinal in [0, 1] {
        assert_eq!(job.end_of(pod(1, ordinal)).await, Ended::Code(0));
    }
    let (last, manifest) = restore_point(&job).await;
    assert_eq!(manifest.kind, CheckpointKind::Final);
    assert!(manifest.records_in >= before.records_in, "{manifest:?}");
    job.start_all(1);
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(report.restored_from, Some(last.checkpoint));
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_leaves_in_time_even_if_no_checkpoint_can_be_taken() {
    let bucket = Bucket::new("drain-outage");
    let proxy = Proxy::to(&bucket.endpoint).await;
    let settings = Settings {
        endpoint: Some(proxy.endpoint.clone()),
        ..settings()
    };
    let mut job = Job::new(bucket, settings).await;
    job.revise(1, 2, sql::job);
    job.start(pod(1, 0), &[]);
    job.start(pod(1, 1), &[("STREAMKEEPER_GRACE", "3s")]);
    job.promote(1, PromoteFrom::Empty).await;
    gets_ahead(&job).await;
    let (last, _) = restore_point(&job).await;
    let outage = proxy.trouble(Fault::Unavailable, |seen| seen.puts("/data/"));
    job.signal(pod(1, 1), Signal::TERM);
    assert_eq!(job.end_of(pod(1, 1)).await, Ended::Code(0));
    let report = waits_for_worker(&job).await;
    let failure = report.last_failure.unwrap();
    assert_eq!(
        (failure.terminated, failure.restored_from),
        (true, Some(last.checkpoint)),
        "{failure:?}"
    );
    assert!(outage.hits() > 0);
    drop(outage);
    job.start(pod(1, 1), &[]);
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_nothing_runs_on_leaves_at_once() {
    let mut job = Job::new(Bucket::new("drain-idle"), settings()).await;
    job.revise(1, 2, sql::job);
    job.start_all(1);
    job.compatible(pod(1, 0)).await;
    job.signal(pod(1, 1), Signal::TERM);
    assert_eq!(job.end_of(pod(1, 1)).await, Ended::Code(0));
}
