//! The operator remembers nothing of what is gone.

use std::time::Duration;

use serde_json::json;
use streamkeeper_api::names::FINALIZER;
use streamkeeper_harness::{coordinator::HeadStore, story::Story};

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

async fn of_snapshots_that_are_gone_nothing_is_remembered(story: &mut Story) {
    running(story).await;
    for n in 0..4 {
        let of_nothing = json!({ "jobRef": { "name": format!("missing-{n}") } });
        story.snapshot(&format!("waits-{n}"), of_nothing);
        story.snapshot(
            &format!("kept-{n}"),
            json!({ "jobRef": { "name": "delays" } }),
        );
        for name in ["dropped", "freed"] {
            story.snapshot(
                &format!("{name}-{n}"),
                json!({ "jobRef": { "name": "delays" }, "deletionPolicy": "Delete" }),
            );
        }
    }
    for n in 0..4 {
        for name in ["kept", "dropped", "freed"] {
            story.saved(&format!("{name}-{n}")).await;
        }
    }
    for n in 0..4 {
        for name in ["kept", "dropped", "waits"] {
            story.delete_snapshot(&format!("{name}-{n}"));
        }
    }
    // A user removes the finalizers of these.
    story.storage(HeadStore::Denied);
    for n in 0..4 {
        story.delete_snapshot(&format!("freed-{n}"));
    }
    story.pass(MINUTE).await;
    for n in 0..4 {
        story.hold_snapshot(&format!("freed-{n}"), &[]);
    }
    story.storage(HeadStore::Fine);
    story
        .until("all are gone", |story| story.snapshots().is_empty())
        .await;
    story.delete("delays");
    story
        .until("the job too", |story| story.find("delays").is_none())
        .await;
    story.pass(2 * MINUTE).await;
    assert_eq!(story.remembered(), 0);
}

async fn of_jobs_that_are_gone_nothing_is_remembered(story: &mut Story) {
    running(story).await;
    for n in 0..4 {
        let name = format!("short-{n}");
        story.create(&name, json!({ "sql": { "text": "SELECT 1" } }));
        story.ready(&name).await;
    }
    let others = "example.com/billing";
    story.hold_job("short-0", &[FINALIZER, others]);
    for n in 0..4 {
        story.delete(&format!("short-{n}"));
    }
    story
        .until("one is held by others", |story| {
            story.job("short-0").metadata.finalizers == Some(vec![others.to_owned()])
                && story.find("short-3").is_none()
        })
        .await;
    story.pass(2 * MINUTE).await;
    let measured = story.metrics.encode();
    assert!(measured.contains("\"delays\""), "{measured}");
    assert!(!measured.contains("\"short-"), "{measured}");
    story.hold_job("short-0", &[]);
    story.pass(2 * MINUTE).await;
    assert_eq!(story.remembered(), 1, "the one that is left");
}

stories![
    of_snapshots_that_are_gone_nothing_is_remembered,
    of_jobs_that_are_gone_nothing_is_remembered,
];
