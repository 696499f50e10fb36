//! Caches that are late: what the operator wrote itself it waits to see. And what it may not see at
//! all.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use streamkeeper_harness::{
    api_server::kinds::STREAM_JOBS,
    cluster::text,
    story::{Story, tell},
};

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);
const CHILDREN: [&str; 7] = [
    "pods",
    "statefulsets",
    "controllerrevisions",
    "services",
    "configmaps",
    "networkpolicies",
    "poddisruptionbudgets",
];

/// The operator starts again and from now on hears of its objects seconds late.
fn with_late_watches(story: &mut Story, seconds: u64) {
    for kind in CHILDREN {
        let late = Duration::from_secs(seconds);
        story.world().slow_watches.insert(kind, late);
    }
    story.restart_operator(|_| {});
}

/// Objects that were created, scaled or deleted more than once, and how often.
fn twice(story: &Story) -> BTreeMap<String, usize> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for effect in story.effects() {
        let once = ["create ", "delete "]
            .iter()
            .any(|verb| effect.starts_with(verb));
        // Every revision asks for the one Secret of the job, which the operator may not read, and
        // for the one NetworkPolicy.
        let shared = ["create secrets", "create networking"]
            .iter()
            .any(|kind| effect.starts_with(kind));
        if once && !effect.contains("events") && !shared {
            *times.entry(effect).or_default() += 1;
        }
    }
    times.retain(|_, times| *times > 1);
    times
}

/// Runs a job from its start to its end. Returns what was done twice.
async fn whole_life(story: &mut Story) -> BTreeMap<String, usize> {
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.rolled_out("delays", 2).await;
    for replicas in [3, 1] {
        story.edit("delays", json!({ "workers": { "replicas": replicas } }));
        story.ready("delays").await;
    }
    story.edit("delays", json!({ "suspend": true }));
    story
        .until("it is suspended", |story| {
            story.condition("delays", "Suspended").0 == "True"
        })
        .await;
    let mut all = twice(story);
    // What was removed to suspend the job is made again to resume it.
    story.world().effects.clear();
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    story.delete("delays");
    story
        .until("everything of it is gone", |story| {
            story.find("delays").is_none() && story.pods().is_empty()
        })
        .await;
    all.append(&mut twice(story));
    all
}

async fn with_watches_that_are_seconds_late_no_object_is_created_or_deleted_twice(
    story: &mut Story,
) {
    with_late_watches(story, 3);
    let twice = whole_life(story).await;
    assert!(twice.is_empty(), "{twice:#?}");
}

/// The negative control.
#[test]
fn an_operator_that_does_not_wait_to_see_what_it_wrote_does_it_again() {
    let twice = tell(async |story| {
        story.sees_own_writes = false;
        with_late_watches(story, 3);
        whole_life(story).await
    });
    assert!(!twice.is_empty());
}

/// Force-deletions of pods and scalings after a node was lost and a number was changed.
async fn repeated(story: &mut Story) -> BTreeMap<String, usize> {
    with_late_watches(story, 5);
    running(story).await;
    story.world().effects.clear();
    let node = text(&story.pod("delays-r1-0"), "/spec/nodeName").to_owned();
    story.lose_node(&node);
    story.effect("delete pods delays-r1-0").await;
    story.pass(MINUTE).await;
    story.ready("delays").await;
    story.edit("delays", json!({ "workers": { "replicas": 3 } }));
    story.ready("delays").await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for effect in story.effects() {
        if effect.starts_with("delete pods") || effect.starts_with("patch apps/statefulsets") {
            *times.entry(effect).or_default() += 1;
        }
    }
    times
}

async fn a_pod_is_force_deleted_once_and_a_number_is_set_once_however_late_the_watch_is(
    story: &mut Story,
) {
    let times = repeated(story).await;
    assert!(
        times.len() >= 2 && times.values().all(|times| *times == 1),
        "{times:#?}"
    );
}

/// The negative control.
#[test]
fn without_waiting_a_pod_is_deleted_again_while_its_deletion_is_not_seen() {
    let times = tell(async |story| {
        story.sees_own_writes = false;
        repeated(story).await
    });
    assert!(times.values().any(|times| *times > 1), "{times:#?}");
}

async fn a_watch_that_shows_nothing_any_more_is_begun_anew(story: &mut Story) {
    let never = 600 * MINUTE;
    story.world().slow_watches.insert("statefulsets", never);
    story.restart_operator(|_| {});
    let began = story.now();
    running(story).await;
    let took = story.now().duration_since(began);
    assert!(took.as_secs() < 120, "{took:#}");
}

async fn an_operator_of_two_namespaces_looks_after_both_and_no_other(story: &mut Story) {
    story.namespaces = ["flights", "trains"]
        .map(|name| Some(name.to_owned()))
        .to_vec();
    story.world().slow_lists.insert("pods", MINUTE / 2);
    story.restart_operator(|_| {});
    let spec = json!({ "sql": { "text": "SELECT 1" } });
    for namespace in ["flights", "trains", "ships"] {
        story.create_in(namespace, "delays", spec.clone());
    }
    story.pass(MINUTE / 4).await;
    assert!(!story.is_operator_ready(), "it has not seen the pods yet");
    story.ready("delays").await;
    assert!(story.is_operator_ready());
    let status = |story: &Story, namespace: &str| {
        let world = story.world();
        let job = world.store.get(&STREAM_JOBS, namespace, "delays");
        job.map(|job| text(job, "/status/phase").to_owned())
    };
    story
        .until("the other one runs too", |story| {
            status(story, "trains").as_deref() == Some("Running")
        })
        .await;
    assert_eq!(status(story, "ships").as_deref(), Some(""), "left alone");
}

async fn without_the_right_to_see_nodes_jobs_run_and_lost_nodes_are_left_to_kubernetes(
    story: &mut Story,
) {
    story.world().hidden_nodes = true;
    story.restart_operator(|_| {});
    running(story).await;
    let node = text(&story.pod("delays-r1-0"), "/spec/nodeName").to_owned();
    story.world().effects.clear();
    story.lose_node(&node);
    story.pass(10 * MINUTE).await;
    let effects = story.effects();
    assert!(
        !effects
            .iter()
            .any(|effect| effect.starts_with("delete pods")),
        "{effects:#?}"
    );
}

stories![
    with_watches_that_are_seconds_late_no_object_is_created_or_deleted_twice,
    a_pod_is_force_deleted_once_and_a_number_is_set_once_however_late_the_watch_is,
    a_watch_that_shows_nothing_any_more_is_begun_anew,
    an_operator_of_two_namespaces_looks_after_both_and_no_other,
    without_the_right_to_see_nodes_jobs_run_and_lost_nodes_are_left_to_kubernetes,
];
