//! How jobs start, and what keeps them from it.

use std::time::Duration;

use serde_json::json;
use streamkeeper_harness::{
    api_server::Refusal,
    coordinator::HeadStore,
    interference::{Fate, Interference},
    script::Script,
    story::{NAMESPACE, Story},
};
use streamkeeper_protocol::head::RunState;

const MINUTE: Duration = Duration::from_mins(1);

async fn a_new_job_runs_and_says_so(story: &mut Story) {
    story.create("delays", json!({ "sql": { "text": "INSERT INTO late SELECT * FROM flights" }, "workers": { "replicas": 2 } }));
    story.ready("delays").await;

    assert_eq!(story.pods(), ["delays-r1-0", "delays-r1-1"]);
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(
        (head.revision, head.attempt, head.workers, head.state),
        (1, 1, 2, RunState::Running)
    );
    assert_eq!(head.job_uid, story.job("delays").metadata.uid.unwrap());

    let status = story.status("delays");
    assert_eq!(story.condition("delays", "Running").0, "True");
    let workers = status.workers.expect("workers");
    assert_eq!(
        (workers.desired, workers.ready, workers.summary.as_str()),
        (2, 2, "2/2")
    );
    assert_eq!(status.revision.expect("revisions").current, Some(1));
    let effective = status.effective.expect("what it runs with");
    assert_eq!(
        (
            effective.image.as_str(),
            effective.storage_uri.as_str(),
            effective.parallelism
        ),
        ("runtime:1", "s3://streams/prod", 2)
    );
    assert!(
        story.events().contains(&"JobStarted".to_owned()),
        "{:?}",
        story.events()
    );

    story.next_checkpoint("delays").await;
    story
        .until("the checkpoint is in the status", |story| {
            story.status("delays").last_checkpoint.is_some()
        })
        .await;
    story
        .until("checkpoints are healthy", |story| {
            story.condition("delays", "CheckpointsHealthy").0 == "True"
        })
        .await;
}

async fn a_job_without_storage_is_stalled_and_runs_once_the_operator_has_a_default(
    story: &mut Story,
) {
    story.restart_operator(|settings| settings.storage = None);
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(message.contains("spec.storage.s3.uri"), "{message}");
    assert!(story.pods().is_empty());

    let default = Story::default_storage();
    story.restart_operator(|settings| settings.storage = Some(default));
    story.ready("delays").await;
}

async fn sql_that_does_not_compile_is_stalled_with_its_position_and_runs_once_corrected(
    story: &mut Story,
) {
    story.script(
        "SELEC ",
        Script::invalid_sql("line 1, column 18: expected SELECT, found SELEC"),
    );
    story.create(
        "delays",
        json!({ "sql": { "text": "INSERT INTO late SELEC * FROM flights" } }),
    );
    let message = story.stalled("delays", "InvalidSQL").await;
    assert!(message.contains("line 1, column 18"), "{message}");
    assert!(
        story.head("delays").is_none(),
        "nothing may run before the query compiles"
    );
    let told = |story: &Story| {
        let events = story.events();
        events.iter().filter(|event| *event == "InvalidSQL").count()
    };
    assert_eq!(told(story), 1, "{:?}", story.events());
    story
        .stays("that is said once", MINUTE, |story| told(story) == 1)
        .await;

    story.edit(
        "delays",
        json!({ "sql": { "text": "INSERT INTO late SELECT * FROM flights" } }),
    );
    story.ready("delays").await;
    let runner = story.runner("delays").expect("a runner");
    story
        .until("only the corrected revision is left", |story| {
            story.pods() == [format!("delays-r{runner}-0")]
        })
        .await;
}

async fn sql_in_a_config_map_that_comes_later_starts_the_job(story: &mut Story) {
    story.create(
        "delays",
        json!({ "sql": { "configMapKeyRef": { "name": "queries", "key": "delays.sql" } } }),
    );
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(message.contains("ConfigMap queries"), "{message}");
    story.config_map("queries", "other.sql", "SELECT 1");
    story
        .until("the missing key is named", |story| {
            story.message("delays", "Stalled").contains("delays.sql")
        })
        .await;

    story.config_map(
        "queries",
        "delays.sql",
        "INSERT INTO late SELECT * FROM flights",
    );
    story.ready("delays").await;
    story.next_checkpoint("delays").await;

    story.config_map(
        "queries",
        "delays.sql",
        "INSERT INTO late SELECT * FROM flights WHERE delay > 10",
    );
    story.rolled_out("delays", 2).await;
}

async fn a_running_job_whose_edit_cannot_be_read_is_not_ready_before_it_can(story: &mut Story) {
    let text = "INSERT INTO late SELECT * FROM flights";
    story.config_map("queries", "delays.sql", text);
    let of = |key: &str| json!({ "sql": { "configMapKeyRef": { "name": "queries", "key": key } } });
    story.create("delays", of("delays.sql"));
    story.ready("delays").await;
    story.world().hidden_config_maps = true;
    story
        .stays("nothing was asked for since", 2 * MINUTE, |story| {
            story.is_ready("delays")
        })
        .await;
    assert!(
        story
            .message("delays", "Ready")
            .contains("ConfigMap queries"),
        "{}",
        story.describe()
    );

    story.edit("delays", of("other.sql"));
    let generation = story.job("delays").metadata.generation;
    story
        .until("the edit is seen", |story| {
            story.status("delays").observed_generation == generation
        })
        .await;
    story
        .stays("it could not be looked at", 2 * MINUTE, |story| {
            !story.is_ready("delays") && story.runner("delays") == Some(1)
        })
        .await;
    let message = story.message("delays", "Reconciling");
    assert!(message.contains("ConfigMap queries"), "{message}");

    story.world().hidden_config_maps = false;
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(message.contains("other.sql"), "{message}");
    story.edit("delays", of("delays.sql"));
    story.ready("delays").await;
    assert_eq!(story.runner("delays"), Some(1), "it was never touched");
}

async fn state_of_a_later_release_is_left_alone(story: &mut Story) {
    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "image": "runtime:1" }),
    );
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    story.edit("delays", json!({ "suspend": true }));
    story.suspended("delays").await;
    let before = story.head("delays");
    story.storage(HeadStore::Later);
    story.edit("delays", json!({ "suspend": false, "image": "runtime:0" }));
    let message = story.stalled("delays", "UnsupportedVersion").await;
    assert!(message.contains("use a newer release"), "{message}");
    story.pass(5 * MINUTE).await;
    assert_eq!(story.head("delays"), before);
    assert_eq!(story.pods(), Vec::<String>::new());
    story.storage(HeadStore::Fine);
    story.ready("delays").await;
}

async fn wrong_credentials_are_stalled_with_bucket_and_action_and_recover_by_themselves(
    story: &mut Story,
) {
    story.storage(HeadStore::Denied);
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "StorageAccessDenied").await;
    assert!(
        message.contains("s3://streams/prod") && message.contains("GetObject"),
        "{message}"
    );
    assert!(story.head("delays").is_none());

    assert!(
        story.events().contains(&"StorageAccessDenied".to_owned()),
        "{:?}",
        story.events()
    );

    story.storage(HeadStore::Fine);
    story.ready("delays").await;
}

async fn a_store_without_conditional_writes_is_a_matter_of_the_spec(story: &mut Story) {
    story.storage(HeadStore::Careless);
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(
        message.contains("PutObject") && message.contains("conditional writes"),
        "{message}"
    );
    assert!(story.head("delays").is_none());
    story.storage(HeadStore::Fine);
    story.ready("delays").await;
}

// Elsewhere: risingwavelabs/risingwave#21142.
async fn a_job_scaled_while_it_starts_runs_on_as_many_workers_as_were_asked_for_last(
    story: &mut Story,
) {
    let slow = Script {
        preflight_takes: 2 * MINUTE,
        ..Script::default()
    };
    story.script("slow", slow);
    for (replicas, then) in [(2, 3), (3, 1)] {
        let name = format!("from{replicas}");
        story.create(
            &name,
            json!({ "sql": { "text": "SELECT slow" }, "workers": { "replicas": replicas } }),
        );
        story
            .until("its pods are up", |story| {
                story
                    .pods()
                    .iter()
                    .filter(|pod| pod.starts_with(&name))
                    .count()
                    == replicas
            })
            .await;
        story.edit(&name, json!({ "workers": { "replicas": then } }));
        story.ready(&name).await;
        assert_eq!(story.head(&name).map(|head| head.workers), Some(then));
    }
}

async fn a_first_start_without_room_needs_no_more_than_a_smaller_number(story: &mut Story) {
    story.world().cluster.full = Some("0/3 nodes are available: 3 Insufficient cpu".to_owned());
    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "workers": { "replicas": 4 } }),
    );
    let message = story.stalled("delays", "Unschedulable").await;
    assert!(message.contains("replicas"), "{message}");
    story.edit("delays", json!({ "workers": { "replicas": 1 } }));
    story.world().cluster.full = None;
    story.ready("delays").await;
    let runner = story.runner("delays").expect("a runner");
    story
        .until("what found no room is gone", |story| {
            story.pods() == [format!("delays-r{runner}-0")]
        })
        .await;
}

// Elsewhere: numaproj/numaflow#1006.
async fn pods_that_a_quota_forbids_are_named_and_start_once_there_is_room(story: &mut Story) {
    let quota = Refusal::forbidden(
        "statefulsets",
        "exceeded quota: streams, used: 3, limited: 3",
    );
    story.interfere(Interference::next(
        30,
        "create apps/statefulsets",
        Fate::Refused(quota),
    ));
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "QuotaExceeded").await;
    assert!(
        message.contains("exceeded quota: streams") && message.contains("StatefulSet"),
        "{message}"
    );
    story.ready("delays").await;
    assert_eq!(story.pods(), ["delays-r1-0"], "it is the same revision");
}

async fn a_spec_that_makes_impossible_pods_is_stalled_with_what_is_wrong(story: &mut Story) {
    let why = "spec.template.spec.tolerations[0].operator: Unsupported value: \"Sometimes\"";
    story.interfere(Interference::next(
        6,
        "create apps/statefulsets",
        Fate::Refused(Refusal::invalid("StatefulSet", why)),
    ));
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "InvalidSpec").await;
    assert!(message.contains(why), "{message}");
    assert!(
        !message.contains("ListMeta"),
        "what the API server says, not how it is parsed: {message}"
    );
    story.edit("delays", json!({ "image": "runtime:2" }));
    story.ready("delays").await;
}

async fn an_unknown_head_never_starts_a_job_empty(story: &mut Story) {
    story.storage(HeadStore::Down);
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story
        .stays("nobody is promoted", 20 * MINUTE, |story| {
            !story
                .effects()
                .iter()
                .any(|effect| effect.starts_with("call promote"))
        })
        .await;
    assert!(!story.is_ready("delays"));

    story.storage(HeadStore::Fine);
    story.ready("delays").await;
}

// Elsewhere: spotify/flink-on-k8s-operator#589, GoogleCloudPlatform/flink-on-k8s-operator#471,
// ArroyoSystems/arroyo#992.
async fn a_job_whose_state_is_gone_is_not_started_empty(story: &mut Story) {
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    story.edit("delays", json!({ "suspend": true }));
    story.ready("delays").await;

    let lost = story
        .world()
        .jobs
        .heads
        .remove(&(NAMESPACE.to_owned(), "delays".to_owned()));
    story.edit("delays", json!({ "suspend": false }));
    let message = story.stalled("delays", "RestoreFailed").await;
    assert!(
        message.contains("HEAD.json") && message.contains("the last checkpoint known is 2"),
        "{message}"
    );
    story
        .stays("it does not run", 10 * MINUTE, |story| {
            story.head("delays").is_none()
        })
        .await;

    story.world().jobs.heads.insert(
        (NAMESPACE.to_owned(), "delays".to_owned()),
        lost.expect("a HEAD"),
    );
    story.ready("delays").await;
    assert!(story.head("delays").and_then(|head| head.last).is_some());
}

async fn state_that_a_deleted_job_left_is_gone_on_from(story: &mut Story) {
    let before = run_and_delete(story).await;
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story.ready("delays").await;
    let head = story.head("delays").expect("a HEAD");
    assert_eq!(head.job_uid, story.job("delays").metadata.uid.unwrap());
    assert_eq!(
        head.lineage, before.lineage,
        "sinks recognise the job by it"
    );
    assert!(head.attempt > before.attempt);
    let (was, is) = (
        before.last.expect("a checkpoint").checkpoint,
        head.last.expect("a checkpoint").checkpoint,
    );
    assert!(is >= was, "{is} after {was}");
}

async fn state_that_a_deleted_job_left_is_refused_if_asked(story: &mut Story) {
    let before = run_and_delete(story).await;
    let storage = json!({ "s3": { "uri": "s3://streams/prod" }, "onExistingState": "Fail" });
    story.create(
        "delays",
        json!({ "sql": { "text": "SELECT 1" }, "storage": storage }),
    );
    let message = story.stalled("delays", "StateInUse").await;
    assert!(message.contains("onExistingState"), "{message}");
    assert_eq!(story.head("delays"), Some(before));
}

async fn state_of_a_job_that_runs_is_refused(story: &mut Story) {
    let mut foreign = run_and_delete(story).await;
    foreign.state = RunState::Running;
    story
        .world()
        .jobs
        .heads
        .insert((NAMESPACE.to_owned(), "delays".to_owned()), foreign.clone());
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    let message = story.stalled("delays", "StateInUse").await;
    assert!(message.contains(&foreign.job_uid), "{message}");
    story
        .stays("HEAD is left alone", 5 * MINUTE, |story| {
            story.head("delays").as_ref() == Some(&foreign)
        })
        .await;
}

/// Leaves the state of a deleted job behind. Returns its HEAD.
async fn run_and_delete(story: &mut Story) -> streamkeeper_protocol::head::Head {
    story.create("delays", json!({ "sql": { "text": "SELECT 1" } }));
    story.ready("delays").await;
    story.next_checkpoint("delays").await;
    story.delete("delays");
    story
        .until("the job is gone", |story| {
            story.find("delays").is_none() && story.pods().is_empty()
        })
        .await;
    story.head("delays").expect("its state stays")
}

stories![
    state_of_a_later_release_is_left_alone,
    a_new_job_runs_and_says_so,
    a_job_without_storage_is_stalled_and_runs_once_the_operator_has_a_default,
    sql_that_does_not_compile_is_stalled_with_its_position_and_runs_once_corrected,
    sql_in_a_config_map_that_comes_later_starts_the_job,
    a_running_job_whose_edit_cannot_be_read_is_not_ready_before_it_can,
    wrong_credentials_are_stalled_with_bucket_and_action_and_recover_by_themselves,
    a_store_without_conditional_writes_is_a_matter_of_the_spec,
    a_job_scaled_while_it_starts_runs_on_as_many_workers_as_were_asked_for_last,
    a_first_start_without_room_needs_no_more_than_a_smaller_number,
    pods_that_a_quota_forbids_are_named_and_start_once_there_is_room,
    a_spec_that_makes_impossible_pods_is_stalled_with_what_is_wrong,
    an_unknown_head_never_starts_a_job_empty,
    a_job_whose_state_is_gone_is_not_started_empty,
    state_that_a_deleted_job_left_is_gone_on_from,
    state_that_a_deleted_job_left_is_refused_if_asked,
    state_of_a_job_that_runs_is_refused,
];
