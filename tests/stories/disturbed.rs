//! What disturbs the operator rather than the job: an API server that fails, caches that lag, hands
//! that meddle, a second operator.

use std::time::Duration;

use serde_json::json;
use streamkeeper_harness::{
    api_server::Refusal,
    interference::{Fate, Interference},
    story::Story,
};
use streamkeeper_protocol::head::RunState;

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

async fn an_api_server_that_fails_now_and_then_is_survived(story: &mut Story) {
    for (calls, fate) in [
        (
            "patch streamkeeper.dev/streamjobs",
            Fate::Refused(Refusal::internal_error()),
        ),
        ("create apps/controllerrevisions", Fate::AnswerLost),
        (
            "create configmaps",
            Fate::Refused(Refusal::too_many_requests()),
        ),
        ("create apps/statefulsets", Fate::AnswerLost),
        ("create services", Fate::RequestLost),
        (
            "update streamkeeper.dev/streamjobs/status",
            Fate::AnswerLost,
        ),
        (
            "update streamkeeper.dev/streamjobs/status",
            Fate::Refused(Refusal::conflict(
                "streamjobs",
                "the object has been modified",
            )),
        ),
        ("call promote", Fate::AnswerLost),
        (
            "create events.k8s.io/events",
            Fate::Refused(Refusal::internal_error()),
        ),
    ] {
        story.interfere(Interference::next(2, calls, fate));
    }
    running(story).await;
    assert_eq!(
        story
            .head("delays")
            .map(|head| (head.revision, head.attempt)),
        Some((1, 1)),
        "a lost answer starts nothing twice"
    );
    assert_eq!(story.pods(), ["delays-r1-0", "delays-r1-1"]);
}

async fn watches_that_must_start_over_lose_nothing(story: &mut Story) {
    running(story).await;
    story.world().forgotten = u64::MAX;
    // Long enough for every watch to end and to be told that its version is too old.
    story.pass(11 * MINUTE).await;
    story.world().forgotten = 0;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
}

// Elsewhere: ArroyoSystems/arroyo#787, ArroyoSystems/arroyo#641.
async fn objects_that_somebody_deleted_come_back(story: &mut Story) {
    running(story).await;
    let before = story.pod_uids("delays", 1, 2);
    story.remove_service("delays-r1");
    story
        .until("the service is back", |story| {
            story.has_service("delays-r1")
        })
        .await;
    assert_eq!(story.pod_uids("delays", 1, 2), before);
    story.remove_stateful_set("delays-r1");
    story
        .until("the pods are new", |story| {
            story.pods().len() == 2 && story.pod_uids("delays", 1, 2) != before
        })
        .await;
    story.ready("delays").await;
    assert!(story.head("delays").is_some_and(|head| head.attempt > 1));
}

async fn pods_that_somebody_scaled_away_come_back(story: &mut Story) {
    running(story).await;
    for replicas in [1, 0] {
        let before = story.head("delays").expect("a HEAD").attempt;
        story.scale_by_hand("delays-r1", replicas);
        story
            .until("the job runs again, as before", |story| {
                story.head("delays").is_some_and(|head| {
                    head.attempt > before && head.workers == 2 && head.revision == 1
                }) && story.pods() == ["delays-r1-0", "delays-r1-1"]
            })
            .await;
        story.ready("delays").await;
    }
}

async fn an_operator_that_has_not_seen_the_pods_yet_decides_nothing(story: &mut Story) {
    running(story).await;
    let before = story
        .head("delays")
        .and_then(|head| head.last)
        .expect("a checkpoint");
    story.stop_operator();
    story.delete("delays");
    for kind in ["pods", "statefulsets", "controllerrevisions"] {
        story.world().slow_lists.insert(kind, MINUTE / 2);
    }
    story.start_operator();
    story
        .until("the job is gone", |story| story.find("delays").is_none())
        .await;
    let head = story.head("delays").expect("its state stays");
    assert_eq!(
        head.state,
        RunState::Released,
        "there was somebody to ask: only nobody was seen yet"
    );
    assert!(head.last.expect("a checkpoint").checkpoint > before.checkpoint);
}

async fn two_operators_at_once_do_no_harm(story: &mut Story) {
    running(story).await;
    story.start_another_operator();
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!((head.revision, head.attempt), (2, 2), "one hand-over");
    assert_eq!(story.pods(), ["delays-r2-0", "delays-r2-1"]);
    assert_eq!(
        story.status("delays").history.len(),
        2,
        "{:?}",
        story.status("delays").history
    );
}

stories![
    an_api_server_that_fails_now_and_then_is_survived,
    watches_that_must_start_over_lose_nothing,
    objects_that_somebody_deleted_come_back,
    pods_that_somebody_scaled_away_come_back,
    an_operator_that_has_not_seen_the_pods_yet_decides_nothing,
    two_operators_at_once_do_no_harm,
];
