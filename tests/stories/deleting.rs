//! Deletion: the state is kept, and it always ends.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::names::FINALIZER;
use streamkeeper_harness::{
    coordinator::HeadStore,
    kubelet::Exit,
    script::Script,
    story::{NAMESPACE, Story},
};
use streamkeeper_protocol::head::RunState;

use super::{stopping::told_of_snapshots, upgrading::running};

const MINUTE: Duration = Duration::from_mins(1);

async fn deletion_releases_the_state_and_removes_the_finalizer(story: &mut Story) {
    running(story).await;
    assert_eq!(
        story.job("delays").metadata.finalizers,
        Some(vec![FINALIZER.to_owned()])
    );
    let before = story
        .head("delays")
        .and_then(|head| head.last)
        .expect("a checkpoint");
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let head = story.head("delays").expect("the state stays");
    assert_eq!(head.state, RunState::Released);
    assert!(
        head.last.expect("a checkpoint").checkpoint > before.checkpoint,
        "a last checkpoint was taken"
    );
    story
        .until("everything of it is gone", |story| {
            story.pods().is_empty() && story.running_sets().is_empty()
        })
        .await;
}

// Elsewhere: FLINK-31860, FLINK-37766, FLINK-39618, lyft/flinkk8soperator#119,
// lyft/flinkk8soperator#154, numaproj/numaflow#2415.
async fn deletion_with_nobody_answering_ends_after_the_timeout(story: &mut Story) {
    story.script("runtime:1", Script::default());
    running(story).await;
    story.world().jobs.silence("delays");
    story.delete("delays");
    story
        .stays("it waits for an answer", MINUTE, |story| {
            story.find("delays").is_some()
        })
        .await;
    let limit = story.settings.delete_timeout;
    let began = story.now();
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let took = story.now().as_millisecond() - began.as_millisecond();
    assert!(
        u128::try_from(took).unwrap() < limit.as_millis(),
        "{took} ms"
    );
    assert_eq!(
        story.head("delays").map(|head| head.state),
        Some(RunState::Running),
        "nobody could release it"
    );
}

// Elsewhere: FLINK-31860, FLINK-37766, FLINK-39618, lyft/flinkk8soperator#119,
// lyft/flinkk8soperator#154, numaproj/numaflow#2415.
async fn deletion_with_the_storage_down_ends_after_the_timeout(story: &mut Story) {
    running(story).await;
    story.storage(HeadStore::Down);
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    story
        .until("its pods too", |story| story.pods().is_empty())
        .await;
}

async fn deletion_of_a_job_that_cannot_go_on_does_not_wait(story: &mut Story) {
    running(story).await;
    let before = story.head("delays").and_then(|head| head.last);
    let misfit = Script::incompatible("the key of operator 3 changed");
    story.script("runtime:1", misfit);
    story.kill("delays-r1-0", Exit::error("panicked"));
    story.stalled("delays", "StateIncompatible").await;
    let began = story.now();
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let took = story.now().as_millisecond() - began.as_millisecond();
    assert!(took < 10_000, "it waited {took} ms");
    let told = story.noted();
    assert!(
        told.iter()
            .any(|(reason, note)| reason == "StateNotReleased"
                && note.contains("the key of operator 3 changed")),
        "{told:?}"
    );
    assert_eq!(
        story.head("delays").and_then(|head| head.last),
        before,
        "its last checkpoint stays"
    );
}

async fn deletion_of_a_job_that_never_ran_ends(story: &mut Story) {
    story.script(
        "SELEC ",
        Script::invalid_sql("line 1, column 1: expected a statement"),
    );
    story.create("delays", json!({ "sql": { "text": "SELEC 1" } }));
    story.stalled("delays", "InvalidSQL").await;
    story.delete("delays");
    story
        .until("the job is gone", |story| {
            story.find("delays").is_none() && story.pods().is_empty()
        })
        .await;
    assert!(story.head("delays").is_none());
}

async fn deletion_of_a_suspended_job_ends(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    assert!(
        story
            .head("delays")
            .is_some_and(|head| head.state != RunState::Running)
    );
}

// Elsewhere: FLINK-31860, FLINK-37766, FLINK-39618, lyft/flinkk8soperator#119,
// lyft/flinkk8soperator#154, numaproj/numaflow#2415.
async fn deletion_with_its_namespace_ends(story: &mut Story) {
    running(story).await;
    story.world().terminating.insert(NAMESPACE.to_owned());
    story.delete("delays");
    story
        .until("the job is gone", |story| {
            story.find("delays").is_none() && story.pods().is_empty()
        })
        .await;
}

async fn deletion_in_the_middle_of_an_upgrade_ends_with_everything_gone(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    assert_eq!(
        story.head("delays").map(|head| head.state),
        Some(RunState::Released)
    );
    story
        .until("everything of it is gone", |story| {
            story.pods().is_empty() && story.running_sets().is_empty()
        })
        .await;
}

async fn deletion_asks_a_successor_again_whose_last_checkpoint_failed(story: &mut Story) {
    story.script(
        "runtime:2",
        Script {
            final_checkpoint_fails: Some("the store does not answer".to_owned()),
            ..Script::default()
        },
    );
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    story.delete("delays");
    story.effect("call stop").await;
    story.pass(Duration::from_secs(3)).await;
    story.world().jobs.rewrite("delays", &Script::default());
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    assert_eq!(
        story.head("delays").map(|head| (head.revision, head.state)),
        Some((2, RunState::Released))
    );
}

async fn a_deletion_that_leaves_no_snapshot_says_so(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "suspend": true, "snapshots": { "onDelete": "Take" } }),
    );
    story.suspended("delays").await;
    let last = story.head("delays").and_then(|head| head.last);
    let last = last.expect("a checkpoint").checkpoint;
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let told = told_of_snapshots(story);
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "spec.snapshots.onDelete",
        &format!("checkpoint {last}"),
        "s3://streams/prod/flights/delays",
        "StreamJob of the same name",
    ] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
}

async fn a_deletion_after_a_suspension_that_left_a_snapshot_misses_none(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "suspend": true, "snapshots": { "onSuspend": "Take", "onDelete": "Take" } }),
    );
    story.suspended("delays").await;
    story
        .until("the snapshot is complete", |story| {
            story.status("delays").last_snapshot.is_some()
        })
        .await;
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    assert_eq!(told_of_snapshots(story), [""; 0]);
}

stories![
    deletion_releases_the_state_and_removes_the_finalizer,
    deletion_with_nobody_answering_ends_after_the_timeout,
    deletion_with_the_storage_down_ends_after_the_timeout,
    deletion_of_a_job_that_cannot_go_on_does_not_wait,
    deletion_of_a_job_that_never_ran_ends,
    deletion_of_a_suspended_job_ends,
    deletion_with_its_namespace_ends,
    deletion_in_the_middle_of_an_upgrade_ends_with_everything_gone,
    deletion_asks_a_successor_again_whose_last_checkpoint_failed,
    a_deletion_that_leaves_no_snapshot_says_so,
    a_deletion_after_a_suspension_that_left_a_snapshot_misses_none,
];
