//! S3 does not answer, answers late, or did what it says it did not.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{
        HandOverRequest, JobPhase, PromoteFrom, Report, RescaleRequest, SavepointRequest, StopMode,
        StopRequest,
    },
};

use crate::harness::{
    job::{Job, Settings},
    pods::pod,
    proxy::{Fault, Proxy, Trouble},
    s3::Bucket,
    sql,
    wait::until,
};

/// A job whose pods reach S3 through a proxy; nothing runs yet.
async fn behind_a_proxy(test: &str) -> (Proxy, Job) {
    behind_a_proxy_with(test, &[]).await
}

/// The same with these variables in its pods.
async fn behind_a_proxy_with(test: &str, environment: &[(&str, &str)]) -> (Proxy, Job) {
    let bucket = Bucket::new(test);
    let proxy = Proxy::to(&bucket.endpoint).await;
    let settings = Settings {
        endpoint: Some(proxy.endpoint.clone()),
        ..Settings::default()
    };
    let mut job = Job::new(bucket, settings).await;
    job.revise(1, 2, sql::job);
    for ordinal in 0..2 {
        job.start(pod(1, ordinal), environment);
    }
    (proxy, job)
}

/// The job went through on its first attempt.
async fn nothing_restarted(job: &Job) {
    let head = job.head().await.unwrap().unwrap();
    let report = job.report(pod(1, 0)).await.unwrap();
    assert_eq!(
        (head.attempt, report.attempt, report.restarts),
        (1, Some(1), 0),
        "{:?}",
        report.last_failure
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_s3_is_away_the_job_runs_on_and_its_checkpoints_fail_and_recover() {
    let (proxy, job) = behind_a_proxy("outage").await;
    job.promote(1, PromoteFrom::Empty).await;
    let before = job.flows(pod(1, 0), 1).await;
    let outage = proxy.trouble(Fault::Unavailable, |_| true);
    let failed = |report: &Report| {
        let failed = report.checkpoint_failures.consecutive > 0 || report.error.is_some();
        failed.then(|| report.clone())
    };
    let during = job
        .reported(pod(1, 0), "that checkpoints fail", failed)
        .await;
    assert_eq!(during.phase, JobPhase::Running);
    assert!(outage.hits() > 0);
    let last = during.last_checkpoint.unwrap().id;
    drop(outage);
    job.reported(pod(1, 0), "a checkpoint after the outage", |report| {
        let newer = report.last_checkpoint.as_ref().unwrap().id > last;
        (newer && report.checkpoint_failures.consecutive == 0).then_some(())
    })
    .await;
    assert!(last >= before.last_checkpoint.unwrap().id);
    job.ends_exactly().await;
    nothing_restarted(&job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_the_store_does_not_take_is_sent_again_and_nothing_is_added_to_it() {
    let timeout = [("STREAMKEEPER_CHECKPOINT_TIMEOUT", "1s")];
    let (proxy, job) = behind_a_proxy_with("again", &timeout).await;
    job.promote(1, PromoteFrom::Empty).await;
    job.flows(pod(1, 0), 1).await;
    let keys = Arc::new(Mutex::new(BTreeSet::new()));
    let seen_keys = keys.clone();
    let outage = proxy.trouble(Fault::Unavailable, move |seen| {
        let share = seen.puts("/state/test/job/data/");
        if share {
            seen_keys.lock().unwrap().insert(seen.path.clone());
        }
        share
    });
    let timed_out = job
        .reported(
            pod(1, 0),
            "a checkpoint that timed out, and why",
            |report| {
                let why = report.checkpoint_failures.last.clone()?;
                (why.contains("timed out") && why.contains("does not answer")).then_some(why)
            },
        )
        .await;
    until(
        &format!("shares are sent again after: {timed_out}"),
        async || {
            let hits = outage.hits();
            (hits >= 40).then_some(()).ok_or_else(|| hits.to_string())
        },
    )
    .await;
    // One of each worker, whatever the number of checkpoints that would have been due.
    let keys = keys.lock().unwrap().clone();
    assert!(keys.len() <= 2, "{keys:?}");
    drop(outage);
    job.ends_exactly().await;
    nothing_restarted(&job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_commit_that_is_stuck_fails_with_its_cause_and_the_job_runs_on() {
    let timeout = [("STREAMKEEPER_COMMIT_TIMEOUT", "1s")];
    let (proxy, job) = behind_a_proxy_with("stuck", &timeout).await;
    job.promote(1, PromoteFrom::Empty).await;
    job.flows(pod(1, 0), 1).await;
    let stuck = proxy.trouble(Fault::Unavailable, |seen| seen.creates("/out/"));
    job.reported(pod(1, 0), "that output is not committed", |report| {
        let why = report.checkpoint_failures.last.as_ref()?;
        why.contains("is not committed yet").then_some(())
    })
    .await;
    let key = |key: &str| key.to_owned();
    let now = StopRequest {
        key: key("now"),
        mode: StopMode::Now,
        release: false,
    };
    let over = HandOverRequest {
        key: key("over"),
        to_revision: 2,
        to_address: None,
    };
    let rescale = RescaleRequest {
        key: key("rescale"),
        workers: 1,
    };
    let save = SavepointRequest {
        key: key("save"),
        uri: None,
    };
    for result in [
        job.carry_out(pod(1, 0), "stop", &now).await,
        job.carry_out(pod(1, 0), "hand-over", &over).await,
        job.carry_out(pod(1, 0), "rescale", &rescale).await,
        job.carry_out(pod(1, 0), "savepoint", &save).await,
    ] {
        let OperationResult::Failed { why } = result else {
            panic!("{result:?}");
        };
        assert!(why.contains("committing output of '"), "{why}");
        assert!(
            why.contains("does not answer") || why.contains("answer was lost"),
            "{why}"
        );
    }
    drop(stuck);
    job.ends_exactly().await;
    nothing_restarted(&job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_starts_while_s3_is_away_says_so_and_waits() {
    let (proxy, mut job) = behind_a_proxy("start").await;
    job.promote(1, PromoteFrom::Empty).await;
    job.flows(pod(1, 0), 1).await;
    let outage = proxy.trouble(Fault::Unavailable, |_| true);
    job.kill(pod(1, 0));
    job.start(pod(1, 0), &[]);
    job.reported(pod(1, 0), "that S3 is away", |report| {
        let error = report.error.as_ref()?;
        (report.phase == JobPhase::Standby && error.reason == "StorageUnreachable").then_some(())
    })
    .await;
    drop(outage);
    let report = job.flows(pod(1, 0), 1).await;
    assert_eq!((report.attempt, report.error), (Some(2), None));
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_slow_nothing_down_but_checkpoints() {
    let (proxy, job) = behind_a_proxy("slow").await;
    let slow = proxy.trouble(Fault::Slow(Duration::from_millis(250)), |_| true);
    job.promote(1, PromoteFrom::Empty).await;
    until("ten answers are slow", async || {
        let hits = slow.hits();
        (hits > 10).then_some(()).ok_or_else(|| hits.to_string())
    })
    .await;
    job.ends_exactly().await;
    nothing_restarted(&job).await;
}

/// Whatever a fault makes of a write that the server did, its writer finds out that it was done.
async fn finds_out(test: &str, fault: Fault) {
    let (proxy, job) = behind_a_proxy(test).await;
    let created = proxy.trouble(fault, |seen| seen.creates("/HEAD.json"));
    let swapped = proxy.trouble_every(3, fault, |seen| seen.swaps("/HEAD.json"));
    let committed = proxy.trouble_every(2, fault, |seen| seen.creates("/out/"));
    // What is written without a condition is not refused.
    let unconditional = fault != Fault::RefusedAfterSuccess;
    let stored = proxy.trouble_every(5, fault, move |seen| {
        unconditional && (seen.puts("/state/test/job/data/") || seen.puts("/manifest.json"))
    });
    job.promote(1, PromoteFrom::Empty).await;
    until("each fault strikes", async || {
        let hits = [&created, &swapped, &committed, &stored].map(Trouble::hits);
        let struck = hits[0] > 0 && hits[1] > 1 && hits[2] > 1;
        let all = struck && (hits[3] > 1 || !unconditional);
        all.then_some(()).ok_or_else(|| format!("{hits:?}"))
    })
    .await;
    job.ends_exactly().await;
    assert_eq!(stored.hits() > 1, unconditional, "{}", stored.hits());
    nothing_restarted(&job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_was_done_and_its_writer_finds_out() {
    finds_out("lost", Fault::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_refused_after_it_was_done_is_found_to_be_ones_own() {
    finds_out("refused", Fault::RefusedAfterSuccess).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_done_and_answered_with_an_error_is_not_done_twice() {
    finds_out("error", Fault::ErrorAfterSuccess).await;
}
