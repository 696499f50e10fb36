//! What users of other operators met, told of this one. Each story names where they told it;
//! `docs/elsewhere.md` has them all.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::Phase;
use streamkeeper_harness::{
    interference::{Fate, Interference},
    kubelet::Exit,
    script::Script,
    story::Story,
};
use streamkeeper_protocol::head::RunState;

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

/// Number of the newest checkpoint that HEAD names.
fn newest(story: &Story) -> u64 {
    let last = story.head("delays").and_then(|head| head.last);
    last.expect("a checkpoint").checkpoint
}

// FLINK-41262: a suspended job came back from scratch when its coordinator was started again, and
// its status said that it was suspended.
async fn a_job_that_was_stopped_stays_so_when_its_containers_start_again(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story
        .until("it is stopped", |story| {
            story
                .head("delays")
                .is_some_and(|head| head.state == RunState::Stopped)
        })
        .await;
    story.stop_operator();
    let stopped = story.head("delays");
    for pod in ["delays-r1-0", "delays-r1-1"] {
        story.kill(pod, Exit::error("killed"));
    }
    story
        .stays("nobody takes it up", 10 * MINUTE, |story| {
            story.head("delays") == stopped && story.pods().len() == 2
        })
        .await;

    story.start_operator();
    story.suspended("delays").await;
    assert_eq!(story.head("delays"), stopped);
    let kept = newest(story);
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    assert!(newest(story) >= kept, "it goes on from where it stopped");
    let attempts = story.head("delays").map(|head| head.attempt);
    assert_eq!(attempts, stopped.map(|head| head.attempt + 1));
}

// FLINK-39270: what a slow coordinator had left behind made an upgrade go back further than it had
// to.
async fn an_upgrade_that_waited_for_a_slow_coordinator_goes_on_from_its_newest_checkpoint(
    story: &mut Story,
) {
    running(story).await;
    story.world().jobs.silence("delays");
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.pass(5 * MINUTE).await;
    assert_eq!(story.runner("delays"), Some(1), "it runs on, unheard");
    let meanwhile = newest(story);

    story.world().jobs.rewrite("delays", &Script::default());
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(2));
    let from = story.status("delays").history[0].restored_from;
    assert!(
        from.expect("a restore point") > meanwhile,
        "a savepoint after {meanwhile}"
    );
}

// FLINK-30527, FLINK-26577: a job that was suspended without a savepoint lost its state with the
// next version.
async fn a_job_that_could_not_be_stopped_well_keeps_its_state_through_another_version(
    story: &mut Story,
) {
    running(story).await;
    let crash = Script {
        crash_once_running: Some(Exit::error("out of file descriptors")),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &crash);
    story.script("runtime:1", crash);
    story.stalled("delays", "CrashLooping").await;
    let (kept, lineage) = (newest(story), story.head("delays").map(|head| head.lineage));
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;

    story.edit("delays", json!({ "image": "runtime:2", "suspend": false }));
    story.ready("delays").await;
    let head = story.head("delays");
    assert!(newest(story) >= kept, "{head:?}");
    assert_eq!(head.map(|head| head.lineage), lineage, "not from nothing");
    assert_eq!(story.runner("delays"), Some(2));
}

// FLINK-35857, ArroyoSystems/arroyo#802, ArroyoSystems/arroyo#688: a failed job did not go on from
// its newest checkpoint, or from one that was gone.
async fn a_job_that_failed_goes_on_from_its_newest_checkpoint_and_no_snapshot(story: &mut Story) {
    running(story).await;
    story.snapshot("early", json!({ "jobRef": { "name": "delays" } }));
    story.saved("early").await;
    let saved = newest(story);
    story
        .until("there are newer ones", |story| newest(story) > saved + 2)
        .await;
    let kept = newest(story);
    story.kill("delays-r1-0", Exit::error("killed"));
    story
        .until("it runs again", |story| {
            story.head("delays").is_some_and(|head| head.attempt == 2) && story.is_ready("delays")
        })
        .await;
    let restored = story.status("delays").last_restore.expect("a restore");
    assert!(restored.checkpoint >= kept, "{restored:?}, after {kept}");
}

// FLINK-38858: a job ran twice because its submission was tried again.
async fn a_job_whose_start_is_not_heard_of_starts_once(story: &mut Story) {
    for calls in ["create apps/statefulsets", "call promote"] {
        story.interfere(Interference::next(2, calls, Fate::AnswerLost));
    }
    running(story).await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.attempt), (1, 1));
    assert_eq!(story.pods(), ["delays-r1-0", "delays-r1-1"]);
    let restarts = story.status("delays").restarts;
    assert_eq!(restarts.map_or(0, |restarts| restarts.count), 0);
}

// GoogleCloudPlatform/flink-on-k8s-operator#398, GoogleCloudPlatform/flink-on-k8s-operator#401,
// GoogleCloudPlatform/flink-on-k8s-operator#412: after its coordinator was started again a job was
// called lost or failed for ever although it ran.
async fn a_job_whose_coordinator_is_started_again_is_never_called_failed(story: &mut Story) {
    running(story).await;
    let mut seen = Vec::new();
    story.kill("delays-r1-0", Exit::error("killed"));
    story
        .until("it runs again", |story| {
            let phase = story.status("delays").phase.expect("a phase");
            if seen.last() != Some(&phase) {
                seen.push(phase);
            }
            story.head("delays").is_some_and(|head| head.attempt == 2) && story.is_ready("delays")
        })
        .await;
    let fine = [Phase::Running, Phase::Restoring];
    assert!(seen.iter().all(|phase| fine.contains(phase)), "{seen:?}");
    assert_eq!(seen.last(), Some(&Phase::Running));
}

// stackabletech/spark-k8s-operator#457, FLINK-39043, FLINK-37370, FLINK-39507: another operator
// started every job that had ended once more.
async fn another_operator_leaves_alone_what_has_ended_or_waits_for_a_person(story: &mut Story) {
    let bounded = Script {
        input_ends: true,
        ..Script::default()
    };
    story.script("FROM archive", bounded);
    story.script("SELEC 1", Script::invalid_sql("1:1: SELEC is no statement"));
    for (name, sql) in [
        ("done", "INSERT INTO late SELECT * FROM archive"),
        ("wrong", "SELEC 1"),
        ("asleep", "SELECT 1"),
    ] {
        story.create(name, json!({ "sql": { "text": sql } }));
    }
    story
        .until("one has ended", |story| {
            story.status("done").phase == Some(Phase::Completed)
        })
        .await;
    story.stalled("wrong", "InvalidSQL").await;
    story.ready("asleep").await;
    story.edit("asleep", json!({ "suspend": true }));
    story.suspended("asleep").await;
    story
        .until("only the wrong one has pods", |story| {
            story.pods() == ["wrong-r1-0"]
        })
        .await;
    story.pass(MINUTE).await;

    story.world().effects.clear();
    story.restart_operator(|_| {});
    story.pass(10 * MINUTE).await;
    let calls = story.effects();
    assert!(
        !calls
            .iter()
            .any(|call| call.starts_with("create") || call.starts_with("call")),
        "{calls:?}"
    );
    assert_eq!(story.pods(), ["wrong-r1-0"]);
}

stories![
    a_job_that_was_stopped_stays_so_when_its_containers_start_again,
    an_upgrade_that_waited_for_a_slow_coordinator_goes_on_from_its_newest_checkpoint,
    a_job_that_could_not_be_stopped_well_keeps_its_state_through_another_version,
    a_job_that_failed_goes_on_from_its_newest_checkpoint_and_no_snapshot,
    a_job_whose_start_is_not_heard_of_starts_once,
    a_job_whose_coordinator_is_started_again_is_never_called_failed,
    another_operator_leaves_alone_what_has_ended_or_waits_for_a_person,
];
