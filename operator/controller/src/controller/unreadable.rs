//! Objects that cannot be read cost only themselves.
//!
//! Every watch takes objects that it cannot read beside those that it can. One of our own kinds is
//! shown as stalled, with the field that is wrong, and is left as it runs until it is mended. A
//! child that cannot be read is as it was seen last.

use std::time::Duration;

use futures::{StreamExt, channel::mpsc};
use kube::{
    Api, Resource,
    api::{DynamicObject, PostParams},
    core::{DeserializeGuard, discovery::ApiResource, error_boundary::InvalidObject},
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamkeeper_api::{
    condition::{self, Stalled, State},
    v1alpha1::{StreamJob, StreamSnapshot},
};
use streamkeeper_lifecycle as lifecycle;

use super::{context::Context, error::ReconcileError};
use crate::kube_ext::{FIELD_MANAGER, bounded};

/// What a watch saw: an event, or an object that cannot be read.
#[derive(Debug)]
pub(super) enum Sight<K> {
    Event(Event<K>),
    Unreadable(Box<InvalidObject>),
}

/// Tells what can be read from what cannot.
pub(super) fn sight<K: Resource + DeserializeOwned>(event: Event<DeserializeGuard<K>>) -> Sight<K> {
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
pub(super) fn readable<K>(sight: Sight<K>) -> Option<Event<K>>
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

pub(super) fn complain(kind: &str, object: &InvalidObject) {
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
pub(super) struct Unreadable {
    kind: OwnKind,
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnKind {
    Job,
    Snapshot,
}

/// Kinds of our own, which are told that they cannot be read.
pub(super) trait Own {
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

/// Objects told at once.
const AT_ONCE: usize = 8;
/// Tries for one object; the next change of it is another occasion.
const TRIES: u32 = 5;

/// Tells objects that they cannot be read, once this replica leads.
pub(super) async fn tell_all(found: mpsc::UnboundedReceiver<Unreadable>, context: &Context) {
    found
        .for_each_concurrent(AT_ONCE, |object| async move {
            context.leadership.led().await;
            for attempt in 0..TRIES {
                match tell(&object, context).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(
                        namespace = object.namespace,
                        name = object.name,
                        %error,
                        "an unreadable object could not be told"
                    ),
                }
                tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
            }
        })
        .await;
}

/// Writes into the status of exactly the version that cannot be read what is wrong with it.
async fn tell(object: &Unreadable, context: &Context) -> Result<(), ReconcileError> {
    let resource = match object.kind {
        OwnKind::Job => ApiResource::erase::<StreamJob>(&()),
        OwnKind::Snapshot => ApiResource::erase::<StreamSnapshot>(&()),
    };
    let client = context.client.0.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(client, &object.namespace, &resource);
    let called = format!("{} {}/{}", resource.kind, object.namespace, object.name);
    let found = bounded("read", &called, api.get_opt(&object.name)).await?;
    let wrong = found.and_then(|found| Some((fault(object.kind, &found)?, found)));
    let Some((why, found)) = wrong else {
        // It is gone, or mended.
        return Ok(());
    };
    let message = format!("{why}; nothing is changed until it is corrected");
    let generation = found.metadata.generation;
    let status = &found.data["status"];
    let before: Vec<_> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
    let mut conditions = before.clone();
    let reason = Stalled::InvalidSpec.as_str();
    let now = context.clock.now();
    condition::settle(
        &mut conditions,
        State::Stalled,
        reason,
        &message,
        generation,
        now,
    );
    if conditions == before {
        return Ok(());
    }
    let mut told = found.clone();
    if !told.data["status"].is_object() {
        told.data["status"] = json!({});
    }
    told.data["status"]["observedGeneration"] = json!(generation);
    told.data["status"]["conditions"] = json!(conditions);
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let written = api.replace_status(&object.name, &params, &told);
    bounded("write the status of", &called, written).await?;
    let event = lifecycle::Event {
        kind: lifecycle::EventKind::Warning,
        reason,
        note: message,
    };
    let reference = found.object_ref(&resource);
    context.events.publish(&reference, &event).await;
    Ok(())
}

/// What is wrong with an object, with its field; none when it can be read.
fn fault(kind: OwnKind, object: &DynamicObject) -> Option<String> {
    let mut whole = object.data.clone();
    whole["metadata"] = serde_json::to_value(&object.metadata).ok()?;
    match kind {
        OwnKind::Job => wrong_field::<StreamJob>(whole),
        OwnKind::Snapshot => wrong_field::<StreamSnapshot>(whole),
    }
}

fn wrong_field<K: DeserializeOwned>(object: Value) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, K>(object).err()?;
    Some(format!("{}: {}", error.path(), error.inner()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn guarded<K: Resource + DeserializeOwned>(object: Value) -> DeserializeGuard<K> {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_object_that_cannot_be_read_is_named_with_its_field() {
        let job = json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
            "metadata": { "name": "x", "namespace": "a" },
            "spec": { "sql": { "text": "SELECT 1" }, "ttlAfterCompletion": "9999999999h" },
        });
        let sight = sight::<StreamJob>(Event::Apply(guarded(job.clone())));
        let Sight::Unreadable(found) = sight else {
            panic!("{sight:?}");
        };
        assert_eq!(StreamJob::unreadable(&found).name, "x");
        let why = wrong_field::<StreamJob>(job).unwrap();
        assert!(why.starts_with("spec.ttlAfterCompletion: "), "{why}");
    }

    #[test]
    fn an_unreadable_pod_that_is_gone_is_gone() {
        let pod = json!({ "metadata": { "name": "x" }, "spec": { "containers": "none" } });
        let sight = sight::<Pod>(Event::Delete(guarded(pod)));
        assert!(matches!(sight, Sight::Event(Event::Delete(_))), "{sight:?}");
    }
}
