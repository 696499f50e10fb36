//! What both API servers are asked.

use serde_json::{Value, json};

use crate::support::api_server::{
    Kind,
    kinds::{
        CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS, PODS, SERVICES, STATEFUL_SETS, STREAM_JOBS,
    },
};

const MERGE: &str = "application/merge-patch+json";
pub const NAMESPACE: &str = "likeness";
pub const ENDING: &str = "ending";

/// A request. `$x.uid`, `$x.version` and `$x.first` in its body stand for what the last, and the first, answer about `x` said.
#[derive(Debug, Clone)]
pub struct Ask {
    pub what: &'static str,
    pub method: &'static str,
    pub path: String,
    pub content: &'static str,
    pub body: Value,
    pub word_for_word: bool,
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

pub fn list(what: &'static str, kind: &Kind, selector: &str) -> Ask {
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

pub fn config_maps() -> Vec<Ask> {
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

pub fn stream_jobs() -> Vec<Ask> {
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

pub fn builtin_kinds() -> Vec<Ask> {
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

pub fn pods() -> Vec<Ask> {
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

pub fn elsewhere() -> Vec<Ask> {
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
