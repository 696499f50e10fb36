//! Nodes, pods and the storage fail; the job does not.

use std::time::Duration;

use serde_json::json;
use streamkeeper_harness::{
    cluster::text, coordinator::HeadStore, kubelet::Exit, script::Script, story::Story,
};
use streamkeeper_protocol::head::RunState;

use super::upgrading::running;

const MINUTE: Duration = Duration::from_mins(1);

async fn the_pods_of_a_lost_node_are_force_deleted_and_the_job_goes_on_elsewhere(
    story: &mut Story,
) {
    running(story).await;
    let node = text(&story.pod("delays-r1-0"), "/spec/nodeName").to_owned();
    let uid = story.pod_uids("delays", 1, 1);
    story.lose_node(&node);
    let grace = story.settings.node_lost_timeout;
    let lost = story.now();
    story
        .stays(
            "nothing is done before the grace is over",
            grace / 2,
            |story| story.pod_uids("delays", 1, 1) == uid,
        )
        .await;
    story
        .until("the pod runs elsewhere", |story| {
            story.pods().contains(&"delays-r1-0".to_owned())
                && text(&story.pod("delays-r1-0"), "/spec/nodeName") != node
        })
        .await;
    let waited = story.now().duration_since(lost).unsigned_abs();
    assert!(
        waited < grace + Duration::from_secs(2),
        "it comes as soon as the grace is over, not {waited:?} later"
    );
    story
        .until("the job runs again, under a new attempt", |story| {
            story
                .head("delays")
                .is_some_and(|head| head.state == RunState::Running && head.attempt > 1)
                && story.condition("delays", "Running").0 == "True"
        })
        .await;
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    let told = story.noted();
    let told: Vec<_> = told
        .iter()
        .filter(|(reason, _)| reason == "NodeLost")
        .collect();
    assert!(
        told.len() == 1 && told[0].1.contains(&node) && told[0].1.contains("delays-r1-0"),
        "{told:?}"
    );
    let status = story.status("delays");
    assert_eq!(
        status.revision.expect("revisions").current,
        Some(1),
        "a failure makes no revision"
    );
    assert!(status.restarts.is_some_and(|restarts| restarts.count > 0));
    assert!(status.last_restore.is_some());
}

// Elsewhere: kubeflow/spark-operator#858.
async fn a_pod_that_is_drained_is_named_and_the_job_goes_on_from_its_final_checkpoint(
    story: &mut Story,
) {
    running(story).await;
    let node = text(&story.pod("delays-r1-1"), "/spec/nodeName").to_owned();
    story.mark_for_eviction("delays-r1-1");
    story
        .until("the eviction is told", |story| {
            story.events().contains(&"WorkerEvicted".to_owned())
        })
        .await;
    let (_, note) = story
        .noted()
        .into_iter()
        .find(|(reason, _)| reason == "WorkerEvicted")
        .expect("an event");
    assert_eq!(
        note,
        format!(
            "pod delays-r1-1 has to leave node {node} (EvictionByEvictionAPI: Eviction API: evicting); it is given time for a final checkpoint, and the job goes on from there once its next pod is up"
        )
    );
    story.remove_pod("delays-r1-1");
    story
        .until("the job runs again", |story| {
            story.head("delays").is_some_and(|head| head.attempt == 2) && story.is_ready("delays")
        })
        .await;
    let told = |reason: &str| {
        let events = story.events();
        events.iter().filter(|event| *event == reason).count()
    };
    assert_eq!(told("WorkerEvicted"), 1);
    assert_eq!(told("NodeLost"), 0);
}

// Elsewhere: FLINK-36673, FLINK-37430, ArroyoSystems/arroyo#262, ArroyoSystems/arroyo#728.
async fn what_only_a_person_can_cure_stalls_the_job_with_its_own_words(story: &mut Story) {
    let troubles = [
        (
            "BadRecord",
            "table 'flights': s3://streams/in/a.json line 2: field 'n': 'two' is not a value of INT (3 times in a row from checkpoint 41)",
        ),
        (
            "SinkCommitLost",
            "output of checkpoint 41: s3://streams/out/_staged/7 is not what was written; restore the object, or go back to a snapshot",
        ),
        (
            "StorageUnreachable",
            "reading checkpoint 41: s3://streams/prod: connection refused",
        ),
    ];
    for (n, trouble) in troubles.into_iter().enumerate() {
        let name = format!("job-{n}");
        let image = format!("fails:{n}");
        let script = Script {
            fails_with: Some(trouble),
            ..Script::default()
        };
        story.script(&image, script);
        story.create(
            &name,
            json!({ "sql": { "text": "SELECT 1" }, "image": image }),
        );
        let message = story.stalled(&name, trouble.0).await;
        assert_eq!(message, trouble.1);
        story.edit(&name, json!({ "image": "runtime:2" }));
        story.ready(&name).await;
    }
}

async fn a_question_of_the_front_end_keeps_its_mark_in_the_message(story: &mut Story) {
    let question = "job.sql: line 1:8: the function SUMM is not known; did you mean SUM?";
    story.script("SUMM", Script::invalid_sql(question));
    running(story).await;
    story.edit("delays", json!({ "sql": { "text": "SELECT SUMM(1)" } }));
    let message = story.stalled("delays", "InvalidSQL").await;
    assert!(
        message.ends_with("did you mean SUM? Revision 1 was not touched"),
        "{message}"
    );
}

async fn a_worker_that_ran_out_of_memory_is_named(story: &mut Story) {
    running(story).await;
    story.kill("delays-r1-1", Exit::out_of_memory());
    story
        .until("the failure is in the status", |story| {
            story.status("delays").last_failure.is_some()
        })
        .await;
    story
        .until("the job runs again", |story| {
            story.head("delays").is_some_and(|head| head.attempt == 2) && story.is_ready("delays")
        })
        .await;
    let failure = story.status("delays").last_failure.expect("a failure");
    assert_eq!(
        (failure.reason.as_str(), failure.worker.as_deref()),
        ("OOMKilled", Some("delays-r1-1")),
        "{failure:?}"
    );
    let told = story.noted();
    let oom = told.iter().find(|(reason, _)| reason == "WorkerOOMKilled");
    assert!(
        oom.is_some_and(|(_, note)| note.contains("pod delays-r1-1 was killed")
            && note.contains("(last seen: 498Mi)")),
        "{told:?}"
    );
    assert_eq!(story.status("delays").restarts.expect("restarts").count, 1);

    // What a later failure of the same pod was is not told by what happened before.
    story.pass(MINUTE).await;
    story.kill("delays-r1-1", Exit::error("row 7"));
    story
        .until("the job failed again", |story| {
            let failure = story.status("delays").last_failure;
            failure.is_some_and(|failure| failure.reason != "OOMKilled")
        })
        .await;
    story.pass(MINUTE).await;
    let told = story.noted();
    let ooms = told
        .iter()
        .filter(|(reason, _)| reason == "WorkerOOMKilled");
    assert_eq!(ooms.count(), 1, "{told:?}");
}

async fn checkpoints_are_overdue_when_none_completes_and_none_is_owed_for_a_suspension(
    story: &mut Story,
) {
    running(story).await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    story.pass(60 * MINUTE).await;
    story.edit("delays", json!({ "suspend": false }));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    let told = |story: &Story| story.events().contains(&"CheckpointOverdue".to_owned());
    assert!(!told(story), "{:?}", story.events());

    let never = Script {
        checkpoints_hang: true,
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &never);
    story
        .until("checkpoints are overdue", |story| {
            story.condition("delays", "CheckpointsHealthy").1 == "CheckpointOverdue"
        })
        .await;
    assert!(told(story), "{:?}", story.events());
    assert!(story.is_ready("delays"), "the job runs on");
    story.world().jobs.rewrite("delays", &Script::default());
    story
        .until("they complete again", |story| {
            story.condition("delays", "CheckpointsHealthy").0 == "True"
        })
        .await;
}

async fn a_coordinator_that_ran_out_of_memory_is_named_with_its_limit(story: &mut Story) {
    let memory = json!({ "memory": "768Mi" });
    story.create("delays", json!({ "sql": { "text": "SELECT 1" }, "workers": { "resources": { "requests": memory, "limits": memory } } }));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    let mut told_at = Vec::new();
    for attempt in 2..=3 {
        story.kill("delays-r1-0", Exit::out_of_memory());
        story
            .until("the job runs again", |story| {
                story
                    .head("delays")
                    .is_some_and(|head| head.attempt == attempt)
                    && story.is_ready("delays")
            })
            .await;
        story.pass(MINUTE).await;
        told_at.push(story.status("delays").last_failure.expect("a failure").time);
    }
    assert_ne!(told_at[0], told_at[1], "each time");
    let told = story.noted();
    let oom = told.iter().find(|(reason, _)| reason == "WorkerOOMKilled");
    let limit = "pod delays-r1-0 was killed for using more memory than its limit of 768Mi; raise";
    assert!(
        oom.is_some_and(|(_, note)| note.contains(limit)),
        "{told:?}"
    );
    let failure = story.status("delays").last_failure.expect("a failure");
    assert_eq!(
        (failure.reason.as_str(), failure.worker.as_deref()),
        ("OOMKilled", Some("delays-r1-0"))
    );
}

// Elsewhere: FLINK-36673, FLINK-37430, ArroyoSystems/arroyo#262, ArroyoSystems/arroyo#728.
async fn a_crash_loop_names_pod_and_reason_and_never_falls_back_to_older_state(story: &mut Story) {
    running(story).await;
    let before = story
        .head("delays")
        .and_then(|head| head.last)
        .expect("a checkpoint");
    let crash = Script {
        crash_once_running: Some(Exit::error("row 7: cannot parse '2013-02-30' as DATE")),
        ..Script::default()
    };
    story.world().jobs.rewrite("delays", &crash);
    story.script("runtime:1", crash);
    let message = story.stalled("delays", "CrashLooping").await;
    assert!(
        message.contains("delays-r1-0") && message.contains("2013-02-30"),
        "{message}"
    );
    let head = story.head("delays").expect("a HEAD");
    assert!(head.last.expect("a checkpoint").checkpoint >= before.checkpoint);

    story.script("runtime:1", Script::default());
    story.ready("delays").await;
}

async fn with_the_storage_down_the_job_runs_on_and_says_that_checkpoints_are_late(
    story: &mut Story,
) {
    running(story).await;
    let before = story.pod_uids("delays", 1, 2);
    story.storage(HeadStore::Down);
    story
        .until("checkpoints are not healthy", |story| {
            story.condition("delays", "CheckpointsHealthy").0 == "False"
        })
        .await;
    story
        .stays("nothing is stopped", 20 * MINUTE, |story| {
            story.pod_uids("delays", 1, 2) == before
        })
        .await;
    assert_eq!(story.condition("delays", "Running").0, "True");
    story.storage(HeadStore::Fine);
    story
        .until("checkpoints are healthy", |story| {
            story.condition("delays", "CheckpointsHealthy").0 == "True"
        })
        .await;
    story.ready("delays").await;
}

stories![
    the_pods_of_a_lost_node_are_force_deleted_and_the_job_goes_on_elsewhere,
    a_pod_that_is_drained_is_named_and_the_job_goes_on_from_its_final_checkpoint,
    what_only_a_person_can_cure_stalls_the_job_with_its_own_words,
    a_question_of_the_front_end_keeps_its_mark_in_the_message,
    a_worker_that_ran_out_of_memory_is_named,
    a_coordinator_that_ran_out_of_memory_is_named_with_its_limit,
    checkpoints_are_overdue_when_none_completes_and_none_is_owed_for_a_suspension,
    a_crash_loop_names_pod_and_reason_and_never_falls_back_to_older_state,
    with_the_storage_down_the_job_runs_on_and_says_that_checkpoints_are_late,
];
