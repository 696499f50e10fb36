//! The state of a job stays where it is: other defaults of an operator do not send anybody elsewhere.

use std::time::Duration;

use serde_json::json;
use streamkeeper::api::v1alpha1::S3;

use crate::{
    support::{
        api_server::kinds::STREAM_SNAPSHOTS,
        story::{NAMESPACE, Story},
    },
    upgrading::running,
};

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
    // While nobody runs it, the operator itself looks for HEAD.
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

async fn the_operator_does_not_look_where_it_may_not(story: &mut Story) {
    let elsewhere = |uri: &str, endpoint: &str| json!({ "sql": { "text": "SELECT 1" }, "storage": { "s3": { "uri": uri, "endpoint": endpoint } } });
    story.create("signed", elsewhere("s3://streams/prod", "http://attacker"));
    let nested = json!({ "sql": { "text": "SELECT 1" }, "storage": { "s3": { "uri": "s3://streams/prod/victims" } } });
    story.create("nested", nested);
    for name in ["signed", "nested"] {
        let message = story.stalled(name, "StorageAccessDenied").await;
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
    let looked = |effect: &String| effect.contains("victims") || effect.contains("attacker");
    assert!(!story.effects().iter().any(looked), "{:?}", story.effects());
    // Who may not look can still let go.
    story.delete("nested");
    story
        .until("it is gone", |story| story.find("nested").is_none())
        .await;
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
    a_snapshot_removes_nothing_that_its_job_has_not_written,
    an_operator_with_another_default_storage_finds_the_state_where_it_is,
    an_edit_that_would_leave_the_state_behind_is_refused,
];
