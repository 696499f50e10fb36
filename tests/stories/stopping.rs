//! Suspension, resumption and completion: the state is kept.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::{Phase, TransitionKind};
use streamkeeper_harness::{kubelet::Exit, script::Script, story::Story};
use streamkeeper_protocol::head::RunState;

use super::{rolling_back::rollback_that_does_not_come_up, upgrading::running};

const MINUTE: Duration = Duration::from_mins(1);

// Elsewhere: numaproj/numaflow#2331.
async fn suspending_keeps_the_state_and_resuming_goes_on_from_it(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    assert!(story.pods().is_empty() && story.running_sets().is_empty());
    let stopped = story.head("delays").expect("a HEAD");
    assert_eq!(stopped.state, RunState::Stopped);
    assert_eq!(story.status("delays").phase, Some(Phase::Suspended));
    assert!(story.is_ready("delays"), "suspended as asked is as asked");

    story.edit("delays", json!({ "suspend": false }));
    story
        .until("it runs again", |story| story.runner("delays").is_some())
        .await;
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(head.attempt, stopped.attempt + 1);
    assert_eq!(story.condition("delays", "Suspended").0, "False");
    let status = story.status("delays");
    assert_eq!(
        status.restarts.map_or(0, |restarts| restarts.count),
        0,
        "a resumption is no failure"
    );
    let kinds: Vec<_> = status.history.iter().map(|entry| entry.kind).collect();
    assert!(!kinds.contains(&TransitionKind::Restore), "{kinds:?}");
    let events = story.events();
    assert!(
        !events.contains(&"JobRestarting".to_owned()),
        "a resumption is no failure: {events:?}"
    );
    assert!(
        events.contains(&"JobSuspended".to_owned()) && events.contains(&"JobResumed".to_owned()),
        "{events:?}"
    );
}

async fn a_coordinator_that_dies_while_it_saves_for_a_suspension_is_followed_by_one_that_suspends(
    story: &mut Story,
) {
    story.script(
        "runtime:1",
        Script {
            dies_saving_for_stop: Some(Exit::error("panicked")),
            ..Script::default()
        },
    );
    running(story).await;
    story.edit(
        "delays",
        json!({ "suspend": true, "snapshots": { "onSuspend": "Take" } }),
    );
    story.suspended("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(head.state, RunState::Stopped);
    let last = head.last.expect("a restore point").checkpoint;
    let [saved] = &head.savepoints[..] else {
        panic!("{:?}", head.savepoints);
    };
    assert_eq!(saved.checkpoint, last, "the savepoint is stale");
}

async fn a_spec_changed_while_suspended_is_what_resumes(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    let stopped = story
        .head("delays")
        .and_then(|head| head.last)
        .expect("a checkpoint");
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "workers": { "replicas": 3 }, "suspend": false }),
    );
    story.ready("delays").await;
    let status = story.status("delays");
    assert_eq!(
        status.effective.expect("what it runs with").image,
        "runtime:2"
    );
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(head.workers, 3);
    assert!(head.last.expect("a checkpoint").checkpoint >= stopped.checkpoint);
}

// Elsewhere: FLINK-39043, FLINK-37370, FLINK-39507, stackabletech/spark-k8s-operator#457.
async fn a_completed_job_gives_its_pods_back_and_goes_when_its_time_is_up(story: &mut Story) {
    story.script(
        "runtime:1",
        Script {
            input_ends: true,
            ..Script::default()
        },
    );
    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "ttlAfterCompletion": "10m" }),
    );
    story
        .until("it is complete", |story| {
            story.status("delays").phase == Some(Phase::Completed)
        })
        .await;
    assert!(story.is_ready("delays"), "there is nothing left to do");
    assert!(story.events().contains(&"JobCompleted".to_owned()));
    story
        .until("its pods are gone", |story| story.pods().is_empty())
        .await;
    story.restart_operator(|_| {});
    story
        .stays(
            "it stays complete, with nobody left to ask",
            5 * MINUTE,
            |story| {
                story.status("delays").phase == Some(Phase::Completed) && story.pods().is_empty()
            },
        )
        .await;
    story
        .until("its time is up", |story| story.find("delays").is_none())
        .await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(head.state, RunState::Completed, "its state stays");
}

async fn a_job_that_is_born_suspended_starts_when_told(story: &mut Story) {
    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "suspend": true }),
    );
    story.suspended("delays").await;
    story
        .stays("nothing is started", 5 * MINUTE, |story| {
            story.pods().is_empty() && story.head("delays").is_none()
        })
        .await;
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(1));
}

async fn suspending_in_the_middle_of_an_upgrade_keeps_the_state(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    assert_eq!(
        story.head("delays").map(|head| head.state),
        Some(RunState::Stopped)
    );
    assert!(story.pods().is_empty());
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    assert_eq!(
        story
            .status("delays")
            .effective
            .expect("what it runs with")
            .image,
        "runtime:2"
    );
}

async fn suspending_in_the_middle_of_a_rescale_keeps_the_state(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "workers": { "replicas": 4 } }));
    story.effect("call rescale").await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    let stopped = story.head("delays").expect("a HEAD");
    assert_eq!(
        (stopped.workers, stopped.state),
        (4, RunState::Stopped),
        "it has moved before it stopped"
    );
    assert!(story.pods().is_empty());
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.workers), (1, 4));
    let numbers = [&stopped, &head].map(|head| head.last.as_ref().map(|last| last.checkpoint));
    assert!(numbers[0].is_some() && numbers[0] <= numbers[1]);
}

async fn suspending_while_workers_are_added_cancels_the_rescale(story: &mut Story) {
    running(story).await;
    story.world().cluster.full = Some("0/3 nodes are available: 3 Insufficient cpu".to_owned());
    story.edit("delays", json!({ "workers": { "replicas": 4 } }));
    story.stalled("delays", "Unschedulable").await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    let stopped = story.head("delays").expect("a HEAD");
    assert_eq!(
        (stopped.workers, stopped.attempt, stopped.state),
        (2, 1, RunState::Stopped),
        "it never moved"
    );
    assert!(story.pods().is_empty());
    story.world().cluster.full = None;
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    assert_eq!(story.head("delays").map(|head| head.workers), Some(4));
}

async fn a_suspension_that_cannot_be_carried_out_can_be_taken_back(story: &mut Story) {
    story.script(
        "runtime:1",
        Script {
            final_checkpoint_fails: Some("the store does not answer".to_owned()),
            ..Script::default()
        },
    );
    running(story).await;
    let before = story.head("delays").expect("a HEAD").attempt;
    story.edit("delays", json!({ "suspend": true }));
    story
        .until("the savepoint failed", |story| {
            story
                .message("delays", "Reconciling")
                .contains("the store does not answer")
        })
        .await;
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    assert_eq!(
        story.head("delays").map(|head| (head.attempt, head.state)),
        Some((before, RunState::Running)),
        "it never stopped"
    );
}

async fn suspending_ends_a_rollback_that_does_not_come_up(story: &mut Story) {
    rollback_that_does_not_come_up(story).await;
    let before = story.head("delays").and_then(|head| head.last);
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    assert!(story.pods().is_empty());
    assert_eq!(story.head("delays").and_then(|head| head.last), before);
}

/// What a job was told about the snapshot that its spec asks for.
pub fn told_of_snapshots(story: &Story) -> Vec<String> {
    let told = story.noted().into_iter();
    told.filter(|(reason, _)| reason == "SnapshotFailed")
        .map(|(_, note)| note)
        .collect()
}

async fn a_suspension_that_leaves_no_snapshot_says_so(story: &mut Story) {
    running(story).await;
    let misfit = Script::incompatible("the key of operator 3 changed");
    story.script("runtime:1", misfit);
    story.kill("delays-r1-0", Exit::error("panicked"));
    story.stalled("delays", "StateIncompatible").await;
    story.edit(
        "delays",
        json!({ "suspend": true, "snapshots": { "onSuspend": "Take" } }),
    );
    story.suspended("delays").await;
    let told = told_of_snapshots(story);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("spec.snapshots.onSuspend")
            && told[0].contains("the key of operator 3 changed"),
        "{told:?}"
    );
}

stories![
    suspending_keeps_the_state_and_resuming_goes_on_from_it,
    a_coordinator_that_dies_while_it_saves_for_a_suspension_is_followed_by_one_that_suspends,
    a_spec_changed_while_suspended_is_what_resumes,
    a_completed_job_gives_its_pods_back_and_goes_when_its_time_is_up,
    a_job_that_is_born_suspended_starts_when_told,
    suspending_in_the_middle_of_a_rescale_keeps_the_state,
    suspending_while_workers_are_added_cancels_the_rescale,
    suspending_in_the_middle_of_an_upgrade_keeps_the_state,
    a_suspension_that_cannot_be_carried_out_can_be_taken_back,
    suspending_ends_a_rollback_that_does_not_come_up,
    a_suspension_that_leaves_no_snapshot_says_so,
];
