//! What tools that go by the status make of a job: Flux by the rules of kstatus, Argo CD by `docs/argocd-health.lua`. Told at every moment of a story, because a tool
//! that looks too early must not see a job that is done.

use serde_json::json;
use streamkeeper::api::{condition, v1alpha1::StreamJob};

use super::upgrading::running;
use crate::support::{script::Script, story::Story};

/// The file that users give to Argo CD.
const LUA: &str = include_str!("../../docs/argocd-health.lua");

// Elsewhere: argoproj/argo-cd#12993, argoproj/argo-cd#26523, FLINK-33634.
async fn a_change_is_in_progress_until_it_is_in_force(story: &mut Story) {
    running(story).await;
    watch(story, "it is done", |_, seen| seen == DONE).await;
    for change in [
        json!({ "image": "runtime:2" }),
        json!({ "workers": { "replicas": 3 } }),
        json!({ "checkpoints": { "interval": "7s" } }),
        json!({ "upgrade": { "progressDeadline": "5m" } }),
    ] {
        story.edit("delays", change);
        assert_eq!(
            seen(&story.job("delays")),
            UNDER_WAY,
            "an edit that nobody has looked at"
        );
        watch(story, "the change is in force", |story, seen| {
            assert_ne!(seen, HELP);
            let done = seen == DONE;
            assert!(
                !done || story.is_ready("delays"),
                "done before the operator was"
            );
            done
        })
        .await;
    }
    assert_eq!(story.head("delays").map(|head| head.workers), Some(3));
}

// Elsewhere: argoproj/argo-cd#12993, argoproj/argo-cd#26523, FLINK-33634.
async fn a_change_that_was_given_up_has_failed_while_the_job_runs_on(story: &mut Story) {
    let missing = Script {
        missing_image: true,
        ..Script::default()
    };
    story.script("runtime:none", missing);
    running(story).await;
    story.edit("delays", json!({ "image": "runtime:none" }));
    watch(story, "it has failed", |_, seen| {
        assert_ne!(seen, DONE, "what is asked for is not in force");
        seen == HELP
    })
    .await;
    assert_eq!(story.condition("delays", "Running").0, "True");
    assert_eq!(story.condition("delays", "Stalled").1, "ImagePullFailed");
    story.edit("delays", json!({ "image": "runtime:1" }));
    watch(story, "reverting the commit ends it", |_, seen| {
        seen == DONE
    })
    .await;
    assert_eq!(story.head("delays").map(|head| head.attempt), Some(1));
}

async fn a_suspended_job_is_done_and_suspended(story: &mut Story) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    watch(story, "it is suspended", |_, seen| seen == AT_REST).await;
    assert!(story.pods().is_empty());
    story.edit("delays", json!({ "suspend": false }));
    watch(story, "it runs again", |_, seen| seen == DONE).await;
    assert!(story.runner("delays").is_some());
}

async fn a_job_that_no_operator_has_seen_is_in_progress_for_argo_cd_but_done_for_flux(
    story: &mut Story,
) {
    story.stop_operator();
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    assert_eq!(
        seen(&story.job("delays")),
        (Kstatus::Current, "Progressing"),
        "docs/gitops.md says so"
    );
    story.start_operator();
    watch(story, "it is done", |_, seen| seen == DONE).await;
}

/// What Flux and what Argo CD see.
type Seen = (Kstatus, &'static str);

const UNDER_WAY: Seen = (Kstatus::InProgress, "Progressing");
const DONE: Seen = (Kstatus::Current, "Healthy");
const AT_REST: Seen = (Kstatus::Current, "Suspended");
const HELP: Seen = (Kstatus::Failed, "Degraded");

/// Lets the world go on until what is seen is as wanted; both tools agree all the time, but for an object without a status.
async fn watch(story: &mut Story, what: &str, mut wanted: impl FnMut(&Story, Seen) -> bool) {
    story
        .until(what, |story| {
            let job = story.job("delays");
            let seen = seen(&job);
            assert!(
                job.status.is_none() || [UNDER_WAY, DONE, AT_REST, HELP].contains(&seen),
                "{seen:?}: {:?}",
                job.status
            );
            wanted(story, seen)
        })
        .await;
}

fn seen(job: &StreamJob) -> Seen {
    (kstatus(job), health(job))
}

/// Results of kstatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kstatus {
    InProgress,
    Failed,
    Current,
}

/// The rules of kstatus for an object of a kind that it does not know.
fn kstatus(job: &StreamJob) -> Kstatus {
    let Some(status) = &job.status else {
        return Kstatus::Current;
    };
    let observed = status.observed_generation;
    if observed.is_some() && observed != job.metadata.generation {
        return Kstatus::InProgress;
    }
    let truth = |kind| condition::get(&status.conditions, kind).map(|found| found.status.as_str());
    if truth("Reconciling") == Some("True") {
        Kstatus::InProgress
    } else if truth("Stalled") == Some("True") {
        Kstatus::Failed
    } else if matches!(truth("Ready"), Some("False" | "Unknown")) {
        Kstatus::InProgress
    } else {
        Kstatus::Current
    }
}

/// What the Lua answers: its rows are read, what surrounds them is told again here.
fn health(job: &StreamJob) -> &'static str {
    let status = job
        .status
        .as_ref()
        .filter(|status| status.observed_generation == job.metadata.generation);
    let holds =
        |kind: &str| status.is_some_and(|status| condition::is_true(&status.conditions, kind));
    rules()
        .find(|(kind, _)| holds(kind))
        .map_or("Progressing", |(_, health)| health)
}

/// Conditions and what Argo CD is told while they are True, in the order of the file.
fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    LUA.lines().filter_map(|line| {
        let row = line.trim().strip_prefix("{\"")?.strip_suffix("\"},")?;
        row.split_once("\", \"")
    })
}

#[test]
fn the_rows_of_the_health_check_are_found() {
    assert_eq!(rules().count(), 4);
}

stories![
    a_change_is_in_progress_until_it_is_in_force,
    a_change_that_was_given_up_has_failed_while_the_job_runs_on,
    a_suspended_job_is_done_and_suspended,
    a_job_that_no_operator_has_seen_is_in_progress_for_argo_cd_but_done_for_flux,
];
