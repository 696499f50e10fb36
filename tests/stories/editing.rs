//! The spec is edited while it is rolled out: the newest one wins, and going back costs nothing.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::{Outcome, Step};
use streamkeeper_harness::{
    api_server::Refusal,
    interference::{Fate, Interference},
    kubelet::Exit,
    script::Script,
    story::Story,
};

use super::upgrading::{preparing, running, untouched};

const MINUTE: Duration = Duration::from_mins(1);

async fn an_upgrade_that_waits_for_its_snapshot_is_taken_back_at_once(story: &mut Story) {
    running(story).await;
    let before = untouched(story);
    let never = Script {
        checkpoints_hang: true,
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &never);
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "snapshots": { "onUpgrade": "Take" } }),
    );
    story
        .until("it waits for its snapshot", |story| {
            let transition = story.status("delays").transition;
            let step = transition.map(|transition| transition.step);
            step == Some(Step::HandingOver) && !story.snapshots().is_empty()
        })
        .await;
    story.pass(MINUTE).await;
    story.edit("delays", json!({ "image": "runtime:1" }));
    let asked = story.now();
    story.ready("delays").await;
    let took = story.now().duration_since(asked).unsigned_abs();
    assert!(took < MINUTE, "{took:?}");
    assert_eq!(untouched(story), before);
    assert_eq!(story.status("delays").history[0].result, Outcome::Cancelled);
}

// Elsewhere: FLINK-40119, spotify/flink-on-k8s-operator#590.
async fn editing_back_cancels_an_upgrade_without_a_restart(story: &mut Story) {
    preparing(story).await;
    let before = untouched(story);
    story.edit("delays", json!({ "image": "runtime:1" }));
    story.ready("delays").await;
    story
        .until("the prepared revision is removed", |story| {
            story.pods().len() == 2
        })
        .await;
    assert_eq!(untouched(story), before);
    assert_eq!(story.status("delays").history[0].result, Outcome::Cancelled);
}

async fn the_newest_edit_wins_while_a_revision_is_prepared(story: &mut Story) {
    preparing(story).await;
    story.edit("delays", json!({ "image": "runtime:3" }));
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(
        (head.revision, head.attempt),
        (3, 2),
        "the second revision never ran"
    );
    assert_eq!(story.pods(), ["delays-r3-0", "delays-r3-1"]);
}

async fn an_edit_during_the_hand_over_is_rolled_out_after_it(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    story.edit("delays", json!({ "image": "runtime:3" }));
    story.rolled_out("delays", 3).await;
    assert_eq!(
        story
            .status("delays")
            .effective
            .expect("what it runs with")
            .image,
        "runtime:3"
    );
    assert_eq!(story.pods(), ["delays-r3-0", "delays-r3-1"]);
}

// Elsewhere: FLINK-37193.
async fn what_needs_no_pod_touches_no_pod(story: &mut Story) {
    running(story).await;
    let before = untouched(story);
    story.edit("delays", json!({ "upgrade": { "progressDeadline": "3m" } }));
    story
        .until("the change is seen", |story| story.is_ready("delays"))
        .await;
    story
        .stays("nothing happens", 5 * MINUTE, |story| {
            untouched(story) == before && story.pods().len() == 2
        })
        .await;
}

// Elsewhere: FLINK-31998, FLINK-32340, kubeflow/spark-operator#2905.
async fn an_upgrade_that_cannot_take_over_gives_way_to_a_corrected_spec(story: &mut Story) {
    running(story).await;
    let crash = Script {
        crash_once_running: Some(Exit::error("row 7 cannot be read")),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &crash);
    story.script("runtime:1", crash);
    story.stalled("delays", "CrashLooping").await;
    story.interfere(Interference::next(
        5,
        "call promote",
        Fate::Refused(Refusal::internal_error()),
    ));
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call promote").await;
    story.edit("delays", json!({ "image": "runtime:3" }));
    story.rolled_out("delays", 3).await;
    assert_eq!(story.pods(), ["delays-r3-0", "delays-r3-1"]);
}

stories![
    an_upgrade_that_waits_for_its_snapshot_is_taken_back_at_once,
    editing_back_cancels_an_upgrade_without_a_restart,
    the_newest_edit_wins_while_a_revision_is_prepared,
    an_edit_during_the_hand_over_is_rolled_out_after_it,
    what_needs_no_pod_touches_no_pod,
    an_upgrade_that_cannot_take_over_gives_way_to_a_corrected_spec,
];
