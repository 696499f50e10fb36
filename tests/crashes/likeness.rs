//! The API server of the stories is asked what a real one is asked, and answers alike.
//!
//! Compared are: the code; the reason of a refusal and, where [`Ask::word_for_word`], its sentence; of an object its name, labels, annotations, finalizers, generation, whether it is on its way out, whether
//! its uid and version are those of the answer before; of a StreamJob everything else; of other kinds that everything in the simulated answer is in the real one, which fills in more defaults.
//!
//! Known to differ, and left so: fields that the CRD does not have are refused by the simulation (a real server drops them and warns), because an operator that sends one is wrong; server-side apply, JSON patches,
//! the scale subresource and PUT of whole objects are not simulated and refused by name: the operator uses none of them.

use std::{collections::HashMap, sync::Arc};

use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use streamkeeper::clock::Clock;

use super::control_plane::ControlPlane;
use crate::support::{
    api_server::{
        ApiServer, Kind,
        kinds::{
            CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS, PODS, SERVICES, STATEFUL_SETS, STREAM_JOBS,
        },
    },
    interference::Life,
    world::World,
};

const MERGE: &str = "application/merge-patch+json";
const NAMESPACE: &str = "likeness";
const ENDING: &str = "ending";

/// A request. `$x.uid`, `$x.version` and `$x.first` in its body stand for what the last, and the first, answer about `x` said.
#[derive(Debug, Clone)]
struct Ask {
    what: &'static str,
    method: &'static str,
    path: String,
    content: &'static str,
    body: Value,
    word_for_word: bool,
}

impl Ask {
    fn new(what: &'static str, method: &'static str, path: String, body: Value) -> Self {
        Self {
            what,
            method,
            path,
            content: "application/json",
            body,
            word_for_word: true,
        }
    }

    fn roughly(self) -> Self {
        Self {
            word_for_word: false,
            ..self
        }
    }
}

fn path(kind: &Kind, namespace: &str, rest: &str) -> String {
    let root = if kind.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    format!(
        "{root}/{}/namespaces/{namespace}/{}{rest}",
        kind.api_version(),
        kind.plural
    )
}

fn create(what: &'static str, kind: &Kind, mut object: Value) -> Ask {
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    Ask::new(what, "POST", path(kind, NAMESPACE, ""), object)
}

fn get(what: &'static str, kind: &Kind, name: &str) -> Ask {
    let path = path(kind, NAMESPACE, &format!("/{name}"));
    Ask::new(what, "GET", path, Value::Null)
}

fn merge(what: &'static str, kind: &Kind, name: &str, patch: Value) -> Ask {
    let path = path(kind, NAMESPACE, &format!("/{name}"));
    Ask {
        content: MERGE,
        ..Ask::new(what, "PATCH", path, patch)
    }
}

/// Replaces the status, as the operator does it: the whole object is sent.
fn put_status(what: &'static str, name: &str, version: &str, status: Value) -> Ask {
    let path = path(&STREAM_JOBS, NAMESPACE, &format!("/{name}/status"));
    let mut object = json!({
        "apiVersion": STREAM_JOBS.api_version(), "kind": STREAM_JOBS.kind, "metadata": { "name": name, "namespace": NAMESPACE }, "spec": job("-")["spec"], "status": status,
    });
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    Ask::new(what, "PUT", path, object)
}

fn delete(what: &'static str, kind: &Kind, name: &str, mut options: Value) -> Ask {
    options["apiVersion"] = json!("v1");
    options["kind"] = json!("DeleteOptions");
    let path = path(kind, NAMESPACE, &format!("/{name}"));
    Ask::new(what, "DELETE", path, options)
}

fn list(what: &'static str, kind: &Kind, selector: &str) -> Ask {
    let path = path(kind, NAMESPACE, &format!("?labelSelector={selector}"));
    Ask::new(what, "GET", path, Value::Null)
}

/// Every change of a kind, as a watch from the beginning tells them.
fn watch(what: &'static str, kind: &Kind, selector: &str) -> Ask {
    let rest =
        format!("?watch=true&timeoutSeconds=1&resourceVersion=$start&labelSelector={selector}");
    Ask::new(what, "GET", path(kind, NAMESPACE, &rest), Value::Null)
}

fn config_map(name: &str, data: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "app": "x" } }, "data": { "a": data } })
}

fn job(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "sql": { "text": "SELECT 1" } } })
}

fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "streamjob", "image": "x:1" }] } });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

fn stateful_set(name: &str) -> Value {
    let labels = json!({ "set": name });
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": 0, "serviceName": name, "podManagementPolicy": "Parallel", "updateStrategy": { "type": "OnDelete" },
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "streamjob", "image": "x:1" }] } },
        },
    })
}

fn config_maps() -> Vec<Ask> {
    let kind = &CONFIG_MAPS;
    vec![
        create("create", kind, config_map("a", "1")),
        create("create what exists", kind, config_map("a", "2")),
        create("create without a name", kind, json!({ "metadata": {} })).roughly(),
        create(
            "create in another namespace than the path's",
            kind,
            json!({ "metadata": { "name": "b", "namespace": "elsewhere" } }),
        )
        .roughly(),
        get("read", kind, "a"),
        get("read what is not there", kind, "b"),
        merge(
            "change",
            kind,
            "a",
            json!({ "data": { "a": "3", "b": "4" } }),
        ),
        merge("change nothing", kind, "a", json!({ "data": { "a": "3" } })),
        merge(
            "remove a field",
            kind,
            "a",
            json!({ "data": { "b": null } }),
        ),
        merge("change what is not there", kind, "b", json!({ "data": {} })),
        merge(
            "change an old version",
            kind,
            "a",
            json!({ "metadata": { "resourceVersion": "$a.first" }, "data": { "a": "5" } }),
        ),
        merge(
            "change the current version",
            kind,
            "a",
            json!({ "metadata": { "resourceVersion": "$a.version" }, "data": { "a": "5" } }),
        ),
        merge(
            "change labels",
            kind,
            "a",
            json!({ "metadata": { "labels": { "app": "y" } } }),
        ),
        list("list what has a label", kind, "app%3Dy"),
        list("list what has not", kind, "app%3Dx"),
        delete(
            "delete another uid",
            kind,
            "a",
            json!({ "preconditions": { "uid": "00000000-0000-4000-8000-00000000abcd" } }),
        )
        .roughly(),
        delete(
            "delete an old version",
            kind,
            "a",
            json!({ "preconditions": { "resourceVersion": "$a.first" } }),
        )
        .roughly(),
        delete(
            "delete exactly this",
            kind,
            "a",
            json!({ "preconditions": { "uid": "$a.uid" }, "propagationPolicy": "Background" }),
        ),
        delete("delete what is gone", kind, "a", json!({})),
        create("create again", kind, config_map("a", "9")),
        create(
            "create immutable",
            kind,
            json!({ "metadata": { "name": "i" }, "data": { "a": "1" }, "immutable": true }),
        ),
        merge(
            "change what is immutable",
            kind,
            "i",
            json!({ "data": { "a": "2" } }),
        )
        .roughly(),
        merge(
            "label what is immutable",
            kind,
            "i",
            json!({ "metadata": { "labels": { "app": "x" } } }),
        ),
        watch("watch", kind, ""),
        watch("watch what has a label", kind, "app%3Dx"),
    ]
}

fn stream_jobs() -> Vec<Ask> {
    let kind = &STREAM_JOBS;
    let with = |spec: Value| json!({ "metadata": { "name": "wrong" }, "spec": spec });
    let running = json!({ "revision": { "current": 1, "latest": 1, "summary": "1" } });
    vec![
        create("create with defaults", kind, job("j")),
        create("create with a status, which is not taken", kind, json!({ "metadata": { "name": "k" }, "spec": job("k")["spec"], "status": running })),
        create("no sql", kind, with(json!({}))).roughly(),
        create("a word for a number", kind, with(json!({ "sql": { "text": "x" }, "workers": { "replicas": "two" } }))).roughly(),
        create("less than the minimum", kind, with(json!({ "sql": { "text": "x" }, "workers": { "replicas": 0 } }))).roughly(),
        create("none of the values", kind, with(json!({ "sql": { "text": "x" }, "engine": "Steam" }))).roughly(),
        create("CEL: neither of two", kind, with(json!({ "sql": {} }))).roughly(),
        create("CEL: parallelism beyond the key groups", kind, with(json!({ "sql": { "text": "x" }, "workers": { "replicas": 9 }, "maxParallelism": 8 }))).roughly(),
        create("CEL: a bad name", kind, json!({ "metadata": { "name": "1st" }, "spec": job("k")["spec"] })).roughly(),
        merge("add a finalizer", kind, "j", json!({ "metadata": { "resourceVersion": "$j.version", "finalizers": ["streamkeeper.dev/state"] } })),
        merge("add it to an old version", kind, "j", json!({ "metadata": { "resourceVersion": "$j.first", "finalizers": [] } })),
        merge("change the spec", kind, "j", json!({ "spec": { "workers": { "replicas": 2 } } })),
        merge("annotate", kind, "j", json!({ "metadata": { "annotations": { "a/b": "c" } } })),
        merge("change the status where it cannot be", kind, "j", json!({ "status": { "phase": "Running" } })),
        merge("CEL: change to what is refused", kind, "j", json!({ "spec": { "maxParallelism": 1 } })).roughly(),
        put_status("write the status of this version", "j", "$j.version", running.clone()),
        put_status("write the same status", "j", "$j.version", running.clone()),
        put_status("write the status of an old version", "j", "$j.first", json!({})),
        put_status("write the status of any version", "j", "", running.clone()),
        put_status("write a status that is none", "j", "$j.version", json!({ "phase": "Dancing" })).roughly(),
        put_status("write the status of nothing", "nobody", "", json!({})),
        merge("CEL: change what is fixed now", kind, "j", json!({ "spec": { "maxParallelism": 256 } })).roughly(),
        delete("delete with a finalizer", kind, "j", json!({ "propagationPolicy": "Background" })),
        delete("delete it again", kind, "j", json!({ "propagationPolicy": "Background" })),
        merge("change it all the same", kind, "j", json!({ "spec": { "workers": { "replicas": 3 } } })),
        put_status("write its status all the same", "j", "$j.version", json!({ "phase": "Deleting" })),
        merge("add a finalizer too late", kind, "j", json!({ "metadata": { "finalizers": ["streamkeeper.dev/state", "too/late"] } })).roughly(),
        merge("remove the finalizer", kind, "j", json!({ "metadata": { "finalizers": [] } })),
        get("read it", kind, "j"),
        create("create it again", kind, job("j")),
        watch("watch", kind, ""),
    ]
}

fn builtin_kinds() -> Vec<Ask> {
    let (sets, revisions) = (&STATEFUL_SETS, &CONTROLLER_REVISIONS);
    let revision =
        json!({ "metadata": { "name": "delays-r1" }, "revision": 1, "data": { "a": 1 } });
    let service = json!({ "metadata": { "name": "s" }, "spec": { "clusterIP": "None", "selector": { "a": "b" }, "ports": [{ "name": "api", "port": 8081 }] } });
    vec![
        create("create", sets, stateful_set("set")),
        merge(
            "scale",
            sets,
            "set",
            json!({ "spec": { "replicas": 0, "minReadySeconds": 5 } }),
        ),
        delete(
            "delete another uid",
            sets,
            "set",
            json!({ "preconditions": { "uid": "00000000-0000-4000-8000-00000000abcd" } }),
        )
        .roughly(),
        delete(
            "delete",
            sets,
            "set",
            json!({ "preconditions": { "uid": "$set.uid" }, "propagationPolicy": "Background" }),
        ),
        get("read what is deleted", sets, "set"),
        create("create", revisions, revision.clone()),
        create("create again", revisions, revision),
        merge(
            "change its data",
            revisions,
            "delays-r1",
            json!({ "data": { "a": 2 } }),
        )
        .roughly(),
        delete(
            "delete",
            revisions,
            "delays-r1",
            json!({ "propagationPolicy": "Background" }),
        ),
        create("create", &SERVICES, service),
        // Not a StatefulSet: its controller may write its status in between.
        merge(
            "change nothing",
            &SERVICES,
            "s",
            json!({ "spec": { "clusterIP": "None" } }),
        ),
        delete(
            "delete",
            &SERVICES,
            "s",
            json!({ "propagationPolicy": "Background" }),
        ),
        create(
            "create",
            &EVENTS,
            json!({
                "metadata": { "name": "e" }, "eventTime": "2026-03-01T12:00:00.000000Z", "reportingController": "x/y", "reportingInstance": "z", "type": "Normal", "action": "A", "reason": "R", "note": "N",
                "regarding": { "kind": "StreamJob", "namespace": NAMESPACE, "name": "j" },
            }),
        ),
    ]
}

fn pods() -> Vec<Ask> {
    let kind = &PODS;
    let gently = || json!({});
    let at_once = |uid: &str| json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": uid } });
    vec![
        create("create", kind, pod("waits", None)),
        delete("delete before it has a node", kind, "waits", gently()),
        get("read it", kind, "waits"),
        create("create on a node", kind, pod("runs", Some("nowhere"))),
        delete("delete it", kind, "runs", gently()),
        delete("delete it again", kind, "runs", gently()),
        get("read it", kind, "runs"),
        delete(
            "delete another at once",
            kind,
            "runs",
            at_once("00000000-0000-4000-8000-00000000abcd"),
        )
        .roughly(),
        delete("delete it at once", kind, "runs", at_once("$runs.uid")),
        get("read it", kind, "runs"),
        watch("watch", kind, ""),
    ]
}

fn elsewhere() -> Vec<Ask> {
    let unknown = Ask::new(
        "a kind that is not served",
        "GET",
        "/apis/streamkeeper.dev/v1alpha1/namespaces/likeness/steamjobs/x".to_owned(),
        Value::Null,
    );
    let ending = Ask {
        path: path(&CONFIG_MAPS, ENDING, ""),
        ..create(
            "create where everything ends",
            &CONFIG_MAPS,
            config_map("a", "1"),
        )
    };
    vec![unknown.roughly(), ending.roughly()]
}

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

    /// An object without what is new in every run; its uid and version in relation to what was last seen.
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
        if object["kind"] != STREAM_JOBS.kind {
            told["status"] = Value::Null;
        }
        told
    }

    fn watched(line: &str) -> String {
        let change: Value = serde_json::from_str(line).expect("a watch speaks JSON");
        let meta = &change["object"]["metadata"];
        format!(
            "{} {} generation {} labels {} finalizers {} deleting {} data {} phase {}",
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
        )
    }
}

async fn converse(client: &Client, asks: &[Ask]) -> Vec<Answer> {
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

async fn send(client: &Client, ask: &Ask, memory: &Memory) -> (u16, String) {
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

fn differs(ask: &Ask, simulated: &Answer, real: &Answer) -> bool {
    let sentence = ask.word_for_word && simulated.message != real.message;
    let told = if real.told["kind"] == STREAM_JOBS.kind || real.told.is_array() {
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
    // Nobody ends what is in it, so it goes on ending.
    all.delete(ENDING, &DeleteParams::default())
        .await
        .expect("a namespace");
}

#[test]
fn the_api_server_of_the_stories_answers_like_a_real_one() {
    let control_plane = ControlPlane::shared();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let real = control_plane.client();
        namespaces(&real).await;
        let world = World::new(Clock::default());
        world
            .lock()
            .expect("no panic while locked")
            .terminating
            .insert(ENDING.to_owned());
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
            builtin_kinds(),
            pods(),
            elsewhere(),
        ] {
            let (simulated, real) = (
                converse(&simulated, &asks).await,
                converse(&real, &asks).await,
            );
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
