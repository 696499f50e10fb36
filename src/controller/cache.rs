//! What the watches have seen, by the job it belongs to. A cache may be late, never ahead; how far it has come can be asked.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use kube::{
    Resource, ResourceExt,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{names::JOB_LABEL, v1alpha1::StreamJob},
    lifecycle::lost_nodes,
};

/// However many jobs demand that a kind be listed again, it is at most once in this time.
const LIST_EVERY: Duration = Duration::from_secs(10);

/// Lists of one kind in one scope (a namespace, or all of them): a watch begins with one, and with another whenever it was lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lists {
    began: Option<Instant>,
    complete: Option<Instant>,
    /// Newest version that was seen, and that the list under way has brought so far.
    newest: u64,
    listing: u64,
}

impl Lists {
    pub(super) fn see<K: ResourceExt>(&mut self, event: &Event<K>, now: Instant) {
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

    /// Whether everything was seen up to a version, or that had happened by a time.
    pub(super) fn reached(&self, version: u64, then: Instant) -> bool {
        self.newest >= version || self.complete.is_some_and(|began| began > then)
    }

    /// Whether one began a moment ago. A list that is begun over and over is never complete.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.began
            .is_some_and(|began| now.saturating_duration_since(began) < LIST_EVERY)
    }

    pub(super) const fn any(&self) -> bool {
        self.complete.is_some()
    }
}

/// A version as a number: they grow with every change of a kind.
pub(super) fn version<K: ResourceExt>(object: &K) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// Namespace and name of a job.
pub(super) type JobKey = (String, String);

#[derive(Debug)]
struct Scope<K> {
    namespace: Option<String>,
    lists: Lists,
    /// What a list has brought so far.
    listing: Vec<K>,
}

#[derive(Debug)]
struct State<K> {
    jobs: HashMap<JobKey, Vec<Arc<K>>>,
    scopes: Vec<Scope<K>>,
}

/// Children of jobs of one kind.
#[derive(Debug)]
pub(super) struct Cache<K> {
    state: Arc<Mutex<State<K>>>,
    /// Scopes that were never listed yet.
    missing: Arc<watch::Sender<usize>>,
    /// Counts demands to list again.
    again: Arc<watch::Sender<u64>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            missing: self.missing.clone(),
            again: self.again.clone(),
        }
    }
}

impl<K: Resource<DynamicType = ()>> Cache<K> {
    /// An empty cache of these namespaces; none means all.
    pub(super) fn new(scopes: &[Option<String>]) -> Self {
        let scope = |namespace: &Option<String>| Scope {
            namespace: namespace.clone(),
            lists: Lists::default(),
            listing: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(State {
                jobs: HashMap::new(),
                scopes: scopes.iter().map(scope).collect(),
            })),
            missing: Arc::new(watch::Sender::new(scopes.len())),
            again: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has seen the cluster once: before that, "none" means nothing.
    pub(super) async fn filled(&self) {
        let mut missing = self.missing.subscribe();
        // The sender lives as long as `self`.
        let _ = missing.wait_for(|missing| *missing == 0).await.is_ok();
    }

    /// Demands that it be listed again, unless that was begun a moment ago; answers whether it will be.
    pub(super) fn list_again(&self, now: Instant) -> bool {
        let fresh = self
            .state()
            .scopes
            .iter()
            .any(|scope| scope.lists.is_fresh(now));
        if !fresh {
            self.again.send_modify(|demands| *demands += 1);
        }
        !fresh
    }

    /// Says when it is to be listed again.
    pub(super) fn demands(&self) -> watch::Receiver<u64> {
        self.again.subscribe()
    }

    /// Takes in what a watch saw; answers the jobs that it concerns.
    pub(super) fn see(
        &self,
        scope: usize,
        event: Event<K>,
        now: Instant,
    ) -> Vec<ObjectRef<StreamJob>> {
        let mut state = self.state();
        let State { jobs, scopes } = &mut *state;
        let Some(scope) = scopes.get_mut(scope) else {
            return Vec::new();
        };
        scope.lists.see(&event, now);
        match event {
            Event::Init => {
                scope.listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                scope.listing.push(object);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut scope.listing);
                let touched = replace(jobs, scope.namespace.as_deref(), listed);
                let missing = scopes.iter().filter(|scope| !scope.lists.any()).count();
                drop(state);
                self.missing.send_replace(missing);
                touched
            }
            Event::Apply(object) => {
                let Some(key) = job_of(&object) else {
                    return Vec::new();
                };
                let children = jobs.entry(key.clone()).or_default();
                children.retain(|child| child.meta().name != object.meta().name);
                children.push(Arc::new(object));
                vec![reference(&key)]
            }
            Event::Delete(object) => {
                let Some(key) = job_of(&object) else {
                    return Vec::new();
                };
                if let Some(children) = jobs.get_mut(&key) {
                    children.retain(|child| child.meta().name != object.meta().name);
                    if children.is_empty() {
                        jobs.remove(&key);
                    }
                }
                vec![reference(&key)]
            }
        }
    }

    /// The children of a job.
    pub(super) fn of_job(&self, namespace: &str, name: &str) -> Vec<Arc<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.state().jobs.get(&key).cloned().unwrap_or_default()
    }

    /// A child of a job by its own name.
    pub(super) fn find(&self, namespace: &str, job: &str, name: &str) -> Option<Arc<K>> {
        self.of_job(namespace, job)
            .into_iter()
            .find(|child| child.meta().name.as_deref() == Some(name))
    }

    /// Whether a child of a job is shown as gone or on its way out, or was listed since `then` all the same.
    pub(super) fn shows_gone(&self, job: &JobKey, name: &str, uid: &str, then: Instant) -> bool {
        let found = self.find(&job.0, &job.1, name);
        found.is_none_or(|object| is_gone(object.as_ref(), uid))
            || self.reached(&job.0, u64::MAX, then)
    }

    /// Jobs with a child like this.
    pub(super) fn jobs_with(&self, like: impl Fn(&K) -> bool) -> Vec<ObjectRef<StreamJob>> {
        let state = self.state();
        let concerned = state
            .jobs
            .iter()
            .filter(|(_, children)| children.iter().any(|child| like(child)));
        concerned.map(|(key, _)| reference(key)).collect()
    }

    /// Whether everything in a namespace was seen up to a version, or that had happened by a time.
    pub(super) fn reached(&self, namespace: &str, version: u64, then: Instant) -> bool {
        let state = self.state();
        let mut scopes = state.scopes.iter();
        let scope = scopes.find(|scope| {
            scope
                .namespace
                .as_deref()
                .is_none_or(|watched| watched == namespace)
        });
        scope.is_none_or(|scope| scope.lists.reached(version, then))
    }
}

/// Whether an object is not the one with this uid, or on its way out.
pub(super) fn is_gone<K: Resource<DynamicType = ()>>(object: &K, uid: &str) -> bool {
    object.meta().uid.as_deref() != Some(uid) || object.meta().deletion_timestamp.is_some()
}

/// Replaces what there is of a namespace by what a list brought; answers the jobs for which that makes a difference.
fn replace<K: Resource<DynamicType = ()>>(
    jobs: &mut HashMap<JobKey, Vec<Arc<K>>>,
    namespace: Option<&str>,
    listed: Vec<K>,
) -> Vec<ObjectRef<StreamJob>> {
    let mut next: HashMap<JobKey, Vec<Arc<K>>> = HashMap::new();
    for object in listed {
        if let Some(key) = job_of(&object) {
            next.entry(key).or_default().push(Arc::new(object));
        }
    }
    let inside = |key: &JobKey| namespace.is_none_or(|namespace| key.0 == namespace);
    let versions = |children: Option<&Vec<Arc<K>>>| -> HashSet<(Option<String>, Option<String>)> {
        let all = children.into_iter().flatten();
        all.map(|child| (child.uid(), child.resource_version()))
            .collect()
    };
    let keys: HashSet<&JobKey> = jobs
        .keys()
        .filter(|key| inside(key))
        .chain(next.keys())
        .collect();
    let touched = keys
        .into_iter()
        .filter(|key| versions(jobs.get(*key)) != versions(next.get(*key)))
        .map(reference)
        .collect();
    jobs.retain(|key, _| !inside(key));
    jobs.extend(next);
    touched
}

fn job_of<K: ResourceExt>(child: &K) -> Option<JobKey> {
    Some((child.namespace()?, child.labels().get(JOB_LABEL)?.clone()))
}

fn reference((namespace, name): &JobKey) -> ObjectRef<StreamJob> {
    ObjectRef::new(name).within(namespace)
}

/// Nodes whose kubelet does not report, and since when. Nothing else of a node matters, and there may be thousands.
#[derive(Debug, Clone, Default)]
pub(super) struct LostNodes {
    lost: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    /// What a list has brought so far.
    listing: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    looked: Arc<watch::Sender<bool>>,
}

impl LostNodes {
    fn lost(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listing(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<String, Timestamp> {
        self.lost().clone()
    }

    /// Takes in what the watch saw; answers the nodes that were lost or came back.
    pub(super) fn see(&self, event: &Event<Node>) -> HashSet<String> {
        let before = self.all();
        match event {
            Event::Init => self.listing().clear(),
            Event::InitApply(node) => self.listing().extend(lost_nodes([node])),
            Event::InitDone => {
                *self.lost() = std::mem::take(&mut *self.listing());
                self.looked.send_replace(true);
            }
            Event::Apply(node) => {
                let mut lost = self.lost();
                lost.remove(&node.name_any());
                lost.extend(lost_nodes([node]));
            }
            Event::Delete(node) => {
                self.lost().remove(&node.name_any());
            }
        }
        let now = self.lost();
        let changed = before
            .keys()
            .chain(now.keys())
            .filter(|name| before.get(*name) != now.get(*name));
        changed.cloned().collect()
    }

    /// Nodes cannot be seen: none counts as lost. Answers whether that is news.
    pub(super) fn unseen(&self) -> bool {
        !self.looked.send_replace(true)
    }

    /// Waits until they were looked at, or cannot be.
    pub(super) async fn filled(&self) {
        let mut looked = self.looked.subscribe();
        let _ = looked.wait_for(|looked| *looked).await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn service(namespace: &str, job: &str, name: &str, version: u64) -> Service {
        serde_json::from_value(json!({ "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "resourceVersion": version.to_string(),
            "labels": { JOB_LABEL: job },
        } }))
        .unwrap()
    }

    fn list(cache: &Cache<Service>, scope: usize, objects: &[Service], at: Instant) -> Vec<String> {
        cache.see(scope, Event::Init, at);
        for object in objects {
            cache.see(scope, Event::InitApply(object.clone()), at);
        }
        names(cache.see(scope, Event::InitDone, at))
    }

    fn names(jobs: Vec<ObjectRef<StreamJob>>) -> Vec<String> {
        let mut names: Vec<String> = jobs.into_iter().map(|job| job.name).collect();
        names.sort();
        names
    }

    fn found(cache: &Cache<Service>, namespace: &str, job: &str) -> Vec<String> {
        let children = cache.of_job(namespace, job);
        children.iter().map(|child| child.name_any()).collect()
    }

    #[test]
    fn children_are_found_by_their_job_and_gone_when_deleted() {
        let (cache, now) = (Cache::new(&[None]), Instant::now());
        list(&cache, 0, &[service("a", "x", "x-r1", 1)], now);
        let touched = cache.see(0, Event::Apply(service("a", "x", "x-r2", 2)), now);
        assert_eq!(names(touched), ["x"]);
        assert_eq!(found(&cache, "a", "x"), ["x-r1", "x-r2"]);
        assert_eq!(found(&cache, "b", "x"), [""; 0]);
        assert!(cache.find("a", "x", "x-r2").is_some());
        cache.see(0, Event::Delete(service("a", "x", "x-r1", 3)), now);
        assert_eq!(found(&cache, "a", "x"), ["x-r2"]);
    }

    #[test]
    fn a_list_replaces_its_own_namespace_only_and_names_the_jobs_it_changed() {
        let now = Instant::now();
        let cache = Cache::new(&[Some("a".to_owned()), Some("b".to_owned())]);
        let (same, other) = (service("a", "x", "x-r1", 1), service("b", "y", "y-r1", 1));
        let gone = service("a", "z", "z-r1", 2);
        assert_eq!(list(&cache, 0, &[same.clone(), gone], now), ["x", "z"]);
        assert_eq!(list(&cache, 1, &[other], now), ["y"]);
        assert_eq!(list(&cache, 0, &[same], now), ["z"], "x is as it was");
        assert_eq!(found(&cache, "a", "z"), [""; 0]);
        assert_eq!(found(&cache, "b", "y"), ["y-r1"]);
    }

    #[tokio::test]
    async fn it_is_filled_once_every_namespace_was_listed() {
        use futures::FutureExt;
        let now = Instant::now();
        let cache = Cache::new(&[Some("a".to_owned()), Some("b".to_owned())]);
        list(&cache, 0, &[], now);
        assert!(cache.filled().now_or_never().is_none());
        list(&cache, 1, &[], now);
        assert!(cache.filled().now_or_never().is_some());
    }

    #[test]
    fn it_says_how_far_it_has_come() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let cache = Cache::new(&[Some("a".to_owned()), Some("b".to_owned())]);
        list(&cache, 0, &[], now);
        list(&cache, 1, &[], now);
        assert!(!cache.reached("a", 7, now));
        cache.see(1, Event::Apply(service("b", "y", "y-r1", 9)), now);
        assert!(!cache.reached("a", 7, now), "another watch");
        cache.see(0, Event::Apply(service("a", "x", "x-r1", 6)), now);
        assert!(!cache.reached("a", 7, now));
        cache.see(0, Event::Delete(service("a", "x", "x-r1", 8)), now);
        assert!(cache.reached("a", 7, now));
        assert!(!cache.reached("a", 20, now));
        list(&cache, 0, &[], later);
        assert!(
            cache.reached("a", 20, now),
            "listed after it happened: it must have come and gone"
        );
    }

    #[test]
    fn only_nodes_that_do_not_report_are_kept() {
        let node = |name: &str, ready: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": "2026-03-01T12:00:00Z" }] },
            }))
            .unwrap()
        };
        let nodes = LostNodes::default();
        nodes.see(&Event::Init);
        nodes.see(&Event::InitApply(node("n0", "True")));
        nodes.see(&Event::InitApply(node("n1", "Unknown")));
        assert_eq!(
            nodes.see(&Event::InitDone),
            HashSet::from(["n1".to_owned()])
        );
        assert!(nodes.see(&Event::Apply(node("n0", "True"))).is_empty());
        assert_eq!(nodes.see(&Event::Apply(node("n1", "True"))).len(), 1);
        assert!(nodes.all().is_empty());
    }
}
