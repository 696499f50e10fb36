//! What the operator takes for its API server: hands everything on to the real one, but for what
//! the injector keeps.

use std::{future::pending, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use kube::Client;
use serde_json::Value;
use streamkeeper_harness::api_server::Call;

use super::{
    crash_injector::{CrashInjector, Fate},
    server::{Reply, Server, serve},
};

/// Serves one life of the operator.
pub async fn stand_in(client: Client, injector: Arc<CrashInjector>, life: usize) -> Server {
    let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
    serve(anywhere, move |request| {
        handle(client.clone(), injector.clone(), life, request)
    })
    .await
}

async fn handle(
    client: Client,
    injector: Arc<CrashInjector>,
    life: usize,
    request: Request<Bytes>,
) -> Reply {
    let Some((call, detail)) = effect(&request) else {
        return match injector.look() {
            Fate::Lost => pending().await,
            Fate::Served | Fate::LastServed => {
                let answer = forward(&client, request).await?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
        };
    };
    let deletes = call.starts_with("delete ");
    let (place, fate) = injector.enter(life, call, detail);
    if fate == Fate::Lost {
        return pending().await;
    }
    let (parts, body) = forward(&client, request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    injector.done(place, parts.status.as_u16(), uid(&body, deletes));
    if fate == Fate::LastServed {
        injector.end();
        return pending().await;
    }
    if injector.is_holding() {
        // It is to end at its next request; should it have none, it ends all the same.
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            injector.end_idle();
        });
    }
    let body = Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync();
    Ok(Response::from_parts(parts, body))
}

/// What a request changes, if it counts: events change nothing that matters, and a lease is renewed
/// all the time.
fn effect(request: &Request<Bytes>) -> Option<(String, String)> {
    if request.method() == http::Method::GET {
        return None;
    }
    let path = request.uri().path();
    if path.contains("/events") || path.contains("/leases") {
        return None;
    }
    let (parts, body) = request.clone().into_parts();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = Call::parse(&parts, &body).map_or_else(
        |_| format!("{} {path}", parts.method),
        |call| call.to_string(),
    );
    Some((call, detail(&json)))
}

/// The transition that a status is about, or what a patch sets.
fn detail(body: &Value) -> String {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    if body["status"].is_object() {
        let (kind, step) = (
            text("/status/transition/kind"),
            text("/status/transition/step"),
        );
        return format!("({kind}/{step}, {})", text("/status/phase"));
    }
    if let Some(finalizers) = body["metadata"].get("finalizers") {
        return finalizers.to_string();
    }
    match body.pointer("/spec/replicas") {
        Some(replicas) if body["kind"].is_null() => format!("replicas {replicas}"),
        _ => String::new(),
    }
}

fn uid(answer: &Bytes, deletes: bool) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let told = deletes.then(|| answer["details"]["uid"].as_str()).flatten();
    told.or(answer["metadata"]["uid"].as_str())
        .map(str::to_owned)
}

async fn forward(
    client: &Client,
    request: Request<Bytes>,
) -> Result<Response<kube::client::Body>, kube::Error> {
    let (mut parts, body) = request.into_parts();
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    let mut answer = client.send(Request::from_parts(parts, body.into())).await?;
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
    ] {
        answer.headers_mut().remove(name);
    }
    *answer.version_mut() = http::Version::HTTP_11;
    Ok(answer)
}
