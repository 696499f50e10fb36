//! Without TLS: the token of the job is all that a caller shows, and what it may name is bounded
//! all the same.

use std::time::Duration;

use serde_json::{Value, json};
use streamkeeper_protocol::{
    head::RunState,
    job_api::{Operation, Report, SeenHead},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    api::Caller,
    job::{Job, Settings},
    keys::Keys,
    pods::pod,
    process::command,
};

const LONG: Duration = Duration::from_hours(1);

fn settings() -> Settings {
    Settings {
        rows: 3_000,
        keys: Some(Keys::of(1, "job", LONG)),
        plaintext: true,
        ..Settings::default()
    }
}

fn token_of(master: u8) -> String {
    let keys = Keys::of(master, "job", LONG);
    keys.operator().token().unwrap().header()
}

/// What a port of workers answers to these bytes before it closes the connection.
async fn answer_to(address: &str, sent: &[u8]) -> String {
    let mut wire = Caller::default().connect(address).await.unwrap();
    let _ = wire.write_all(sent).await;
    let _ = wire.flush().await;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), wire.read_to_end(&mut answer));
    let _ = closed.await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_a_job_goes_on_after_kills_and_obeys_only_who_shows_its_token() {
    let mut job = Job::running("token", settings(), 2).await;
    for victim in [1, 0] {
        job.flows(pod(1, 0), 1).await;
        job.kill(pod(1, victim));
        job.start(pod(1, victim), &[]);
    }
    job.flows(pod(1, 0), 1).await;
    let at = job.api_of(pod(1, 0));
    let right = job.caller();
    let with = |authorization: Option<String>| Caller {
        tls: None,
        authorization,
    };
    let stop = json!({"key": "stop", "mode": "Now", "release": false});
    for (who, caller) in [
        ("no token", with(None)),
        ("another job's token", with(Some(token_of(2)))),
        ("half a token", with(Some(token_of(1)[..40].to_owned()))),
    ] {
        for call in [
            "promote",
            "savepoint",
            "hand-over",
            "stop",
            "rescale",
            "poke",
        ] {
            let path = format!("/v1/{call}");
            let refused = caller.post::<Value>(&at, &path, &stop).await;
            let error = refused.expect_err(who);
            assert!(error.contains("401 Unauthorized"), "{who}, {call}: {error}");
        }
        for look in ["report", "head", "preflight?from=s3://a/b", "operations/x"] {
            let refused = caller.get::<Value>(&at, &format!("/v1/{look}")).await;
            assert!(refused.unwrap_err().contains("401"), "{who}, {look}");
        }
    }

    let announced = [&(256_u32 << 20).to_be_bytes()[..], &[b' '; 128]].concat();
    for address in [job.control_of(pod(1, 0)), job.data_of(pod(1, 1))] {
        let wrong = [token_of(2).as_bytes(), b"\0\0\0\x02{}"].concat();
        let told = answer_to(&address, &wrong).await;
        assert!(told.contains("the token shown is not this job's"), "{told}");
        let told = answer_to(&address, &announced).await;
        assert!(told.contains("the token shown is not this job's"), "{told}");
        // With the token, a first frame is still a small one.
        let large = [token_of(1).as_bytes(), &announced].concat();
        assert_eq!(answer_to(&address, &large).await, "");
    }

    // The right token cannot name everything.
    for (call, body, because) in [
        (
            "savepoint",
            json!({"key": "a", "uri": job.bucket.uri("state/test/victim/savepoints/a")}),
            "is no folder for a savepoint of this job",
        ),
        (
            "savepoint",
            json!({"key": "b", "uri": format!("s3://{}/{}", job.bucket.name, job.paths.savepoint("../x"))}),
            "400",
        ),
        (
            "hand-over",
            json!({"key": "c", "to_revision": u64::MAX}),
            "at most 1000 revisions ahead",
        ),
        (
            "hand-over",
            json!({"key": "d", "to_revision": 2, "to_address": "attacker.example:80"}),
            "is not the address of revision 2",
        ),
        (
            "savepoint",
            json!({"key": "e", "uri": "x".repeat(70 << 10)}),
            "400",
        ),
    ] {
        let refused = right
            .post::<Value>(&at, &format!("/v1/{call}"), &body)
            .await;
        let error = refused.expect_err(because);
        assert!(error.contains(because), "{because}: {error}");
    }
    right.get::<Report>(&at, "/v1/report").await.unwrap();
    let seen = right.get::<SeenHead>(&at, "/v1/head").await.unwrap();
    let head = seen.head.expect("the job runs");
    assert_eq!((head.revision, head.state), (1, RunState::Running));
    // In the pod itself the keys are there.
    let report = command()
        .args(["report", "--address", &at, "--tls-folder", "/nowhere"])
        .arg("--token-folder")
        .arg(job.keys())
        .args(["--tls-rotation", "3600s"])
        .output()
        .unwrap();
    serde_json::from_slice::<Report>(&report.stdout).unwrap();
    let kept = json!({"key": "kept"});
    let asked = right.post::<Operation>(&at, "/v1/savepoint", &kept).await;
    assert_eq!(asked.unwrap().key, "kept");
    let said = [job.said(pod(1, 0)), job.said(pod(1, 1))].concat();
    for token in [token_of(1), token_of(2)] {
        assert!(
            !said.contains(&token["Bearer ".len()..]),
            "a token is in a log"
        );
    }
    job.ends_exactly().await;
}
