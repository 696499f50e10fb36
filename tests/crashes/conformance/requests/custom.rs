//! About the kinds of the CRDs.

use serde_json::{Value, json};
use streamkeeper_harness::api_server::kinds::{STREAM_JOBS, STREAM_SNAPSHOTS};

use super::{ApiRequest, create, delete, get, list, merge, put_status, watch, watch_from};

fn job(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "sql": { "text": "SELECT 1" } } })
}

pub fn stream_jobs() -> Vec<ApiRequest> {
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
        put_status("write the status of this version", kind, job("j"), "$j.version", running.clone()),
        put_status("write the same status", kind, job("j"), "$j.version", running.clone()),
        put_status("write the status of an old version", kind, job("j"), "$j.first", json!({})),
        put_status("write the status of any version", kind, job("j"), "", running.clone()),
        put_status("write a status that is none", kind, job("j"), "$j.version", json!({ "phase": "Dancing" })).roughly(),
        put_status("write the status of nothing", kind, job("nobody"), "", json!({})),
        merge("CEL: change what is fixed now", kind, "j", json!({ "spec": { "maxParallelism": 256 } })).roughly(),
        delete("delete with a finalizer", kind, "j", json!({ "propagationPolicy": "Background" })),
        delete("delete it again", kind, "j", json!({ "propagationPolicy": "Background" })),
        merge("change it all the same", kind, "j", json!({ "spec": { "workers": { "replicas": 3 } } })),
        put_status("write its status all the same", kind, job("j"), "$j.version", json!({ "phase": "Deleting" })),
        merge("add a finalizer too late", kind, "j", json!({ "metadata": { "finalizers": ["streamkeeper.dev/state", "too/late"] } })).roughly(),
        merge("remove the finalizer", kind, "j", json!({ "metadata": { "finalizers": [] } })),
        get("read it", kind, "j"),
        create("create it again", kind, job("j")),
        list("list", kind, ""),
        watch("watch", kind, ""),
        watch_from("watch from now on", kind, "", ""),
        watch_from("watch from what is forgotten", kind, "1", ""),
    ]
}

fn snapshot(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "jobRef": { "name": "j" } } })
}

/// What the operator reports of a snapshot that is under way, and of one that is complete.
fn snapshot_status(phase: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "of streams/x", "observedGeneration": 1, "lastTransitionTime": "2026-03-01T12:00:00Z" });
    let mut status = json!({
        "observedGeneration": 1, "phase": phase, "uri": "s3://streams/x", "startTime": "2026-03-01T12:00:00Z", "revision": 1, "retries": 0,
        "conditions": [condition("Ready", "False", phase), condition("Reconciling", "True", phase)],
    });
    if phase == "Completed" {
        status["conditions"] = json!([condition("Ready", "True", phase)]);
        status["checkpoint"] = json!({ "id": 7, "completionTime": "2026-03-01T12:00:03Z", "size": "5.0Mi", "uri": "x/manifest" });
        status["completionTime"] = json!("2026-03-01T12:00:04Z");
        status["verifiedTime"] = json!("2026-03-01T12:00:04Z");
    }
    status
}

pub fn stream_snapshots() -> Vec<ApiRequest> {
    let kind = &STREAM_SNAPSHOTS;
    let with = |spec: Value| json!({ "metadata": { "name": "wrong" }, "spec": spec });
    let import = |uri: &str| with(json!({ "importFrom": { "uri": uri } }));
    let of = |field: &str, value: &str| with(json!({ "jobRef": { "name": "j" }, field: value }));
    let (begun, complete) = (snapshot_status("InProgress"), snapshot_status("Completed"));
    let hold = |version: &str, finalizers: Value| json!({ "metadata": { "resourceVersion": version, "finalizers": finalizers } });
    vec![
        create("create with defaults", kind, snapshot("s")),
        create("create what exists", kind, snapshot("s")),
        create(
            "create what exists, and wrong",
            kind,
            json!({ "metadata": { "name": "s" }, "spec": {} }),
        )
        .roughly(),
        create(
            "create with a status, which is not taken",
            kind,
            json!({ "metadata": { "name": "t" }, "spec": snapshot("t")["spec"], "status": complete }),
        ),
        create(
            "create with everything",
            kind,
            json!({
                "metadata": { "name": "i", "labels": { "streamkeeper.dev/trigger": "Schedule" } },
                "spec": { "jobRef": { "name": "j" }, "importFrom": { "uri": "s3://streams/x/" }, "deletionPolicy": "Retain", "timeout": "1h30m", "ttl": "720h" },
            }),
        ),
        create(
            "a null counts as absent",
            kind,
            json!({ "metadata": { "name": "n" }, "spec": { "jobRef": { "name": "j" }, "importFrom": null, "timeout": null } }),
        ),
        create(
            "CEL: Delete of what another job wrote",
            kind,
            with(json!({ "jobRef": { "name": "j" }, "importFrom": { "uri": "s3://streams/x/" }, "deletionPolicy": "Delete" })),
        )
        .roughly(),
        create("no spec", kind, json!({ "metadata": { "name": "wrong" } })).roughly(),
        create("CEL: neither of two", kind, with(json!({}))).roughly(),
        create("a job without a name", kind, with(json!({ "jobRef": {} }))).roughly(),
        create(
            "a name without letters",
            kind,
            with(json!({ "jobRef": { "name": "" } })),
        )
        .roughly(),
        create(
            "a number for a name",
            kind,
            with(json!({ "jobRef": { "name": 5 } })),
        )
        .roughly(),
        create(
            "too long a name",
            kind,
            with(json!({ "jobRef": { "name": "j".repeat(254) } })),
        )
        .roughly(),
        create("no URI", kind, import("")).roughly(),
        create("CEL: another scheme", kind, import("https://streams/x")).roughly(),
        create(
            "CEL: a bucket without a folder",
            kind,
            import("s3://streams"),
        )
        .roughly(),
        create("CEL: a star in a bucket", kind, import("s3://str*eams/x")).roughly(),
        create(
            "too long a URI",
            kind,
            import(&format!("s3://streams/{}", "x".repeat(1024))),
        )
        .roughly(),
        create("none of the values", kind, of("deletionPolicy", "Keep")).roughly(),
        create(
            "CEL: a time-out that is no duration",
            kind,
            of("timeout", "soon"),
        )
        .roughly(),
        create("CEL: a unit that is none", kind, of("ttl", "1d")).roughly(),
        create("too long a duration", kind, of("ttl", &"1h".repeat(17))).roughly(),
        list("list", kind, ""),
        list(
            "list what has a label",
            kind,
            "streamkeeper.dev%2Ftrigger%3DSchedule",
        ),
        merge(
            "add a finalizer",
            kind,
            "s",
            hold("$s.version", json!(["streamkeeper.dev/snapshot"])),
        ),
        merge(
            "add it to an old version",
            kind,
            "s",
            hold("$s.first", json!([])),
        ),
        merge(
            "CEL: change the spec",
            kind,
            "s",
            json!({ "spec": { "ttl": "1h" } }),
        )
        .roughly(),
        merge(
            "change nothing of the spec",
            kind,
            "s",
            json!({ "spec": { "timeout": "15m", "ttl": null } }),
        ),
        merge(
            "annotate",
            kind,
            "s",
            json!({ "metadata": { "annotations": { "streamkeeper.dev/verify": "one" } } }),
        ),
        merge(
            "change the status where it cannot be",
            kind,
            "s",
            json!({ "status": { "phase": "Completed" } }),
        ),
        put_status(
            "write that it is begun",
            kind,
            snapshot("s"),
            "$s.version",
            begun.clone(),
        ),
        put_status(
            "write it again",
            kind,
            snapshot("s"),
            "$s.version",
            begun.clone(),
        ),
        put_status(
            "write that it is complete",
            kind,
            snapshot("s"),
            "$s.version",
            complete,
        ),
        put_status(
            "write the status of an old version",
            kind,
            snapshot("s"),
            "$s.first",
            begun.clone(),
        ),
        put_status(
            "write the status of any version",
            kind,
            snapshot("s"),
            "",
            begun,
        ),
        put_status(
            "write a status with defaults and a null",
            kind,
            snapshot("s"),
            "$s.version",
            json!({ "phase": null }),
        ),
        put_status(
            "write a phase that is none",
            kind,
            snapshot("s"),
            "$s.version",
            json!({ "phase": "Dancing" }),
        )
        .roughly(),
        put_status(
            "write half a checkpoint",
            kind,
            snapshot("s"),
            "$s.version",
            json!({ "checkpoint": { "id": 7 } }),
        )
        .roughly(),
        put_status(
            "write less than nothing",
            kind,
            snapshot("s"),
            "$s.version",
            json!({ "retries": -1 }),
        )
        .roughly(),
        put_status(
            "write the status of nothing",
            kind,
            snapshot("nobody"),
            "",
            json!({}),
        ),
        delete(
            "delete another uid",
            kind,
            "s",
            json!({ "preconditions": { "uid": "00000000-0000-4000-8000-00000000abcd" } }),
        )
        .roughly(),
        delete(
            "delete with a finalizer",
            kind,
            "s",
            json!({ "preconditions": { "uid": "$s.uid" }, "propagationPolicy": "Background" }),
        ),
        delete(
            "delete it again",
            kind,
            "s",
            json!({ "preconditions": { "uid": "$s.uid" }, "propagationPolicy": "Background" }),
        ),
        put_status(
            "write its status all the same",
            kind,
            snapshot("s"),
            "$s.version",
            snapshot_status("Deleting"),
        ),
        merge(
            "add a finalizer too late",
            kind,
            "s",
            hold(
                "$s.version",
                json!(["streamkeeper.dev/snapshot", "too/late"]),
            ),
        )
        .roughly(),
        merge(
            "remove the finalizer",
            kind,
            "s",
            hold("$s.version", json!([])),
        ),
        get("read what is gone", kind, "s"),
        delete("delete what is gone", kind, "s", json!({})),
        delete(
            "delete without a finalizer",
            kind,
            "t",
            json!({ "preconditions": { "uid": "$t.uid" }, "propagationPolicy": "Background" }),
        ),
        create("create it again", kind, snapshot("s")),
        watch("watch", kind, ""),
        watch(
            "watch what has a label",
            kind,
            "streamkeeper.dev%2Ftrigger%3DSchedule",
        ),
        watch_from("watch from now on", kind, "", ""),
        watch_from("watch from what is forgotten", kind, "1", ""),
    ]
}
