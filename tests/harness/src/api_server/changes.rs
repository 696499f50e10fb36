//! Changes of objects, and the watches that are told of them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use super::{kinds::Kind, selector::Selector, store::Key};

/// What became of an object.
#[derive(Debug, Clone)]
pub struct Change {
    pub version: u64,
    pub key: Key,
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
}

/// A watch of a client.
#[derive(Debug)]
pub struct Watcher {
    pub filter: Filter,
    pub lines: mpsc::UnboundedSender<(Instant, String)>,
}

/// Which objects a list or watch is about.
#[derive(Debug, Clone)]
pub struct Filter {
    pub kind: &'static Kind,
    pub namespace: Option<String>,
    pub selector: Selector,
}

impl Filter {
    pub fn admits(&self, key: &Key, object: &Value) -> bool {
        self.kind.plural == key.plural
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
            && self.selector.matches(object)
    }

    /// The line that tells a watcher of a change, if it concerns it.
    pub fn line(&self, change: &Change) -> Option<String> {
        let seen = |object: &Option<Arc<Value>>| {
            object
                .clone()
                .filter(|object| self.admits(&change.key, object))
        };
        let (kind, object) = match (seen(&change.before), seen(&change.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
        };
        let mut object = Value::clone(&object);
        object["metadata"]["resourceVersion"] = json!(change.version.to_string());
        Some(line(kind, &object))
    }
}

/// The line that tells a watcher of what was there before it came.
pub fn added(object: &Value) -> String {
    line("ADDED", object)
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}
