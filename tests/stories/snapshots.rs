//! Snapshots: taken by hand, by schedule, before changes; verified.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::{
    names::{TRIGGER_LABEL, VERIFY},
    v1alpha1::{SnapshotPhase, StreamSnapshot},
};
use streamkeeper_harness::{
    api_server::Refusal,
    interference::{Fate, Interference},
    script::Script,
    story::Story,
};
use streamkeeper_protocol::head::RunState;

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

/// Takes a snapshot of the running job.
pub async fn saved(story: &mut Story, name: &str) {
    story.snapshot(name, json!({ "jobRef": { "name": "delays" } }));
    story.saved(name).await;
}

/// The snapshots that the operator took for this, by name.
pub fn taken_for(story: &Story, trigger: &str) -> Vec<(String, StreamSnapshot)> {
    let label = |snapshot: &StreamSnapshot| {
        let labels = snapshot.metadata.labels.clone().unwrap_or_default();
        labels.get(TRIGGER_LABEL).cloned()
    };
    story
        .snapshots()
        .into_iter()
        .filter(|(_, snapshot)| label(snapshot).as_deref() == Some(trigger))
        .collect()
}

async fn a_snapshot_is_a_savepoint_in_a_folder_of_its_own(story: &mut Story) {
    running(story).await;
    let uids = story.pod_uids("delays", 1, 2);
    saved(story, "before-the-change").await;
    let snapshot = story.snapshots().remove("before-the-change").unwrap();
    let status = snapshot.status.unwrap();
    let uri = status.uri.clone().unwrap();
    assert!(
        uri.starts_with("s3://streams/prod/flights/delays/savepoints/before-the-change-"),
        "{uri}"
    );
    let held = status.checkpoint.unwrap();
    assert_eq!(held.size.as_deref(), Some("5.0Mi"));
    assert!(status.start_time.is_some() && status.completion_time.is_some());
    assert!(status.verified_time.is_some());
    assert_eq!(status.revision, Some(1));
    story
        .until("the job names it", |story| {
            let last = story.status("delays").last_snapshot;
            last.is_some_and(|last| last.name == "before-the-change" && last.checkpoint == held.id)
        })
        .await;
    assert_eq!(story.pod_uids("delays", 1, 2), uids, "no pod was touched");
    let events = story.events();
    for reason in ["SnapshotStarted", "SnapshotCompleted"] {
        assert!(events.contains(&reason.to_owned()), "{events:?}");
    }
}

async fn a_savepoint_that_fails_is_tried_again_until_the_snapshot_is_out_of_time(
    story: &mut Story,
) {
    running(story).await;
    let script = Script {
        savepoint_fails: Some("copying data/1 failed: SlowDown".to_owned()),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &script);
    story.snapshot(
        "never",
        json!({ "jobRef": { "name": "delays" }, "timeout": "5m" }),
    );
    story
        .until("it has failed", |story| {
            story.snapshot_phase("never") == Some(SnapshotPhase::Failed)
        })
        .await;
    let message = story.snapshot_message("never");
    assert!(message.contains("within 5m"), "{message}");
    let snapshot = story.snapshots().remove("never").unwrap();
    assert!(snapshot.status.unwrap().retries >= 3);
    assert!(story.events().contains(&"SnapshotFailed".to_owned()));
    assert!(story.is_ready("delays"), "the job does not suffer");
    story
        .stays("it is not begun again", 10 * MINUTE, |story| {
            story.snapshot_phase("never") == Some(SnapshotPhase::Failed)
        })
        .await;
}

async fn a_snapshot_waits_for_its_job(story: &mut Story) {
    story.snapshot("early", json!({ "jobRef": { "name": "delays" } }));
    story
        .until("it says what it waits for", |story| {
            story.snapshot_message("early").contains("does not exist")
        })
        .await;
    running(story).await;
    story.saved("early").await;
}

async fn a_snapshot_of_a_job_that_goes_away_fails(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.snapshot(
        "late",
        json!({ "jobRef": { "name": "delays" }, "timeout": "2m" }),
    );
    story
        .until("it says why it waits", |story| {
            story.snapshot_message("late").contains("suspended")
        })
        .await;
    story
        .until("it is out of time", |story| {
            story.snapshot_phase("late") == Some(SnapshotPhase::Failed)
        })
        .await;
}

async fn a_run_that_was_missed_is_made_up_for_once(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *" } }),
    );
    story
        .until("the schedule is known", |story| {
            story.status("delays").last_schedule.is_some()
        })
        .await;
    story.stop_operator();
    story.pass(55 * MINUTE).await;
    story.start_operator();
    story
        .until("one is taken", |story| {
            !taken_for(story, "Schedule").is_empty()
        })
        .await;
    story.pass(MINUTE).await;
    let taken = taken_for(story, "Schedule");
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!(taken[0].0, "delays-20260301-1250");
}

async fn runs_while_the_schedule_is_suspended_are_not_made_up_for(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "suspend": true } }),
    );
    story.pass(25 * MINUTE).await;
    story.edit("delays", json!({ "snapshots": { "suspend": false } }));
    story.pass(2 * MINUTE).await;
    assert!(taken_for(story, "Schedule").is_empty());
    story.pass(8 * MINUTE).await;
    assert_eq!(taken_for(story, "Schedule").len(), 1);
}

async fn a_schedule_that_cannot_be_read_is_shown_and_harms_nobody(story: &mut Story) {
    running(story).await;
    let uids = story.pod_uids("delays", 1, 2);
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "0 25 * * *" } }),
    );
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(message.contains("0 25 * * *"), "{message}");
    assert_eq!(story.pod_uids("delays", 1, 2), uids);
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "0 23 * * *" } }),
    );
    story.ready("delays").await;
}

async fn a_crash_while_a_snapshot_is_created_takes_it_once(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *" } }),
    );
    story.interfere(Interference::next(
        1,
        "create streamkeeper.dev/streamsnapshots",
        Fate::CrashAfter,
    ));
    story
        .until("it is taken", |story| {
            taken_for(story, "Schedule")
                .iter()
                .any(|(name, _)| story.snapshot_phase(name) == Some(SnapshotPhase::Completed))
        })
        .await;
    assert_eq!(story.crashes, 1);
    assert_eq!(taken_for(story, "Schedule").len(), 1);
}

async fn an_upgrade_takes_a_snapshot_first_if_it_is_to(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "image": "runtime:2", "snapshots": { "onUpgrade": "Take" } }),
    );
    story
        .until("the new revision runs", |story| {
            story.runner("delays") == Some(2)
        })
        .await;
    let taken = taken_for(story, "Upgrade");
    assert_eq!(taken.len(), 1, "{taken:?}");
    let status = taken[0].1.status.clone().unwrap();
    assert_eq!(status.phase, Some(SnapshotPhase::Completed));
    assert_eq!(status.revision, Some(1), "it is of the revision before");
    story.ready("delays").await;
}

async fn a_rescale_takes_a_snapshot_first_if_it_is_to(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "workers": { "replicas": 1 }, "rescale": { "strategy": "Savepoint" } }),
    );
    story
        .until("one worker is left", |story| {
            story.head("delays").is_some_and(|head| head.workers == 1)
        })
        .await;
    assert_eq!(taken_for(story, "Rescale").len(), 1);
    story.ready("delays").await;
}

async fn a_suspension_and_a_deletion_leave_a_snapshot_if_they_are_to(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "suspend": true, "snapshots": { "onSuspend": "Take", "onDelete": "Take" } }),
    );
    story.suspended("delays").await;
    let (name, _) = taken_for(story, "Suspend").remove(0);
    story.saved(&name).await;
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let (name, _) = taken_for(story, "Delete").remove(0);
    story.saved(&name).await;
    assert_eq!(story.head("delays").unwrap().state, RunState::Released);
}

async fn a_snapshot_is_verified_again_on_demand(story: &mut Story) {
    running(story).await;
    saved(story, "nightly").await;
    let first = story.snapshots()["nightly"]
        .status
        .clone()
        .unwrap()
        .verified_time;
    story.pass(MINUTE).await;
    story.annotate_snapshot("nightly", VERIFY, "one");
    story
        .until("it is verified", |story| {
            story.snapshots()["nightly"]
                .status
                .clone()
                .unwrap()
                .verified_for
                .is_some()
        })
        .await;
    assert!(
        story.snapshots()["nightly"]
            .status
            .clone()
            .unwrap()
            .verified_time
            > first
    );

    let uri = story.snapshot_uri("nightly");
    story.world().jobs.folders.get_mut(&uri).unwrap().damaged = true;
    story.annotate_snapshot("nightly", VERIFY, "two");
    story
        .until("the damage is seen", |story| {
            story.snapshot_message("nightly").contains("wrong checksum")
        })
        .await;
    story
        .stays("it is not forgotten", 5 * MINUTE, |story| {
            story.snapshot_message("nightly").contains("wrong checksum")
        })
        .await;
}

async fn an_imported_snapshot_is_checked_first(story: &mut Story) {
    running(story).await;
    saved(story, "origin").await;
    let uri = story.snapshot_uri("origin");
    story.snapshot("copy", json!({ "importFrom": { "uri": uri } }));
    story.saved("copy").await;
    story.world().jobs.folders.get_mut(&uri).unwrap().damaged = true;
    story.snapshot("damaged", json!({ "importFrom": { "uri": uri } }));
    story.snapshot(
        "nowhere",
        json!({ "importFrom": { "uri": "s3://streams/prod/flights/nowhere" } }),
    );
    for name in ["damaged", "nowhere"] {
        story
            .until(&format!("{name} has failed"), |story| {
                story.snapshot_phase(name) == Some(SnapshotPhase::Failed)
            })
            .await;
    }
    let (damaged, nowhere) = (
        story.snapshot_message("damaged"),
        story.snapshot_message("nowhere"),
    );
    assert!(damaged.contains("wrong checksum"), "{damaged}");
    assert!(
        nowhere.contains("s3://streams/prod/flights/nowhere"),
        "{nowhere}"
    );
}

async fn a_complete_snapshot_asks_for_nothing_however_long_it_is_kept(story: &mut Story) {
    running(story).await;
    saved(story, "kept").await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.pass(2 * MINUTE).await;
    let before = std::mem::take(&mut story.world().uses);
    story.pass(30 * MINUTE).await;
    let asked = std::mem::replace(&mut story.world().uses, before);
    let read = |(_, resource, verb): &&(String, String, String)| {
        resource.starts_with("stream") && verb == "get"
    };
    assert_eq!(asked.iter().find(read), None);
}

/// A snapshot is begun, and then the operator is away for longer than it has time.
async fn begun_before_an_absence(story: &mut Story) {
    running(story).await;
    story.snapshot(
        "nightly",
        json!({ "jobRef": { "name": "delays" }, "timeout": "5m" }),
    );
    story.effect("call savepoint").await;
    story.stop_operator();
    story.pass(10 * MINUTE).await;
}

async fn a_snapshot_that_was_done_meanwhile_is_complete(story: &mut Story) {
    begun_before_an_absence(story).await;
    story.start_operator();
    story.saved("nightly").await;
}

async fn a_snapshot_that_was_done_meanwhile_is_complete_though_nobody_can_tell(story: &mut Story) {
    begun_before_an_absence(story).await;
    story.world().jobs.silence("delays");
    story.start_operator();
    story.saved("nightly").await;
}

async fn a_snapshot_that_waits_asks_for_little_and_begins_at_once(story: &mut Story) {
    story.snapshot(
        "early",
        json!({ "jobRef": { "name": "delays" }, "timeout": "2h" }),
    );
    story
        .until("it says what it waits for", |story| {
            story.snapshot_message("early").contains("does not exist")
        })
        .await;
    let before = story.asked("get", "streamjobs");
    story.pass(20 * MINUTE).await;
    let asked = story.asked("get", "streamjobs") - before;
    assert!(asked < 5, "of a job that does not exist: {asked}");

    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "suspend": true }),
    );
    story.suspended("delays").await;
    let before = story.asked("get", "streamjobs");
    story.pass(20 * MINUTE).await;
    let asked = story.asked("get", "streamjobs") - before;
    assert!(asked < 5, "of a job that is suspended: {asked}");

    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    let began = story.now();
    story.saved("early").await;
    let took = story.now().as_millisecond() - began.as_millisecond();
    assert!(took < 6000, "it was complete {took} ms after its job ran");
}

async fn a_snapshot_of_a_deletion_lies_where_its_job_had_its_state(story: &mut Story) {
    let endpoint = "https://s3.example.com:9000";
    story.restart_operator(|settings| {
        let place =
            r#"{"endpoint": "https://s3.example.com:9000", "bucket": "streams", "prefix": "prod"}"#;
        settings.storage_allowed = place.parse().unwrap();
    });
    story.create(
        "delays",
        json!({
            "sql": { "text": "SELECT 1" },
            "storage": { "s3": { "uri": "s3://streams/prod", "endpoint": endpoint, "region": "eu-central-1" } },
            "snapshots": { "onDelete": "Take" },
        }),
    );
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    // Its first pass comes late.
    story.interfere(Interference::next(
        4,
        "update streamkeeper.dev/streamsnapshots",
        Fate::Refused(Refusal::forbidden("streamsnapshots", "not now")),
    ));
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let (name, _) = taken_for(story, "Delete").remove(0);
    story.saved(&name).await;
    let status = story.snapshots().remove(&name).unwrap().status.unwrap();
    assert_eq!(status.endpoint.as_deref(), Some(endpoint));
    assert_eq!(status.region.as_deref(), Some("eu-central-1"));
}

stories![
    a_snapshot_is_a_savepoint_in_a_folder_of_its_own,
    a_savepoint_that_fails_is_tried_again_until_the_snapshot_is_out_of_time,
    a_snapshot_waits_for_its_job,
    a_snapshot_of_a_job_that_goes_away_fails,
    a_run_that_was_missed_is_made_up_for_once,
    runs_while_the_schedule_is_suspended_are_not_made_up_for,
    a_schedule_that_cannot_be_read_is_shown_and_harms_nobody,
    a_crash_while_a_snapshot_is_created_takes_it_once,
    an_upgrade_takes_a_snapshot_first_if_it_is_to,
    a_rescale_takes_a_snapshot_first_if_it_is_to,
    a_suspension_and_a_deletion_leave_a_snapshot_if_they_are_to,
    a_snapshot_is_verified_again_on_demand,
    an_imported_snapshot_is_checked_first,
    a_complete_snapshot_asks_for_nothing_however_long_it_is_kept,
    a_snapshot_that_was_done_meanwhile_is_complete,
    a_snapshot_that_was_done_meanwhile_is_complete_though_nobody_can_tell,
    a_snapshot_that_waits_asks_for_little_and_begins_at_once,
    a_snapshot_of_a_deletion_lies_where_its_job_had_its_state,
];
