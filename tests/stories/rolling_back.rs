//! A revision that does not prove itself gives way to the content before it, and one that only had
//! bad luck does not.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::Step;
use streamkeeper_harness::{kubelet::Exit, script::Script, story::Story};
use streamkeeper_protocol::job_api::JobError;

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

// Elsewhere: FLINK-32012.
async fn a_new_revision_that_crash_loops_after_the_hand_over_is_rolled_back(story: &mut Story) {
    story.script(
        "runtime:2",
        Script {
            crash_once_running: Some(Exit::error("thread panicked: index out of bounds")),
            ..Script::default()
        },
    );
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    let message = story.stalled("delays", "UpgradeRolledBack").await;
    assert!(message.contains("index out of bounds"), "{message}");
    story
        .until("the job runs as a third revision", |story| {
            story.runner("delays") == Some(3)
        })
        .await;
    story
        .until("only that is left", |story| {
            story.pods() == ["delays-r3-0", "delays-r3-1"]
        })
        .await;
    assert_eq!(
        story
            .status("delays")
            .effective
            .expect("what it runs with")
            .image,
        "runtime:1"
    );
    assert_eq!(story.condition("delays", "Running").0, "True");
    assert!(
        story.events().contains(&"UpgradeRolledBack".to_owned()),
        "{:?}",
        story.events()
    );
    story
        .stays("it is not tried again", 10 * MINUTE, |story| {
            story.runner("delays") == Some(3) && story.pods().len() == 2
        })
        .await;
    story.next_checkpoint("delays").await;

    story.edit("delays", json!({ "image": "runtime:4" }));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(4));
}

/// A query that fails at a record of its input.
fn poison() -> Script {
    Script {
        fails_with: Some(("BadRecord", "Filter: /: division of 7 by zero")),
        ..Script::default()
    }
}

/// A job that runs, with that record before it.
fn before_the_record() -> Script {
    Script {
        error: Some(JobError {
            reason: "BadRecord".to_owned(),
            message: "Filter: /: division of 7 by zero".to_owned(),
        }),
        no_checkpoints: true,
        ..Script::default()
    }
}

async fn a_new_revision_that_cannot_process_its_input_is_rolled_back_at_once(story: &mut Story) {
    running(story).await;
    story.script("runtime:2", poison());
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("it has the job", |story| story.runner("delays") == Some(2))
        .await;
    let began = story.now();
    let message = story.stalled("delays", "UpgradeRolledBack").await;
    assert!(message.contains("division of 7 by zero"), "{message}");
    let took = story.now().duration_since(began).unsigned_abs();
    assert!(took < MINUTE, "{took:?}: it did not wait for the deadline");
    story.next_checkpoint("delays").await;
    assert_eq!(story.runner("delays"), Some(3));
}

async fn a_job_before_a_record_that_it_cannot_process_is_stalled_until_that_is_behind_it(
    story: &mut Story,
) {
    running(story).await;
    story.world().jobs.rewrite("delays", &poison());
    let message = story.stalled("delays", "BadRecord").await;
    assert!(message.contains("division of 7 by zero"), "{message}");
    story
        .stays("a person is asked", 5 * MINUTE, |story| {
            !story.is_ready("delays") && story.condition("delays", "Stalled").1 == "BadRecord"
        })
        .await;
    story.world().jobs.rewrite("delays", &before_the_record());
    story
        .stays(
            "it runs up to that record, and is not Ready",
            5 * MINUTE,
            |story| {
                !story.is_ready("delays") && story.condition("delays", "Stalled").1 == "BadRecord"
            },
        )
        .await;
    story.world().jobs.rewrite("delays", &Script::default());
    story.ready("delays").await;
}

async fn a_new_revision_that_fails_for_what_may_pass_has_its_time(story: &mut Story) {
    running(story).await;
    let denied = Script {
        fails_with: Some(("StorageAccessDenied", "GetObject s3://in/2013.json: denied")),
        ..Script::default()
    };
    story.script("runtime:2", denied);
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("it has the job", |story| story.runner("delays") == Some(2))
        .await;
    story
        .stays("it keeps the job", 5 * MINUTE, |story| {
            story.runner("delays") == Some(2)
        })
        .await;
    story.world().jobs.rewrite("delays", &Script::default());
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(2));
}

async fn a_new_revision_that_failed_less_than_three_times_has_its_time(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("it has the job", |story| story.runner("delays") == Some(2))
        .await;
    story.world().jobs.rewrite("delays", &before_the_record());
    story
        .stays("it keeps the job", 5 * MINUTE, |story| {
            story.runner("delays") == Some(2)
        })
        .await;
    story.world().jobs.rewrite("delays", &Script::default());
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(2));
}

async fn a_new_revision_without_progress_is_rolled_back(story: &mut Story) {
    story.script(
        "runtime:2",
        Script {
            no_checkpoints: true,
            no_input: true,
            ..Script::default()
        },
    );
    running(story).await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "upgrade": { "progressDeadline": "2m" } }),
    );
    story.stalled("delays", "UpgradeRolledBack").await;
    story
        .until("the job runs as a third revision", |story| {
            story.runner("delays") == Some(3)
        })
        .await;
    story
        .until("only that is left", |story| {
            story.pods() == ["delays-r3-0", "delays-r3-1"]
        })
        .await;
}

/// Revision 2 crashes once it has the job, and the image of revision 1 is gone. Returns what the
/// operator says then.
pub async fn rollback_that_does_not_come_up(story: &mut Story) -> String {
    story.script(
        "runtime:2",
        Script {
            crash_once_running: Some(Exit::error("panicked")),
            ..Script::default()
        },
    );
    running(story).await;
    story.script(
        "runtime:1",
        Script {
            missing_image: true,
            ..Script::default()
        },
    );
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.stalled("delays", "ImagePullFailed").await
}

async fn a_failure_while_an_upgrade_is_verified_is_counted_and_told(story: &mut Story) {
    let without_progress = Script {
        no_checkpoints: true,
        ..Script::default()
    };
    story.script("runtime:2", without_progress);
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("it is verified", |story| {
            let transition = story.status("delays").transition;
            let known = story.status("delays").restarts.map(|known| known.attempt);
            transition.is_some_and(|transition| transition.step == Step::Verifying)
                && known == Some(2)
        })
        .await;
    story.pass(MINUTE).await;
    story.kill("delays-r2-1", Exit::error("row 7"));
    story
        .until("the job runs again", |story| {
            let known = story.status("delays").restarts;
            known.is_some_and(|known| known.attempt == 3) && story.runner("delays") == Some(2)
        })
        .await;
    story.world().jobs.rewrite("delays", &Script::default());
    story.ready("delays").await;
    let restarts = story.status("delays").restarts.expect("restarts");
    assert_eq!(
        (restarts.count, restarts.attempt),
        (1, 3),
        "the hand-over is no failure, the worker's end is one"
    );
    let told = story.noted();
    assert!(
        told.iter().any(|(reason, _)| reason == "JobRestarting"),
        "{told:?}"
    );
}

async fn a_rollback_that_does_not_come_up_gives_way_to_a_corrected_spec(story: &mut Story) {
    let message = rollback_that_does_not_come_up(story).await;
    assert!(message.contains("rollback"), "{message}");
    story.edit("delays", json!({ "image": "runtime:4" }));
    story.rolled_out("delays", 4).await;
    assert_eq!(story.pods(), ["delays-r4-0", "delays-r4-1"]);
}

stories![
    a_failure_while_an_upgrade_is_verified_is_counted_and_told,
    a_job_before_a_record_that_it_cannot_process_is_stalled_until_that_is_behind_it,
    a_new_revision_that_crash_loops_after_the_hand_over_is_rolled_back,
    a_new_revision_that_cannot_process_its_input_is_rolled_back_at_once,
    a_new_revision_that_fails_for_what_may_pass_has_its_time,
    a_new_revision_that_failed_less_than_three_times_has_its_time,
    a_new_revision_without_progress_is_rolled_back,
    a_rollback_that_does_not_come_up_gives_way_to_a_corrected_spec,
];
