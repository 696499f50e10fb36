//! Failures that pass by themselves: a registry that is down, a network that is cut. They cost
//! time, but no change and no job.

use std::time::Duration;

use serde_json::json;
use streamkeeper_harness::{cluster::NODE_NAMES, script::Script, story::Story};

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

fn missing() -> Script {
    Script {
        missing_image: true,
        ..Script::default()
    }
}

async fn an_image_that_comes_back_within_the_deadline_rejects_no_upgrade(story: &mut Story) {
    running(story).await;
    let before = story.pod_uids("delays", 1, 2);
    story.script("runtime:2", missing());
    story.edit("delays", json!({ "image": "runtime:2" }));
    let message = story.stalled("delays", "ImagePullFailed").await;
    assert!(
        message.contains("it is tried again for 10m (spec.upgrade.progressDeadline)"),
        "{message}"
    );
    story
        .stays(
            "the job runs on and the upgrade waits",
            8 * MINUTE,
            |story| {
                story.pod_uids("delays", 1, 2) == before
                    && story.runner("delays") == Some(1)
                    && story.status("delays").rejected.is_none()
            },
        )
        .await;
    story.script("runtime:2", Script::default());
    story.rolled_out("delays", 2).await;
}

async fn an_image_that_does_not_come_is_given_up_at_the_deadline(story: &mut Story) {
    running(story).await;
    story.script("runtime:2", missing());
    let began = story.now();
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "upgrade": { "progressDeadline": "3m" } }),
    );
    story
        .until("it is given up", |story| {
            story.status("delays").rejected.is_some()
        })
        .await;
    let took = story.now().duration_since(began).unsigned_abs();
    assert!(
        (3 * MINUTE..4 * MINUTE).contains(&took),
        "given up after {took:?}"
    );
    assert_eq!(story.condition("delays", "Stalled").1, "ImagePullFailed");
    story
        .until("only the running revision is left", |story| {
            story.pods().len() == 2
        })
        .await;
    assert_eq!(story.runner("delays"), Some(1));
}

async fn with_most_nodes_lost_no_pod_is_removed_by_force(story: &mut Story) {
    running(story).await;
    let before = story.pod_uids("delays", 1, 2);
    for node in NODE_NAMES {
        story.lose_node(node);
    }
    story
        .stays("pods stay", 10 * MINUTE, |story| {
            story.pod_uids("delays", 1, 2) == before
        })
        .await;
    let effects = story.effects();
    assert!(
        effects
            .iter()
            .all(|effect| !effect.starts_with("delete pods")),
        "{effects:?}"
    );
}

/// A job that is to go back to a snapshot, in a pod that takes half an hour to check it.
async fn restoring(story: &mut Story, gets_on: bool) {
    running(story).await;
    story.snapshot("monday", json!({ "jobRef": { "name": "delays" } }));
    story.saved("monday").await;
    let slow = Script {
        preflight_takes: 25 * MINUTE,
        preflight_gets_on: gets_on,
        ..Script::default()
    };
    story.script("runtime:2", slow);
    let restore = json!({ "snapshotRef": { "name": "monday" } });
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "restoreFrom": restore }),
    );
}

async fn a_restore_whose_check_gets_on_takes_as_long_as_it_takes(story: &mut Story) {
    restoring(story, true).await;
    story.rolled_out("delays", 2).await;
}

async fn a_restore_whose_check_does_not_get_on_is_given_up_at_the_deadline(story: &mut Story) {
    restoring(story, false).await;
    let began = story.now();
    let message = story.stalled("delays", "RestoreFailed").await;
    assert!(message.contains("it was not ready within 10m"), "{message}");
    let took = story.now().duration_since(began).unsigned_abs();
    // Times in the status are whole seconds.
    let least = Duration::from_secs(599);
    assert!((least..12 * MINUTE).contains(&took), "{took:?}");
    assert_eq!(story.runner("delays"), Some(1), "the job runs on");
}

stories![
    a_restore_whose_check_gets_on_takes_as_long_as_it_takes,
    a_restore_whose_check_does_not_get_on_is_given_up_at_the_deadline,
    an_image_that_comes_back_within_the_deadline_rejects_no_upgrade,
    an_image_that_does_not_come_is_given_up_at_the_deadline,
    with_most_nodes_lost_no_pod_is_removed_by_force,
];
