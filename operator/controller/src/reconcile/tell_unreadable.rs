//! Writes into the status of an object that cannot be read which field is wrong.

use std::time::Duration;

use futures::{StreamExt, channel::mpsc};
use kube::{
    Api, Resource,
    api::{DynamicObject, PostParams},
    core::discovery::ApiResource,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamkeeper_api::{
    condition::{self, Stalled, State},
    v1alpha1::{StreamJob, StreamSnapshot},
};
use streamkeeper_lifecycle as lifecycle;

use crate::{
    context::shared::Context,
    kube_ext::{FIELD_MANAGER, bounded},
    reconcile::error::ReconcileError,
    watches::unreadable::{OwnKind, Unreadable},
};

/// Objects told at once.
const AT_ONCE: usize = 8;
/// Tries for one object; the next change of it is another occasion.
const TRIES: u32 = 5;

/// Tells objects that they cannot be read, once this replica leads.
pub(crate) async fn tell_all(found: mpsc::UnboundedReceiver<Unreadable>, context: &Context) {
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
    use kube::{core::DeserializeGuard, runtime::watcher::Event};

    use super::*;
    use crate::watches::unreadable::{Own as _, Sight, sight};

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
}
