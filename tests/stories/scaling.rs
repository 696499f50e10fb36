//! More and fewer workers, with the state moved and no pod restarted.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::{Outcome, TransitionKind};
use streamkeeper_harness::{cluster::text, kubelet::Exit, script::Script, story::Story};

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

async fn scaling_up_adds_workers_before_the_job_moves(story: &mut Story) {
    running(story).await;
    let before = story.pod_uids("delays", 1, 2);
    story.edit("delays", json!({ "workers": { "replicas": 4 } }));
    story.effect("call rescale").await;
    assert_eq!(
        story.pods().len(),
        4,
        "the pods are there before the job is asked to move"
    );
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.workers, head.attempt), (1, 4, 2));
    assert_eq!(
        story.pod_uids("delays", 1, 2),
        before,
        "no pod is restarted"
    );
    let status = story.status("delays");
    assert_eq!(
        (status.history[0].kind, status.history[0].result),
        (TransitionKind::Rescale, Outcome::Succeeded)
    );
    assert_eq!(status.effective.expect("what it runs with").parallelism, 4);
    assert_eq!(status.workers.expect("workers").summary, "4/4");
}

async fn scaling_down_removes_workers_after_the_job_moved(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "workers": { "replicas": 1 } }));
    story.effect("call rescale").await;
    assert_eq!(
        story.pods().len(),
        2,
        "the pods stay until the job has moved"
    );
    story.ready("delays").await;
    story
        .until("the pod that is not needed is gone", |story| {
            story.pods() == ["delays-r1-0"]
        })
        .await;
    assert_eq!(
        story
            .head("delays")
            .map(|head| (head.workers, head.attempt)),
        Some((1, 2))
    );
}

async fn scaling_up_without_room_leaves_the_job_running(story: &mut Story) {
    running(story).await;
    story.world().cluster.full = Some("0/3 nodes are available: 3 Insufficient cpu".to_owned());
    story.edit("delays", json!({ "workers": { "replicas": 4 } }));
    let message = story.stalled("delays", "Unschedulable").await;
    assert!(message.contains("Insufficient cpu"), "{message}");
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(
        (head.workers, head.attempt),
        (2, 1),
        "the job runs on as it was"
    );
    assert_eq!(story.condition("delays", "Running").0, "True");

    story.world().cluster.full = None;
    story.ready("delays").await;
    assert_eq!(story.head("delays").map(|head| head.workers), Some(4));
}

async fn scaling_up_beyond_a_quota_leaves_the_job_running_and_says_so(story: &mut Story) {
    running(story).await;
    story.world().cluster.quota = Some(3);
    story.edit("delays", json!({ "workers": { "replicas": 4 } }));
    let message = story.stalled("delays", "QuotaExceeded").await;
    assert!(
        message.starts_with("3 of 4 pods were created")
            && message.contains("The job runs on with the workers it has"),
        "{message}"
    );
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.workers, head.attempt), (2, 1));
    assert_eq!(story.condition("delays", "Running").0, "True");

    story.world().cluster.quota = None;
    story.ready("delays").await;
    assert_eq!(story.head("delays").map(|head| head.workers), Some(4));
}

// Elsewhere: ArroyoSystems/arroyo#1128.
async fn a_failed_move_leaves_the_job_running(story: &mut Story) {
    story.script(
        "runtime:1",
        Script {
            final_checkpoint_fails: Some("the store does not answer".to_owned()),
            ..Script::default()
        },
    );
    running(story).await;
    story.edit("delays", json!({ "workers": { "replicas": 3 } }));
    story.effect("call rescale").await;
    story
        .stays("it runs as before", 10 * MINUTE, |story| {
            story
                .head("delays")
                .is_some_and(|head| (head.workers, head.attempt) == (2, 1))
        })
        .await;
    story.edit("delays", json!({ "workers": { "replicas": 2 } }));
    story.ready("delays").await;
    story
        .until("the additional pod is removed", |story| {
            story.pods() == ["delays-r1-0", "delays-r1-1"]
        })
        .await;
}

async fn a_job_that_lost_the_room_for_its_workers_goes_on_with_fewer(story: &mut Story) {
    running(story).await;
    story.world().cluster.full = Some("0/3 nodes are available: 3 Insufficient cpu".to_owned());
    let node = text(&story.pod("delays-r1-1"), "/spec/nodeName").to_owned();
    story.lose_node(&node);
    story
        .until("a worker finds no room", |story| {
            !story.pod("delays-r1-1")["status"]["conditions"].is_null()
                && story.condition("delays", "Running").0 == "False"
        })
        .await;
    story.edit("delays", json!({ "workers": { "replicas": 1 } }));
    story.ready("delays").await;
    assert_eq!(
        story
            .head("delays")
            .map(|head| (head.revision, head.workers)),
        Some((1, 1))
    );
}

async fn a_move_into_a_crash_loop_is_shown_and_gives_way_to_a_corrected_spec(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "workers": { "replicas": 3 } }));
    story.effect("call rescale").await;
    let crash = Script {
        crash_once_running: Some(Exit::error("cannot split the state")),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &crash);
    story.script("runtime:1", crash);
    let message = story.stalled("delays", "CrashLooping").await;
    assert!(message.contains("cannot split the state"), "{message}");
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("the corrected revision runs on as many", |story| {
            story
                .head("delays")
                .is_some_and(|head| head.revision > 1 && head.workers == 3)
        })
        .await;
    story.ready("delays").await;
}

async fn an_upgrade_does_not_wait_for_workers_that_find_no_room(story: &mut Story) {
    running(story).await;
    story.world().cluster.full = Some("0/3 nodes are available: 3 Insufficient cpu".to_owned());
    story.edit("delays", json!({ "workers": { "replicas": 4 } }));
    story.stalled("delays", "Unschedulable").await;
    story.world().cluster.full = None;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "workers": { "replicas": 2 } }),
    );
    story.rolled_out("delays", 2).await;
    assert_eq!(story.pods(), ["delays-r2-0", "delays-r2-1"]);
}

async fn a_rescaled_job_keeps_its_workers_through_an_upgrade(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "workers": { "replicas": 3 } }));
    story.ready("delays").await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
    assert_eq!(story.head("delays").map(|head| head.workers), Some(3));
    assert_eq!(story.pods().len(), 3);
}

async fn an_upgrade_and_a_rescale_at_once_both_happen(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "workers": { "replicas": 3 } }),
    );
    story
        .until("both are so", |story| {
            story
                .head("delays")
                .is_some_and(|head| head.revision == 2 && head.workers == 3)
        })
        .await;
    story.ready("delays").await;
    assert_eq!(story.pods(), ["delays-r2-0", "delays-r2-1", "delays-r2-2"]);
}

stories![
    scaling_up_adds_workers_before_the_job_moves,
    scaling_down_removes_workers_after_the_job_moved,
    scaling_up_beyond_a_quota_leaves_the_job_running_and_says_so,
    scaling_up_without_room_leaves_the_job_running,
    a_failed_move_leaves_the_job_running,
    a_job_that_lost_the_room_for_its_workers_goes_on_with_fewer,
    a_move_into_a_crash_loop_is_shown_and_gives_way_to_a_corrected_spec,
    an_upgrade_does_not_wait_for_workers_that_find_no_room,
    a_rescaled_job_keeps_its_workers_through_an_upgrade,
    an_upgrade_and_a_rescale_at_once_both_happen,
];
