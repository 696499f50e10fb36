//! Objects of one of our own kinds, of one or several namespaces, in the one store that a
//! Controller reads.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource, ResourceExt,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use tokio::{sync::watch, time::Instant};

use crate::watches::progress::Lists;

/// How far the watches of one of our kinds have come.
#[derive(Debug, Clone)]
pub(crate) struct OwnLists {
    pub(crate) lists: Lists,
    /// Whether every namespace was listed once, and the store shows it.
    shown: Arc<watch::Sender<bool>>,
}

impl OwnLists {
    pub(crate) fn new(scopes: &[Option<String>]) -> Self {
        Self {
            lists: Lists::new(scopes),
            shown: Arc::default(),
        }
    }

    /// Waits until the store shows every namespace. A store itself wakes only the last one that
    /// waits for it, and that is the Controller.
    pub(crate) async fn filled(&self) {
        let mut shown = self.shown.subscribe();
        // The sender lives as long as `self`.
        let _ = shown.wait_for(|shown| *shown).await.is_ok();
    }
}

/// Writes what several watches see into one store. The store knows one watch only: a list that
/// begins would empty it of what the others saw.
pub(crate) struct MultiNamespaceStore<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    store: Store<K>,
    scopes: Vec<Option<String>>,
    listing: Vec<Vec<K>>,
    /// Until every namespace was listed once: those that were.
    first: Option<Vec<Option<Vec<K>>>>,
    pub(crate) own: OwnLists,
}

/// What a watch has seen of a kind.
#[derive(Debug)]
pub(crate) struct Seen<K> {
    /// New, changed, or just listed.
    pub(crate) changed: Vec<K>,
    /// Gone for good, though perhaps another one has its name.
    pub(crate) gone: Vec<K>,
}

impl<K> Seen<K> {
    const NOTHING: Self = Self {
        changed: Vec::new(),
        gone: Vec::new(),
    };
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + 'static> MultiNamespaceStore<K> {
    pub(crate) fn new(
        writer: Writer<K>,
        store: Store<K>,
        scopes: &[Option<String>],
        own: OwnLists,
    ) -> Self {
        Self {
            writer,
            store,
            listing: scopes.iter().map(|_| Vec::new()).collect(),
            first: Some(scopes.iter().map(|_| None).collect()),
            scopes: scopes.to_vec(),
            own,
        }
    }

    /// Takes in what a watch saw.
    pub(crate) fn see(&mut self, scope: usize, event: Event<K>, now: Instant) -> Seen<K> {
        self.own.lists.see(scope, &event, now);
        let Some(listing) = self.listing.get_mut(scope) else {
            return Seen::NOTHING;
        };
        match event {
            Event::Init => {
                listing.clear();
                Seen::NOTHING
            }
            Event::InitApply(object) => {
                listing.push(object);
                Seen::NOTHING
            }
            Event::InitDone => self.listed(scope),
            Event::Apply(object) => {
                let event = Event::Apply(object.clone());
                self.writer.apply_watcher_event(&event);
                Seen {
                    changed: vec![object],
                    ..Seen::NOTHING
                }
            }
            Event::Delete(object) => {
                let event = Event::Delete(object.clone());
                self.writer.apply_watcher_event(&event);
                Seen {
                    gone: vec![object],
                    ..Seen::NOTHING
                }
            }
        }
    }

    /// Takes an object out that cannot be read any more: what is known of it is how it was before.
    pub(crate) fn lose(&mut self, lost: &ObjectMeta) -> Seen<K> {
        let name = lost.name.as_deref().unwrap_or_default();
        let mut known = ObjectRef::<K>::new(name);
        known.namespace.clone_from(&lost.namespace);
        let Some(known) = self.store.get(&known) else {
            return Seen::NOTHING;
        };
        let event = Event::Delete(K::clone(&known));
        self.writer.apply_watcher_event(&event);
        Seen {
            gone: vec![K::clone(&known)],
            ..Seen::NOTHING
        }
    }

    /// A list is complete.
    fn listed(&mut self, scope: usize) -> Seen<K> {
        let listed = std::mem::take(&mut self.listing[scope]);
        if let Some(mut first) = self.first.take() {
            first[scope] = Some(listed);
            if first.iter().any(Option::is_none) {
                self.first = Some(first);
                return Seen::NOTHING;
            }
            let all: Vec<K> = first.into_iter().flatten().flatten().collect();
            self.replace(all.clone());
            self.own.shown.send_replace(true);
            return Seen {
                changed: all,
                ..Seen::NOTHING
            };
        }
        let own = self.scopes[scope].clone();
        let (others, known): (Vec<_>, Vec<_>) =
            self.store.state().into_iter().partition(|object| {
                own.as_ref()
                    .is_some_and(|own| object.namespace().as_ref() != Some(own))
            });
        let there: HashSet<&String> = listed.iter().filter_map(uid).collect();
        let gone = known
            .iter()
            .filter(|object| uid(object.as_ref()).is_some_and(|uid| !there.contains(uid)))
            .map(|object| K::clone(object))
            .collect();
        let mut all: Vec<K> = others.iter().map(|object| K::clone(object)).collect();
        all.extend(listed.iter().cloned());
        self.replace(all);
        Seen {
            changed: listed,
            gone,
        }
    }

    fn replace(&mut self, all: Vec<K>) {
        self.writer.apply_watcher_event(&Event::Init);
        for object in all {
            self.writer.apply_watcher_event(&Event::InitApply(object));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
    }
}

fn uid<K: Resource<DynamicType = ()>>(object: &K) -> Option<&String> {
    object.meta().uid.as_ref()
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use serde_json::json;

    use super::*;
    use streamkeeper_api::v1alpha1::StreamJob;

    fn job(namespace: &str, name: &str) -> StreamJob {
        serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
            "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}") }, "spec": { "sql": { "text": "SELECT 1" } },
        }))
        .unwrap()
    }

    fn names(store: &Store<StreamJob>) -> Vec<String> {
        let mut names: Vec<String> = store.state().iter().map(|job| job.name_any()).collect();
        names.sort();
        names
    }

    fn list(
        merged_store: &mut MultiNamespaceStore<StreamJob>,
        scope: usize,
        jobs: &[StreamJob],
    ) -> (usize, Vec<String>) {
        let now = Instant::now();
        merged_store.see(scope, Event::Init, now);
        for job in jobs {
            merged_store.see(scope, Event::InitApply(job.clone()), now);
        }
        let seen = merged_store.see(scope, Event::InitDone, now);
        (
            seen.changed.len(),
            seen.gone.iter().map(ResourceExt::name_any).collect(),
        )
    }

    #[test]
    fn the_store_fills_when_every_namespace_was_listed_and_a_new_list_replaces_its_own_only() {
        let scopes = [Some("a".to_owned()), Some("b".to_owned())];
        let (reader, writer) = store::<StreamJob>();
        let mut merged_store =
            MultiNamespaceStore::new(writer, reader.clone(), &scopes, OwnLists::new(&scopes));
        let none = Vec::<String>::new;
        let seen = list(&mut merged_store, 0, &[job("a", "x"), job("a", "y")]);
        assert_eq!(seen, (0, none()));
        assert!(reader.is_empty());
        assert_eq!(list(&mut merged_store, 1, &[job("b", "z")]), (3, none()));
        assert_eq!(names(&reader), ["x", "y", "z"]);
        let seen = list(&mut merged_store, 0, &[job("a", "x")]);
        assert_eq!(seen, (1, vec!["y".to_owned()]));
        assert_eq!(names(&reader), ["x", "z"]);
        let now = Instant::now();
        let seen = merged_store.see(1, Event::Apply(job("b", "new")), now);
        assert_eq!((seen.changed.len(), seen.gone.len()), (1, 0));
        let seen = merged_store.see(1, Event::Delete(job("b", "z")), now);
        assert_eq!((seen.changed.len(), seen.gone.len()), (0, 1));
        assert_eq!(names(&reader), ["new", "x"]);
    }
}
