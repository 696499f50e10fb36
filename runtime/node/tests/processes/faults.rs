//! S3 does not answer, answers late, or did what it says it did not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use streamkeeper_control::failpoint;
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{
        HandOverRequest, JobPhase, PromoteFrom, Report, RescaleRequest, SavepointRequest, StopMode,
        StopRequest,
    },
};

use crate::harness::{
    job::{HURRY, HURRY_VARIABLE, Job, Settings},
    ledger::{self, Part},
    pods::pod,
    process::{Ended, command},
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

/// How often each object of the output was written, over the life of a job whose coordinator died
/// once at this step.
async fn writes_of_output(test: &str, step: &str) -> BTreeMap<String, u32> {
    let bucket = Bucket::new(test);
    let proxy = Proxy::to(&bucket.endpoint).await;
    let settings = Settings {
        endpoint: Some(proxy.endpoint.clone()),
        ..Settings::default()
    };
    let mut job = Job::new(bucket, settings).await;
    let writes: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let seen_writes = writes.clone();
    let _seen = proxy.trouble(Fault::Unavailable, move |seen| {
        if seen.puts("/out/") {
            let mut writes = seen_writes.lock().unwrap();
            *writes.entry(seen.path.clone()).or_default() += 1;
        }
        false
    });
    job.revise(1, 2, sql::job);
    job.start(pod(1, 0), &[(failpoint::VARIABLE, step)]);
    job.start(pod(1, 1), &[]);
    job.promote(1, PromoteFrom::Empty).await;
    assert_eq!(job.end_of(pod(1, 0)).await, Ended::ABORTED);
    job.start(pod(1, 0), &[]);
    job.ends_exactly().await;
    assert!(job.head().await.unwrap().unwrap().attempt > 1);
    let writes = writes.lock().unwrap().clone();
    assert!(!writes.is_empty());
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_no_output_again_that_head_says_is_committed() {
    let step = format!("{}:3", failpoint::SHARES_COMPLETE);
    let writes = writes_of_output("confirmed", &step).await;
    let again: Vec<_> = writes.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.is_empty(), "{again:?}");
    // The control: what is not confirmed is committed again.
    let step = format!("{}:2", failpoint::COMMITS_CONFIRMED);
    let writes = writes_of_output("unconfirmed", &step).await;
    assert!(writes.values().any(|times| *times > 1), "{writes:?}");
}

// The first write of all is refused, and of each object that the job is made of the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_write_that_is_refused_is_tried_again_like_any_other() {
    let bucket = Bucket::new("first-write");
    let proxy = Proxy::to(&bucket.endpoint).await;
    let job = Job::new(bucket, Settings::default()).await;
    let known: Mutex<BTreeSet<String>> = Mutex::default();
    let refused = proxy.trouble(Fault::Unavailable, move |seen| {
        if seen.method != "PUT" {
            return false;
        }
        let mut known = known.lock().unwrap();
        let path = seen.path.split('?').next().unwrap_or_default();
        // A probe of the store has a new name each time.
        let of_the_job = ["/HEAD.json", "/data/", "/manifest.json", "/out/"];
        let first = known.is_empty() || of_the_job.iter().any(|part| path.contains(part));
        known.insert(path.to_owned()) && first
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.sql");
    let text = sql::job(&sql::Places {
        input: &job.bucket.uri("in/"),
        output: &job.bucket.uri("out"),
        rows_per_second: 1_000_000,
    });
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join(HURRY), "").unwrap();
    let mut run = command();
    run.env_remove("RUST_LOG");
    run.env(HURRY_VARIABLE, folder.path().join(HURRY));
    run.arg("run").arg(&file);
    run.args(["--storage", &job.bucket.uri("state")]);
    run.args(["--endpoint", &proxy.endpoint]);
    run.args(["--checkpoint-interval", "500ms"]);
    let output = tokio::task::spawn_blocking(move || run.output().unwrap());
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    // HEAD, a share or a manifest, and a file of each table.
    assert!(refused.hits() >= 5, "{} were refused", refused.hits());
    let parts = job.bucket.read_all("out").await.into_iter();
    let parts = parts.map(|(name, content)| {
        let (table, file) = name.split_once('/').unwrap();
        let table = ["passed", "windows", "counts"]
            .into_iter()
            .find(|known| *known == table);
        Part::read(table.unwrap(), file, &content)
    });
    let parts = parts.collect::<Result<Vec<_>, _>>().unwrap();
    let checked = ledger::check(&job.rows, &parts);
    checked.unwrap_or_else(|differences| panic!("{differences}"));
}

/// What a log says of each restart: the wait before it, and the checkpoint that it goes on from.
fn restarts(log: &str) -> Vec<(u64, u64)> {
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}="))?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    };
    log.lines()
        .filter_map(|line| Some((field(line, "pause_ms")?, field(line, "restored_from")?)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_cause_stays_the_waits_grow_and_empty_checkpoints_do_not_shorten_them() {
    let (proxy, mut job) = behind_a_proxy_with("stays", &[("NO_COLOR", "1")]).await;
    // The record that cannot be read comes late: each attempt takes some checkpoints before it
    // fails.
    job.bucket.put("in/0003.json", "no record\n").await;
    let _late = proxy.trouble(Fault::Slow(Duration::from_millis(1_500)), |seen| {
        seen.method == "GET" && seen.path.contains("/in/0003.json")
    });
    job.promote(1, PromoteFrom::Empty).await;
    job.hurry();
    let mut seen = Vec::new();
    until("the waits grow to 1.6 s", async || {
        seen = restarts(&job.said(pod(1, 0)));
        let grown = seen.last().is_some_and(|(pause, _)| *pause >= 1_600);
        grown.then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
    let last: Vec<u64> = seen.iter().rev().take(4).map(|(pause, _)| *pause).collect();
    assert_eq!(last, [1_600, 800, 400, 200], "{seen:?}");
    // The control: there was a checkpoint between any two of them, and it held nothing new.
    let from: Vec<u64> = seen.iter().rev().take(4).map(|(_, from)| *from).collect();
    assert!(from.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}
