//! Certificates: a job that has them survives what others survive, renews them while it runs, and
//! talks to no other process.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use streamkeeper_control::transport::Wire;
use streamkeeper_protocol::job_api::{HandOverRequest, Operation, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    api::Caller,
    job::{Job, Settings},
    keys::{Keys, bare, careless},
    pods::pod,
    process::command,
    sql,
    wait::until,
};

/// Longer than any test: what expires does so because a clock is behind.
const LONG: Duration = Duration::from_hours(1);
/// Short enough to see some of it, long enough for a busy machine to shake hands.
const SHORT: Duration = Duration::from_secs(2);

fn settings(rotation: Duration) -> Settings {
    Settings {
        keys: Some(Keys::of(1, "job", rotation)),
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_kills_and_a_hand_over_lose_and_double_nothing() {
    let settings = Settings {
        rows: 3_000,
        ..settings(SHORT)
    };
    let mut job = Job::running("tls", settings, 3).await;
    for victim in [1, 0] {
        job.flows(pod(1, 0), 1).await;
        job.kill(pod(1, victim));
        job.start(pod(1, victim), &[]);
    }
    job.flows(pod(1, 0), 1).await;
    job.revise(2, 2, sql::job_with_worst);
    job.start_all(2);
    job.compatible(pod(2, 0)).await;
    let request = HandOverRequest {
        key: "on".to_owned(),
        to_revision: 2,
        to_address: Some(job.api_of(pod(2, 0))),
    };
    job.carry_out(pod(1, 0), "hand-over", &request).await;
    until("the successor was told by its predecessor", async || {
        let said = job.said(pod(1, 0));
        let told = said.lines().find(|line| line.contains("successor told"));
        let told = told.ok_or("not yet")?;
        assert!(told.contains("202"), "{told}");
        Ok(())
    })
    .await;
    job.ends_exactly().await;
    let head = job.head().await.unwrap().unwrap();
    assert_eq!(head.revision, 2);
}

/// The certificate that a pod shows.
async fn shown(caller: &Caller, address: &str) -> Result<CertificateDer<'static>, String> {
    let Wire::Tls(stream) = caller.connect(address).await.map_err(|e| e.to_string())? else {
        return Err("it has none".to_owned());
    };
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(shown[0].clone().into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_while_the_job_runs_and_nothing_pauses() {
    let settings = Settings {
        rows: 4_500,
        ..settings(SHORT)
    };
    let job = Job::running("rotation", settings, 2).await;
    let at = job.api_of(pod(1, 0));
    job.flows(pod(1, 0), 1).await;
    let first = job.caller();
    first.get::<Report>(&at, "/v1/report").await.unwrap();
    let mut seen = vec![shown(&first, &at).await.unwrap()];
    until("three renewals", async || {
        let certificate = shown(&job.caller(), &at).await?;
        if seen.last() != Some(&certificate) {
            assert!(!seen.contains(&certificate), "an old one is back");
            seen.push(certificate);
        }
        let renewals = seen.len() - 1;
        (renewals == 3)
            .then_some(())
            .ok_or_else(|| format!("{renewals}"))
    })
    .await;
    let report = job.report(pod(1, 0)).await.unwrap();
    assert!(report.records_in_attempt > 0);
    // What was right at first is not any more: neither the certificate nor the token.
    let old = with_token(&first, &job.caller());
    assert!(old.get::<Report>(&at, "/v1/report").await.is_err());
    let old = Caller {
        authorization: first.authorization.clone(),
        ..job.caller()
    };
    let refused = old.post::<Operation>(&at, "/v1/poke", &()).await;
    assert!(refused.unwrap_err().contains("Unauthenticated"));
    job.ends_exactly().await;
    let report = job.report(pod(1, 0)).await.unwrap();
    assert_eq!(
        (report.attempt, report.restarts, report.pauses.len()),
        (Some(1), 0, 0),
        "{:?}",
        report.last_failure
    );
}

/// What one shows in its certificate, with the token of another, and not caring who answers.
fn with_token(shows: &Caller, knows: &Caller) -> Caller {
    let (config, name) = shows.tls.clone().unwrap();
    Caller {
        tls: Some((careless(&config), name)),
        authorization: knows.authorization.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_to_the_job_is_refused_and_the_operator_is_not() {
    let mut job = Job::running("strangers", settings(LONG), 2).await;
    job.flows(pod(1, 0), 1).await;
    let (at, worker_at) = (job.api_of(pod(1, 0)), job.api_of(pod(1, 1)));
    let own = Keys::of(1, "job", LONG);
    let right = job.caller();
    let stop = serde_json::json!({"key": "stop", "mode": "Savepoint", "release": false});
    let operator = |keys: &Keys| with_token(&Caller::operator(&keys.operator()), &right);

    let of_worker = Caller {
        tls: Some((
            careless(&own.worker().client().unwrap()),
            right.tls.clone().unwrap().1,
        )),
        authorization: right.authorization.clone(),
    };
    let expired = Caller::operator(&own.operator_behind(3 * LONG.as_secs()));
    // What a pod has against them is in its log: a caller sees it only if its own request is not in
    // the way.
    let rejected_peers = [
        (
            "it does not speak TLS",
            Caller {
                tls: None,
                ..right.clone()
            },
        ),
        ("BadSignature", operator(&Keys::of(2, "job", LONG))),
        ("UnknownIssuer", operator(&Keys::of(1, "other", LONG))),
        ("certificate expired", with_token(&expired, &right)),
        ("no certificates", without_certificate(&right)),
    ];
    for (because, caller) in &rejected_peers {
        for refused in [
            caller.get::<Value>(&at, "/v1/report").await,
            caller.post::<Value>(&at, "/v1/stop", &stop).await,
            caller.get::<Value>(&worker_at, "/v1/report").await,
        ] {
            let error = refused.expect_err(because);
            let answered = error.contains(": 4") && !error.contains("speaks TLS");
            assert!(!answered, "{because}: {error}");
        }
        for (name, calls) in [(pod(1, 0), 2), (pod(1, 1), 1)] {
            until("the pod tells why it refused", async || {
                let said = job.said(name);
                let refused = said
                    .lines()
                    .filter(|line| line.contains("connection refused") && line.contains(because));
                let refused = refused.count();
                (refused == calls)
                    .then_some(())
                    .ok_or_else(|| format!("{because}: {refused} times, not {calls}"))
            })
            .await;
        }
    }
    let without_token = Caller {
        authorization: None,
        ..right.clone()
    };
    let wrong_token = Caller {
        authorization: Some(
            Keys::of(2, "job", LONG)
                .operator()
                .token()
                .unwrap()
                .header(),
        ),
        ..right.clone()
    };
    for (who, caller, because) in [
        ("a worker", &of_worker, "403 Forbidden"),
        ("no token", &without_token, "401 Unauthorized"),
        ("another job's token", &wrong_token, "401 Unauthorized"),
    ] {
        for call in ["promote", "savepoint", "hand-over", "stop", "rescale"] {
            let refused = caller
                .post::<Value>(&at, &format!("/v1/{call}"), &stop)
                .await;
            let error = refused.expect_err(who);
            assert!(error.contains(because), "{who}, {call}: {error}");
        }
        let looked = caller.get::<Report>(&at, "/v1/report").await;
        if because.starts_with("403") {
            // It has the token, and may look.
            looked.unwrap();
        } else {
            let error = looked.expect_err(who);
            assert!(error.contains(because), "{who}: {error}");
        }
    }
    strangers_elsewhere(&mut job, &operator(&Keys::of(2, "job", LONG)), &right).await;

    let said = [job.said(pod(1, 0)), job.said(pod(1, 1))].concat();
    let secrets = [&right, &wrong_token].map(|caller| caller.authorization.clone().unwrap());
    for secret in secrets {
        assert!(
            !said.contains(&secret["Bearer ".len()..]),
            "a token is in a log"
        );
    }
    // Once for a peer and a port, however often it tries.
    let told = said
        .matches("connection refused; more of this peer are not told")
        .count();
    assert!((1..=5).contains(&told), "{told}");
    let report = job.report(pod(1, 0)).await.unwrap();
    assert_eq!((report.attempt, report.restarts), (Some(1), 0));

    // All of them were refused for what they are, not for what they asked.
    let kept = serde_json::json!({"key": "kept"});
    let asked = right.post::<Operation>(&at, "/v1/savepoint", &kept).await;
    assert_eq!(asked.unwrap().key, "kept");
    job.ends_exactly().await;
}

/// A caller that trusts as `other` does, and shows nothing.
fn without_certificate(other: &Caller) -> Caller {
    let (_, name) = other.tls.clone().unwrap();
    Caller {
        tls: Some((bare(), name)),
        authorization: other.authorization.clone(),
    }
}

/// Control plane and data plane close the connection: to a stranger, to one without TLS, and to the
/// operator, who has no business there.
async fn strangers_elsewhere(job: &mut Job, stranger: &Caller, right: &Caller) {
    for address in [job.control_of(pod(1, 0)), job.data_of(pod(1, 1))] {
        for caller in [&Caller::default(), stranger, right] {
            let Ok(mut wire) = caller.connect(&address).await else {
                continue;
            };
            let _ = wire.write_all(b"\0\0\0\x02{}").await;
            let _ = wire.flush().await;
            let mut answer = Vec::new();
            let closed =
                tokio::time::timeout(Duration::from_secs(20), wire.read_to_end(&mut answer));
            let _ = closed.await.expect("the connection is closed");
            assert_eq!(answer, b"", "{address} answers a stranger");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_metrics_need_no_certificate_and_reach_nothing_else() {
    let job = Job::running("health", settings(LONG), 1).await;
    job.flows(pod(1, 0), 1).await;
    let (api, health) = (job.api_of(pod(1, 0)), job.health_of(pod(1, 0)));
    let (anybody, operator) = (Caller::default(), job.caller());
    for path in ["/healthz", "/readyz", "/metrics"] {
        let seen = anybody.text(&health, Method::GET, path, Bytes::new()).await;
        assert!(!seen.unwrap().is_empty(), "{path}");
        let seen = operator.text(&api, Method::GET, path, Bytes::new()).await;
        assert!(seen.unwrap_err().contains("404"), "{path}");
    }
    for path in ["/v1/report", "/v1/preflight", "/v1/operations/x"] {
        let seen = anybody.text(&health, Method::GET, path, Bytes::new()).await;
        assert!(seen.unwrap_err().contains("404"), "{path}");
    }
    let seen = anybody
        .text(&health, Method::POST, "/v1/stop", Bytes::new())
        .await;
    assert!(seen.unwrap_err().contains("404"));

    // In the pod itself one may ask all the same.
    let report = command()
        .args(["report", "--address", &api, "--tls-folder"])
        .arg(job.keys())
        .args(["--tls-rotation", "3600s"])
        .output()
        .unwrap();
    let report: Report = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((report.job_uid.as_str(), report.attempt), ("job", Some(1)));
    let nobody = command()
        .args(["report", "--address", &api, "--tls-folder", "/nowhere"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(
        !nobody.status.success() && said.contains("speaks TLS"),
        "{said}"
    );
    job.ends_exactly().await;
}
