//! Objects that cannot be read cost only themselves.
//!
//! Every watch takes objects that it cannot read beside those that it can. One of our own kinds is
//! shown as stalled, with the field that is wrong, and is left as it runs until it is mended. A
//! child that cannot be read is as it was seen last.

use kube::{
    Resource,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use streamkeeper_api::v1alpha1::{StreamJob, StreamSnapshot};

/// What a watch saw: an event, or an object that cannot be read.
#[derive(Debug)]
pub(crate) enum Sight<K> {
    Event(Event<K>),
    Unreadable(Box<InvalidObject>),
}

/// Tells what can be read from what cannot.
pub(crate) fn sight<K: Resource + DeserializeOwned>(event: Event<DeserializeGuard<K>>) -> Sight<K> {
    Sight::Event(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(DeserializeGuard(Ok(object))) => Event::InitApply(object),
        Event::Apply(DeserializeGuard(Ok(object))) => Event::Apply(object),
        Event::Delete(DeserializeGuard(Ok(object))) => Event::Delete(object),
        Event::InitApply(DeserializeGuard(Err(object)))
        | Event::Apply(DeserializeGuard(Err(object))) => {
            return Sight::Unreadable(Box::new(object));
        }
        Event::Delete(DeserializeGuard(Err(object))) => {
            // That it is gone is all that counts; what it was need not be read.
            let bare = json!({ "metadata": object.metadata });
            match serde_json::from_value(bare) {
                Ok(gone) => Event::Delete(gone),
                Err(_) => return Sight::Unreadable(Box::new(object)),
            }
        }
    })
}

/// The events, without objects that cannot be read: those are logged.
pub(crate) fn readable<K>(sight: Sight<K>) -> Option<Event<K>>
where
    K: Resource<DynamicType = ()>,
{
    match sight {
        Sight::Event(event) => Some(event),
        Sight::Unreadable(object) => {
            complain(&K::kind(&()), &object);
            None
        }
    }
}

pub(crate) fn complain(kind: &str, object: &InvalidObject) {
    let metadata = &object.metadata;
    tracing::warn!(
        kind,
        namespace = metadata.namespace,
        name = metadata.name,
        error = object.error,
        "an object cannot be read; everything else goes on"
    );
}

/// An object of one of our own kinds that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) kind: OwnKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnKind {
    Job,
    Snapshot,
}

/// Kinds of our own, which are told that they cannot be read.
pub(crate) trait Own {
    /// The object, to be told.
    fn unreadable(object: &InvalidObject) -> Unreadable;
}

fn unreadable(kind: OwnKind, object: &InvalidObject) -> Unreadable {
    Unreadable {
        kind,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    }
}

impl Own for StreamJob {
    fn unreadable(object: &InvalidObject) -> Unreadable {
        unreadable(OwnKind::Job, object)
    }
}

impl Own for StreamSnapshot {
    fn unreadable(object: &InvalidObject) -> Unreadable {
        unreadable(OwnKind::Snapshot, object)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::Value;

    use super::*;

    fn guarded<K: Resource + DeserializeOwned>(object: Value) -> DeserializeGuard<K> {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_unreadable_pod_that_is_gone_is_gone() {
        let pod = json!({ "metadata": { "name": "x" }, "spec": { "containers": "none" } });
        let sight = sight::<Pod>(Event::Delete(guarded(pod)));
        assert!(matches!(sight, Sight::Event(Event::Delete(_))), "{sight:?}");
    }
}
