//! The objects of a cluster, with the rules that every API server has for them.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, time::Instant};

use super::{
    changes::{Change, Filter, Watcher, added},
    kinds::Kind,
    refusal::Refusal,
    schema,
    selector::Selector,
};

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub plural: &'static str,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        Self {
            plural: kind.plural,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// What a delete demands, and how it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    pub uid: Option<String>,
    pub version: Option<String>,
    pub grace_seconds: Option<i64>,
}

impl Deletion {
    /// From the body of a request (`DeleteOptions`).
    pub fn of(options: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match options["propagationPolicy"].as_str() {
            None | Some("Background") => {}
            Some(other) => return Err(format!("propagationPolicy {other} is not simulated")),
        }
        Ok(Self {
            uid: text(&options["preconditions"]["uid"]),
            version: text(&options["preconditions"]["resourceVersion"]),
            grace_seconds: options["gracePeriodSeconds"].as_i64(),
        })
    }
}

/// The objects of a cluster.
#[derive(Debug)]
pub struct Store {
    version: u64,
    uids: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    watchers: Vec<Watcher>,
}

impl Default for Store {
    fn default() -> Self {
        // Zero means "any version" to an API server.
        Self {
            version: 1,
            uids: 0,
            objects: BTreeMap::new(),
            changes: Vec::new(),
            watchers: Vec::new(),
        }
    }
}

impl Store {
    /// Ends every watch.
    pub fn end_watches(&mut self) {
        self.watchers.clear();
    }

    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        let found = self.objects.get(&Key::new(kind, namespace, name))?;
        Some(found)
    }

    /// Version of the newest change.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All objects that a filter admits, and the version of that list.
    pub fn list(&self, filter: &Filter) -> (Vec<Arc<Value>>, u64) {
        let found = self
            .objects
            .iter()
            .filter(|(key, object)| filter.admits(key, object))
            .map(|(_, object)| object.clone());
        (found.collect(), self.version)
    }

    /// All objects of a kind.
    pub fn all(&self, kind: &'static Kind) -> Vec<Arc<Value>> {
        self.list(&Filter {
            kind,
            namespace: None,
            selector: Selector::default(),
        })
        .0
    }

    /// Every change of a filter's objects after `version`, as lines, for as long as the receiver
    /// lives. Zero means: what there is now, and every change from now on.
    pub fn watch(
        &mut self,
        filter: Filter,
        version: u64,
    ) -> mpsc::UnboundedReceiver<(Instant, String)> {
        let (lines, receiver) = mpsc::unbounded_channel();
        let missed: Vec<String> = if version == 0 {
            let there = self.list(&filter).0;
            there.iter().map(|object| added(object)).collect()
        } else {
            let later = self
                .changes
                .iter()
                .filter(|change| change.version > version);
            later.filter_map(|change| filter.line(change)).collect()
        };
        for line in missed {
            let _ = lines.send((Instant::now(), line));
        }
        self.watchers.push(Watcher { filter, lines });
        receiver
    }

    pub fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let called = called(kind, &name);
        if name.is_empty() {
            return Err(Refusal::invalid(&called, "metadata.name: Required value"));
        }
        if object["metadata"]["namespace"]
            .as_str()
            .is_some_and(|given| given != namespace)
        {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if kind.status {
            remove(&mut object, "status");
        }
        schema::fill(kind, &mut object);
        let known = by_kind(kind, &name);
        schema::check(kind, &known, &object)?;
        schema::obey(kind, &known, &object, None)?;
        let key = Key::new(kind, namespace, &name);
        if self.objects.contains_key(&key) {
            return Err(Refusal::already_exists(&called));
        }
        self.uids += 1;
        let meta = &mut object["metadata"];
        meta["uid"] = json!(format!("00000000-0000-4000-8000-{:012}", self.uids));
        meta["creationTimestamp"] = json!(rfc3339(now));
        if kind.namespaced {
            meta["namespace"] = json!(namespace);
        }
        if kind.generation {
            meta["generation"] = json!(1);
        }
        Ok(self.write(key, Some(object)))
    }

    /// Replaces the status of exactly the version that the caller saw; anything else in `next` is
    /// ignored.
    pub fn replace_status(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        next: &Value,
    ) -> Result<Value, Refusal> {
        let called = called(kind, name);
        let key = Key::new(kind, namespace, name);
        let current = self
            .objects
            .get(&key)
            .filter(|_| kind.status)
            .ok_or_else(|| Refusal::not_found(&called))?;
        let version = &next["metadata"]["resourceVersion"];
        if version.is_null() && kind.is_custom() {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(Refusal::invalid(&called, why));
        }
        same_version(&called, current, version)?;
        let mut after = Value::clone(current);
        match next.get("status") {
            Some(status) => after["status"] = status.clone(),
            None => remove(&mut after, "status"),
        }
        schema::fill(kind, &mut after);
        schema::check(kind, &by_kind(kind, name), &after)?;
        Ok(self.write(key, Some(after)))
    }

    /// Merges a patch (RFC 7386) into everything but status.
    pub fn merge(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let called = called(kind, name);
        let key = Key::new(kind, namespace, name);
        let before = self
            .objects
            .get(&key)
            .cloned()
            .ok_or_else(|| Refusal::not_found(&called))?;
        same_version(&called, &before, &patch["metadata"]["resourceVersion"])?;
        let mut after = Value::clone(&before);
        merge(&mut after, patch);
        for field in [
            "uid",
            "name",
            "namespace",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
        ] {
            after["metadata"][field] = before["metadata"][field].clone();
            if after["metadata"][field].is_null() {
                remove(&mut after["metadata"], field);
            }
        }
        if kind.status {
            match before.get("status") {
                Some(status) => after["status"] = status.clone(),
                None => remove(&mut after, "status"),
            }
        }
        if after["metadata"]["finalizers"] == json!([]) {
            remove(&mut after["metadata"], "finalizers");
        }
        let known = by_kind(kind, name);
        let fixed = match kind.kind {
            "ControllerRevision" => Some("field is immutable"),
            "ConfigMap" if before["immutable"] == true => {
                Some("field is immutable when `immutable` is set")
            }
            _ => None,
        };
        if let Some(why) = fixed
            && after["data"] != before["data"]
        {
            return Err(Refusal::invalid(&known, &format!("data: Forbidden: {why}")));
        }
        let deleting = !before["metadata"]["deletionTimestamp"].is_null();
        let added = finalizers(&after)
            .iter()
            .any(|finalizer| !finalizers(&before).contains(finalizer));
        if deleting && added {
            return Err(Refusal::invalid(
                &known,
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted",
            ));
        }
        schema::fill(kind, &mut after);
        if kind.generation && body(&after) != body(&before) {
            after["metadata"]["generation"] = json!(generation(&before) + 1);
        }
        schema::check(kind, &known, &after)?;
        schema::obey(kind, &known, &after, Some(&before))?;
        if deleting && finalizers(&after).is_empty() && !waits_for_kubelet(&after, now) {
            self.write(key, None);
            return Ok(after);
        }
        Ok(self.write(key, Some(after)))
    }

    /// Deletes, or marks as being deleted what has finalizers or a kubelet that must stop it first.
    pub fn delete(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        how: &Deletion,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let called = called(kind, name);
        let key = Key::new(kind, namespace, name);
        let current = self
            .objects
            .get(&key)
            .cloned()
            .ok_or_else(|| Refusal::not_found(&called))?;
        let meta = &current["metadata"];
        if how.uid.as_deref().is_some_and(|uid| meta["uid"] != uid) {
            return Err(Refusal::conflict(
                &called,
                "the UID in the precondition does not match the UID in record",
            ));
        }
        if let Some(version) = &how.version {
            same_version(&called, &current, &json!(version))?;
        }
        let scheduled = kind.kind == "Pod" && current["spec"]["nodeName"].is_string();
        let grace = if scheduled {
            how.grace_seconds
                .or(current["spec"]["terminationGracePeriodSeconds"].as_i64())
                .unwrap_or(30)
        } else {
            0
        };
        if grace == 0 && finalizers(&current).is_empty() {
            let mut last = Value::clone(&current);
            if kind.kind == "Pod" {
                // Watches show the deletion before the object is gone, even without a grace period.
                last["metadata"]["deletionTimestamp"] = json!(rfc3339(now));
                last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                last = self.write(key.clone(), Some(last));
            }
            self.write(key, None);
            last["metadata"]["resourceVersion"] = json!(self.version.to_string());
            return Ok(farewell(kind, last));
        }
        let mut marked = Value::clone(&current);
        if marked["metadata"]["deletionTimestamp"].is_null() {
            let end = now
                .checked_add(SignedDuration::from_secs(grace))
                .unwrap_or(now);
            marked["metadata"]["deletionTimestamp"] = json!(rfc3339(end));
            marked["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            if kind.generation {
                marked["metadata"]["generation"] = json!(generation(&current) + 1);
            }
        }
        Ok(self.write(key, Some(marked)))
    }

    /// What a controller or kubelet of the cluster itself does to an object, with no questions
    /// asked; `None` removes it.
    pub fn put(&mut self, kind: &'static Kind, namespace: &str, name: &str, object: Option<Value>) {
        self.write(Key::new(kind, namespace, name), object);
    }

    /// Writes what changed; what did not change keeps its version, as on a real API server.
    fn write(&mut self, key: Key, after: Option<Value>) -> Value {
        let before = self.objects.get(&key).cloned();
        if before.as_deref() == after.as_ref() {
            return after.unwrap_or_default();
        }
        self.version += 1;
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            Arc::new(object)
        });
        match &after {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        let change = Change {
            version: self.version,
            key,
            before,
            after: after.clone(),
        };
        self.watchers
            .retain(|watcher| match watcher.filter.line(&change) {
                Some(line) => watcher.lines.send((Instant::now(), line)).is_ok(),
                None => !watcher.lines.is_closed(),
            });
        self.changes.push(change);
        after
            .map(|object| Value::clone(&object))
            .unwrap_or_default()
    }
}

/// A time as API servers write it: to the second.
pub fn rfc3339(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

/// Finalizers of an object.
fn finalizers(object: &Value) -> Vec<String> {
    object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn waits_for_kubelet(object: &Value, now: Timestamp) -> bool {
    let end = object["metadata"]["deletionTimestamp"]
        .as_str()
        .and_then(|end| end.parse::<Timestamp>().ok());
    object["kind"] == "Pod" && end.is_some_and(|end| end > now)
}

/// What the caller of a delete is told: some kinds show their object once more.
fn farewell(kind: &Kind, last: Value) -> Value {
    if matches!(kind.kind, "Pod" | "Service") {
        return last;
    }
    let details = json!({ "name": last["metadata"]["name"], "group": kind.group, "kind": kind.plural, "uid": last["metadata"]["uid"] });
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// How refusals of a whole object name it.
fn by_kind(kind: &Kind, name: &str) -> String {
    let dot = if kind.group.is_empty() { "" } else { "." };
    format!("{}{dot}{} \"{name}\"", kind.kind, kind.group)
}

pub fn called(kind: &Kind, name: &str) -> String {
    let group = if kind.group.is_empty() {
        String::new()
    } else {
        format!(".{}", kind.group)
    };
    format!("{}{group} \"{name}\"", kind.plural)
}

/// A given version must be the current one; no version given means any.
fn same_version(called: &str, current: &Value, given: &Value) -> Result<(), Refusal> {
    if given.is_null() || *given == current["metadata"]["resourceVersion"] {
        return Ok(());
    }
    Err(Refusal::conflict(
        called,
        "the object has been modified; please apply your changes to the latest version and try again",
    ))
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

/// What `metadata.generation` counts changes of.
fn body(object: &Value) -> Map<String, Value> {
    let fields = object.as_object().cloned().unwrap_or_default();
    fields
        .into_iter()
        .filter(|(name, _)| !["metadata", "status", "apiVersion", "kind"].contains(&name.as_str()))
        .collect()
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            remove(target, name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
