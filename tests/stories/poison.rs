//! Objects that cannot be read: each costs only itself.

use std::time::Duration;

use serde_json::{Value, json};
use streamkeeper_api::condition::kind;
use streamkeeper_harness::{
    api_server::kinds::{Kind, PODS, STREAM_JOBS, STREAM_SNAPSHOTS},
    story::{NAMESPACE, Story},
};

const MINUTE: Duration = Duration::from_mins(1);

/// Puts an object there as an API server with another schema would have let it in.
fn put(story: &mut Story, kind: &'static Kind, name: &str, object: Value) {
    let mut object = object;
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(NAMESPACE);
    object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["creationTimestamp"] = json!("2026-03-01T12:00:00Z");
    story.world().store.put(kind, NAMESPACE, name, Some(object));
}

fn object(story: &Story, kind: &'static Kind, name: &str) -> Value {
    let world = story.world();
    world.store.get(kind, NAMESPACE, name).unwrap().clone()
}

/// The condition Stalled of an object, however little of it can be read.
fn stalled(story: &Story, kind: &'static Kind, name: &str) -> Option<(String, String)> {
    let object = object(story, kind, name);
    let all = object["status"]["conditions"].as_array()?.clone();
    let held = all.into_iter().find(|held| held["type"] == kind::STALLED)?;
    let text = |field: &str| held[field].as_str().unwrap_or_default().to_owned();
    Some((text("reason"), text("message")))
}

async fn objects_that_cannot_be_read_cost_only_themselves(story: &mut Story) {
    story.stop_operator();
    let ttl =
        |ttl: &str| json!({ "spec": { "sql": { "text": "SELECT 1" }, "ttlAfterCompletion": ttl } });
    put(story, &STREAM_JOBS, "poison", ttl("99999999999999999h"));
    let timeout = json!({ "spec": { "jobRef": { "name": "delays" }, "deletionPolicy": "Retain", "timeout": "soon" } });
    put(story, &STREAM_SNAPSHOTS, "poison", timeout);
    let managed = json!({ "app.kubernetes.io/managed-by": "streamkeeper", "streamkeeper.dev/job": "other", "streamkeeper.dev/revision": "1" });
    let pod = json!({ "metadata": { "labels": managed }, "spec": { "containers": "none" } });
    put(story, &PODS, "poison", pod);
    story.start_operator();
    story
        .until("the operator is ready", Story::is_operator_ready)
        .await;
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story.ready("delays").await;
    for (kind, field) in [
        (&STREAM_JOBS, "spec.ttlAfterCompletion: "),
        (&STREAM_SNAPSHOTS, "spec.timeout: "),
    ] {
        story
            .until("it says what is wrong with it", |story| {
                stalled(story, kind, "poison").is_some()
            })
            .await;
        let (reason, message) = stalled(story, kind, "poison").unwrap();
        assert_eq!(reason, "InvalidSpec");
        assert!(message.starts_with(field), "{message}");
    }
    // It is told once.
    let version = object(story, &STREAM_JOBS, "poison")["metadata"]["resourceVersion"].clone();
    story.pass(5 * MINUTE).await;
    let after = object(story, &STREAM_JOBS, "poison");
    assert_eq!(after["metadata"]["resourceVersion"], version);

    // Mended, it goes on.
    let mut mended = after;
    mended["spec"]["ttlAfterCompletion"] = json!("1h");
    mended["metadata"]["generation"] = json!(2);
    put(story, &STREAM_JOBS, "poison", mended);
    story.ready("poison").await;
}

async fn a_job_that_is_edited_to_something_unreadable_runs_on(story: &mut Story) {
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story.create("other", json!({ "sql": { "text": "SELECT 1" } }));
    story.ready("delays").await;
    story.ready("other").await;
    let before = object(story, &STREAM_JOBS, "delays");
    let mut poisoned = before.clone();
    poisoned["spec"]["checkpoints"]["interval"] = json!("often");
    poisoned["metadata"]["generation"] = json!(2);
    story
        .world()
        .store
        .put(&STREAM_JOBS, NAMESPACE, "delays", Some(poisoned));
    story
        .until("it says what is wrong with it", |story| {
            stalled(story, &STREAM_JOBS, "delays").is_some()
        })
        .await;
    story.edit("other", json!({ "image": "runtime:2" }));
    story.rolled_out("other", 2).await;
    story
        .stays("it runs on", 5 * MINUTE, |story| {
            story.pods().contains(&"delays-r1-0".to_owned())
        })
        .await;
    let mut mended = object(story, &STREAM_JOBS, "delays");
    mended["spec"] = before["spec"].clone();
    mended["metadata"]["generation"] = json!(3);
    story
        .world()
        .store
        .put(&STREAM_JOBS, NAMESPACE, "delays", Some(mended));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(1));
}

stories![
    objects_that_cannot_be_read_cost_only_themselves,
    a_job_that_is_edited_to_something_unreadable_runs_on,
];
