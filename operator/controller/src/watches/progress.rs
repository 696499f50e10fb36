//! How far the watches of one kind have come, and when it is to be listed anew.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{ResourceExt, runtime::watcher::Event};
use tokio::{sync::watch, time::Instant};

/// However many jobs demand that a kind be listed again, it is at most once in this time.
const LIST_EVERY: Duration = Duration::from_secs(10);

/// The watch of one kind in one namespace, or in all of them: it begins with a list, and with
/// another whenever it was lost.
#[derive(Debug, Default)]
struct Scope {
    namespace: Option<String>,
    began: Option<Instant>,
    complete: Option<Instant>,
    /// Newest version that was seen, and that the list under way has brought so far.
    newest: u64,
    listing: u64,
}

impl Scope {
    fn see<K: ResourceExt>(&mut self, event: &Event<K>, now: Instant) {
        match event {
            Event::Init => {
                self.began = Some(now);
                self.listing = 0;
            }
            Event::InitApply(object) => self.listing = self.listing.max(version(object)),
            Event::InitDone => {
                self.complete = self.began;
                self.newest = self.newest.max(self.listing);
            }
            Event::Apply(object) | Event::Delete(object) => {
                self.newest = self.newest.max(version(object));
            }
        }
    }

    /// Whether a list began a moment ago. One that is begun over and over is never complete.
    fn is_fresh(&self, now: Instant) -> bool {
        self.began
            .is_some_and(|began| now.saturating_duration_since(began) < LIST_EVERY)
    }
}

/// A version as a number: they grow with every change of a kind.
pub(crate) fn version<K: ResourceExt>(object: &K) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// The watches of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    scopes: Arc<Mutex<Vec<Scope>>>,
    /// Counts demands to list again.
    again: Arc<watch::Sender<u64>>,
}

impl Lists {
    /// Of these namespaces; none means all.
    pub(crate) fn new(scopes: &[Option<String>]) -> Self {
        let scope = |namespace: &Option<String>| Scope {
            namespace: namespace.clone(),
            ..Scope::default()
        };
        Self {
            scopes: Arc::new(Mutex::new(scopes.iter().map(scope).collect())),
            again: Arc::default(),
        }
    }

    fn scopes(&self) -> MutexGuard<'_, Vec<Scope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what one of them saw.
    pub(crate) fn see<K: ResourceExt>(&self, scope: usize, event: &Event<K>, now: Instant) {
        if let Some(scope) = self.scopes().get_mut(scope) {
            scope.see(event, now);
        }
    }

    /// How many of them were never listed yet.
    pub(crate) fn missing(&self) -> usize {
        let scopes = self.scopes();
        let missing = scopes.iter().filter(|scope| scope.complete.is_none());
        missing.count()
    }

    /// Whether everything in a namespace was seen up to a version, or that had happened by a time.
    pub(crate) fn reached(&self, namespace: &str, version: u64, then: Instant) -> bool {
        let scopes = self.scopes();
        let mut scopes = scopes.iter();
        let scope = scopes.find(|scope| {
            let watched = scope.namespace.as_deref();
            watched.is_none_or(|watched| watched == namespace)
        });
        scope.is_none_or(|scope| {
            scope.newest >= version || scope.complete.is_some_and(|began| began > then)
        })
    }

    /// Demands that the kind be listed again, unless that was begun a moment ago. Returns
    /// whether it will be.
    pub(crate) fn demand(&self, now: Instant) -> bool {
        let fresh = self.scopes().iter().any(|scope| scope.is_fresh(now));
        if !fresh {
            self.again.send_modify(|demands| *demands += 1);
        }
        !fresh
    }

    /// Says when it is to be listed again.
    pub(crate) fn demands(&self) -> watch::Receiver<u64> {
        self.again.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, version: u64) -> Service {
        serde_json::from_value(json!({ "metadata": {
            "name": "x-r1", "namespace": namespace, "resourceVersion": version.to_string(),
        } }))
        .unwrap()
    }

    fn list(lists: &Lists, scope: usize, at: Instant) {
        lists.see::<Service>(scope, &Event::Init, at);
        lists.see::<Service>(scope, &Event::InitDone, at);
    }

    #[test]
    fn they_say_how_far_they_have_come() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let lists = Lists::new(&[Some("a".to_owned()), Some("b".to_owned())]);
        list(&lists, 0, now);
        assert_eq!(lists.missing(), 1);
        list(&lists, 1, now);
        assert_eq!(lists.missing(), 0);
        assert!(!lists.reached("a", 7, now));
        lists.see(1, &Event::Apply(service("b", 9)), now);
        assert!(!lists.reached("a", 7, now), "another watch");
        lists.see(0, &Event::Apply(service("a", 6)), now);
        assert!(!lists.reached("a", 7, now));
        lists.see(0, &Event::Delete(service("a", 8)), now);
        assert!(lists.reached("a", 7, now));
        assert!(!lists.reached("a", 20, now));
        list(&lists, 0, later);
        assert!(
            lists.reached("a", 20, now),
            "listed after it happened: it must have come and gone"
        );
    }

    // Elsewhere: spotify/flink-on-k8s-operator#656, GoogleCloudPlatform/flink-on-k8s-operator#375,
    // FLINK-35192.
    #[tokio::test(start_paused = true)]
    async fn however_many_jobs_demand_it_a_kind_is_listed_at_most_once_in_ten_seconds() {
        let lists = Lists::new(&[None]);
        list(&lists, 0, Instant::now());
        let mut demands = lists.demands();
        let mut begun = 0;
        for _second in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for _job in 0..100 {
                lists.demand(Instant::now());
                // What the watch does about it, at once.
                if demands.has_changed().unwrap() {
                    demands.mark_unchanged();
                    list(&lists, 0, Instant::now());
                    begun += 1;
                }
            }
        }
        assert_eq!(begun, 6, "in a minute");
    }
}
