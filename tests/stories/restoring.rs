//! Going back to a snapshot, starting from one, and what becomes of state that others left.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::{
    names::TAKE_OVER,
    v1alpha1::{Outcome, TransitionKind},
};
use streamkeeper_harness::{script::Script, story::Story};
use streamkeeper_protocol::head::RunState;

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

fn last(story: &Story, job: &str) -> u64 {
    let head = story.head(job).expect("a HEAD");
    head.last.expect("a checkpoint").checkpoint
}

async fn with_snapshot(story: &mut Story) {
    running(story).await;
    story.snapshot("monday", json!({ "jobRef": { "name": "delays" } }));
    story.saved("monday").await;
}

// Elsewhere: MaterializeInc/materialize#34904.
async fn a_job_goes_back_to_a_snapshot_once_per_value(story: &mut Story) {
    with_snapshot(story).await;
    story.next_checkpoint("delays").await;
    let before = last(story, "delays");
    story.edit(
        "delays",
        json!({ "restoreFrom": { "snapshotRef": { "name": "monday" } } }),
    );
    story
        .until("it is acted on", |story| {
            story.status("delays").restore_from.is_some()
        })
        .await;
    story.ready("delays").await;
    let acted = story.status("delays").restore_from.unwrap();
    assert_eq!(
        (acted.value.as_str(), acted.result),
        ("snapshot monday", Outcome::Succeeded)
    );
    assert_eq!(story.runner("delays"), Some(2));
    let head = story.head("delays").unwrap();
    assert!(last(story, "delays") > before, "numbers never go back");
    assert!(
        head.operations
            .iter()
            .any(|operation| operation.key.contains("promote-savepoint"))
    );
    let history = story.status("delays").history;
    assert!(
        history.iter().any(
            |entry| entry.kind == TransitionKind::Restore && entry.result == Outcome::Succeeded
        )
    );
    story
        .stays("it is not done again", 5 * MINUTE, |story| {
            story.runner("delays") == Some(2)
        })
        .await;
    story.restart_operator(|_| {});
    story
        .stays("nor by another operator", 5 * MINUTE, |story| {
            story.runner("delays") == Some(2)
        })
        .await;
}

async fn a_snapshot_that_does_not_fit_changes_nothing(story: &mut Story) {
    with_snapshot(story).await;
    let uri = story.snapshot_uri("monday");
    story.world().jobs.folders.get_mut(&uri).unwrap().damaged = true;
    let uids = story.pod_uids("delays", 1, 2);
    story.edit(
        "delays",
        json!({ "restoreFrom": { "snapshotRef": { "name": "monday" } } }),
    );
    let message = story.stalled("delays", "RestoreFailed").await;
    assert!(
        message.contains("is damaged") && message.contains("spec.restoreFrom"),
        "{message}"
    );
    assert_eq!(story.runner("delays"), Some(1));
    story
        .until("the pods of the attempt are gone", |story| {
            story.running_sets().len() == 1
        })
        .await;
    assert_eq!(
        story.pod_uids("delays", 1, 2),
        uids,
        "the job was not touched"
    );
    // The state that was to be left is nothing that a later edit goes on from: it is tried again
    // with that.
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("it was tried again", |story| {
            let history = story.status("delays").history;
            let restores = history
                .iter()
                .filter(|entry| entry.kind == TransitionKind::Restore);
            restores.count() == 2
        })
        .await;
    story.stalled("delays", "RestoreFailed").await;
    story
        .stays("once", 5 * MINUTE, |story| {
            story.runner("delays") == Some(1) && story.status("delays").history.len() <= 3
        })
        .await;
    story.edit(
        "delays",
        json!({ "image": "runtime:1", "restoreFrom": null }),
    );
    story.ready("delays").await;
    assert_eq!(story.pod_uids("delays", 1, 2), uids);
}

async fn a_query_that_does_not_fit_the_snapshot_is_never_promoted(story: &mut Story) {
    with_snapshot(story).await;
    let uids = story.pod_uids("delays", 1, 2);
    let why = "state `counts` would be lost";
    story.script("runtime:2", Script::incompatible(why));
    let before = story.effects().len();
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "restoreFrom": { "snapshotRef": { "name": "monday" } } }),
    );
    let message = story.stalled("delays", "RestoreFailed").await;
    assert!(
        message.contains(why) && message.contains("Nothing was changed"),
        "{message}"
    );
    let effects = story.effects().split_off(before);
    assert!(
        !effects.iter().any(|effect| effect.starts_with("call ")),
        "{effects:?}"
    );
    assert_eq!(story.runner("delays"), Some(1));
    assert_eq!(story.pod_uids("delays", 1, 2), uids);

    story.edit("delays", json!({ "image": "runtime:3" }));
    story.ready("delays").await;
    let last = story.status("delays").history.remove(0);
    assert_eq!(
        (last.kind, last.result, last.revision),
        (
            TransitionKind::Restore,
            Outcome::Succeeded,
            story.runner("delays")
        ),
        "with a query that fits, the job goes where it was asked to go"
    );
}

async fn a_snapshot_that_does_not_exist_is_named(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "restoreFrom": { "snapshotRef": { "name": "nowhere" } } }),
    );
    let message = story.stalled("delays", "SnapshotNotFound").await;
    assert!(message.contains("nowhere"), "{message}");
    assert_eq!(story.runner("delays"), Some(1));
    story.snapshot("nowhere", json!({ "jobRef": { "name": "delays" } }));
    story
        .until("it is there by now", |story| {
            story.status("delays").restore_from.is_some()
        })
        .await;
    story.ready("delays").await;
}

async fn a_query_changed_together_with_a_restore_runs_from_the_snapshot(story: &mut Story) {
    with_snapshot(story).await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "restoreFrom": { "uri": story.snapshot_uri("monday") } }),
    );
    story.ready("delays").await;
    let status = story.status("delays");
    assert_eq!(status.effective.unwrap().image, "runtime:2");
    assert_eq!(status.restore_from.unwrap().result, Outcome::Succeeded);
    assert_eq!(story.runner("delays"), Some(2), "in one step");
}

async fn a_new_job_starts_from_the_snapshot_of_another(story: &mut Story) {
    with_snapshot(story).await;
    story.create(
        "fork",
        json!({ "sql": { "text": "SELECT 1" }, "restoreFrom": { "snapshotRef": { "name": "monday" } } }),
    );
    story.ready("fork").await;
    let (fork, origin) = (story.head("fork").unwrap(), story.head("delays").unwrap());
    assert_ne!(fork.lineage, origin.lineage);
    assert_eq!(
        story.status("fork").restore_from.unwrap().result,
        Outcome::Succeeded
    );
    assert_eq!(origin.state, RunState::Running, "the other one runs on");
}

async fn a_snapshot_in_another_store_is_not_looked_for_in_the_jobs_own(story: &mut Story) {
    with_snapshot(story).await;
    let storage =
        json!({ "s3": { "uri": "s3://streams/prod", "endpoint": "http://elsewhere:8333" } });
    story.create(
        "fork",
        json!({ "sql": { "text": "SELECT 1" }, "storage": storage, "restoreFrom": { "snapshotRef": { "name": "monday" } } }),
    );
    let message = story.stalled("fork", "SnapshotNotFound").await;
    for part in [
        "in the store Amazon S3",
        "http://elsewhere:8333",
        "spec.restoreFrom.uri",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(story.head("fork").is_none(), "nothing was started");
    story.edit("fork", json!({ "storage": null }));
    story.ready("fork").await;
}

async fn a_job_whose_head_is_gone_goes_on_from_a_snapshot(story: &mut Story) {
    with_snapshot(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.world().jobs.heads.clear();
    story.edit("delays", json!({ "suspend": false }));
    let message = story.stalled("delays", "RestoreFailed").await;
    assert!(message.contains("spec.restoreFrom"), "{message}");
    story.edit(
        "delays",
        json!({ "restoreFrom": { "snapshotRef": { "name": "monday" } } }),
    );
    story.ready("delays").await;
    assert_eq!(
        story.status("delays").restore_from.unwrap().result,
        Outcome::Succeeded
    );
}

// Elsewhere: spotify/flink-on-k8s-operator#589, GoogleCloudPlatform/flink-on-k8s-operator#471,
// ArroyoSystems/arroyo#992.
async fn state_that_another_job_left_is_ignored_if_the_spec_says_so(story: &mut Story) {
    running(story).await;
    let lineage = story.head("delays").unwrap().lineage;
    story.delete("delays");
    story
        .until("it is gone", |story| story.find("delays").is_none())
        .await;
    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "storage": { "onExistingState": "Ignore" } }),
    );
    story.ready("delays").await;
    let head = story.head("delays").unwrap();
    assert_ne!(head.lineage, lineage);
}

async fn a_head_that_says_running_is_taken_only_when_a_person_confirms(story: &mut Story) {
    running(story).await;
    // No coordinator responds, so that the deletion ends without the job.
    story.world().jobs.silence("delays");
    let uid = story.job("delays").metadata.uid.unwrap();
    story.delete("delays");
    story
        .until("it is gone", |story| story.find("delays").is_none())
        .await;
    assert_eq!(story.head("delays").unwrap().state, RunState::Running);
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "StateInUse").await;
    assert!(
        message.contains(TAKE_OVER) && message.contains(&uid),
        "{message}"
    );
    story.annotate("delays", TAKE_OVER, "somebody-else");
    story
        .stays("another uid confirms nothing", 2 * MINUTE, |story| {
            story.head("delays").unwrap().job_uid == uid
        })
        .await;
    story.annotate("delays", TAKE_OVER, &uid);
    story.ready("delays").await;
    assert_ne!(story.head("delays").unwrap().job_uid, uid);
}

async fn a_savepoint_that_keeps_failing_is_done_without_if_the_spec_says_so(story: &mut Story) {
    running(story).await;
    let script = Script {
        final_checkpoint_fails: Some("worker 1 did not answer".to_owned()),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &script);
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "upgrade": { "onSavepointFailure": "UseLastCheckpoint" } }),
    );
    story.rolled_out("delays", 2).await;
}

// Elsewhere: FLINK-31630.
async fn a_checkpoint_that_is_too_old_is_not_gone_back_to(story: &mut Story) {
    running(story).await;
    let script = Script {
        final_checkpoint_fails: Some("worker 1 did not answer".to_owned()),
        no_checkpoints: true,
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &script);
    story.pass(10 * MINUTE).await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "upgrade": { "onSavepointFailure": "UseLastCheckpoint", "maxCheckpointAge": "5m" } }),
    );
    story.stalled("delays", "SavepointFailed").await;
    assert_eq!(story.runner("delays"), Some(1));
}

async fn a_new_revision_that_fails_stays_if_the_spec_says_so(story: &mut Story) {
    running(story).await;
    story.script(
        "runtime:2",
        Script {
            no_checkpoints: true,
            ..Script::default()
        },
    );
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "upgrade": { "onFailure": "Pause", "progressDeadline": "2m" } }),
    );
    story
        .until("it was given up on", |story| {
            let history = story.status("delays").history;
            history.iter().any(|entry| {
                entry.kind == TransitionKind::Upgrade && entry.result == Outcome::Failed
            })
        })
        .await;
    story
        .stays(
            "nothing is rolled back, and a person is asked",
            5 * MINUTE,
            |story| {
                let (stalled, reason) = story.condition("delays", "Stalled");
                story.runner("delays") == Some(2)
                    && (&*stalled, &*reason) == ("True", "ProgressDeadlineExceeded")
                    && story.condition("delays", "Ready").0 == "False"
            },
        )
        .await;
    story.edit("delays", json!({ "image": "runtime:3" }));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(3));
}

async fn state_may_be_dropped_if_the_spec_says_so(story: &mut Story) {
    running(story).await;
    story.script(
        "runtime:2",
        Script::incompatible("state `counts` would be lost"),
    );
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.stalled("delays", "StateIncompatible").await;
    // The same content is tried again, because it may do more now.
    story.script("runtime:2", Script::default());
    story.edit("delays", json!({ "upgrade": { "droppedState": "Allow" } }));
    story
        .until("the new revision runs", |story| {
            story.runner("delays").is_some_and(|runner| runner > 1)
        })
        .await;
    story.ready("delays").await;
    let name = format!("delays-r{}-0", story.runner("delays").unwrap());
    let args = story.pod(&name)["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--dropped-state=Allow"), "{args}");
}

async fn where_the_scheduler_finds_no_room_for_both_the_first_pod_stands_by_unasked(
    story: &mut Story,
) {
    running(story).await;
    story.world().cluster.room = Some(3);
    story.edit("delays", json!({ "image": "runtime:2" }));
    story
        .until("the new revision runs", |story| {
            story.runner("delays").is_some_and(|runner| runner > 1)
        })
        .await;
    story.ready("delays").await;
    let head = story.head("delays").unwrap();
    assert_eq!((head.workers, story.pods().len()), (2, 2));
    let status = story.status("delays");
    assert_eq!(
        (status.history[0].kind, status.history[0].result),
        (TransitionKind::Upgrade, Outcome::Succeeded)
    );
}

async fn where_there_is_no_room_for_both_the_first_pod_stands_by(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "upgrade": { "standby": "First" } }),
    );
    story.effect("create apps/statefulsets delays-r2").await;
    assert_eq!(story.running_sets().get(&2), Some(&1));
    story.ready("delays").await;
    assert_eq!(
        story.running_sets().into_iter().collect::<Vec<_>>(),
        [(2, 2)]
    );
    let head = story.head("delays").unwrap();
    assert_eq!((head.revision, head.workers), (2, 2));
}

stories![
    a_job_goes_back_to_a_snapshot_once_per_value,
    a_snapshot_that_does_not_fit_changes_nothing,
    a_query_that_does_not_fit_the_snapshot_is_never_promoted,
    a_snapshot_that_does_not_exist_is_named,
    a_query_changed_together_with_a_restore_runs_from_the_snapshot,
    a_new_job_starts_from_the_snapshot_of_another,
    a_snapshot_in_another_store_is_not_looked_for_in_the_jobs_own,
    a_job_whose_head_is_gone_goes_on_from_a_snapshot,
    state_that_another_job_left_is_ignored_if_the_spec_says_so,
    a_head_that_says_running_is_taken_only_when_a_person_confirms,
    a_savepoint_that_keeps_failing_is_done_without_if_the_spec_says_so,
    a_checkpoint_that_is_too_old_is_not_gone_back_to,
    a_new_revision_that_fails_stays_if_the_spec_says_so,
    state_may_be_dropped_if_the_spec_says_so,
    where_there_is_no_room_for_both_the_first_pod_stands_by,
    where_the_scheduler_finds_no_room_for_both_the_first_pod_stands_by_unasked,
];
