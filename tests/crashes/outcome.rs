//! What is left at the end of a plan, without what may differ between two good runs, and how two
//! outcomes differ.
//!
//! Left out, because it is new in every run: uids, resource versions, times, managed fields, the
//! addresses and nodes of pods (they follow from the order of placement), the hash that the
//! StatefulSet controller makes of a template (it holds the name of the namespace), the keys of the
//! job and the end of their Secret's name, numbers and ages of checkpoints (they are taken by the
//! clock) and with them `status.lastCheckpoint`, the condition `CheckpointsHealthy` unless it is
//! False (whether the first checkpoint was seen depends on when the operator looked last, and a
//! quiet job is looked at twice a minute), the texts of conditions and history; for the same reason
//! which snapshot the job names as its newest. The schedule of snapshots, and times in the names of
//! those that the operator takes, are those of the run. The namespace and the job's uid are
//! replaced by words wherever they stand.
//!
//! Everything else is compared: every object with its spec, labels, owners and finalizers;
//! conditions by type, status and reason; revisions; history by kind, result and revision; the
//! number of restarts; HEAD's revision, attempt, state, workers and the operations in it; folders
//! of snapshots; and how often each object was made.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Map, Value, json};
use streamkeeper_harness::{api_server::Kind, cluster::text};
use streamkeeper_protocol::head::Head;

use super::{cluster_sync::is_foreign, crash_injector::Effect};

/// The outcome of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome(pub Value);

/// What an outcome is made of.
#[derive(Debug)]
pub struct OutcomeParts<'a> {
    pub namespace: &'a str,
    pub objects: Vec<(&'static Kind, Value)>,
    pub head: Option<Head>,
    pub lives: BTreeMap<String, usize>,
    /// URIs of folders that hold savepoints.
    pub folders: Vec<String>,
    /// Whether attempts, restarts and restores are told: how often a failing revision starts again
    /// before it is given up depends on when the operator looks.
    pub attempts: bool,
}

impl Outcome {
    pub fn of(remains: &OutcomeParts<'_>) -> Self {
        let job = remains
            .objects
            .iter()
            .find(|(kind, _)| kind.kind == "StreamJob")
            .map(|(_, job)| text(job, "/metadata/uid").to_owned());
        let owner = remains.head.as_ref().map(|head| head.job_uid.clone());
        let uid = job.or(owner).unwrap_or_default();
        let mut objects = Map::new();
        for (kind, object) in &remains.objects {
            let name = text(object, "/metadata/name");
            if !is_foreign(kind, name) {
                let told = essence(kind, object, remains.attempts);
                let mut key = format!("{} {}", kind.kind, timeless(untagged(kind.kind, name)));
                while objects.contains_key(&key) {
                    key += " again";
                }
                objects.insert(key, told);
            }
        }
        let mut made: BTreeMap<String, usize> = BTreeMap::new();
        for (name, times) in &remains.lives {
            let kind = name.split('/').next().unwrap_or_default();
            *made.entry(timeless(untagged(kind, name))).or_default() += times;
        }
        let mut folders: BTreeMap<String, usize> = BTreeMap::new();
        for uri in &remains.folders {
            let folder = uri.rsplit('/').next().unwrap_or_default();
            // It ends with a part of the snapshot's uid, or begins with one of the job's and ends
            // with the number of the try.
            let name = folder.rsplit_once('-').map_or(folder, |(name, _)| name);
            let name = match uid.get(..8) {
                Some(part) => name.replace(part, "UID"),
                None => name.to_owned(),
            };
            *folders.entry(timeless(&name)).or_default() += 1;
        }
        let mut end = json!({
            "objects": objects,
            "head": remains.head.as_ref().map(|head| head_essence(head, remains.attempts)),
            "folders": folders,
            "made": made,
        });
        let mut words = vec![(remains.namespace, "NAMESPACE"), (uid.as_str(), "UID")];
        let secrets = remains
            .lives
            .keys()
            .filter(|name| name.starts_with("Secret/"));
        words.extend(secrets.filter_map(|name| Some((name.rsplit_once('-')?.1, "TAG"))));
        rename(&mut end, &words);
        Self(end)
    }

    /// A value in it.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// What is another than expected, a line each.
    pub fn differences(&self, expected: &Self) -> String {
        let (mut wanted, mut found) = (BTreeMap::new(), BTreeMap::new());
        flatten("", &expected.0, &mut wanted);
        flatten("", &self.0, &mut found);
        let places: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
        let mut lines = String::new();
        for place in places {
            let told = |side: &BTreeMap<String, Value>| {
                side.get(place)
                    .map_or("nothing".to_owned(), Value::to_string)
            };
            let (wanted, found) = (told(&wanted), told(&found));
            if wanted != found {
                let _ = writeln!(lines, "{place}: expected {wanted}, found {found}");
            }
        }
        lines
    }
}

/// What was created or deleted more often than in the run without faults.
pub fn repeats(effects: &[Effect], undisturbed: &[Effect]) -> Vec<String> {
    let created = |effects: &[Effect]| {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for effect in effects.iter().filter(|effect| effect.code == Some(201)) {
            *count.entry(effect.call.clone()).or_default() += 1;
        }
        count
    };
    let usual = created(undisturbed);
    let twice = created(effects)
        .into_iter()
        .filter(|(call, times)| *times > usual.get(call).copied().unwrap_or(1))
        .map(|(call, times)| format!("{times} times: {call}"));
    let mut gone = BTreeSet::new();
    let deleted = effects
        .iter()
        .filter(|effect| effect.call.starts_with("delete ") && effect.code == Some(200))
        .filter(|effect| {
            let uid = effect.uid.clone().unwrap_or_default();
            !gone.insert((effect.call.clone(), uid))
        })
        .map(|effect| format!("twice: {}", effect.call));
    twice.chain(deleted).collect()
}

fn essence(kind: &Kind, object: &Value, attempts: bool) -> Value {
    let mut told = object.clone();
    let meta = told["metadata"].take();
    let mut labels = meta["labels"].clone();
    if let Some(labels) = labels.as_object_mut() {
        labels.remove("controller-revision-hash");
    }
    let owners: Vec<String> = meta["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|owner| format!("{} {}", text(owner, "/kind"), text(owner, "/name")))
        .collect();
    told["metadata"] = json!({
        "labels": labels, "annotations": meta["annotations"], "finalizers": meta["finalizers"], "owners": owners, "generation": meta["generation"],
        "deleting": !meta["deletionTimestamp"].is_null(),
    });
    match kind.kind {
        // Keys follow from the uid.
        "Secret" => told["data"] = Value::Null,
        "Pod" => {
            let spec = told["spec"].as_object_mut();
            let node = spec.and_then(|spec| spec.remove("nodeName"));
            let container = &object["status"]["containerStatuses"][0];
            told["status"] = json!({
                "bound": node.is_some(), "phase": object["status"]["phase"], "ready": container["ready"], "restarts": container["restartCount"],
            });
        }
        "StatefulSet" => {
            let status = &object["status"];
            told["status"] =
                json!({ "replicas": status["replicas"], "ready": status["readyReplicas"] });
        }
        "StreamJob" => {
            told["status"] = status_essence(&object["status"], attempts);
            if let Some(schedule) = told.pointer_mut("/spec/snapshots/schedule") {
                *schedule = json!("SCHEDULE");
            }
        }
        "StreamSnapshot" => {
            told["status"] = snapshot_essence(&object["status"]);
            if let Some(uri) = told.pointer_mut("/spec/importFrom/uri") {
                *uri = json!("URI");
            }
        }
        _ => {}
    }
    told
}

fn status_essence(status: &Value, attempts: bool) -> Value {
    let mut told = status.clone();
    let Some(fields) = told.as_object_mut() else {
        return told;
    };
    for field in [
        "lastCheckpoint",
        "lastRestore",
        "lastFailure",
        "lastSnapshot",
        "lastSchedule",
    ] {
        fields.remove(field);
    }
    let conditions = conditions_essence(status);
    let history: Vec<String> = status["history"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| attempts || entry["kind"] != "Restore")
        .map(|entry| {
            let (kind, result) = (text(entry, "/kind"), text(entry, "/result"));
            format!("{kind} {result} {}", entry["revision"])
        })
        .collect();
    let rejected = &status["rejected"];
    if !rejected.is_null() {
        fields.insert(
            "rejected".to_owned(),
            json!({ "revision": rejected["revision"], "reason": rejected["reason"] }),
        );
    }
    let restored = &status["restoreFrom"];
    if !restored.is_null() {
        fields.insert(
            "restoreFrom".to_owned(),
            json!({ "value": restored["value"], "result": restored["result"] }),
        );
    }
    let restarts = attempts.then(|| status["restarts"]["count"].as_u64().unwrap_or(0));
    fields.insert("restarts".to_owned(), json!(restarts));
    fields.insert("conditions".to_owned(), json!(conditions));
    fields.insert("history".to_owned(), json!(history));
    told
}

fn conditions_essence(status: &Value) -> BTreeMap<&str, String> {
    status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| {
            condition["type"] != "CheckpointsHealthy" || condition["status"] == "False"
        })
        .map(|condition| {
            let (status, reason) = (text(condition, "/status"), text(condition, "/reason"));
            (text(condition, "/type"), format!("{status} {reason}"))
        })
        .collect()
}

fn snapshot_essence(status: &Value) -> Value {
    let there = |field: &str| !status[field].is_null();
    json!({
        "phase": status["phase"], "revision": status["revision"], "retries": status["retries"], "observedGeneration": status["observedGeneration"],
        "conditions": conditions_essence(status), "uri": there("uri"), "checkpoint": there("checkpoint"), "completed": there("completionTime"),
        "verified": there("verifiedTime"),
    })
}

/// A name without times, which are longer than the numbers of revisions and pods.
fn timeless(name: &str) -> String {
    let is_time = |part: &&str| part.len() >= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name
        .split('-')
        .map(|part| if is_time(&part) { "TIME" } else { part });
    parts.collect::<Vec<_>>().join("-")
}

fn head_essence(head: &Head, attempts: bool) -> Value {
    let mut operations: Vec<String> = head
        .operations
        .iter()
        .map(|operation| {
            let result = serde_json::to_value(&operation.result).unwrap_or_default();
            format!("{:?} {}", operation.kind, text(&result, "/is"))
        })
        .collect();
    operations.sort();
    json!({
        "revision": head.revision, "attempt": attempts.then_some(head.attempt), "state": head.state, "workers": head.workers,
        "plan": head.plan_hash, "maxParallelism": head.max_parallelism, "uid": head.job_uid, "operations": operations,
        "hasCheckpoint": head.last.is_some(),
    })
}

/// The name of a Secret of keys without its end, which follows from the job's uid.
fn untagged<'a>(kind: &str, name: &'a str) -> &'a str {
    match name.rsplit_once('-') {
        Some((name, _)) if kind == "Secret" => name,
        _ => name,
    }
}

fn rename(value: &mut Value, words: &[(&str, &str)]) {
    match value {
        Value::String(text) => {
            for (from, to) in words.iter().filter(|(from, _)| !from.is_empty()) {
                if text.contains(from) {
                    *text = text.replace(from, to);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, words)),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(_, field)| rename(field, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn flatten(at: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                flatten(&format!("{at}/{name}"), field, into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{at}/{index}"), item, into);
            }
        }
        other => {
            into.insert(at.to_owned(), other.clone());
        }
    }
}
