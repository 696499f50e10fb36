//! Processes die at any moment.

use std::time::Duration;

use serde_json::{Value, json};
use streamkeeper_protocol::{
    head::{Head, OperationResult, RunState},
    job_api::{JobPhase, PromoteFrom},
};

use crate::harness::{
    dice::Dice,
    job::{Job, Settings},
    ledger,
    pods::{PodName, pod},
    s3::Bucket,
    sql,
    wait::{PATIENCE, until},
};

/// Kills of one run.
const KILLS: u32 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_and_coordinator_killed_at_random_moments_lose_and_double_nothing() {
    let mut dice = Dice::thrown("kills");
    let settings = Settings {
        rows: 3_000,
        slots: 2,
        ..Settings::default()
    };
    let mut job = Job::running("kills", settings, 2).await;
    let mut killed = [0, 0];
    for round in 0..KILLS {
        // Both kinds of pod in any case; after that whichever, or both at once. Some die while they
        // restore.
        let victims: &[u32] = match round {
            0 => &[0],
            1 => &[1],
            _ => [&[0][..], &[1], &[0, 1]][usize::try_from(dice.below(3)).unwrap()],
        };
        if dice.below(4) > 0 && !flows(&job).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(600))).await;
        println!("kill {round}: pods {victims:?}");
        for victim in victims {
            job.kill(pod(1, *victim));
            killed[*victim as usize] += 1;
        }
        for victim in victims {
            job.start(pod(1, *victim), &[]);
        }
    }
    assert!(
        killed[0] > 0 && killed[1] > 0,
        "too late for a fault: {killed:?}"
    );
    job.ends_exactly().await;
    let head = job.head().await.unwrap().unwrap();
    assert!(head.attempt > 1, "nobody restarted: {}", head.attempt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_records_may_count_again_a_killed_worker_loses_none() {
    let mut job = Job::new(Bucket::new("at-least-once"), Settings::default()).await;
    job.revise(1, 2, sql::job);
    let lenient = [("STREAMKEEPER_GUARANTEE", "AtLeastOnce")];
    for ordinal in 0..2 {
        job.start(pod(1, ordinal), &lenient);
    }
    job.promote(1, PromoteFrom::Empty).await;
    for victim in [1, 0] {
        job.flows(pod(1, 0), 1).await;
        job.kill(pod(1, victim));
        job.start(pod(1, victim), &lenient);
    }
    let head = job.completed(PATIENCE).await.unwrap();
    assert!(head.attempt > 2, "{head:?}");
    let parts = job.parts(&head).await.unwrap();
    let again = ledger::check_nothing_lost(&job.rows, &parts);
    println!("{} rows again", again.unwrap());
}

/// Waits for records; whether there are any more.
async fn flows(job: &Job) -> bool {
    until("records flow, or the job is complete", async || {
        let head = job.head().await?.ok_or("there is no HEAD")?;
        if head.state == RunState::Completed {
            return Ok(false);
        }
        let report = job.report(pod(1, 0)).await?;
        let flows = report.phase == JobPhase::Running && report.records_in_attempt > 0;
        flows.then_some(true).ok_or_else(|| format!("{report:?}"))
    })
    .await
}

/// Asks under new keys, as the operator does, until HEAD says that it was done.
async fn insist(
    job: &Job,
    name: PodName,
    call: &str,
    request: impl Fn(&str) -> Value,
    done: impl Fn(&Head) -> bool,
) {
    let mut tries = 0;
    until(&format!("{call} goes through"), async || {
        let head = job.head().await?.ok_or("there is no HEAD")?;
        if done(&head) {
            return Ok(());
        }
        let request = request(&format!("{call}-{tries}"));
        match job.ask(name, call, &request).await?.result {
            OperationResult::Running => Err(format!("try {tries} runs")),
            ended => {
                tries += 1;
                Err(format!("try {}: {ended:?}", tries - 1))
            }
        }
    })
    .await;
}

/// Kills some of these pods at a random moment, and starts them again.
async fn kill_some(job: &mut Job, dice: &mut Dice, pods: &[PodName]) {
    tokio::time::sleep(Duration::from_millis(dice.below(350))).await;
    let first = usize::try_from(dice.below(pods.len() as u64)).unwrap();
    let second = usize::try_from(dice.below(pods.len() as u64)).unwrap();
    let mut victims = vec![pods[first], pods[second]];
    victims.dedup();
    for victim in &victims {
        println!("kill {victim}");
        job.kill(*victim);
    }
    for victim in victims {
        job.start(victim, &[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rescales_and_hand_overs_go_through_while_processes_are_killed() {
    let mut dice = Dice::thrown("changes");
    let settings = Settings {
        rows: 3_600,
        ..Settings::default()
    };
    let mut job = Job::running("changes", settings, 1).await;
    job.flows(pod(1, 0), 1).await;

    job.start(pod(1, 1), &[]);
    let to_two = |key: &str| json!({"key": key, "workers": 2});
    let _ = job.ask(pod(1, 0), "rescale", &to_two("rescale-0")).await;
    kill_some(&mut job, &mut dice, &[pod(1, 0), pod(1, 1)]).await;
    insist(&job, pod(1, 0), "rescale", to_two, |head| head.workers == 2).await;
    flows(&job).await;

    job.revise(2, 2, sql::job_with_worst);
    job.start_all(2);
    job.compatible(pod(2, 0)).await;
    let to_second = |key: &str| json!({"key": key, "to_revision": 2, "to_address": null});
    let _ = job
        .ask(pod(1, 0), "hand-over", &to_second("hand-over-0"))
        .await;
    let all = [pod(1, 0), pod(1, 1), pod(2, 0), pod(2, 1)];
    kill_some(&mut job, &mut dice, &all).await;
    insist(&job, pod(1, 0), "hand-over", to_second, |head| {
        head.revision == 2 || head.state == RunState::HandingOver { to: 2 }
    })
    .await;
    kill_some(&mut job, &mut dice, &all).await;
    job.ends_exactly().await;
    let head = job.head().await.unwrap().unwrap();
    assert_eq!((head.revision, head.workers), (2, 2));
}
