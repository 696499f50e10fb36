//! The Job API of the harness's coordinators over real HTTP.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::Request;
use percent_encoding::percent_decode_str;
use serde::{Serialize, de::DeserializeOwned};
use streamkeeper_controller::coordinator_client::{CallError, Channel, Coordinator, JobApi};
use streamkeeper_harness::coordinator::JobPort;
use streamkeeper_lifecycle::JobCall;
use streamkeeper_protocol::job_api::ApiError;
use streamkeeper_security::{
    MasterKey, OperatorIdentity, Rotation, rustls::time_provider::DefaultTimeProvider,
};

use super::{
    crash_injector::{CrashInjector, Fate},
    server::{BoxError, Reply, Server, reply, serve},
};

const JSON: &str = "application/json";

/// The master key of operators under test.
pub const MASTER_KEY: [u8; 32] = [7; 32];

/// Returns the coordinator in the pod with this address. It lives in this process and does not
/// check the token.
pub fn at(address: SocketAddr) -> Coordinator {
    let job = MasterKey::new(&MASTER_KEY)
        .expect("long enough")
        .job("a copy");
    let identity = OperatorIdentity::new(job, Rotation::default(), Arc::new(DefaultTimeProvider));
    Coordinator {
        address: address.to_string(),
        channel: Channel::Token(Arc::new(identity)),
    }
}

/// Serves the Job API at the address of a pod.
pub async fn serve_job_api(
    address: SocketAddr,
    port: JobPort,
    injector: Arc<CrashInjector>,
    life: Arc<AtomicUsize>,
) -> Server {
    serve(address, move |request| {
        let (port, injector, life) = (port.clone(), injector.clone(), life.clone());
        async move {
            let life = life.load(Ordering::Acquire);
            answer(&at(address), &port, &injector, life, request).await
        }
    })
    .await
}

async fn answer(
    coordinator: &Coordinator,
    port: &JobPort,
    injector: &CrashInjector,
    life: usize,
    request: Request<Bytes>,
) -> Reply {
    let path = request.uri().path().to_owned();
    if request.method() == http::Method::GET {
        if injector.look() == Fate::Lost {
            return pending().await;
        }
        return match path.strip_prefix("/v1/").unwrap_or_default() {
            "report" => told(200, port.report(coordinator).await),
            "preflight" => {
                let query = request.uri().query().unwrap_or_default();
                let from = query.strip_prefix("from=");
                let from = from.map(|uri| percent_decode_str(uri).decode_utf8_lossy());
                told(200, port.preflight(coordinator, from.as_deref()).await)
            }
            other => match other.strip_prefix("operations/") {
                None => reply(404, JSON, "{}"),
                Some(key) => match port.operation(coordinator, key).await {
                    Ok(None) => reply(404, JSON, "{}"),
                    found => told(200, found),
                },
            },
        };
    }
    if !request.headers().contains_key(http::header::AUTHORIZATION) {
        return Err(format!("{path} was asked for without the token of the job").into());
    }
    let call = asked(&path, request.body())?;
    let verb = path.rsplit('/').next().unwrap_or_default();
    let (place, fate) = injector.enter(life, format!("call {verb}"), String::new());
    if fate == Fate::Lost {
        return pending().await;
    }
    let answer = told(202, port.command(coordinator, &call).await);
    let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    injector.done(place, code, None);
    if fate == Fate::LastServed {
        injector.end();
        return pending().await;
    }
    answer
}

fn asked(path: &str, body: &Bytes) -> Result<JobCall, BoxError> {
    fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(body)?)
    }
    Ok(match path {
        "/v1/promote" => JobCall::Promote(read(body)?),
        "/v1/savepoint" => JobCall::Savepoint(read(body)?),
        "/v1/hand-over" => JobCall::HandOver(read(body)?),
        "/v1/stop" => JobCall::Stop(read(body)?),
        "/v1/rescale" => JobCall::Rescale(read(body)?),
        other => return Err(format!("{other} is no call of the Job API").into()),
    })
}

fn told<T: Serialize>(code: u16, answer: Result<T, CallError>) -> Reply {
    match answer {
        Ok(answer) => reply(code, JSON, serde_json::to_vec(&answer)?),
        Err(CallError::Refused { code, message }) => {
            reply(409, JSON, serde_json::to_vec(&ApiError { code, message })?)
        }
        Err(error) => Err(error.into()),
    }
}
