//! About the kinds that every cluster has.

use serde_json::{Value, json};
use streamkeeper_harness::api_server::kinds::{
    CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS, LEASES, PODS, SERVICES, STATEFUL_SETS,
};

use super::{
    ApiRequest, ENDING, NAMESPACE, create, delete, get, list, merge, path, watch, watch_from,
};

fn config_map(name: &str, data: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "app": "x" } }, "data": { "a": data } })
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

pub fn config_maps() -> Vec<ApiRequest> {
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
        watch_from("watch from now on", kind, "", ""),
        watch_from("watch what has a label from now on", kind, "", "app%3Dx"),
    ]
}

pub fn builtin_kinds() -> Vec<ApiRequest> {
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

pub fn pods() -> Vec<ApiRequest> {
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

pub fn elsewhere() -> Vec<ApiRequest> {
    let unknown = ApiRequest::new(
        "a kind that is not served",
        "GET",
        "/apis/streamkeeper.dev/v1alpha1/namespaces/conformance/steamjobs/x".to_owned(),
        Value::Null,
    );
    let ending = ApiRequest {
        path: path(&CONFIG_MAPS, ENDING, ""),
        ..create(
            "create where everything ends",
            &CONFIG_MAPS,
            config_map("a", "1"),
        )
    };
    vec![unknown.roughly(), ending.roughly()]
}

pub fn leases() -> Vec<ApiRequest> {
    let kind = &LEASES;
    let lease = || {
        json!({
            "metadata": { "name": "l" },
            "spec": { "holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0, "acquireTime": "2026-03-01T12:00:00.000000Z", "renewTime": "2026-03-01T12:00:00.000000Z" },
        })
    };
    // As a replica writes it: into the version that it saw.
    let write = |what, version: &str, spec: Value| {
        merge(
            what,
            kind,
            "l",
            json!({ "metadata": { "resourceVersion": version }, "spec": spec }),
        )
    };
    let renewed = json!({ "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-03-01T12:00:05.250000Z" });
    let taken = json!({
        "holderIdentity": "b", "leaseDurationSeconds": 15, "leaseTransitions": 1, "acquireTime": "2026-03-01T12:00:30.000000Z", "renewTime": "2026-03-01T12:00:30.000000Z",
    });
    let given_back = json!({ "holderIdentity": null, "acquireTime": null, "leaseDurationSeconds": 1, "renewTime": "2026-03-01T12:01:00.000000Z" });
    let unless = |precondition: Value| json!({ "preconditions": precondition });
    vec![
        get("read what is not there", kind, "l"),
        write("renew what is not there", "1", renewed.clone()),
        create("create", kind, lease()),
        create("create what exists", kind, lease()),
        get("read", kind, "l"),
        write("renew", "$l.version", renewed.clone()),
        write("renew as it is", "$l.version", renewed.clone()),
        write("renew an old version", "$l.first", renewed),
        write("take over", "$l.version", taken.clone()),
        write("take over an old version", "$l.first", taken),
        write("give back", "$l.version", given_back.clone()),
        write("give back an old version", "$l.first", given_back),
        write(
            "no time at all",
            "$l.version",
            json!({ "leaseDurationSeconds": 0 }),
        ),
        write(
            "fewer holders than none",
            "$l.version",
            json!({ "leaseTransitions": -1 }),
        ),
        get("read what nobody holds", kind, "l"),
        delete(
            "delete an old version",
            kind,
            "l",
            unless(json!({ "resourceVersion": "$l.first" })),
        )
        .roughly(),
        delete(
            "delete another uid",
            kind,
            "l",
            unless(json!({ "uid": "00000000-0000-4000-8000-00000000abcd" })),
        )
        .roughly(),
        delete(
            "delete exactly this",
            kind,
            "l",
            unless(json!({ "uid": "$l.uid", "resourceVersion": "$l.version" })),
        ),
        get("read what is gone", kind, "l"),
        delete(
            "delete what is gone",
            kind,
            "l",
            unless(json!({ "uid": "$l.uid" })),
        ),
        create("create again", kind, lease()),
        list("list", kind, ""),
        watch("watch", kind, ""),
        watch_from("watch from now on", kind, "", ""),
    ]
}
