//! What tools that go by the status make of a job or a snapshot: Flux by the rules of kstatus, Argo
//! CD by `docs/argocd-health.lua`. Told at every moment of a story, because a tool that looks too
//! early must not see one that is done.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;
use streamkeeper_api::{
    condition,
    names::VERIFY,
    v1alpha1::{SnapshotPhase, StreamJob, StreamSnapshot},
};
use streamkeeper_harness::{coordinator::HeadStore, script::Script, story::Story};

use super::{retaining::deleted_without_access, snapshots::saved, upgrading::running};

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
            seen_of(&story.job("delays")),
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
        seen_of(&story.job("delays")),
        (Kstatus::Current, "Progressing"),
        "docs/gitops.md says so"
    );
    story.start_operator();
    watch(story, "it is done", |_, seen| seen == DONE).await;
}

async fn a_snapshot_is_in_progress_until_it_is_complete(story: &mut Story) {
    story.snapshot("early", json!({ "jobRef": { "name": "delays" } }));
    assert_eq!(
        seen_of_snapshot(&story.snapshots()["early"]),
        (Kstatus::Current, "Progressing"),
        "docs/gitops.md says so"
    );
    let waiting = watch_snapshot(story, "early", "it waits", |says, seen| {
        assert_eq!(seen, UNDER_WAY);
        says.contains("does not exist")
    })
    .await;
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let taken = watch_snapshot(story, "early", "it is done", |_, seen| {
        assert_ne!(seen, HELP);
        seen == DONE
    })
    .await;
    story.annotate_snapshot("early", VERIFY, "one");
    let verified = watch_snapshot(story, "early", "it was read", |says, seen| {
        assert_ne!(seen, HELP);
        seen == DONE && says.contains("all its checksums are right")
    })
    .await;
    let phases: BTreeSet<String> = [waiting, taken, verified].into_iter().flatten().collect();
    let all = ["Completed", "InProgress", "Pending", "Verifying"];
    assert!(phases.iter().eq(all), "{phases:?}");
}

async fn a_snapshot_that_is_not_to_be_had_has_failed(story: &mut Story) {
    running(story).await;
    saved(story, "nightly").await;
    let uri = story.snapshot_uri("nightly");
    story.storage(HeadStore::Denied);
    story.snapshot("copy", json!({ "importFrom": { "uri": uri } }));
    watch_snapshot(story, "copy", "nobody may read it", |_, seen| seen == HELP).await;
    story.storage(HeadStore::Fine);
    watch_snapshot(story, "copy", "it is done then", |_, seen| seen == DONE).await;
    story.snapshot(
        "nowhere",
        json!({ "importFrom": { "uri": "s3://streams/prod/flights/nowhere" } }),
    );
    let failed = watch_snapshot(story, "nowhere", "there is none", |_, seen| {
        assert_ne!(seen, DONE);
        seen == HELP
    })
    .await;
    assert!(failed.contains("Failed"), "{failed:?}");
    story.world().jobs.folders.get_mut(&uri).unwrap().damaged = true;
    story.annotate_snapshot("nightly", VERIFY, "one");
    watch_snapshot(story, "nightly", "it is damaged", |_, seen| seen == HELP).await;
    assert_eq!(
        story.snapshot_phase("nightly"),
        Some(SnapshotPhase::Completed)
    );
}

async fn a_snapshot_that_is_deleted_is_in_progress_until_it_is_gone(story: &mut Story) {
    deleted_without_access(story).await;
    watch_snapshot(story, "nightly", "its folder stays", |_, seen| seen == HELP).await;
    story.storage(HeadStore::Fine);
    let phases = watch_snapshot(story, "nightly", "it is gone", |_, seen| {
        assert_ne!(seen, DONE);
        false
    })
    .await;
    assert!(phases.iter().eq(["Deleting"]), "{phases:?}");
}

/// What Flux and what Argo CD see.
type Seen = (Kstatus, &'static str);

const UNDER_WAY: Seen = (Kstatus::InProgress, "Progressing");
const DONE: Seen = (Kstatus::Current, "Healthy");
const AT_REST: Seen = (Kstatus::Current, "Suspended");
const HELP: Seen = (Kstatus::Failed, "Degraded");

/// Lets the world go on until what is seen is as wanted; both tools agree all the time, but for an
/// object without a status.
async fn watch(story: &mut Story, what: &str, mut wanted: impl FnMut(&Story, Seen) -> bool) {
    story
        .until(what, |story| {
            let job = story.job("delays");
            let seen = seen_of(&job);
            assert!(
                job.status.is_none() || [UNDER_WAY, DONE, AT_REST, HELP].contains(&seen),
                "{seen:?}: {:?}",
                job.status
            );
            wanted(story, seen)
        })
        .await;
}

/// Lets the world go on until a snapshot is as wanted. Returns its phases on the way. Both tools
/// agree all the time, and with `docs/gitops.md`.
async fn watch_snapshot(
    story: &mut Story,
    name: &str,
    what: &str,
    wanted: impl Fn(&str, Seen) -> bool,
) -> BTreeSet<String> {
    let mut phases = BTreeSet::new();
    story
        .until(what, |story| {
            let Some(snapshot) = story.snapshots().remove(name) else {
                return true;
            };
            let Some(status) = &snapshot.status else {
                return false;
            };
            let (phase, seen) = (status.phase.expect("a phase"), seen_of_snapshot(&snapshot));
            if status.observed_generation != snapshot.metadata.generation {
                assert_eq!(seen, UNDER_WAY, "an end that nobody has looked at");
                return false;
            }
            let fits = match phase {
                SnapshotPhase::Failed => seen == HELP,
                // Damaged ones have been complete.
                SnapshotPhase::Completed => [DONE, HELP].contains(&seen),
                // A storage that does not answer is a matter for people.
                SnapshotPhase::Pending
                | SnapshotPhase::InProgress
                | SnapshotPhase::Verifying
                | SnapshotPhase::Deleting => [UNDER_WAY, HELP].contains(&seen),
            };
            assert!(fits, "{phase:?} is {seen:?}: {status:?}");
            phases.insert(format!("{phase:?}"));
            wanted(&story.snapshot_message(name), seen)
        })
        .await;
    phases
}

fn seen_of(job: &StreamJob) -> Seen {
    let status = job.status.as_ref();
    let status = status.map(|status| (status.observed_generation, &status.conditions[..]));
    seen(job.metadata.generation, status)
}

fn seen_of_snapshot(snapshot: &StreamSnapshot) -> Seen {
    let status = snapshot.status.as_ref();
    let status = status.map(|status| (status.observed_generation, &status.conditions[..]));
    seen(snapshot.metadata.generation, status)
}

/// What of a status the tools look at.
type Told<'a> = (Option<i64>, &'a [Condition]);

fn seen(generation: Option<i64>, status: Option<Told<'_>>) -> Seen {
    (kstatus(generation, status), health(generation, status))
}

/// Results of kstatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kstatus {
    InProgress,
    Failed,
    Current,
}

/// The rules of kstatus for an object of a kind that it does not know.
fn kstatus(generation: Option<i64>, status: Option<Told<'_>>) -> Kstatus {
    let Some((observed, conditions)) = status else {
        return Kstatus::Current;
    };
    if observed.is_some() && observed != generation {
        return Kstatus::InProgress;
    }
    let truth = |kind| condition::get(conditions, kind).map(|found| found.status.as_str());
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

/// Returns what the Lua returns. Its rows are read; the code around them is repeated here.
fn health(generation: Option<i64>, status: Option<Told<'_>>) -> &'static str {
    let status = status.filter(|(observed, _)| *observed == generation);
    let holds =
        |kind: &str| status.is_some_and(|(_, conditions)| condition::is_true(conditions, kind));
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
    a_snapshot_is_in_progress_until_it_is_complete,
    a_snapshot_that_is_not_to_be_had_has_failed,
    a_snapshot_that_is_deleted_is_in_progress_until_it_is_gone,
];
