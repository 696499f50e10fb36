//! What the API server holds, as watches tell it.

use std::sync::Arc;

use futures::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        reflector::{Store, store::Writer},
        watcher,
    },
};
use serde_json::{Value, json};
use streamkeeper_harness::api_server::{
    Kind,
    kinds::{
        CONFIG_MAPS, CONTROLLER_REVISIONS, PODS, SECRETS, SERVICES, STATEFUL_SETS, STREAM_JOBS,
        STREAM_SNAPSHOTS,
    },
};
use tokio::task::JoinSet;

/// Kinds that a job consists of, and its snapshots.
pub static PARTS: [&Kind; 8] = [
    &STREAM_JOBS,
    &STREAM_SNAPSHOTS,
    &CONTROLLER_REVISIONS,
    &CONFIG_MAPS,
    &SECRETS,
    &SERVICES,
    &STATEFUL_SETS,
    &PODS,
];

/// Caches of every kind in [`PARTS`], in all namespaces.
pub struct ObjectCache {
    stores: Vec<(&'static Kind, Store<DynamicObject>)>,
    _watches: JoinSet<()>,
}

impl ObjectCache {
    pub async fn of(client: &Client) -> Arc<Self> {
        let mut watches = JoinSet::new();
        let mut stores = Vec::new();
        for kind in PARTS {
            let resource = resource(kind);
            let writer = Writer::new(resource.clone());
            stores.push((kind, writer.as_reader()));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let changes = watcher(api, watcher::Config::default())
                .default_backoff()
                .modify(|object| object.metadata.managed_fields = None)
                .reflect(writer);
            watches.spawn(changes.for_each(|_| async {}));
        }
        for (kind, store) in &stores {
            store
                .wait_until_ready()
                .await
                .unwrap_or_else(|error| panic!("no watch of {}: {error}", kind.plural));
        }
        Arc::new(Self {
            stores,
            _watches: watches,
        })
    }

    /// The objects of a kind in a namespace.
    pub fn list(&self, kind: &Kind, namespace: &str) -> Vec<Arc<DynamicObject>> {
        let store = self.stores.iter().find(|(known, _)| *known == kind);
        store
            .map(|(_, store)| store.state())
            .unwrap_or_default()
            .into_iter()
            .filter(|object| object.metadata.namespace.as_deref() == Some(namespace))
            .collect()
    }
}

/// How a client addresses a kind.
pub fn resource(kind: &Kind) -> ApiResource {
    ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

/// A watched object as JSON.
pub fn value(kind: &Kind, object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).expect("JSON came in");
    value["apiVersion"] = json!(kind.api_version());
    value["kind"] = json!(kind.kind);
    value
}
