//! A coordinator is frozen, its successor takes over, and it wakes up; a worker is frozen, given
//! up, and wakes up.

use std::{fmt, time::Duration};

use rustix::process::Signal;
use streamkeeper_protocol::{
    head::Head,
    job_api::{JobPhase, PauseReason},
};

#[cfg(feature = "test-unfenced")]
use crate::harness::process::BINARY;
use crate::harness::{
    job::{Job, Settings},
    pods::{PodName, pod},
    process::Ended,
    relay::Relay,
    wait::within,
};

const ZOMBIE: PodName = PodName {
    revision: 1,
    ordinal: 0,
    copy: 0,
};
const SUCCESSOR: PodName = PodName {
    revision: 1,
    ordinal: 0,
    copy: 1,
};
/// Exit code of a process that lost HEAD.
const FENCED: Ended = Ended::Code(3);
/// By then a zombie has ended, or has done its worst.
const LIMIT: Duration = Duration::from_secs(40);

/// What came of it.
enum Verdict {
    /// The zombie ended because it lost HEAD; the ledger is exact.
    Fenced,
    /// Two processes took themselves for the owner.
    TwoOwners(String),
    /// Rows are lost, or there twice.
    WrongLedger(String),
    /// Neither of it in time.
    Undecided(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced => f.write_str("the zombie was fenced"),
            Self::TwoOwners(what) => write!(f, "two owners: {what}"),
            Self::WrongLedger(what) => write!(f, "wrong ledger: {what}"),
            Self::Undecided(what) => write!(f, "undecided: {what}"),
        }
    }
}

/// Freezes pod 0, lets a successor take over and get ahead, wakes the frozen one and watches.
async fn wake_a_zombie(test: &str, workers: u32, environment: &[(&str, &str)]) -> Verdict {
    let settings = Settings {
        rows: 2_700,
        ..Settings::default()
    };
    let mut job = Job::new(crate::harness::s3::Bucket::new(test), settings).await;
    job.revise(1, workers, crate::harness::sql::job);
    let relay = Relay::to(job.control_of(ZOMBIE)).await;
    job.route(1, &relay.address);
    job.start(ZOMBIE, environment);
    for ordinal in 1..workers {
        job.start(pod(1, ordinal), &[]);
    }
    let empty = streamkeeper_protocol::job_api::PromoteFrom::Empty;
    job.promote(1, empty).await;
    job.flows(ZOMBIE, 2).await;
    job.signal(ZOMBIE, Signal::STOP);
    let before = job.head().await.unwrap().unwrap();

    let control = job.control_of(SUCCESSOR);
    job.start(SUCCESSOR, &[]);
    relay.turn_to(control);
    let report = job.flows(SUCCESSOR, 2).await;
    assert!(report.attempt > Some(before.attempt), "{report:?}");
    let taken = job.head().await.unwrap().unwrap();
    assert_ne!(taken.token, before.token);

    job.signal(ZOMBIE, Signal::CONT);
    let verdict = judge(&mut job, taken).await;
    println!("{test}: {verdict}");
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_was_displaced_stands_by_when_its_container_starts_again() {
    let settings = Settings {
        rows: 2_700,
        ..Settings::default()
    };
    let mut job = Job::new(crate::harness::s3::Bucket::new("displaced"), settings).await;
    job.revise(1, 1, crate::harness::sql::job);
    let cut_off = [("STREAMKEEPER_POD_UID", "cut-off")];
    job.start(ZOMBIE, &cut_off);
    let empty = streamkeeper_protocol::job_api::PromoteFrom::Empty;
    job.promote(1, empty).await;
    job.flows(ZOMBIE, 1).await;
    job.start(SUCCESSOR, &[("STREAMKEEPER_POD_UID", "replacement")]);
    assert_eq!(job.end_of(ZOMBIE).await, FENCED);
    job.flows(SUCCESSOR, 1).await;
    let attempt = job.head().await.unwrap().unwrap().attempt;

    job.start(ZOMBIE, &cut_off);
    job.reported(ZOMBIE, "that it stands by", |report| {
        (report.phase == JobPhase::Standby).then_some(())
    })
    .await;
    job.flows(SUCCESSOR, 2).await;
    assert_eq!(job.ended(SUCCESSOR), None);
    let head = job.head().await.unwrap().unwrap();
    assert_eq!((head.attempt, head.pod.as_str()), (attempt, "replacement"));
    assert_eq!(head.displaced, ["cut-off"]);
}

async fn judge(job: &mut Job, mut newest: Head) -> Verdict {
    // Whether a write of HEAD took it away from the successor.
    let mut owners = None;
    let fenced = within(LIMIT, "the zombie ends", async || {
        if let Ok(Some(head)) = job.head().await {
            if head.attempt < newest.attempt
                || head.seq < newest.seq
                || (head.attempt == newest.attempt && head.token != newest.token)
            {
                owners = Some(format!(
                    "HEAD went from attempt {} write {} to attempt {} write {}",
                    newest.attempt, newest.seq, head.attempt, head.seq
                ));
                return Ok(None);
            }
            newest = head;
        }
        if let Some(ended) = job.ended(SUCCESSOR) {
            owners = Some(format!("the successor gave way: {ended:?}"));
            return Ok(None);
        }
        job.ended(ZOMBIE)
            .map(Some)
            .ok_or_else(|| "it runs".to_owned())
    })
    .await;
    match fenced {
        _ if owners.is_some() => return Verdict::TwoOwners(owners.unwrap_or_default()),
        Ok(Some(FENCED)) => {}
        other => return Verdict::Undecided(format!("the zombie: {other:?}")),
    }
    let head = match job.completed(LIMIT).await {
        Ok(head) => head,
        Err(seen) => return Verdict::Undecided(seen),
    };
    match job.ledger(&head).await {
        Ok(_) => Verdict::Fenced,
        Err(differences) => Verdict::WrongLedger(differences),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_frozen_worker_reads_when_it_wakes_up_does_not_shorten_the_pause() {
    let settings = Settings {
        rows: 3_600,
        ..Settings::default()
    };
    let mut job = Job::running("frozen-worker", settings, 2).await;
    job.flows(pod(1, 0), 1).await;
    job.signal(pod(1, 1), Signal::STOP);
    let lost = job
        .reported(pod(1, 0), "that the worker is lost", |report| {
            let failure = report.last_failure.as_ref()?;
            (failure.worker == Some(1)).then_some(failure.at_ms)
        })
        .await;
    // It stays frozen for longer than the clocks of this test are wrong.
    tokio::time::sleep(Duration::from_secs(1)).await;
    job.signal(pod(1, 1), Signal::CONT);
    let pause = job
        .reported(pod(1, 0), "records again", |report| {
            let pause = report.pauses.first()?;
            pause.first_after_ms.is_some().then(|| pause.clone())
        })
        .await;
    println!("lost at {lost}, pause: {pause:?}");
    assert_eq!(pause.reason, PauseReason::Failure);
    assert!(pause.last_before_ms <= lost, "lost at {lost}: {pause:?}");
    assert!(pause.first_after_ms >= Some(lost + 1_000), "{pause:?}");
    job.ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_with_a_whole_job_of_its_own_is_fenced() {
    let verdict = wake_a_zombie("zombie", 1, &[]).await;
    assert!(matches!(verdict, Verdict::Fenced), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_whose_worker_went_to_its_successor_is_fenced() {
    let verdict = wake_a_zombie("zombie-of-two", 2, &[]).await;
    assert!(matches!(verdict, Verdict::Fenced), "{verdict}");
}

/// Without the condition on HEAD's writes the same must turn red, or the two tests above prove
/// nothing.
#[cfg(feature = "test-unfenced")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_fence_a_zombie_takes_the_job_back() {
    let switch = "STREAMKEEPER_TEST_UNFENCED";
    // Two builds of Cargo share one place for the binary.
    assert!(
        binary_knows(switch),
        "{BINARY} is of a build without the feature test-unfenced, which took the place of this test's; run it again alone"
    );
    let unfenced = [(switch, "1")];
    for workers in [1, 2] {
        let test = format!("unfenced-{workers}");
        let verdict = wake_a_zombie(&test, workers, &unfenced).await;
        let red = matches!(verdict, Verdict::TwoOwners(_) | Verdict::WrongLedger(_));
        assert!(red, "nobody noticed that the fence is off: {verdict}");
    }
}

#[cfg(feature = "test-unfenced")]
fn binary_knows(name: &str) -> bool {
    let binary = std::fs::read(BINARY).unwrap();
    binary
        .windows(name.len())
        .any(|bytes| bytes == name.as_bytes())
}
