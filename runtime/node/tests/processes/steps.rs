//! A process dies at a step of the protocol, and is started again.

use streamkeeper_control::failpoint;
use streamkeeper_protocol::{
    head::{Head, OperationResult, RunState},
    job_api::{HandOverRequest, JobPhase, PromoteFrom, StopMode, StopRequest},
};
use streamkeeper_storage::read_savepoint;

use crate::harness::{
    job::{Job, Settings},
    pods::pod,
    process::Ended,
    proxy::{Fault, Proxy},
    s3::Bucket,
    sql,
};

/// What HEAD must say while the process is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The checkpoint under way never became the restore point.
    TheOneBefore,
    /// It did, and no record says that its output is committed.
    Uncommitted,
}

/// The second checkpoint is the one that goes wrong: there is something to restore by then.
const SECOND: u64 = 2;

macro_rules! a_process_dies {
    ($($test:ident: $step:ident of pod $pod:literal, then $then:ident;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            dies_at(failpoint::$step, $pod, Then::$then).await;
        }
    )* };
}

a_process_dies! {
    a_worker_dies_with_its_state_frozen: CHECKPOINT_FROZEN of pod 1, then TheOneBefore;
    a_worker_dies_with_its_share_stored: CHECKPOINT_STORED of pod 1, then TheOneBefore;
    a_worker_dies_before_it_commits: COMMIT_ASKED of pod 1, then Uncommitted;
    a_worker_dies_with_its_output_committed: COMMIT_DONE of pod 1, then Uncommitted;
    pod_0_dies_with_its_state_frozen: CHECKPOINT_FROZEN of pod 0, then TheOneBefore;
    a_coordinator_dies_with_all_shares: SHARES_COMPLETE of pod 0, then TheOneBefore;
    a_coordinator_dies_with_the_manifest_written: MANIFEST_WRITTEN of pod 0, then TheOneBefore;
    a_coordinator_dies_with_head_written: HEAD_WRITTEN of pod 0, then Uncommitted;
    a_coordinator_dies_with_all_output_committed: COMMITS_CONFIRMED of pod 0, then Uncommitted;
}

async fn dies_at(step: &str, victim: u32, then: Then) {
    let mut job = Job::new(Bucket::new(step), Settings::default()).await;
    job.revise(1, 2, sql::job);
    let armed = format!("{step}:{SECOND}");
    for ordinal in 0..2 {
        let arm = [(failpoint::VARIABLE, armed.as_str())];
        let environment = if ordinal == victim { &arm[..] } else { &[] };
        job.start(pod(1, ordinal), environment);
    }
    job.promote(1, PromoteFrom::Empty).await;

    assert_eq!(job.end_of(pod(1, victim)).await, Ended::ABORTED, "{armed}");
    if victim == 0 {
        // No other process writes HEAD.
        check(&job.head().await.unwrap().unwrap(), then);
    }
    job.start(pod(1, victim), &[]);
    job.ends_exactly().await;
    let head = job.head().await.unwrap().unwrap();
    assert!(head.attempt > 1, "nobody restarted");
}

fn check(head: &Head, then: Then) {
    let last = head.last.as_ref().unwrap();
    let expected = match then {
        Then::TheOneBefore => (SECOND - 1, head.has_open_commits()),
        Then::Uncommitted => (SECOND, true),
    };
    assert_eq!(
        (last.checkpoint, head.has_open_commits()),
        expected,
        "{then:?}: {last:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_dies_with_half_its_output_committed() {
    dies_with_half(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_0_dies_with_half_its_output_committed() {
    dies_with_half(0).await;
}

/// Of the first checkpoint one table is committed, another refused, and the pod dies before it can
/// try again.
async fn dies_with_half(victim: u32) {
    let bucket = Bucket::new("commit-half");
    let proxy = Proxy::to(&bucket.endpoint).await;
    let settings = Settings {
        endpoint: Some(proxy.endpoint.clone()),
        ..Settings::default()
    };
    let mut job = Job::new(bucket, settings).await;
    job.revise(1, 2, sql::job);
    let refused = proxy.trouble(Fault::Unavailable, |seen| seen.creates("/out/counts/"));
    // Two of its two or three tables: one of them at least is committed.
    let armed = format!("{}:2", failpoint::COMMIT_HALF);
    job.start(pod(1, victim), &[(failpoint::VARIABLE, &armed)]);
    job.start(pod(1, 1 - victim), &[]);
    job.promote(1, PromoteFrom::Empty).await;
    assert_eq!(job.end_of(pod(1, victim)).await, Ended::ABORTED);
    let of_victim = format!("-{victim}-000000000001.json");
    let committed = job.bucket.read_all("out").await.into_iter();
    let committed: Vec<String> = committed
        .map(|(name, _)| name)
        .filter(|name| name.ends_with(&of_victim))
        .collect();
    assert!(!committed.is_empty(), "nothing is committed");
    let refused_is_there = committed.iter().any(|name| name.starts_with("counts/"));
    assert!(!refused_is_there, "{committed:?}");
    drop(refused);
    job.start(pod(1, victim), &[]);
    job.ends_exactly().await;
    assert!(job.head().await.unwrap().unwrap().attempt > 1);
}

/// Revision 1 dies at a step of its hand-over to revision 2, which stands by.
async fn dies_handing_over(step: &str) -> Job {
    let mut job = Job::new(Bucket::new(step), Settings::default()).await;
    job.revise(1, 1, sql::job);
    job.start(pod(1, 0), &[(failpoint::VARIABLE, step)]);
    job.promote(1, PromoteFrom::Empty).await;
    job.flows(pod(1, 0), 1).await;
    job.revise(2, 1, sql::job);
    job.start_all(2);
    job.compatible(pod(2, 0)).await;
    let asked = job
        .ask(pod(1, 0), "hand-over", &to_second(&job, "first"))
        .await;
    asked.unwrap();
    assert_eq!(job.end_of(pod(1, 0)).await, Ended::ABORTED);
    job
}

/// A job dies at a step of its stop with savepoint; its next coordinator finishes the stop, and the
/// same key is answered.
async fn dies_stopping(step: &str) {
    let mut job = Job::new(Bucket::new(step), Settings::default()).await;
    job.revise(1, 1, sql::job);
    job.start(pod(1, 0), &[(failpoint::VARIABLE, step)]);
    job.promote(1, PromoteFrom::Empty).await;
    job.flows(pod(1, 0), 1).await;
    let request = StopRequest {
        key: "suspend".to_owned(),
        mode: StopMode::Savepoint,
        release: false,
    };
    job.ask(pod(1, 0), "stop", &request).await.unwrap();
    assert_eq!(job.end_of(pod(1, 0)).await, Ended::ABORTED);
    let head = job.head().await.unwrap().unwrap();
    let open = head.open_stop().map(|stop| stop.key.as_str());
    assert_eq!((head.state, open), (RunState::Running, Some("suspend")));
    let last = head.last.unwrap().checkpoint;

    job.start(pod(1, 0), &[]);
    job.reported(pod(1, 0), "that it answers", |_| Some(()))
        .await;
    let result = job.carry_out(pod(1, 0), "stop", &request).await;
    let OperationResult::Done {
        checkpoint,
        uri: Some(uri),
    } = &result
    else {
        panic!("no savepoint: {result:?}");
    };
    assert_eq!(*checkpoint, Some(last));
    let folder = uri
        .strip_prefix(&format!("s3://{}/", job.bucket.name))
        .unwrap();
    let (_, manifest, _) = read_savepoint(&*job.bucket.store, folder).await.unwrap();
    assert_eq!(manifest.checkpoint, last);
    let head = job.head().await.unwrap().unwrap();
    assert_eq!(head.state, RunState::Stopped);
    assert_eq!(head.last.unwrap().checkpoint, last);
    job.promote(1, PromoteFrom::Head).await;
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(report.restored_from, Some(last));
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_whose_coordinator_dies_before_the_savepoint_is_copied_is_finished_by_the_next_one()
{
    dies_stopping(failpoint::STOP_PINNED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_whose_coordinator_dies_with_the_savepoint_complete_is_finished_by_the_next_one() {
    dies_stopping(failpoint::STOP_SAVED).await;
}

fn to_second(job: &Job, key: &str) -> HandOverRequest {
    HandOverRequest {
        key: key.to_owned(),
        to_revision: 2,
        to_address: Some(job.api_of(pod(2, 0))),
    }
}

// Elsewhere: FLINK-33522.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_dies_before_it_hands_over_runs_on_and_hands_over_when_asked_again() {
    let mut job = dies_handing_over(failpoint::HAND_OVER_READY).await;
    let head = job.head().await.unwrap().unwrap();
    assert_eq!((head.state, head.revision), (RunState::Running, 1));
    let last = head.last.clone().unwrap();
    job.start(pod(1, 0), &[]);
    let report = job.flows(pod(1, 0), 0).await;
    assert_eq!(report.restored_from, Some(last.checkpoint));
    let again = job
        .carry_out(pod(1, 0), "hand-over", &to_second(&job, "second"))
        .await;
    assert!(matches!(again, OperationResult::Done { .. }), "{again:?}");
    job.flows(pod(2, 0), 0).await;
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_finds_out_by_itself_and_a_predecessor_that_comes_back_stands_by() {
    let mut job = dies_handing_over(failpoint::HANDED_OVER).await;
    job.flows(pod(2, 0), 0).await;
    job.start(pod(1, 0), &[]);
    job.reported(pod(1, 0), "that it stands by", |report| {
        (report.phase == JobPhase::Standby).then_some(())
    })
    .await;
    job.ends_exactly().await;
    let head = job.head().await.unwrap().unwrap();
    assert_eq!(head.revision, 2);
    assert_eq!(job.ended(pod(1, 0)), None);
}
