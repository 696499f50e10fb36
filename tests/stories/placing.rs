//! The state of a job stays where it is: other defaults of an operator do not send anybody elsewhere.

use std::time::Duration;

use serde_json::json;
use streamkeeper::api::v1alpha1::S3;

use crate::{support::story::Story, upgrading::running};

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

stories![
    an_operator_with_another_default_storage_finds_the_state_where_it_is,
    an_edit_that_would_leave_the_state_behind_is_refused,
];
