//! A Kubernetes API server in memory, as a service that `kube::Client` can be made from.
//!
//! * [`kinds`]: what it serves.
//! * [`store`]: objects, versions, finalizers, preconditions, deletion.
//! * [`changes`]: what watches tell.
//! * [`schema`]: what the CRD demands.
//! * [`request`]: paths, verbs and bodies into calls.
//!
//! Garbage collection, StatefulSets, nodes and kubelets are in [`crate::cluster`].

mod changes;
pub mod kinds;
mod refusal;
mod request;
mod schema;
mod selector;
pub mod store;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use self::{
    changes::Filter,
    store::{Deletion, called},
};
pub use self::{
    kinds::Kind,
    refusal::Refusal,
    request::{Call, Subresource, Verb},
};
use super::{
    interference::{Fate, Life},
    world::World,
};

type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;
type Answer = Response<AnswerBody>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What one client (one life of an operator) talks to.
#[derive(Clone)]
pub struct ApiServer {
    pub world: Arc<Mutex<World>>,
    pub life: Life,
}

impl tower::Service<Request<Body>> for ApiServer {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let call = match Call::parse(&parts, &body) {
                Ok(call) => call,
                Err(refusal) => return Ok(refused(&refusal)),
            };
            server.life.alive().await;
            if server.world.lock().expect("no panic while locked").outage {
                return Err("connection refused".into());
            }
            let slow = server
                .world
                .lock()
                .expect("no panic while locked")
                .patience_for(&call);
            if let Some(slow) = slow {
                tokio::time::sleep(slow).await;
            }
            let fate = server
                .world
                .lock()
                .expect("no panic while locked")
                .fate_of_call(&call, server.life.name());
            let life = server.life.clone();
            let answer = server.suffer(call, fate).await;
            life.alive().await;
            answer
        })
    }
}

impl ApiServer {
    async fn suffer(self, call: Call, fate: Fate) -> Result<Answer, BoxError> {
        let lost = || -> BoxError { format!("connection reset during {call}").into() };
        match fate {
            Fate::Refused(refusal) => Ok(refused(&refusal)),
            Fate::RequestLost => Err(lost()),
            Fate::CrashBefore => self.life.end().await,
            Fate::Served => Ok(self.serve(&call)),
            Fate::AnswerLost => {
                self.serve(&call);
                Err(lost())
            }
            Fate::CrashAfter => {
                self.serve(&call);
                self.life.end().await
            }
        }
    }

    fn serve(&self, call: &Call) -> Answer {
        let mut world = self.world.lock().expect("no panic while locked");
        serve(&mut world, call, &self.life).unwrap_or_else(|refusal| refused(&refusal))
    }
}

fn serve(world: &mut World, call: &Call, life: &Life) -> Result<Answer, Refusal> {
    let (kind, namespace, name) = (
        call.kind,
        call.namespace.as_deref().unwrap_or_default(),
        call.name.as_deref().unwrap_or_default(),
    );
    let now = world.now();
    let filter = || Filter {
        kind,
        namespace: call.namespace.clone(),
        selector: call.selector.clone(),
    };
    match (call.verb, call.subresource) {
        (Verb::Get, None) => {
            let found = world.store.get(kind, namespace, name);
            found
                .map(|object| answer(200, object))
                .ok_or_else(|| Refusal::not_found(&called(kind, name)))
        }
        (Verb::List, None) => {
            let (items, version) = world.store.list(&filter());
            let items: Vec<Value> = items.iter().map(|item| listed(kind, item)).collect();
            let list = json!({
                "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
                "metadata": {"resourceVersion": version.to_string()}, "items": items,
            });
            Ok(answer(200, &list))
        }
        (Verb::Watch, None) => {
            if call.version != 0 && world.has_forgotten(call.version) {
                return Ok(watch_expired(call.version, world.forgotten));
            }
            Ok(watch(
                world.store.watch(filter(), call.version),
                call.timeout,
                world
                    .slow_watches
                    .get(kind.plural)
                    .copied()
                    .unwrap_or_default(),
                life.clone(),
            ))
        }
        (Verb::Create, None) => {
            world.admit(call)?;
            world.hear(&call.body);
            world
                .store
                .create(kind, namespace, call.body.clone(), now)
                .map(|object| answer(201, &object))
        }
        (Verb::Patch, None) => world
            .store
            .merge(kind, namespace, name, &call.body, now)
            .map(|object| answer(200, &object)),
        (Verb::Patch, Some(Subresource::Scale)) if kind.kind == "StatefulSet" => {
            let replicas = &call.body["spec"]["replicas"];
            if !replicas.is_u64() {
                let why = "spec.replicas: Invalid value: must be greater than or equal to 0";
                return Err(Refusal::invalid(&called(kind, name), why));
            }
            let patch = json!({ "spec": { "replicas": replicas } });
            let set = world.store.merge(kind, namespace, name, &patch, now)?;
            Ok(answer(200, &scale_of(&set)))
        }
        (Verb::Update, Some(Subresource::Status)) => {
            world.hear(&call.body);
            world
                .store
                .replace_status(kind, namespace, name, &call.body)
                .map(|object| answer(200, &object))
        }
        (Verb::Delete, None) => {
            let how =
                Deletion::of(&call.body).map_err(|why| Refusal::invalid("DeleteOptions", &why))?;
            world
                .store
                .delete(kind, namespace, name, &how, now)
                .map(|object| answer(200, &object))
        }
        (verb, subresource) => Err(Refusal::invalid(
            &call.to_string(),
            &format!("{verb:?} of {subresource:?} is not simulated"),
        )),
    }
}

/// The scale of a StatefulSet, as its subresource shows it.
fn scale_of(set: &Value) -> Value {
    let meta = &set["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": { "replicas": set["spec"]["replicas"] },
        "status": { "replicas": set["status"]["replicas"].as_u64().unwrap_or(0) },
    })
}

/// An object in a list: those of built-in kinds do not say what they are.
fn listed(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if !kind.is_custom()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    object
}

fn answer(code: u16, body: &Value) -> Answer {
    respond(
        code,
        Full::new(Bytes::from(body.to_string())).boxed_unsync(),
    )
}

fn refused(refusal: &Refusal) -> Answer {
    if refusal.code != 429 {
        return answer(refusal.code, &refusal.body());
    }
    let text = Bytes::from(refusal.message.clone());
    let mut answer = respond(429, Full::new(text).boxed_unsync());
    for (name, value) in [
        (http::header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (http::header::RETRY_AFTER, refusal::RETRY_AFTER),
    ] {
        let value = http::HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn respond(code: u16, body: AnswerBody) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).expect("codes are written by hand");
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// One line per change, until the server's time-out.
fn watch(
    lines: mpsc::UnboundedReceiver<(Instant, String)>,
    timeout: Duration,
    slow: Duration,
    life: Life,
) -> Answer {
    let lines = stream::unfold((lines, life), move |(mut lines, life)| async move {
        let (written, line) = lines.recv().await?;
        tokio::time::sleep_until(written + slow).await;
        life.alive().await;
        Some((line, (lines, life)))
    });
    let frames = lines
        .take_until(Box::pin(tokio::time::sleep(timeout)))
        .map(|line| Ok(Frame::data(Bytes::from(line))));
    respond(200, StreamBody::new(frames).boxed_unsync())
}

fn watch_expired(version: u64, known: u64) -> Answer {
    let line = json!({ "type": "ERROR", "object": Refusal::expired(version, known).body() });
    respond(
        200,
        Full::new(Bytes::from(format!("{line}\n"))).boxed_unsync(),
    )
}
