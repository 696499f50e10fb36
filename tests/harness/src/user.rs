//! What users ask of the API server, as data.
//!
//! Stories send it to the API server in memory ([`UserRequest::send`]). Crash plans send the same
//! requests to a real API server.

use serde_json::{Value, json};
use streamkeeper_api::{
    names::{RESTARTED_AT, TAKE_OVER},
    v1alpha1::{StreamJob, StreamSnapshot},
};

use super::{
    api_server::{
        Kind, Refusal,
        kinds::{STATEFUL_SETS, STREAM_JOBS, STREAM_SNAPSHOTS},
        store::Deletion,
    },
    world::World,
};

/// A request that changes an object.
#[derive(Debug, Clone)]
pub enum UserRequest {
    /// Creates this object.
    Create { kind: &'static Kind, object: Value },
    /// Merges a JSON merge patch into the object of this name.
    Merge {
        kind: &'static Kind,
        name: String,
        patch: Value,
    },
    /// Deletes the object of this name.
    Delete { kind: &'static Kind, name: String },
}

impl UserRequest {
    /// Creates a job with this spec.
    pub fn create_job(name: &str, spec: &Value) -> Self {
        let metadata = json!({ "name": name });
        Self::create(&STREAM_JOBS, &metadata, spec)
    }

    /// Creates a job with this spec. Its annotation confirms that the StreamJob with this uid,
    /// which HEAD names, is gone.
    pub fn create_job_over(name: &str, gone: &str, spec: &Value) -> Self {
        let metadata = json!({ "name": name, "annotations": { TAKE_OVER: gone } });
        Self::create(&STREAM_JOBS, &metadata, spec)
    }

    /// Merges a change into the spec of a job.
    pub fn edit_job(name: &str, spec: &Value) -> Self {
        Self::merge(&STREAM_JOBS, name, json!({ "spec": spec }))
    }

    /// Asks for a restart of a job, as `kubectl rollout restart` does.
    pub fn restart_job(name: &str, at: &str) -> Self {
        Self::annotate(&STREAM_JOBS, name, RESTARTED_AT, at)
    }

    /// Creates a snapshot with this spec.
    pub fn create_snapshot(name: &str, spec: &Value) -> Self {
        let metadata = json!({ "name": name });
        Self::create(&STREAM_SNAPSHOTS, &metadata, spec)
    }

    /// Sets an annotation.
    pub fn annotate(kind: &'static Kind, name: &str, key: &str, value: &str) -> Self {
        let annotations = json!({ key: value });
        let patch = json!({ "metadata": { "annotations": annotations } });
        Self::merge(kind, name, patch)
    }

    /// Sets the finalizers.
    pub fn set_finalizers(kind: &'static Kind, name: &str, finalizers: &[&str]) -> Self {
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        Self::merge(kind, name, patch)
    }

    /// Sets the number of replicas of a StatefulSet.
    pub fn scale_stateful_set(name: &str, replicas: u32) -> Self {
        let patch = json!({ "spec": { "replicas": replicas } });
        Self::merge(&STATEFUL_SETS, name, patch)
    }

    /// Merges a change into an object.
    pub fn merge(kind: &'static Kind, name: &str, patch: Value) -> Self {
        Self::Merge {
            kind,
            name: name.to_owned(),
            patch,
        }
    }

    /// Deletes an object.
    pub fn delete(kind: &'static Kind, name: &str) -> Self {
        Self::Delete {
            kind,
            name: name.to_owned(),
        }
    }

    /// Creates an object with this metadata and spec.
    pub fn create(kind: &'static Kind, metadata: &Value, spec: &Value) -> Self {
        Self::Create {
            kind,
            object: json!({
                "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata, "spec": spec,
            }),
        }
    }

    /// Sends the request to the API server in memory.
    pub fn send(&self, world: &mut World, namespace: &str) -> Result<(), Refusal> {
        let now = world.now();
        let store = &mut world.store;
        match self {
            Self::Create { kind, object } => {
                let mut object = object.clone();
                object["metadata"]["namespace"] = json!(namespace);
                let object = as_a_typed_client_sends(kind, object);
                store.create(kind, namespace, object, now).map(drop)
            }
            Self::Merge { kind, name, patch } => {
                store.merge(kind, namespace, name, patch, now).map(drop)
            }
            Self::Delete { kind, name } => {
                let how = Deletion::default();
                store.delete(kind, namespace, name, &how, now).map(drop)
            }
        }
    }
}

/// Returns the object as its Rust type writes it. Fails if the object is none of its kind.
fn as_a_typed_client_sends(kind: &Kind, object: Value) -> Value {
    match kind.kind {
        "StreamJob" => {
            let job: StreamJob = serde_json::from_value(object).expect("a StreamJob");
            serde_json::to_value(job).expect("JSON")
        }
        "StreamSnapshot" => {
            let snapshot: StreamSnapshot =
                serde_json::from_value(object).expect("a StreamSnapshot");
            serde_json::to_value(snapshot).expect("JSON")
        }
        _ => object,
    }
}
