//! Sends the same requests to the API server of the harness and to a real one, and compares the
//! answers.
//!
//! Compared are: the code; the reason of a refusal and, where [`ApiRequest::word_for_word`], its
//! sentence; of an object its name, labels, annotations, finalizers, generation, whether it is on
//! its way out, whether its uid and version are those of the answer before; of kinds without
//! defaults but those of the CRDs everything else; of other kinds that everything in the simulated
//! answer is in the real one, which fills in more defaults. [`too_many_requests`] compares what is
//! refused before it is read.
//!
//! Known to differ, and left so: fields that the CRD does not have are refused by the simulation (a
//! real server drops them and warns), because an operator that sends one is wrong; server-side
//! apply, JSON patches, the scale subresource and PUT of whole objects are not simulated and
//! refused by name: the operator uses none of them. A watch that comes before the cache of its kind
//! is filled is refused by a real server with a 429 that is a Status; here no cache is ever empty.

mod requests;
mod too_many_requests;

use std::{collections::HashMap, sync::Arc};

use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use streamkeeper_controller::clock::Clock;
use streamkeeper_harness::{
    api_server::{
        ApiServer,
        kinds::{CONFIG_MAPS, LEASES, STREAM_JOBS, STREAM_SNAPSHOTS},
    },
    interference::Life,
    world::World,
};

use self::requests::{
    ApiRequest, ENDING, NAMESPACE,
    built_in::{builtin_kinds, config_maps, elsewhere, leases, pods},
    custom::{stream_jobs, stream_snapshots},
    list,
};
use super::control_plane::ControlPlane;

#[derive(Debug, Clone, PartialEq)]
struct Answer {
    code: u16,
    reason: String,
    message: String,
    told: Value,
}

/// What a conversation remembers.
#[derive(Debug, Default)]
struct Memory(HashMap<String, String>);

impl Memory {
    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(known) = text.strip_prefix('$').and_then(|key| self.0.get(key)) {
                    text.clone_from(known);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Value::Object(fields) => fields.iter_mut().for_each(|(_, field)| self.fill(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// An object without what is new in every run; its uid and version in relation to what was last
    /// seen.
    fn essence(&mut self, object: &Value) -> Value {
        let mut told = object.clone();
        let meta = told["metadata"].take();
        let name = meta["name"].as_str().unwrap_or_default().to_owned();
        let mut same = |what: &str, key: &str| {
            let now = meta[key].as_str().unwrap_or_default().to_owned();
            let before = self.0.insert(format!("{name}.{what}"), now.clone());
            self.0.entry(format!("{name}.first")).or_insert(now.clone());
            match before {
                None => "first",
                Some(before) if before == now => "same",
                Some(_) => "new",
            }
        };
        let (version, uid) = (same("version", "resourceVersion"), same("uid", "uid"));
        let mut kept = json!({ "uid": uid, "version": version, "deleting": !meta["deletionTimestamp"].is_null() });
        for field in [
            "name",
            "namespace",
            "labels",
            "annotations",
            "finalizers",
            "generation",
            "deletionGracePeriodSeconds",
        ] {
            kept[field] = meta[field].clone();
        }
        if meta["generation"].is_null() || object["kind"] == "Pod" {
            kept["generation"] = Value::Null;
        }
        told["metadata"] = kept;
        // What the controllers and the scheduler of a real cluster say is not the API server's.
        if ![STREAM_JOBS.kind, STREAM_SNAPSHOTS.kind]
            .contains(&object["kind"].as_str().unwrap_or_default())
        {
            told["status"] = Value::Null;
        }
        told
    }

    fn watched(line: &str) -> String {
        let change: Value = serde_json::from_str(line).expect("a watch speaks JSON");
        if change["type"] == "ERROR" {
            let (code, reason) = (&change["object"]["code"], &change["object"]["reason"]);
            let message = change["object"]["message"].as_str().unwrap_or_default();
            let words = message.replace(|c: char| c.is_ascii_digit(), "");
            return format!("ERROR {code} {reason} {words}");
        }
        let meta = &change["object"]["metadata"];
        format!(
            "{} {} generation {} labels {} finalizers {} deleting {} data {} phase {} holder {}",
            change["type"],
            meta["name"],
            if change["object"]["kind"] == "Pod" {
                &Value::Null
            } else {
                &meta["generation"]
            },
            meta["labels"],
            meta["finalizers"],
            !meta["deletionTimestamp"].is_null(),
            change["object"]["data"],
            if change["object"]["kind"] == "Pod" {
                &Value::Null
            } else {
                &change["object"]["status"]["phase"]
            },
            change["object"]["spec"]["holderIdentity"],
        )
    }
}

async fn converse(client: &Client, asks: &[ApiRequest]) -> Vec<Answer> {
    let mut memory = Memory::default();
    let start = send(client, &list("", &CONFIG_MAPS, ""), &memory).await.1;
    let start: Value = serde_json::from_str(&start).expect("a list");
    let version = start["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version");
    memory.0.insert("start".to_owned(), version.to_owned());
    let mut answers = Vec::new();
    for ask in asks {
        let (code, text) = send(client, ask, &memory).await;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        answers.push(if ask.path.contains("watch=true") {
            let lines: Vec<String> = text.lines().map(Memory::watched).collect();
            Answer { code, reason: String::new(), message: String::new(), told: json!(lines) }
        } else if code >= 400 {
            let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
            Answer { code, reason: text("reason"), message: text("message"), told: Value::Null }
        } else {
            let told = if let Some(items) = told["items"].as_array() {
                items.iter().map(|item| memory.essence(item)).collect()
            } else if told["kind"] == "Status" {
                json!({ "kind": "Status", "status": told["status"], "details": { "name": told["details"]["name"], "kind": told["details"]["kind"] } })
            } else {
                memory.essence(&told)
            };
            Answer { code, reason: String::new(), message: String::new(), told }
        });
    }
    answers
}

async fn send(client: &Client, ask: &ApiRequest, memory: &Memory) -> (u16, String) {
    let mut body = ask.body.clone();
    memory.fill(&mut body);
    let start = memory.0.get("start").cloned().unwrap_or_default();
    let request = http::Request::builder()
        .method(ask.method)
        .uri(ask.path.replace("$start", &start))
        .header(http::header::CONTENT_TYPE, ask.content);
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let answer = client
        .send(request.body(bytes.into()).expect("a request"))
        .await
        .expect("an answer");
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    (
        parts.status.as_u16(),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

/// Whether everything in `part` is in `whole`; a field that is null counts as absent.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Null, _) => true,
        (Value::Object(fields), Value::Object(more)) => fields
            .iter()
            .all(|(name, field)| is_within(field, more.get(name).unwrap_or(&Value::Null))),
        (Value::Array(items), Value::Array(more)) => {
            items.len() == more.len()
                && items
                    .iter()
                    .zip(more)
                    .all(|(item, more)| is_within(item, more))
        }
        (part, whole) => part == whole,
    }
}

fn differs(ask: &ApiRequest, simulated: &Answer, real: &Answer) -> bool {
    let sentence = ask.word_for_word && simulated.message != real.message;
    let whole = [&STREAM_JOBS, &STREAM_SNAPSHOTS, &LEASES]
        .iter()
        .any(|kind| real.told["kind"] == kind.kind);
    let told = if whole || real.told.is_array() {
        !is_within(&simulated.told, &real.told) || !is_within(&real.told, &simulated.told)
    } else {
        // A field that is absent there must be absent here.
        !is_within(&simulated.told, &real.told)
            || !is_within(&real.told["metadata"], &simulated.told["metadata"])
    };
    // What is not served at all is not refused in a Status.
    let reason = simulated.reason != real.reason && !real.reason.is_empty();
    simulated.code != real.code || reason || sentence || told
}

async fn namespaces(client: &Client) {
    let all: Api<Namespace> = Api::all(client.clone());
    for name in [NAMESPACE, ENDING] {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        all.create(&PostParams::default(), &namespace)
            .await
            .expect("a new namespace");
    }
    // No controller ends what is in it, so it stays in deletion.
    all.delete(ENDING, &DeleteParams::default())
        .await
        .expect("a namespace");
}

/// Does something with a real API server beside.
fn with_a_real_one(compare: impl AsyncFnOnce(Arc<ControlPlane>)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(compare(ControlPlane::shared()));
}

#[test]
fn the_api_server_of_the_stories_answers_like_a_real_one() {
    with_a_real_one(async |control_plane| {
        let real = control_plane.client();
        namespaces(&real).await;
        let world = World::new(Clock::default());
        {
            let mut world = world.lock().expect("no panic while locked");
            world.terminating.insert(ENDING.to_owned());
            // What happened before the kinds of the CRDs were served is not known of them.
            world.forgotten = world.store.version();
        }
        let simulated = Client::new(
            ApiServer {
                world: Arc::clone(&world),
                life: Life::new("operator"),
            },
            NAMESPACE,
        );
        let mut told = String::new();
        let mut count = 0;
        for asks in [
            config_maps(),
            stream_jobs(),
            stream_snapshots(),
            builtin_kinds(),
            leases(),
            pods(),
            elsewhere(),
        ] {
            let (simulated, real) =
                tokio::join!(converse(&simulated, &asks), converse(&real, &asks));
            for ((ask, simulated), real) in asks.iter().zip(simulated).zip(real) {
                count += 1;
                if differs(ask, &simulated, &real) {
                    told += &format!(
                        "{} {} ({})\n  simulated: {simulated:?}\n  real:      {real:?}\n",
                        ask.method, ask.path, ask.what
                    );
                }
            }
        }
        assert!(told.is_empty(), "of {count} answers these differ:\n{told}");
        println!("{count} answers are alike");
    });
}
