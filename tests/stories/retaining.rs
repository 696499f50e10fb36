//! Which snapshots are kept, which are dropped, and what becomes of their folders.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::{names::VERIFY, v1alpha1::SnapshotPhase};
use streamkeeper_harness::{coordinator::HeadStore, script::Script, story::Story};

use super::{
    snapshots::{saved, taken_for},
    upgrading::running,
};

const MINUTE: Duration = Duration::from_mins(1);

/// Names of the snapshots that were taken by the schedule.
fn scheduled(story: &Story) -> Vec<String> {
    let taken = taken_for(story, "Schedule");
    taken.into_iter().map(|(name, _)| name).collect()
}

async fn deleting_a_snapshot_removes_its_folder_if_it_says_so_also_without_its_job(
    story: &mut Story,
) {
    running(story).await;
    story.snapshot("kept", json!({ "jobRef": { "name": "delays" } }));
    story.snapshot(
        "dropped",
        json!({ "jobRef": { "name": "delays" }, "deletionPolicy": "Delete" }),
    );
    story.saved("kept").await;
    story.saved("dropped").await;
    let (kept, dropped) = (story.snapshot_uri("kept"), story.snapshot_uri("dropped"));
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    story.delete_snapshot("kept");
    story.delete_snapshot("dropped");
    story
        .until("both objects are gone", |story| {
            story.snapshots().is_empty()
        })
        .await;
    let folders: Vec<String> = story.world().jobs.folders.keys().cloned().collect();
    assert!(folders.contains(&kept), "{folders:?}");
    assert!(!folders.contains(&dropped), "{folders:?}");
    assert!(story.events().contains(&"SnapshotDeleted".to_owned()));
}

/// A snapshot is deleted, and the storage does not let its folder go.
pub async fn deleted_without_access(story: &mut Story) {
    running(story).await;
    story.snapshot(
        "nightly",
        json!({ "jobRef": { "name": "delays" }, "deletionPolicy": "Delete" }),
    );
    story.saved("nightly").await;
    story.storage(HeadStore::Denied);
    story.delete_snapshot("nightly");
}

// Elsewhere: FLINK-39439, spotify/flink-on-k8s-operator#96, lyft/flinkk8soperator#214.
async fn a_folder_that_cannot_be_removed_is_tried_again_and_says_the_way_out(story: &mut Story) {
    deleted_without_access(story).await;
    story
        .until("it says why", |story| {
            story
                .snapshot_message("nightly")
                .contains("remove the finalizer")
        })
        .await;
    story.storage(HeadStore::Fine);
    story
        .until("it is gone", |story| story.snapshots().is_empty())
        .await;
    assert!(story.world().jobs.folders.is_empty());
}

// Elsewhere: FLINK-39439, spotify/flink-on-k8s-operator#96, lyft/flinkk8soperator#214.
async fn snapshots_are_taken_by_the_schedule_and_only_so_many_are_kept(story: &mut Story) {
    running(story).await;
    saved(story, "by-hand").await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "retain": { "count": 2 } } }),
    );
    story.pass(55 * MINUTE).await;
    let kept = taken_for(story, "Schedule");
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["delays-20260301-1240", "delays-20260301-1250"]);
    // What retention dropped has no folder any more; what a person made is kept.
    assert_eq!(story.world().jobs.folders.len(), 3);
    assert!(story.snapshots().contains_key("by-hand"));
    let created = story
        .effects()
        .iter()
        .filter(|effect| effect.starts_with("create streamkeeper.dev/streamsnapshots"))
        .count();
    assert_eq!(created, 5, "{:?}", story.effects());
}

async fn what_the_job_is_to_go_back_to_is_kept_however_old(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "retain": { "count": 1, "maxAge": "15m" } } }),
    );
    story.pass(15 * MINUTE).await;
    let first = "delays-20260301-1210";
    assert_eq!(scheduled(story), [first]);
    story.edit(
        "delays",
        json!({ "restoreFrom": { "snapshotRef": { "name": first } } }),
    );
    story.pass(40 * MINUTE).await;
    assert_eq!(scheduled(story), [first, "delays-20260301-1250"]);

    story.edit("delays", json!({ "restoreFrom": null }));
    story
        .until("nobody needs it any more", |story| {
            scheduled(story) == ["delays-20260301-1250"]
        })
        .await;
}

async fn snapshots_go_by_age_but_the_newest_stays(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "retain": { "count": 10, "maxAge": "25m" } } }),
    );
    story.pass(58 * MINUTE).await;
    assert_eq!(
        scheduled(story),
        ["delays-20260301-1240", "delays-20260301-1250"]
    );
    story.edit("delays", json!({ "snapshots": { "suspend": true } }));
    story.pass(180 * MINUTE).await;
    assert_eq!(scheduled(story), ["delays-20260301-1250"]);
}

async fn a_snapshot_goes_when_its_time_is_up(story: &mut Story) {
    running(story).await;
    story.snapshot(
        "short",
        json!({ "jobRef": { "name": "delays" }, "ttl": "10m", "deletionPolicy": "Delete" }),
    );
    story.saved("short").await;
    story
        .until("it is gone", |story| story.snapshots().is_empty())
        .await;
    assert!(story.world().jobs.folders.is_empty());
}

async fn a_damaged_snapshot_takes_no_place_of_a_good_one(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "retain": { "count": 2 } } }),
    );
    story.pass(25 * MINUTE).await;
    let newest = "delays-20260301-1220";
    assert_eq!(scheduled(story), ["delays-20260301-1210", newest]);
    let uri = story.snapshot_uri(newest);
    story.world().jobs.folders.get_mut(&uri).unwrap().damaged = true;
    story.annotate_snapshot(newest, VERIFY, "now");
    story
        .until("the job names the newest good one", |story| {
            let last = story.status("delays").last_snapshot;
            last.is_some_and(|last| last.name == "delays-20260301-1210")
        })
        .await;
    story.pass(10 * MINUTE).await;
    assert_eq!(
        scheduled(story),
        ["delays-20260301-1210", newest, "delays-20260301-1230"]
    );
    assert_eq!(story.world().jobs.folders.len(), 3);
    story.pass(10 * MINUTE).await;
    assert_eq!(
        scheduled(story),
        ["delays-20260301-1230", "delays-20260301-1240"],
        "it goes when a good one of its age does"
    );
}

async fn what_another_job_is_to_start_from_is_kept(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "retain": { "count": 1 } } }),
    );
    let (first, second) = ("delays-20260301-1210", "delays-20260301-1220");
    let later = |name: &str, from: serde_json::Value| json!({ "sql": { "text": format!("SELECT '{name}'") }, "suspend": true, "restoreFrom": from });
    story.pass(15 * MINUTE).await;
    story.create(
        "by-name",
        later("by-name", json!({ "snapshotRef": { "name": first } })),
    );
    story.pass(10 * MINUTE).await;
    assert_eq!(scheduled(story), [first, second]);
    let folder = format!("{}/", story.snapshot_uri(second));
    story.create("by-folder", later("by-folder", json!({ "uri": folder })));
    story.pass(10 * MINUTE).await;
    assert_eq!(scheduled(story), [first, second, "delays-20260301-1230"]);

    story.edit("by-name", json!({ "suspend": false }));
    story.ready("by-name").await;
    story
        .until("the first is not needed any more", |story| {
            scheduled(story).first().is_some_and(|name| name == second)
        })
        .await;
    story.edit("by-folder", json!({ "restoreFrom": null }));
    story
        .until("nor the second", |story| {
            !scheduled(story).contains(&second.to_owned())
        })
        .await;
    assert_eq!(scheduled(story).len(), 1);
}

async fn what_the_job_is_to_go_back_to_is_kept_by_its_folder_too(story: &mut Story) {
    running(story).await;
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/10 * * * *", "retain": { "count": 1 } } }),
    );
    story.pass(15 * MINUTE).await;
    let first = "delays-20260301-1210";
    story.edit(
        "delays",
        json!({ "restoreFrom": { "uri": story.snapshot_uri(first) } }),
    );
    story.pass(10 * MINUTE).await;
    assert_eq!(scheduled(story), [first, "delays-20260301-1220"]);
}

async fn a_folder_that_a_job_is_to_start_from_is_not_removed(story: &mut Story) {
    running(story).await;
    story.snapshot(
        "monday",
        json!({ "jobRef": { "name": "delays" }, "deletionPolicy": "Delete" }),
    );
    story.saved("monday").await;
    let folder = story.snapshot_uri("monday");
    story.create(
        "fork",
        json!({ "sql": { "text": "SELECT 1" }, "suspend": true, "restoreFrom": { "uri": folder } }),
    );
    story.suspended("fork").await;
    story.delete_snapshot("monday");
    story
        .until("it says who needs it", |story| {
            story.snapshot_message("monday").contains("StreamJob fork")
        })
        .await;
    story.pass(MINUTE).await;
    let before = story.asked("list", "streamjobs");
    story
        .stays("it waits", 10 * MINUTE, |story| {
            story.world().jobs.folders.contains_key(&folder)
        })
        .await;
    let lists = story.asked("list", "streamjobs") - before;
    assert!(lists <= 4, "{lists} lists in ten minutes");
    story.edit("fork", json!({ "suspend": false }));
    story.ready("fork").await;
    story
        .until("it goes then", |story| story.snapshots().is_empty())
        .await;
    assert!(!story.world().jobs.folders.contains_key(&folder));
}

async fn failed_snapshots_do_not_pile_up(story: &mut Story) {
    running(story).await;
    let script = Script {
        savepoint_fails: Some("copying data/1 failed: AccessDenied".to_owned()),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &script);
    story.edit(
        "delays",
        json!({ "snapshots": { "schedule": "*/20 * * * *", "retain": { "count": 2 } } }),
    );
    story.pass(178 * MINUTE).await;
    assert_eq!(
        scheduled(story),
        [
            "delays-20260301-1400",
            "delays-20260301-1420",
            "delays-20260301-1440"
        ]
    );
    story.world().jobs.rewrite("delays", &Script::default());
    story.pass(10 * MINUTE).await;
    let newest = story.status("delays").last_snapshot;
    assert!(newest.is_some_and(|last| last.name == "delays-20260301-1500"));
}

async fn a_job_leaves_alone_what_its_predecessor_left(story: &mut Story) {
    let spec = |count: u32| {
        json!({
            "sql": { "text": "SELECT 1" },
            "snapshots": { "schedule": "*/10 * * * *", "onDelete": "Take", "retain": { "count": count } },
        })
    };
    story.create("delays", spec(2));
    story.ready("delays").await;
    story.pass(25 * MINUTE).await;
    let left = ["delays-20260301-1210", "delays-20260301-1220"];
    assert_eq!(scheduled(story), left);
    story.delete("delays");
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    assert_eq!(taken_for(story, "Delete").len(), 1);
    story.create("delays", spec(1));
    story.ready("delays").await;
    story.pass(30 * MINUTE).await;
    assert_eq!(taken_for(story, "Delete").len(), 1);
    assert_eq!(
        scheduled(story),
        [left[0], left[1], "delays-20260301-1250"],
        "of its own it keeps one"
    );
}

async fn the_newest_snapshot_is_not_named_once_it_is_gone(story: &mut Story) {
    running(story).await;
    saved(story, "only").await;
    story
        .until("the job names it", |story| {
            story.status("delays").last_snapshot.is_some()
        })
        .await;
    story.delete_snapshot("only");
    story
        .until("the job names none", |story| {
            story.status("delays").last_snapshot.is_none()
        })
        .await;
}

/// A snapshot that is being copied when a user deletes it.
async fn deleted_while_it_is_copied(story: &mut Story, takes: Duration) {
    running(story).await;
    let script = Script {
        savepoint_takes: takes,
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &script);
    story.snapshot(
        "large",
        json!({ "jobRef": { "name": "delays" }, "deletionPolicy": "Delete", "timeout": "5m" }),
    );
    story.effect("call savepoint").await;
    story.delete_snapshot("large");
}

async fn a_folder_is_not_removed_while_it_is_written(story: &mut Story) {
    deleted_while_it_is_copied(story, 2 * MINUTE).await;
    story
        .until("it is gone", |story| story.snapshots().is_empty())
        .await;
    story.pass(5 * MINUTE).await;
    let left: Vec<String> = story.world().jobs.folders.keys().cloned().collect();
    assert!(left.is_empty(), "nobody owns {left:?}");
}

async fn a_deletion_does_not_wait_for_ever_for_what_writes(story: &mut Story) {
    deleted_while_it_is_copied(story, 600 * MINUTE).await;
    story
        .stays("it is being copied", 4 * MINUTE, |story| {
            story.snapshot_phase("large") == Some(SnapshotPhase::Deleting)
                || story.snapshot_phase("large") == Some(SnapshotPhase::InProgress)
        })
        .await;
    story.pass(2 * MINUTE).await;
    assert!(story.snapshots().is_empty());
}

stories![
    deleting_a_snapshot_removes_its_folder_if_it_says_so_also_without_its_job,
    a_folder_that_cannot_be_removed_is_tried_again_and_says_the_way_out,
    snapshots_are_taken_by_the_schedule_and_only_so_many_are_kept,
    what_the_job_is_to_go_back_to_is_kept_however_old,
    snapshots_go_by_age_but_the_newest_stays,
    a_snapshot_goes_when_its_time_is_up,
    a_damaged_snapshot_takes_no_place_of_a_good_one,
    what_another_job_is_to_start_from_is_kept,
    what_the_job_is_to_go_back_to_is_kept_by_its_folder_too,
    a_folder_that_a_job_is_to_start_from_is_not_removed,
    failed_snapshots_do_not_pile_up,
    a_job_leaves_alone_what_its_predecessor_left,
    the_newest_snapshot_is_not_named_once_it_is_gone,
    a_folder_is_not_removed_while_it_is_written,
    a_deletion_does_not_wait_for_ever_for_what_writes,
];
