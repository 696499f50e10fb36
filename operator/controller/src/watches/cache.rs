//! What the watches have seen, by the job it belongs to. A cache may be late, never ahead.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{
    Resource, ResourceExt,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use streamkeeper_api::{names::JOB_LABEL, v1alpha1::StreamJob};
use streamkeeper_lifecycle::Child;
use tokio::{sync::watch, time::Instant};

use crate::watches::progress::{Lists, version};

/// Namespace and name of a job.
pub(crate) type JobKey = (String, String);

/// A child of a job.
#[derive(Debug)]
pub(crate) struct Kept<F> {
    name: Box<str>,
    uid: Box<str>,
    version: u64,
    deleting: bool,
    pub(crate) revision: u64,
    pub(crate) facts: F,
}

impl<F> Kept<F> {
    /// None when there is nothing to keep of an object: it is no child of ours.
    fn of<K: Child<Facts = F>>(object: &K) -> Option<Self> {
        Some(Self {
            name: object.name_any().into(),
            uid: object.meta().uid.as_deref().unwrap_or_default().into(),
            version: version(object),
            deleting: object.meta().deletion_timestamp.is_some(),
            revision: object.revision()?,
            facts: object.facts()?,
        })
    }
}

type JobsOf<F> = HashMap<JobKey, Vec<Arc<Kept<F>>>>;
type Listing<F> = Vec<(JobKey, Kept<F>)>;

#[derive(Debug)]
struct State<F> {
    jobs: JobsOf<F>,
    /// Namespaces that are watched, none meaning all, and what a list has brought of each so far.
    scopes: Vec<(Option<String>, Listing<F>)>,
}

/// Children of jobs of one kind.
#[derive(Debug)]
pub(crate) struct Cache<K: Child> {
    state: Arc<Mutex<State<K::Facts>>>,
    pub(crate) lists: Lists,
    /// Scopes that were never listed yet.
    missing: Arc<watch::Sender<usize>>,
}

impl<K: Child> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            lists: self.lists.clone(),
            missing: self.missing.clone(),
        }
    }
}

impl<K: Child> Cache<K> {
    /// An empty cache of these namespaces; none means all.
    pub(crate) fn new(scopes: &[Option<String>]) -> Self {
        let scope = |namespace: &Option<String>| (namespace.clone(), Vec::new());
        Self {
            state: Arc::new(Mutex::new(State {
                jobs: HashMap::new(),
                scopes: scopes.iter().map(scope).collect(),
            })),
            lists: Lists::new(scopes),
            missing: Arc::new(watch::Sender::new(scopes.len())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K::Facts>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has seen the cluster once: before that, "none" means nothing.
    pub(crate) async fn filled(&self) {
        let mut missing = self.missing.subscribe();
        // The sender lives as long as `self`.
        let _ = missing.wait_for(|missing| *missing == 0).await.is_ok();
    }

    /// Takes in what a watch saw. Returns the jobs that it concerns.
    pub(crate) fn see(
        &self,
        scope: usize,
        event: Event<K>,
        now: Instant,
    ) -> Vec<ObjectRef<StreamJob>> {
        let mut state = self.state();
        let State { jobs, scopes } = &mut *state;
        let Some((namespace, listing)) = scopes.get_mut(scope) else {
            return Vec::new();
        };
        self.lists.see(scope, &event, now);
        match event {
            Event::Init => {
                listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                listing.extend(job_of(&object).zip(Kept::of(&object)));
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(listing);
                let touched = replace(jobs, namespace.as_deref(), listed);
                drop(state);
                self.missing.send_replace(self.lists.missing());
                touched
            }
            Event::Apply(object) => change(jobs, &object, Kept::of(&object)),
            Event::Delete(object) => change(jobs, &object, None),
        }
    }

    /// The children of a job.
    pub(crate) fn of_job(&self, namespace: &str, name: &str) -> Vec<Arc<Kept<K::Facts>>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.state().jobs.get(&key).cloned().unwrap_or_default()
    }

    /// A child of a job by its own name.
    pub(crate) fn find(
        &self,
        namespace: &str,
        job: &str,
        name: &str,
    ) -> Option<Arc<Kept<K::Facts>>> {
        self.of_job(namespace, job)
            .into_iter()
            .find(|child| *child.name == *name)
    }

    /// Whether a child of a job is shown as gone or on its way out, or was still listed after
    /// `then`.
    pub(crate) fn shows_gone(&self, job: &JobKey, name: &str, uid: &str, then: Instant) -> bool {
        let found = self.find(&job.0, &job.1, name);
        found.is_none_or(|child| *child.uid != *uid || child.deleting)
            || self.lists.reached(&job.0, u64::MAX, then)
    }

    /// Jobs with a child like this.
    pub(crate) fn jobs_with(&self, like: impl Fn(&K::Facts) -> bool) -> Vec<ObjectRef<StreamJob>> {
        let state = self.state();
        let concerned = state
            .jobs
            .iter()
            .filter(|(_, children)| children.iter().any(|child| like(&child.facts)));
        concerned.map(|(key, _)| reference(key)).collect()
    }
}

/// Whether an object is not the one with this uid, or on its way out.
pub(crate) fn is_gone<K: Resource<DynamicType = ()>>(object: &K, uid: &str) -> bool {
    object.meta().uid.as_deref() != Some(uid) || object.meta().deletion_timestamp.is_some()
}

/// Replaces what is kept of an object. Returns its job if that makes a difference.
fn change<K: Child>(
    jobs: &mut JobsOf<K::Facts>,
    object: &K,
    now: Option<Kept<K::Facts>>,
) -> Vec<ObjectRef<StreamJob>> {
    let Some(key) = job_of(object) else {
        return Vec::new();
    };
    let touched = vec![reference(&key)];
    let mut children = jobs.remove(&key).unwrap_or_default();
    let before = children.len();
    children.retain(|child| object.meta().name.as_deref() != Some(&*child.name));
    let same = children.len() == before && now.is_none();
    children.extend(now.map(Arc::new));
    if !children.is_empty() {
        jobs.insert(key, children);
    }
    if same { Vec::new() } else { touched }
}

/// Replaces what there is of a namespace by what a list brought. Returns the jobs for which that
/// makes a difference.
fn replace<F>(
    jobs: &mut JobsOf<F>,
    namespace: Option<&str>,
    listed: Listing<F>,
) -> Vec<ObjectRef<StreamJob>> {
    let mut next: JobsOf<F> = HashMap::new();
    for (key, kept) in listed {
        next.entry(key).or_default().push(Arc::new(kept));
    }
    let inside = |key: &JobKey| namespace.is_none_or(|namespace| key.0 == namespace);
    let versions = |children: Option<&Vec<Arc<Kept<F>>>>| -> HashSet<(Box<str>, u64)> {
        let all = children.into_iter().flatten();
        all.map(|child| (child.uid.clone(), child.version))
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use streamkeeper_api::names::REVISION_LABEL;

    fn service(namespace: &str, job: &str, name: &str, version: u64) -> Service {
        serde_json::from_value(json!({ "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "resourceVersion": version.to_string(),
            "labels": { JOB_LABEL: job, REVISION_LABEL: "1" },
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
        children
            .iter()
            .map(|child| child.name.to_string())
            .collect()
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
    fn a_child_that_loses_the_label_of_its_revision_is_none_any_more() {
        let (cache, now) = (Cache::new(&[None]), Instant::now());
        list(&cache, 0, &[service("a", "x", "x-r1", 1)], now);
        let mut bare = service("a", "x", "x-r1", 2);
        bare.labels_mut().remove(REVISION_LABEL);
        let touched = cache.see(0, Event::Apply(bare.clone()), now);
        assert_eq!(names(touched), ["x"]);
        assert_eq!(found(&cache, "a", "x"), [""; 0]);
        let touched = cache.see(0, Event::Delete(bare), now);
        assert_eq!(names(touched), [""; 0], "it was not there");
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
}
