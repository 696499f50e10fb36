//! What both API servers are asked.
//!
//! * [`built_in`]: about the kinds that every cluster has.
//! * [`custom`]: about those of the CRDs.

pub mod built_in;
pub mod custom;

use serde_json::{Value, json};
use streamkeeper_harness::api_server::Kind;

const MERGE: &str = "application/merge-patch+json";
pub const NAMESPACE: &str = "conformance";
pub const ENDING: &str = "ending";

/// A request. `$x.uid`, `$x.version` and `$x.first` in its body stand for what the last, and the
/// first, answer about `x` said.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    pub what: &'static str,
    pub method: &'static str,
    pub path: String,
    pub content: &'static str,
    pub body: Value,
    pub word_for_word: bool,
}

impl ApiRequest {
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

fn create(what: &'static str, kind: &Kind, mut object: Value) -> ApiRequest {
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    ApiRequest::new(what, "POST", path(kind, NAMESPACE, ""), object)
}

fn get(what: &'static str, kind: &Kind, name: &str) -> ApiRequest {
    let path = path(kind, NAMESPACE, &format!("/{name}"));
    ApiRequest::new(what, "GET", path, Value::Null)
}

fn merge(what: &'static str, kind: &Kind, name: &str, patch: Value) -> ApiRequest {
    let path = path(kind, NAMESPACE, &format!("/{name}"));
    ApiRequest {
        content: MERGE,
        ..ApiRequest::new(what, "PATCH", path, patch)
    }
}

/// Replaces the status, as the operator does it: the whole object is sent.
fn put_status(
    what: &'static str,
    kind: &Kind,
    mut object: Value,
    version: &str,
    status: Value,
) -> ApiRequest {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let path = path(kind, NAMESPACE, &format!("/{name}/status"));
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    object["metadata"]["namespace"] = json!(NAMESPACE);
    object["status"] = status;
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    ApiRequest::new(what, "PUT", path, object)
}

fn delete(what: &'static str, kind: &Kind, name: &str, mut options: Value) -> ApiRequest {
    options["apiVersion"] = json!("v1");
    options["kind"] = json!("DeleteOptions");
    let path = path(kind, NAMESPACE, &format!("/{name}"));
    ApiRequest::new(what, "DELETE", path, options)
}

pub fn list(what: &'static str, kind: &Kind, selector: &str) -> ApiRequest {
    let path = path(kind, NAMESPACE, &format!("?labelSelector={selector}"));
    ApiRequest::new(what, "GET", path, Value::Null)
}

/// Every change of a kind, as a watch from the beginning tells them.
fn watch(what: &'static str, kind: &Kind, selector: &str) -> ApiRequest {
    watch_from(what, kind, "$start", selector)
}

/// What a watch from a version tells; from none, what there is now.
fn watch_from(what: &'static str, kind: &Kind, version: &str, selector: &str) -> ApiRequest {
    let version = if version.is_empty() {
        String::new()
    } else {
        format!("&resourceVersion={version}")
    };
    let rest = format!("?watch=true&timeoutSeconds=1{version}&labelSelector={selector}");
    ApiRequest::new(what, "GET", path(kind, NAMESPACE, &rest), Value::Null)
}
