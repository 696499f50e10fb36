//! What is asked of a running job: more workers, fewer, other SQL, a stop and a new start.

use streamkeeper_protocol::{
    head::{OperationResult, RunState},
    job_api::{
        HandOverRequest, JobPhase, PauseReason, Preflight, PreflightVerdict, PromoteFrom,
        RescaleRequest, StopMode, StopRequest,
    },
    manifest::CheckpointKind,
};
use streamkeeper_storage::{read_manifest, read_savepoint};

use crate::harness::{
    job::{Job, Settings},
    pods::pod,
    process::Ended,
    s3::Bucket,
    sql,
    wait::until,
};

/// The checkpoint that an operation left.
fn done(result: &OperationResult) -> u64 {
    match result {
        OperationResult::Done {
            checkpoint: Some(checkpoint),
            ..
        } => *checkpoint,
        other => panic!("{other:?}"),
    }
}

async fn rescale(job: &Job, workers: u32) {
    let request = RescaleRequest {
        key: format!("to-{workers}"),
        workers,
    };
    let result = job.carry_out(pod(1, 0), "rescale", &request).await;
    let from = done(&result);
    let pause = job
        .reported(pod(1, 0), "records on the new workers", |report| {
            let pause = report.pauses.first()?;
            let over = report.phase == JobPhase::Running && pause.first_after_ms.is_some();
            (over && report.parallelism == workers).then(|| pause.clone())
        })
        .await;
    assert_eq!(
        (pause.reason, pause.restored_from),
        (PauseReason::Rescale, Some(from))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_moves_from_one_worker_to_three_and_to_two_in_the_middle_of_its_input() {
    let settings = Settings {
        rows: 2_700,
        ..Settings::default()
    };
    let mut job = Job::running("rescale", settings, 1).await;
    job.flows(pod(1, 0), 1).await;
    job.start(pod(1, 1), &[]);
    job.start(pod(1, 2), &[]);
    rescale(&job, 3).await;
    job.flows(pod(1, 0), 1).await;
    rescale(&job, 2).await;
    // The pod that is not needed any more goes, and the job runs on.
    job.kill(pod(1, 2));
    job.ends_exactly().await;
    let head = job.head().await.unwrap().unwrap();
    assert_eq!(head.workers, 2);
    let report = job.report(pod(1, 0)).await.unwrap();
    assert_eq!(report.restarts, 0, "{:?}", report.last_failure);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_restarts_remembers_how_many_workers_there_are() {
    let mut job = Job::running("rescaled", Settings::default(), 1).await;
    job.flows(pod(1, 0), 1).await;
    job.start(pod(1, 1), &[]);
    rescale(&job, 2).await;
    job.kill(pod(1, 0));
    job.start(pod(1, 0), &[]);
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(report.parallelism, 2);
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_over_to_a_revision_with_one_aggregate_more() {
    let settings = Settings {
        rows: 2_700,
        ..Settings::default()
    };
    let mut job = Job::running("hand-over", settings, 2).await;
    job.flows(pod(1, 0), 1).await;
    job.revise(2, 2, sql::job_with_worst);
    job.start_all(2);
    job.compatible(pod(2, 0)).await;
    let request = HandOverRequest {
        key: "upgrade".to_owned(),
        to_revision: 2,
        to_address: Some(job.api_of(pod(2, 0))),
    };
    let result = job.carry_out(pod(1, 0), "hand-over", &request).await;
    let last = done(&result);
    let (from, pause) = job
        .reported(pod(2, 0), "records of the new revision", |report| {
            let pause = report.pauses.first()?;
            let over = report.phase == JobPhase::Running && pause.first_after_ms.is_some();
            over.then(|| (report.restored_from, pause.clone()))
        })
        .await;
    assert_eq!(
        (from, pause.reason, pause.restored_from),
        (Some(last), PauseReason::HandOver, Some(last))
    );
    println!("pause: {pause:?}");
    let old = job.report(pod(1, 0)).await.unwrap();
    assert_eq!((old.phase, old.restarts), (JobPhase::Stopped, 0));
    for ordinal in 0..2 {
        job.signal(pod(1, ordinal), rustix::process::Signal::TERM);
        assert_eq!(job.end_of(pod(1, ordinal)).await, Ended::Code(0));
    }
    let tally = job.ends_exactly().await;
    assert!(tally.worst_of_all > 20, "{tally:?}");
    assert_eq!(job.head().await.unwrap().unwrap().revision, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_with_one_pod_of_three_proves_itself_and_waits_for_the_rest_when_it_is_promoted()
{
    let settings = Settings {
        rows: 2_700,
        ..Settings::default()
    };
    let mut job = Job::running("standby-first", settings, 1).await;
    job.flows(pod(1, 0), 1).await;
    job.revise(2, 3, sql::job_with_worst);
    job.start(pod(2, 0), &[("STREAMKEEPER_STANDBY", "First")]);
    job.compatible(pod(2, 0)).await;
    let request = HandOverRequest {
        key: "upgrade".to_owned(),
        to_revision: 2,
        to_address: Some(job.api_of(pod(2, 0))),
    };
    job.carry_out(pod(1, 0), "hand-over", &request).await;
    job.reported(pod(2, 0), "that it waits for its workers", |report| {
        (report.phase == JobPhase::WaitingForWorkers).then_some(())
    })
    .await;
    for ordinal in 1..3 {
        job.start(pod(2, ordinal), &[]);
    }
    let report = job.flows(pod(2, 0), 0).await;
    assert_eq!(report.parallelism, 3);
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_that_wants_all_its_pods_is_not_ready_with_one() {
    let mut job = Job::new(Bucket::new("standby-full"), Settings::default()).await;
    job.revise(1, 2, sql::job);
    job.start(pod(1, 0), &[]);
    let waits = until("the preflight waits for worker 1", async || {
        let address = job.api_of(pod(1, 0));
        let preflight: Preflight = job.caller().get(&address, "/v1/preflight").await?;
        let waits = preflight.message.contains("waiting for workers [1]");
        waits.then_some(preflight.verdict).ok_or(preflight.message)
    });
    assert_eq!(waits.await, PreflightVerdict::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_is_asked_to_end_leaves_nothing_to_read_again() {
    let mut job = Job::running("terminate", Settings::default(), 2).await;
    job.flows(pod(1, 0), 1).await;
    job.signal(pod(1, 0), rustix::process::Signal::TERM);
    assert_eq!(job.end_of(pod(1, 0)).await, Ended::Code(0));
    let head = job.head().await.unwrap().unwrap();
    let last = head.last.clone().unwrap();
    let manifest = read_manifest(&*job.bucket.store, &last.manifest).await;
    assert_eq!(manifest.unwrap().kind, CheckpointKind::Final);
    assert_eq!(
        (head.state, head.has_open_commits()),
        (RunState::Running, false)
    );
    job.start(pod(1, 0), &[]);
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(report.restored_from, Some(last.checkpoint));
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_stopped_with_a_savepoint_goes_on_from_there() {
    let mut job = Job::running("stop", Settings::default(), 2).await;
    job.flows(pod(1, 0), 1).await;
    let request = StopRequest {
        key: "suspend".to_owned(),
        mode: StopMode::Savepoint,
        release: false,
    };
    let result = job.carry_out(pod(1, 0), "stop", &request).await;
    let last = done(&result);
    let OperationResult::Done { uri: Some(uri), .. } = &result else {
        panic!("no savepoint: {result:?}");
    };
    let folder = uri
        .strip_prefix(&format!("s3://{}/", job.bucket.name))
        .unwrap();
    let (_, manifest, _) = read_savepoint(&*job.bucket.store, folder).await.unwrap();
    assert_eq!(manifest.checkpoint, last);
    let head = job.head().await.unwrap().unwrap();
    assert_eq!(head.state, RunState::Stopped);
    assert_eq!(head.last.unwrap().checkpoint, last);
    for ordinal in 0..2 {
        job.signal(pod(1, ordinal), rustix::process::Signal::TERM);
        assert_eq!(job.end_of(pod(1, ordinal)).await, Ended::Code(0));
    }
    job.start_all(1);
    job.reported(pod(1, 0), "that it stands by", |report| {
        (report.phase == JobPhase::Standby).then_some(())
    })
    .await;
    job.promote(1, PromoteFrom::Head).await;
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(report.restored_from, Some(last));
    let pause = job
        .reported(pod(1, 0), "the end of the pause", |report| {
            let pause = report.pauses.first()?;
            pause.first_after_ms.map(|_| pause.clone())
        })
        .await;
    assert_eq!(
        (pause.reason, pause.restored_from),
        (PauseReason::Resume, Some(last))
    );
    job.ends_exactly().await;
}
