//! A job goes back to a savepoint, or another one goes on from it.

use rustix::process::Signal;
use streamkeeper_control::failpoint;
use streamkeeper_protocol::{
    head::{Head, OperationResult, RunState},
    job_api::{Preflight, PreflightVerdict, PromoteFrom, SavepointRequest, StopMode, StopRequest},
};
use streamkeeper_storage::{Condition, savepoint::delete_savepoint};

use crate::harness::{
    job::{Job, Settings},
    ledger,
    pods::pod,
    process::{Ended, command},
    proxy::{Fault, Proxy},
    s3::Bucket,
    sql,
    wait::{PATIENCE, until},
};

fn settings() -> Settings {
    Settings {
        rows: 4_000,
        ..Settings::default()
    }
}

/// A job that has a savepoint and went on for some checkpoints since; the checkpoint it holds, and
/// its URI.
async fn gone_on(test: &str, workers: u32) -> (Job, u64, String) {
    let job = Job::running(test, settings(), workers).await;
    let before = job.flows(pod(1, 0), 1).await.checkpoints_in_attempt;
    let (saved, uri) = job.save(pod(1, 0), "one").await;
    job.flows(pod(1, 0), before + 3).await;
    let head = job.head().await.unwrap().unwrap();
    assert!(head.last.unwrap().checkpoint > saved + 1);
    (job, saved, uri)
}

/// Folder of a savepoint in the bucket.
fn folder(job: &Job, uri: &str) -> String {
    let bucket = format!("s3://{}/", job.bucket.name);
    uri.strip_prefix(&bucket).unwrap().to_owned()
}

/// The checkpoint that a promotion started from.
fn started_from(result: &OperationResult) -> u64 {
    match result {
        OperationResult::Done {
            checkpoint: Some(checkpoint),
            ..
        } => *checkpoint,
        other => panic!("{other:?}"),
    }
}

/// Stops the first revision and ends its pods.
async fn stop(job: &mut Job, workers: u32) -> Head {
    let request = StopRequest {
        key: "stop".to_owned(),
        mode: StopMode::Checkpoint,
        release: false,
    };
    job.carry_out(pod(1, 0), "stop", &request).await;
    for ordinal in 0..workers {
        job.signal(pod(1, ordinal), Signal::TERM);
        assert_eq!(job.end_of(pod(1, ordinal)).await, Ended::Code(0));
    }
    let head = job.head().await.unwrap().unwrap();
    assert_eq!(head.state, RunState::Stopped);
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_goes_back_to_an_older_savepoint_and_loses_nothing() {
    let (mut job, saved, uri) = gone_on("restore", 2).await;
    let lineage = job.head().await.unwrap().unwrap().lineage;
    job.revise(2, 1, sql::job);
    job.start_all(2);
    let from = || PromoteFrom::Savepoint { uri: uri.clone() };
    let first = job.promote_as("restore", 2, from()).await;
    let restored = started_from(&first.result);
    // Nothing that comes later needs the savepoint.
    delete_savepoint(&*job.bucket.store, &folder(&job, &uri), None)
        .await
        .unwrap();
    let again = job.promote_as("restore", 2, from()).await;
    assert_eq!(again, first);
    let report = job.flows(pod(2, 0), 1).await;
    assert_eq!(report.restored_from, Some(restored));
    let head = job.head().await.unwrap().unwrap();
    assert_eq!((head.revision, head.lineage), (2, lineage));
    // The old revision hears it from HEAD.
    assert_eq!(job.end_of(pod(1, 0)).await, Ended::Code(3));
    job.kill(pod(2, 0));
    job.start(pod(2, 0), &[]);
    job.ends_exactly_without(saved + 1..restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restore_left_behind_becomes_a_savepoint_again() {
    let (mut job, saved, uri) = gone_on("salvage", 1).await;
    let root = format!("s3://{}/{}", job.bucket.name, job.paths.root());
    let (code, said) = on_uri(&job, "salvage", &root);
    assert!(code == Some(1) && said.contains("names no state"), "{said}");
    job.revise(2, 1, sql::job);
    job.start_all(2);
    job.promote(2, PromoteFrom::Savepoint { uri }).await;
    job.flows(pod(2, 0), 3).await;
    let left = job.head().await.unwrap().unwrap().left.unwrap();
    assert!(left.checkpoint > saved, "the newest of the old revision");
    let (code, said) = on_uri(&job, "salvage", &root);
    assert_eq!(code, Some(0), "{said}");
    let salvaged = said.trim();
    let (code, said) = on_uri(&job, "verify", salvaged);
    let of = format!("checkpoint {} of revision 1", left.checkpoint);
    assert!(code == Some(0) && said.contains(&of), "{code:?} {said}");
    // The job goes forward again to where it was.
    job.revise(3, 1, sql::job);
    job.start_all(3);
    let uri = salvaged.to_owned();
    job.promote(3, PromoteFrom::Savepoint { uri }).await;
    job.flows(pod(3, 0), 0).await;
    job.completed(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_says_of_a_savepoint_whether_it_could_start_from_it() {
    let (mut job, saved, uri) = gone_on("restore-check", 1).await;
    job.revise(2, 1, sql::job);
    job.start_all(2);
    let newest = checked(&job, None, PreflightVerdict::Compatible).await;
    assert!(newest.checked_against > Some(saved), "{newest:?}");
    let older = checked(&job, Some(&uri), PreflightVerdict::Compatible).await;
    assert_eq!(
        (older.checked_against, older.from.as_deref()),
        (Some(saved), Some(uri.as_str()))
    );
    let nowhere = job.bucket.uri("saved/none here");
    checked(&job, Some(&nowhere), PreflightVerdict::SnapshotNotFound).await;
    let damaged = format!("{}/data/", folder(&job, &uri));
    for object in job.bucket.store.list(&damaged).await.unwrap() {
        job.bucket.store.delete(&object.key).await.unwrap();
    }
    checked(&job, Some(&uri), PreflightVerdict::RestoreFailed).await;
    let head = job.head().await.unwrap().unwrap();
    assert_eq!((head.revision, head.attempt), (1, 1), "nothing happened");
}

/// Waits for this answer of revision 2.
async fn checked(job: &Job, from: Option<&str>, verdict: PreflightVerdict) -> Preflight {
    let path = from.map_or("/v1/preflight".to_owned(), |uri| {
        format!("/v1/preflight?from={}", uri.replace(' ', "%20"))
    });
    until(&format!("{path} answers {verdict:?}"), async || {
        let answer: Preflight = job.caller().get(&job.api_of(pod(2, 0)), &path).await?;
        if answer.verdict == verdict {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_job_goes_on_from_a_savepoint_under_a_lineage_of_its_own() {
    let (mut job, saved, uri) = gone_on("fork", 2).await;
    let stopped = stop(&mut job, 2).await;
    let mut fork = job.beside(Settings {
        name: "fork",
        output: "forked",
        ..settings()
    });
    fork.revise(1, 1, sql::job);
    fork.start_all(1);
    let operation = fork
        .promote_as("fork", 1, PromoteFrom::Savepoint { uri })
        .await;
    assert_eq!(started_from(&operation.result), 1);
    let head = fork.completed(PATIENCE).await.unwrap();
    assert_ne!(head.lineage, stopped.lineage);
    let mut parts = job.parts(&stopped).await.unwrap();
    parts.retain(|part| part.checkpoint <= saved);
    for mut part in fork.parts(&head).await.unwrap() {
        // Numbers of a new lineage begin again; here they come after.
        part.checkpoint += 1_000_000;
        parts.push(part);
    }
    let checked = ledger::check(&fork.rows, &parts);
    checked.unwrap_or_else(|differences| panic!("{differences}"));
    assert_eq!(job.head().await.unwrap().unwrap(), stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_whose_output_commits_slowly_is_complete_only_once_a_start_elsewhere_loses_nothing()
 {
    let bucket = Bucket::new("slow-commit");
    let proxy = Proxy::to(&bucket.endpoint).await;
    let mut job = Job::new(
        bucket,
        Settings {
            // The savepoint is the only checkpoint.
            checkpoint_interval: "1h",
            endpoint: Some(proxy.endpoint.clone()),
            ..settings()
        },
    )
    .await;
    job.revise(1, 1, sql::job);
    job.start_all(1);
    job.promote(1, PromoteFrom::Empty).await;
    job.flows(pod(1, 0), 0).await;
    let slow = proxy.trouble(Fault::Unavailable, |seen| seen.creates("/out/"));
    let request = SavepointRequest {
        key: "slow".to_owned(),
        uri: None,
    };
    job.ask(pod(1, 0), "savepoint", &request).await.unwrap();
    let saved = until("HEAD pins the savepoint", async || {
        let head = job.head().await?.ok_or("no HEAD")?;
        let pinned = head.savepoints.first().map(|known| known.checkpoint);
        pinned.ok_or_else(|| format!("{:?}", head.last))
    })
    .await;
    // Its commit is tried for longer than a copy takes.
    until("the commit is tried again and again", async || {
        let hits = slow.hits();
        (hits > 8).then_some(()).ok_or_else(|| hits.to_string())
    })
    .await;
    let head = job.head().await.unwrap().unwrap();
    assert!(!head.is_committed(saved) && !head.savepoints[0].complete);
    assert_eq!(job.bucket.read_all("out").await.len(), 0);
    drop(slow);
    let result = job.carry_out(pod(1, 0), "savepoint", &request).await;
    let OperationResult::Done {
        checkpoint,
        uri: Some(uri),
    } = result
    else {
        panic!("{result:?}");
    };
    assert_eq!(checkpoint, Some(saved));
    job.kill(pod(1, 0));
    let head = job.head().await.unwrap().unwrap();
    assert!(head.is_committed(saved), "{:?}", head.last);
    let mut fork = job.beside(Settings {
        name: "fork",
        output: "forked",
        ..settings()
    });
    fork.revise(1, 1, sql::job);
    fork.start_all(1);
    fork.promote(1, PromoteFrom::Savepoint { uri }).await;
    let forked = fork.completed(PATIENCE).await.unwrap();
    let mut parts = job.parts(&head).await.unwrap();
    parts.retain(|part| part.checkpoint <= saved);
    assert!(!parts.is_empty(), "nothing was written before");
    for mut part in fork.parts(&forked).await.unwrap() {
        part.checkpoint += 1_000_000;
        parts.push(part);
    }
    let checked = ledger::check(&fork.rows, &parts);
    checked.unwrap_or_else(|differences| panic!("{differences}"));
}

macro_rules! a_restore_is_cut_short {
    ($($test:ident: $step:ident, then $taken:literal;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            dies_restoring(failpoint::$step, $taken).await;
        }
    )* };
}

a_restore_is_cut_short! {
    a_restore_dies_with_the_savepoint_copied: SAVEPOINT_COPIED, then false;
    a_restore_dies_with_its_manifest_written: SAVEPOINT_IMPORTED, then false;
    a_restore_dies_with_head_written: SAVEPOINT_CLAIMED, then true;
}

/// Revision 2 dies at a step of its start from a savepoint; `taken`: HEAD is its own by then.
async fn dies_restoring(step: &str, taken: bool) {
    let (mut job, saved, uri) = gone_on(step, 1).await;
    let before = stop(&mut job, 1).await;
    job.revise(2, 1, sql::job);
    job.start(pod(2, 0), &[(failpoint::VARIABLE, step)]);
    let from = || PromoteFrom::Savepoint { uri: uri.clone() };
    let asked = async {
        let request = serde_json::json!({"key": "restore", "revision": 2, "from": from()});
        until("the process takes the call, and dies", async || {
            match job.ask(pod(2, 0), "promote", &request).await {
                Ok(answer) => panic!("{answer:?}"),
                // Not listening yet is refused at once; a process that dies breaks off.
                Err(error) if error.contains("Connect") => Err(error),
                Err(_) => Ok(()),
            }
        })
        .await;
    };
    asked.await;
    assert_eq!(job.end_of(pod(2, 0)).await, Ended::ABORTED);
    let head = job.head().await.unwrap().unwrap();
    if taken {
        assert_eq!((head.revision, head.state), (2, RunState::Running));
    } else {
        assert_eq!(head, before, "nothing happened");
    }
    job.start(pod(2, 0), &[]);
    let operation = job.promote_as("restore", 2, from()).await;
    let restored = started_from(&operation.result);
    if taken {
        assert_eq!(Some(restored), head.last.map(|last| last.checkpoint));
    }
    job.flows(pod(2, 0), 0).await;
    job.ends_exactly_without(saved + 1..restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_owner_that_wakes_after_a_restore_is_fenced() {
    let (mut job, saved, uri) = gone_on("restore-zombie", 1).await;
    job.signal(pod(1, 0), Signal::STOP);
    let before = job.head().await.unwrap().unwrap();
    job.revise(2, 1, sql::job);
    job.start_all(2);
    let operation = job
        .promote_as("restore", 2, PromoteFrom::Savepoint { uri })
        .await;
    let restored = started_from(&operation.result);
    job.flows(pod(2, 0), 1).await;
    job.signal(pod(1, 0), Signal::CONT);
    assert_eq!(job.end_of(pod(1, 0)).await, Ended::Code(3));
    let head = job.head().await.unwrap().unwrap();
    assert!(head.attempt > before.attempt);
    job.ends_exactly_without(saved + 1..restored).await;
}

/// `streamjob-runtime verify` of a URI: its exit code and what it said.
fn verify(job: &Job, uri: &str) -> (Option<i32>, String) {
    on_uri(job, "verify", uri)
}

/// A command about a URI: its exit code and what it said.
fn on_uri(job: &Job, word: &str, uri: &str) -> (Option<i32>, String) {
    let mut command = command();
    command.env_remove("RUST_LOG");
    command.arg(word).arg(uri);
    command.arg(format!("--endpoint={}", job.bucket.endpoint));
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_that_was_taken_is_whole_and_a_flipped_bit_in_it_is_found() {
    let (job, saved, uri) = gone_on("verify", 2).await;
    let (code, said) = verify(&job, &uri);
    assert!(
        code == Some(0) && said.contains(&format!("checkpoint {saved} of revision 1")),
        "{code:?} {said}"
    );
    let store = &job.bucket.store;
    let data = store
        .list(&format!("{}/data/", folder(&job, &uri)))
        .await
        .unwrap();
    let key = &data.last().unwrap().key;
    let mut bytes = store.get(key).await.unwrap().bytes.to_vec();
    bytes[0] ^= 1;
    store
        .put(key, bytes.into(), Condition::Always)
        .await
        .unwrap();
    let (code, said) = verify(&job, &uri);
    assert!(
        code == Some(1) && said.contains(key) && said.contains("damaged"),
        "{code:?} {said}"
    );
    let (code, said) = verify(&job, &job.bucket.uri("saved/none"));
    assert!(
        code == Some(1) && said.contains("no savepoint"),
        "{code:?} {said}"
    );
}
