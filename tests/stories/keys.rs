//! Certificates of a job: who gets keys, when, and what becomes of jobs that were started without,
//! or under another master key.

use std::time::Duration;

use serde_json::json;
use streamkeeper_harness::{
    story::{Story, master_key},
    world::Use,
};

const SQL: &str = "INSERT INTO late SELECT * FROM flights";

fn spec(sql: &str) -> serde_json::Value {
    json!({ "sql": { "text": sql }, "workers": { "replicas": 2 } })
}

/// Starts an operator with these master keys.
fn restart(story: &mut Story, master_keys: &[u8]) {
    story.master_keys = master_keys.to_vec();
    story.restart_operator(|_| {});
}

/// The Secret that a pod mounts.
fn key_of(story: &Story, name: &str) -> Option<String> {
    let pod = story.pod(name);
    let mounted = pod["spec"]["volumes"].as_array()?.iter();
    let mut secrets = mounted.filter_map(|volume| volume["secret"]["secretName"].as_str());
    secrets.next_back().map(str::to_owned)
}

async fn pods_get_their_keys_before_they_start_and_nobody_reads_them(story: &mut Story) {
    story.create("delays", spec(SQL));
    story.ready("delays").await;
    let effects = story.effects();
    let first = |what: &str| effects.iter().position(|effect| effect.starts_with(what));
    let secret = first("create secrets").expect("a Secret");
    assert!(
        Some(secret) < first("create apps/statefulsets"),
        "{effects:?}"
    );

    let secrets = story.secrets();
    assert_eq!(secrets.len(), 1);
    let (secret, uid) = (&secrets[0], story.job("delays").metadata.uid);
    assert_eq!(secret["immutable"], true);
    assert_eq!(json!(uid), secret["metadata"]["ownerReferences"][0]["uid"]);
    assert_eq!(
        secret["metadata"]["name"].as_str(),
        key_of(story, "delays-r1-0").as_deref()
    );
    let mut names: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["job-uid", "operator-ca.der", "worker.key"]);
    let probe = &story.pod("delays-r1-0")["spec"]["containers"][0]["readinessProbe"];
    assert_eq!(probe["httpGet"]["port"], "health");

    // The next revision finds the Secret there, and does not look at it.
    story.edit(
        "delays",
        spec("INSERT INTO late SELECT DISTINCT * FROM flights"),
    );
    story.rolled_out("delays", 2).await;
    assert_eq!(story.secrets(), secrets);
    let verbs: Vec<Use> = story
        .uses()
        .into_iter()
        .filter(|(_, resource, _)| resource == "secrets")
        .collect();
    assert_eq!(
        verbs,
        [(String::new(), "secrets".to_owned(), "create".to_owned())]
    );

    story.delete("delays");
    story
        .until("nothing of the job is left", |story| {
            story.find("delays").is_none() && story.secrets().is_empty()
        })
        .await;
}

async fn a_job_that_was_started_without_certificates_gets_them_with_its_next_revision(
    story: &mut Story,
) {
    restart(story, &[]);
    story.create("delays", spec(SQL));
    story.ready("delays").await;
    assert_eq!(
        (key_of(story, "delays-r1-0"), story.secrets()),
        (None, vec![])
    );
    let uids = story.pod_uids("delays", 1, 2);

    restart(story, &[1]);
    story.pass(Duration::from_mins(10)).await;
    assert!(story.is_ready("delays"), "{}", story.describe());
    assert_eq!(story.pod_uids("delays", 1, 2), uids, "pods were restarted");

    story.ask_for_restart("delays");
    story.rolled_out("delays", 2).await;
    assert!(key_of(story, "delays-r2-0").is_some());

    // And back: the operator still has the key, but was told to start no more revisions with it.
    let uids = story.pod_uids("delays", 2, 2);
    restart(story, &[]);
    story.pass(Duration::from_mins(10)).await;
    assert_eq!(story.pod_uids("delays", 2, 2), uids, "pods were restarted");
}

async fn without_tls_pods_get_the_same_keys_and_the_token_is_shown(story: &mut Story) {
    story.settings.tls = false;
    story.restart_operator(|_| {});
    story.create("delays", spec(SQL));
    story.ready("delays").await;
    let flags = |story: &Story, pod: &str| story.pod(pod)["spec"]["containers"][0]["args"].clone();
    let shown = flags(story, "delays-r1-0").to_string();
    assert!(shown.contains("--token-folder="), "{shown}");
    let (key, uids) = (key_of(story, "delays-r1-0"), story.pod_uids("delays", 1, 2));
    assert!(key.is_some());

    // Switched on later, with the same Secret: pods that run are talked to as before.
    story.settings.tls = true;
    story.restart_operator(|_| {});
    story.pass(Duration::from_mins(10)).await;
    assert!(story.is_ready("delays"), "{}", story.describe());
    assert_eq!(story.pod_uids("delays", 1, 2), uids, "pods were restarted");
    story.ask_for_restart("delays");
    story.rolled_out("delays", 2).await;
    assert_eq!(key_of(story, "delays-r2-0"), key);
    let shown = flags(story, "delays-r2-0").to_string();
    assert!(shown.contains("--tls-folder="), "{shown}");
}

async fn a_master_key_is_replaced_while_jobs_run_if_the_old_one_is_kept_beside_it(
    story: &mut Story,
) {
    story.create("delays", spec(SQL));
    story.ready("delays").await;
    let (old, uids) = (key_of(story, "delays-r1-0"), story.pod_uids("delays", 1, 2));

    // Without the old key the operator cannot talk to the job, which goes on.
    restart(story, &[2]);
    story.pass(Duration::from_mins(5)).await;
    story.next_checkpoint("delays").await;
    assert_eq!(story.pod_uids("delays", 1, 2), uids, "pods were restarted");

    restart(story, &[2, 1]);
    story.ready("delays").await;
    story.ask_for_restart("delays");
    story.rolled_out("delays", 2).await;
    let new = key_of(story, "delays-r2-0");
    assert!(new.is_some() && new != old, "{old:?} {new:?}");
    assert_ne!(master_key(1).fingerprint(), master_key(2).fingerprint());
}

stories![
    pods_get_their_keys_before_they_start_and_nobody_reads_them,
    a_job_that_was_started_without_certificates_gets_them_with_its_next_revision,
    without_tls_pods_get_the_same_keys_and_the_token_is_shown,
    a_master_key_is_replaced_while_jobs_run_if_the_old_one_is_kept_beside_it,
];
