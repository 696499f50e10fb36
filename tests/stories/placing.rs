//! The state of a job stays where it is: other defaults of an operator do not move it.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::v1alpha1::{S3, SnapshotPhase};
use streamkeeper_harness::{
    api_server::kinds::STREAM_SNAPSHOTS,
    story::{NAMESPACE, Story},
};
use streamkeeper_protocol::head::RunState;

use crate::{snapshots::taken_for, upgrading::running};

const MINUTE: Duration = Duration::from_mins(1);

/// What a pod is told about its storage.
fn storage_of(story: &Story, pod: &str) -> Vec<String> {
    let pod = story.pod(pod);
    let arguments = pod["spec"]["containers"][0]["args"].as_array().cloned();
    let arguments = arguments.unwrap_or_default().into_iter();
    let told = arguments.filter_map(|argument| argument.as_str().map(str::to_owned));
    let about = ["--storage-uri", "--endpoint", "--region"];
    told.filter(|told| about.iter().any(|flag| told.starts_with(flag)))
        .collect()
}

async fn an_operator_with_another_default_storage_finds_the_state_where_it_is(story: &mut Story) {
    running(story).await;
    let before = storage_of(story, "delays-r1-0");
    assert_eq!(before, ["--storage-uri=s3://streams/prod"]);
    story.restart_operator(|settings| {
        // The operator goes on to look where its default storage was.
        let former = r#"{"bucket": "streams", "prefix": "prod"}"#;
        settings.storage_allowed = former.parse().unwrap();
        settings.storage = Some(S3 {
            uri: "s3://elsewhere/prod".to_owned(),
            region: Some("mars".to_owned()),
            endpoint: Some("http://elsewhere:8333".to_owned()),
            ..S3::default()
        });
    });
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(2));
    assert_eq!(storage_of(story, "delays-r2-0"), before);

    story.snapshot("after", json!({ "jobRef": { "name": "delays" } }));
    story.saved("after").await;
    let uri = story.snapshot_uri("after");
    assert!(uri.starts_with("s3://streams/prod/"), "{uri}");
    // While no coordinator runs it, the operator itself reads HEAD.
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.edit("delays", json!({ "suspend": false, "image": "runtime:3" }));
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(
        (head.revision, storage_of(story, "delays-r3-0")),
        (3, before)
    );
}

async fn an_edit_that_would_leave_the_state_behind_is_refused(story: &mut Story) {
    story.create("delays", json!({ "sql": { "text": "SELECT 1" }, "storage": { "s3": { "uri": "s3://streams/prod" } } }));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    let storage = |endpoint: &str| json!({ "image": "runtime:2", "storage": { "s3": { "uri": "s3://streams/prod", "endpoint": endpoint } } });
    story.edit("delays", storage("http://elsewhere:8333"));
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(
        message.contains(
            "spec.storage.s3.endpoint cannot change while there is state in s3://streams/prod;"
        ),
        "{message}"
    );
    story
        .stays("the job runs on", 5 * MINUTE, |story| {
            story.pods() == ["delays-r1-0"] && story.runner("delays") == Some(1)
        })
        .await;
    story.edit("delays", json!({ "image": "runtime:2", "storage": { "s3": { "uri": "s3://streams/prod", "endpoint": null } } }));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(2));
}

/// Storage of a job that the operator's configuration does not name.
fn elsewhere(more: serde_json::Value) -> serde_json::Value {
    let mut spec = json!({
        "sql": { "text": "SELECT 1" },
        "storage": { "s3": { "uri": "s3://private/prod", "endpoint": "http://private:8333" } },
    });
    if let (Some(spec), serde_json::Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

fn looked_at(story: &Story, what: &str) -> bool {
    story.world().looked.iter().any(|at| at.contains(what))
}

async fn the_operator_does_not_look_where_it_may_not(story: &mut Story) {
    let spec = |uri: &str, endpoint: &str| json!({ "sql": { "text": "SELECT 1" }, "storage": { "s3": { "uri": uri, "endpoint": endpoint } } });
    story.create("signed", spec("s3://streams/prod", "http://attacker"));
    let nested = json!({ "sql": { "text": "SELECT 1" }, "storage": { "s3": { "uri": "s3://streams/prod/victims" } } });
    story.create("nested", nested);
    for name in ["signed", "nested"] {
        // Its own pods work there, with its own credentials.
        story.ready(name).await;
        assert_eq!(story.runner(name), Some(1));
        let (truth, reason) = story.condition(name, "StorageRead");
        assert_eq!((truth.as_str(), reason.as_str()), ("False", "NotAllowed"));
        let message = story.message(name, "StorageRead");
        assert!(message.contains("storage.allowed"), "{message}");
    }
    for (name, spec) in [
        (
            "foreign",
            json!({ "importFrom": { "uri": "s3://streams/prod/victims/victim/savepoints/x" } }),
        ),
        (
            "signed",
            json!({ "jobRef": { "name": "signed" }, "importFrom": { "uri": "s3://streams/prod/flights/x" } }),
        ),
    ] {
        story.snapshot(name, spec);
        story
            .until("it says that the operator may not look", |story| {
                story.snapshot_message(name).contains("storage.allowed")
            })
            .await;
    }
    let looked = story.world().looked.clone();
    assert!(looked.is_empty(), "{looked:?}");
    // Who may not look can still let go.
    story.delete("nested");
    story
        .until("it is gone", |story| story.find("nested").is_none())
        .await;
}

async fn a_job_in_a_store_of_its_own_is_upgraded_suspended_and_resumed_by_its_pods(
    story: &mut Story,
) {
    story.create("delays", elsewhere(json!({})));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    story.edit("delays", elsewhere(json!({ "image": "runtime:2" })));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(2));
    story.next_checkpoint("delays").await;

    story.edit(
        "delays",
        elsewhere(json!({ "suspend": true, "snapshots": { "onSuspend": "Take" } })),
    );
    story.suspended("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.state), (2, RunState::Stopped));
    let kept = head.last.expect("state").checkpoint;
    // No coordinator has read the savepoint that it left, and the snapshot says so. A job that goes
    // on from it reads it first.
    let taken = taken_for(story, "Suspend");
    let (left, _) = taken.first().expect("a snapshot").clone();
    story
        .until("it says that nobody has looked", |story| {
            story.snapshot_message(&left).contains("was not looked at")
        })
        .await;
    assert_eq!(story.snapshot_phase(&left), Some(SnapshotPhase::Verifying));
    // No coordinator can report, also not to an operator that has just started.
    story.restart_operator(|_| ());
    story
        .stays("it is at rest", 5 * MINUTE, |story| story.pods().is_empty())
        .await;
    story.edit(
        "delays",
        elsewhere(json!({ "suspend": false, "image": "runtime:3" })),
    );
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.state), (3, RunState::Running));
    assert!(head.last.expect("state").checkpoint >= kept);
    assert!(!looked_at(story, "private"));
    let told = story.message("delays", "StorageRead");
    assert!(told.contains("s3://private/prod/flights/delays"), "{told}");
    // Once an administrator lists the place, the operator looks, and has nothing to say about it.
    story.restart_operator(|settings| {
        let private =
            r#"{"bucket": "private", "prefix": "prod", "endpoint": "http://private:8333"}"#;
        settings.storage_allowed = private.parse().unwrap();
    });
    story.edit("delays", elsewhere(json!({ "image": "runtime:4" })));
    story.ready("delays").await;
    let conditions = story.status("delays").conditions;
    let told = conditions.iter().find(|one| one.type_ == "StorageRead");
    assert_eq!((story.runner("delays"), told), (Some(4), None));
    assert!(looked_at(story, "private"));
}

/// The status of a job says nothing about state that lies there: its pods find it, and nothing
/// starts from nothing.
async fn state_in_a_store_that_the_operator_does_not_look_into_is_not_started_over(
    story: &mut Story,
) {
    story.create("delays", elsewhere(json!({})));
    story.ready("delays").await;
    story.edit("delays", elsewhere(json!({ "image": "runtime:2" })));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    let before = story.head("delays").expect("a HEAD");
    story.delete("delays");
    story
        .until("it is gone", |story| story.find("delays").is_none())
        .await;
    // Another StreamJob of that name takes the state over, as a revision beyond those that had it.
    story.create("delays", elsewhere(json!({})));
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(head.lineage, before.lineage);
    assert!(head.revision > before.revision, "{}", head.revision);
    assert!(!looked_at(story, "private"));
}

async fn a_snapshot_removes_nothing_that_its_job_has_not_written(story: &mut Story) {
    running(story).await;
    story.snapshot("origin", json!({ "jobRef": { "name": "delays" } }));
    story.saved("origin").await;
    let uri = story.snapshot_uri("origin");
    let import = json!({ "jobRef": { "name": "delays" }, "importFrom": { "uri": uri }, "deletionPolicy": "Delete" });
    let refused = |story: &Story, uri: &str| {
        let now = story.now();
        let spec = json!({ "importFrom": { "uri": uri }, "deletionPolicy": "Delete" });
        let object = json!({ "metadata": { "name": "theft" }, "spec": spec });
        let mut world = story.world();
        let answer = world
            .store
            .create(&STREAM_SNAPSHOTS, NAMESPACE, object, now);
        answer.unwrap_err().message
    };
    let message = refused(story, "s3://streams/prod/victims/victim");
    assert!(message.contains("use Retain"), "{message}");
    // Only a savepoint of its own job goes with it.
    story.snapshot("copy", import.clone());
    story.saved("copy").await;
    "another".clone_into(&mut story.world().jobs.folders.get_mut(&uri).unwrap().job_uid);
    story.delete_snapshot("copy");
    let gone = |story: &Story, name: &str| !story.snapshots().contains_key(name);
    story.until("it is gone", |story| gone(story, "copy")).await;
    assert!(story.world().jobs.folders.contains_key(&uri));
    assert!(story.events().contains(&"SnapshotFolderKept".to_owned()));
    let uid = story.job("delays").metadata.uid.unwrap();
    uid.clone_into(&mut story.world().jobs.folders.get_mut(&uri).unwrap().job_uid);
    story.snapshot("again", import);
    story.saved("again").await;
    story.delete_snapshot("again");
    story
        .until("it is gone", |story| gone(story, "again"))
        .await;
    assert!(!story.world().jobs.folders.contains_key(&uri));
}

stories![
    the_operator_does_not_look_where_it_may_not,
    a_job_in_a_store_of_its_own_is_upgraded_suspended_and_resumed_by_its_pods,
    state_in_a_store_that_the_operator_does_not_look_into_is_not_started_over,
    a_snapshot_removes_nothing_that_its_job_has_not_written,
    an_operator_with_another_default_storage_finds_the_state_where_it_is,
    an_edit_that_would_leave_the_state_behind_is_refused,
];
