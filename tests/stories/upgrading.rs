//! How a changed spec is rolled out, and what keeps the old revision running when it cannot be.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::{Outcome, TransitionKind};
use streamkeeper_harness::{
    api_server::Refusal,
    interference::{Fate, Interference},
    kubelet::Exit,
    script::Script,
    story::Story,
};
use streamkeeper_protocol::head::RunState;

const MINUTE: Duration = Duration::from_mins(1);

/// A job with two workers that has state.
pub async fn running(story: &mut Story) {
    story.create("delays", json!({ "sql": { "text": "INSERT INTO late SELECT * FROM flights" }, "image": "runtime:1", "workers": { "replicas": 2 } }));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
}

/// Such a job, while its second revision is prepared.
pub async fn preparing(story: &mut Story) {
    story.script(
        "runtime:2",
        Script {
            preflight_takes: 5 * MINUTE,
            ..Script::default()
        },
    );
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("the new revision stands by", |story| {
            story.pods().contains(&"delays-r2-0".to_owned())
        })
        .await;
}

/// Returns what must not change while the running revision must stay as it is.
pub fn untouched(story: &Story) -> (Vec<String>, u64, u64) {
    let head = story.head("delays").expect("a HEAD");
    (
        story.pod_uids("delays", head.revision, 2),
        head.revision,
        head.attempt,
    )
}

// Elsewhere: FLINK-38033.
async fn an_upgrade_hands_over_and_retires_the_old_revision(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    assert_eq!(
        story.pods(),
        ["delays-r1-0", "delays-r1-1", "delays-r2-0", "delays-r2-1"],
        "the new revision is up before the old one is asked to stop"
    );

    story
        .until("the new revision runs", |story| {
            story.runner("delays") == Some(2)
        })
        .await;
    assert!(
        story.pods().contains(&"delays-r1-0".to_owned()),
        "the old pods stay until the new ones have proved themselves"
    );
    story.ready("delays").await;

    assert_eq!(story.pods(), ["delays-r2-0", "delays-r2-1"]);
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(
        (head.revision, head.attempt, head.workers),
        (2, 2, 2),
        "one hand-over, no other restart"
    );
    let status = story.status("delays");
    let last = &status.history[0];
    assert_eq!(
        (last.kind, last.result, last.revision),
        (TransitionKind::Upgrade, Outcome::Succeeded, Some(2))
    );
    assert!(
        last.restored_from.is_some() && last.pause.is_some(),
        "{last:?}"
    );
    assert_eq!(
        status.effective.expect("what it runs with").image,
        "runtime:2"
    );
    assert_eq!(
        status.restarts.map_or(0, |restarts| restarts.count),
        0,
        "an upgrade is no failure"
    );
    let events = story.events();
    assert!(
        events.contains(&"UpgradeStarted".to_owned())
            && events.contains(&"UpgradeCompleted".to_owned()),
        "{events:?}"
    );
}

async fn an_upgrade_heals_a_job_whose_worker_cannot_start(story: &mut Story) {
    running(story).await;
    story.world().kubelets.wait = 10 * MINUTE;
    for round in 0..3 {
        let exit = Exit::error("cannot allocate the buffer pool");
        story.kill("delays-r1-1", exit);
        if round == 1 {
            story
                .until("the condition says why a worker is waited for", |story| {
                    let message = story.message("delays", "Ready");
                    message.contains("waiting for workers 1")
                        && message.contains("; pod delays-r1-1 crashed")
                })
                .await;
        }
        story.pass(11 * MINUTE).await;
    }
    story.kill(
        "delays-r1-1",
        Exit::error("cannot allocate the buffer pool"),
    );
    story.stalled("delays", "CrashLooping").await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "snapshots": { "onUpgrade": "Take" } }),
    );
    let asked = story.now();
    story.ready("delays").await;
    let took = story.now().duration_since(asked).unsigned_abs();
    assert!(
        took < 2 * MINUTE,
        "{took:?}: it waited for a worker that does not come"
    );
    assert_eq!(story.runner("delays"), Some(2));
}

async fn an_upgrade_to_a_missing_image_never_touches_the_running_revision(story: &mut Story) {
    story.script(
        "runtime:none",
        Script {
            missing_image: true,
            ..Script::default()
        },
    );
    running(story).await;
    let before = untouched(story);
    story.edit("delays", json!({ "image": "runtime:none" }));
    let message = story.stalled("delays", "ImagePullFailed").await;
    assert!(message.contains("runtime:none"), "{message}");
    story
        .until("the failed revision is removed", |story| {
            story.pods().len() == 2
        })
        .await;
    story
        .stays(
            "it is not tried again, and the job runs on",
            10 * MINUTE,
            |story| untouched(story) == before && story.pods().len() == 2,
        )
        .await;
    assert_eq!(story.condition("delays", "Running").0, "True");
    assert_eq!(story.condition("delays", "Stalled").1, "ImagePullFailed");

    story.edit("delays", json!({ "image": "runtime:2" }));
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

// Elsewhere: spotify/flink-on-k8s-operator#589, GoogleCloudPlatform/flink-on-k8s-operator#471,
// ArroyoSystems/arroyo#992.
async fn an_upgrade_with_incompatible_state_is_refused_with_the_reason(story: &mut Story) {
    let why = "state `window` of operator `tumble`: the key was (STRING), the new query groups by (STRING, BIGINT); keep the key, or start a new job";
    story.script("GROUP BY carrier", Script::incompatible(why));
    running(story).await;
    let before = untouched(story);
    story.edit(
        "delays",
        json!({ "sql": { "text": "INSERT INTO late SELECT * FROM flights GROUP BY carrier" } }),
    );
    let message = story.stalled("delays", "StateIncompatible").await;
    assert!(message.contains(why), "{message}");
    story
        .stays("the job runs on", 5 * MINUTE, |story| {
            untouched(story) == before
        })
        .await;
    assert!(
        story.events().contains(&"StateIncompatible".to_owned()),
        "{:?}",
        story.events()
    );
}

// Elsewhere: FLINK-31998, FLINK-32340, kubeflow/spark-operator#2905.
async fn an_upgrade_with_sql_that_does_not_compile_never_touches_the_running_revision(
    story: &mut Story,
) {
    story.script(
        "SELEC ",
        Script::invalid_sql("line 1, column 18: expected SELECT, found SELEC"),
    );
    running(story).await;
    let before = untouched(story);
    story.edit(
        "delays",
        json!({ "sql": { "text": "INSERT INTO late SELEC * FROM flights" } }),
    );
    let message = story.stalled("delays", "InvalidSQL").await;
    assert!(message.contains("line 1, column 18"), "{message}");
    story
        .stays("the job runs on", 5 * MINUTE, |story| {
            untouched(story) == before
        })
        .await;

    story.edit(
        "delays",
        json!({ "sql": { "text": "INSERT INTO late SELECT * FROM flights" } }),
    );
    story.ready("delays").await;
    assert_eq!(
        untouched(story),
        before,
        "what runs already is not upgraded to"
    );
}

// Elsewhere: FLINK-37372, lyft/flinkk8soperator#142.
async fn a_failed_savepoint_keeps_the_old_job_running(story: &mut Story) {
    story.script(
        "runtime:1",
        Script {
            final_checkpoint_fails: Some(
                "PutObject s3://streams/prod: the store does not answer".to_owned(),
            ),
            ..Script::default()
        },
    );
    running(story).await;
    let before = untouched(story);
    story.edit("delays", json!({ "image": "runtime:2" }));
    let message = story.stalled("delays", "SavepointFailed").await;
    assert!(message.contains("the store does not answer"), "{message}");
    story
        .stays("the job runs on", 10 * MINUTE, |story| {
            untouched(story) == before
        })
        .await;

    story.edit("delays", json!({ "image": "runtime:1" }));
    story.ready("delays").await;
    assert_eq!(untouched(story), before);
}

async fn a_hand_over_that_was_begun_ends_without_the_operator(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    story.stop_operator();
    story
        .until("the successor runs", |story| {
            story.runner("delays") == Some(2)
        })
        .await;
    story.pass(10 * MINUTE).await;
    assert_eq!(
        story
            .head("delays")
            .map(|head| (head.revision, head.attempt, head.state)),
        Some((2, 2, RunState::Running))
    );
    story.start_operator();
    story.ready("delays").await;
    assert_eq!(story.pods(), ["delays-r2-0", "delays-r2-1"]);
}

// Elsewhere: MaterializeInc/materialize#34904.
async fn a_restart_is_an_upgrade_to_the_same_content(story: &mut Story) {
    running(story).await;
    story.ask_for_restart("delays");
    story.rolled_out("delays", 2).await;
    assert_eq!(story.pods(), ["delays-r2-0", "delays-r2-1"]);
}

async fn pods_that_the_api_server_refuses_cost_the_running_revision_nothing(story: &mut Story) {
    running(story).await;
    let before = untouched(story);
    let why = "spec.template.spec.containers[0].image: Required value";
    story.interfere(Interference::next(
        1,
        "create apps/statefulsets delays-r2",
        Fate::Refused(Refusal::invalid("StatefulSet", why)),
    ));
    story.edit("delays", json!({ "image": "runtime:2" }));
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(
        message.contains(why) && message.contains("was not touched"),
        "{message}"
    );
    story
        .stays("the job runs on", 5 * MINUTE, |story| {
            untouched(story) == before && story.running_sets().len() == 1
        })
        .await;
    story.edit("delays", json!({ "image": "runtime:3" }));
    story.ready("delays").await;
    assert_eq!(story.pods(), ["delays-r3-0", "delays-r3-1"]);
}

async fn a_new_revision_that_breaks_before_the_hand_over_is_given_up(story: &mut Story) {
    story.script(
        "runtime:1",
        Script {
            final_checkpoint_fails: Some("the store does not answer".to_owned()),
            ..Script::default()
        },
    );
    running(story).await;
    let before = untouched(story);
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.effect("call hand-over").await;
    story.script(
        "runtime:2",
        Script {
            crash_at_start: Some(Exit::error("no space left on device")),
            ..Script::default()
        },
    );
    story.kill("delays-r2-0", Exit::error("no space left on device"));
    let message = story.stalled("delays", "CrashLooping").await;
    assert!(message.contains("no space left on device"), "{message}");
    story
        .until("it is removed", |story| story.pods().len() == 2)
        .await;
    assert_eq!(untouched(story), before);
}

async fn objects_of_the_running_revision_come_back_while_another_is_prepared(story: &mut Story) {
    preparing(story).await;
    story.remove_stateful_set("delays-r1");
    story
        .until("the old revision runs again", |story| {
            story
                .head("delays")
                .is_some_and(|head| (head.revision, head.attempt) == (1, 2))
        })
        .await;
    story.next_checkpoint("delays").await;
    story.rolled_out("delays", 2).await;
}

async fn of_old_revisions_only_the_newest_are_remembered(story: &mut Story) {
    running(story).await;
    for version in 2..=13 {
        story.edit("delays", json!({ "image": format!("runtime:{version}") }));
        story
            .until("the new revision runs", |story| {
                story.runner("delays") == Some(version)
            })
            .await;
        story.ready("delays").await;
    }
    story
        .until("the oldest are forgotten", |story| {
            story.revisions() == (3..=13).collect()
        })
        .await;
    assert_eq!(story.status("delays").history.len(), 10);
}

stories![
    an_upgrade_hands_over_and_retires_the_old_revision,
    an_upgrade_heals_a_job_whose_worker_cannot_start,
    an_upgrade_to_a_missing_image_never_touches_the_running_revision,
    an_upgrade_with_incompatible_state_is_refused_with_the_reason,
    an_upgrade_with_sql_that_does_not_compile_never_touches_the_running_revision,
    a_failed_savepoint_keeps_the_old_job_running,
    a_hand_over_that_was_begun_ends_without_the_operator,
    a_restart_is_an_upgrade_to_the_same_content,
    pods_that_the_api_server_refuses_cost_the_running_revision_nothing,
    a_new_revision_that_breaks_before_the_hand_over_is_given_up,
    objects_of_the_running_revision_come_back_while_another_is_prepared,
    of_old_revisions_only_the_newest_are_remembered,
];
