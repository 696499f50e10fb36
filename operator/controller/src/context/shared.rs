//! What every reconcile shares.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Client, Resource, ResourceExt};
use streamkeeper_api::v1alpha1::StreamJob;
use streamkeeper_lifecycle::{Refusal, Settings, Unapplied};
use streamkeeper_resources::PodSettings;
use tokio::time::Instant;

use crate::{
    buckets::folder_tasks::FolderTasks,
    context::{
        expectations::{Behind, Expectations},
        lost_node_limiter::LostNodeLimiter,
        rate_limiter::RateLimiter,
        turns::{self, Turns},
    },
    watches::{
        caches::Caches,
        progress::version,
        waiting::Waiting,
        written::{Kind, Written},
    },
};
use crate::{
    buckets::{Folders, Heads},
    clock::Clock,
    coordinator_client::JobApi,
    events::Events,
    keyring::Keyring,
    leader::{Leadership, writes::BoundJobs},
    metrics::Metrics,
};

/// The outside world, so that tests can script it.
#[derive(Clone)]
pub struct Ports {
    /// Coordinators.
    pub jobs: Arc<dyn JobApi>,
    /// HEAD records.
    pub heads: Arc<dyn Heads>,
    /// Folders of snapshots.
    pub folders: Arc<dyn Folders>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// What every reconcile shares.
#[derive(Debug)]
pub struct Context {
    pub(crate) client: ClientHandle,
    pub(crate) ports: Ports,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) settings: Settings,
    pub(crate) pod_settings: PodSettings,
    pub(crate) caches: Caches,
    pub(crate) clock: Clock,
    pub(crate) works: FolderTasks,
    pub(crate) lost_nodes: LostNodeLimiter,
    pub(crate) turns: Turns,
    pub(crate) leadership: Leadership,
    /// Whether a job waits until the caches show what was written for it. Only a negative control
    /// says no.
    sees_own_writes: bool,
    pub(crate) keyring: Arc<Keyring>,
    memory: Arc<Mutex<HashMap<String, Memory>>>,
}

/// A client that can stand in a struct that is printed.
#[derive(Clone)]
pub(crate) struct ClientHandle(pub(crate) Client);

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// What is remembered of a job between two reconciles. All of it may be lost at any time.
#[derive(Debug, Clone, Default)]
struct Memory {
    failures: u32,
    refusal: Option<Refusal>,
    unapplied: Option<Unapplied>,
    unseen: Expectations,
    rate_limiter: RateLimiter,
    /// Whether its store or its coordinator did not answer soon.
    slow: bool,
    /// Until then the API server asked to be left alone.
    not_before: Option<Instant>,
}

/// What a context remembers of objects.
#[derive(Debug, Clone)]
pub struct Remembered {
    memory: Arc<Mutex<HashMap<String, Memory>>>,
    works: FolderTasks,
    waiting: Waiting,
}

impl Remembered {
    /// Of how many objects there is something. Of those that are gone there is nothing.
    pub fn count(&self) -> usize {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.len() + self.works.len() + self.waiting.len()
    }
}

impl Context {
    /// A context over these parts.
    pub fn new(
        client: Client,
        ports: Ports,
        events: Events,
        metrics: Metrics,
        settings: Settings,
        pod_settings: PodSettings,
        caches: Caches,
    ) -> Self {
        Self {
            client: ClientHandle(client),
            ports,
            events,
            metrics,
            settings,
            pod_settings,
            caches,
            clock: Clock::default(),
            works: FolderTasks::default(),
            lost_nodes: LostNodeLimiter::default(),
            turns: Turns::default(),
            leadership: Leadership::without_lease(),
            sees_own_writes: true,
            keyring: Arc::default(),
            memory: Arc::default(),
        }
    }

    /// This context, with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// This context for one of several replicas: while it does not lead, it calls no coordinator
    /// and reconciles no job. The client must be held to `leadership` too.
    #[must_use]
    pub fn with_leadership(mut self, leadership: Leadership) -> Self {
        self.ports.jobs = Arc::new(BoundJobs::new(self.ports.jobs, leadership.clone()));
        Self { leadership, ..self }
    }

    /// This context, but it plans from caches that may not show its own writes. Only a negative
    /// control uses it.
    #[must_use]
    pub fn without_seeing_own_writes(self) -> Self {
        Self {
            sees_own_writes: false,
            ..self
        }
    }

    /// This context without shares of turns. Only a negative control uses it.
    #[must_use]
    pub fn without_shares(self) -> Self {
        Self {
            turns: Turns::without_shares(),
            ..self
        }
    }

    /// Whether the coordinator or the store of an object was slow to answer the last time.
    pub(crate) fn is_slow(&self, uid: &str) -> bool {
        self.recall(uid, |memory| memory.slow)
    }

    /// How long answers about an object took, from coordinators and stores.
    pub(crate) fn answered_after(&self, uid: &str, took: Duration) {
        if took >= turns::SOON {
            self.remember(uid, |memory| memory.slow = true);
        } else {
            self.recall(uid, |memory| memory.slow = false);
        }
    }

    /// Remembers something that was written for a job.
    pub(crate) fn wrote(&self, uid: &str, what: Written) {
        self.remember(uid, |memory| memory.unseen.wrote(what, Instant::now()));
    }

    /// Remembers the version of something that was written for a job.
    pub(crate) fn wrote_version<K: ResourceExt>(&self, uid: &str, kind: Kind, object: &K) {
        let version = version(object);
        self.wrote(uid, Written::Version { kind, version });
    }

    /// What was written for a job and is not shown by the caches yet, if anything. Caches that are
    /// late for long are filled anew.
    pub(crate) fn behind<K: ResourceExt>(&self, kind: Kind, object: &K) -> Option<Behind> {
        if !self.sees_own_writes {
            return None;
        }
        let uid = object.uid().unwrap_or_default();
        let shown = |written: &Written, at| self.caches.show((kind, object), written, at);
        let behind = self.remember(&uid, |memory| memory.unseen.behind(Instant::now(), shown))?;
        for &kind in &behind.overdue {
            if self.caches.list_again(kind) {
                tracing::warn!(
                    ?kind,
                    "the watch does not show what was written seconds ago; listing again"
                );
            }
        }
        Some(behind)
    }

    /// Takes one of the turns of a job, or returns how long there is none.
    pub(crate) fn turn(&self, uid: &str) -> Result<(), Duration> {
        let now = Instant::now();
        self.remember(uid, |memory| match memory.not_before {
            Some(then) if now < then => Err(then - now),
            Some(_) | None => memory.rate_limiter.take(now),
        })
    }

    /// The API server asks to be left alone about a job, whatever happens to it.
    pub(crate) fn wait(&self, uid: &str, long: Duration) {
        self.remember(uid, |memory| {
            memory.not_before = Some(Instant::now() + long);
        });
    }

    /// This context, with master keys.
    #[must_use]
    pub fn with_keys(self, keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..self }
    }

    fn remember<T>(&self, uid: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        change(memory.entry(uid.to_owned()).or_default())
    }

    /// Like `remember`, but never creates an entry.
    fn recall<T: Default>(&self, uid: &str, look: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get_mut(uid).map(look).unwrap_or_default()
    }

    /// What is remembered of objects, to be counted at any time.
    pub fn remembered(&self) -> Remembered {
        Remembered {
            memory: self.memory.clone(),
            works: self.works.clone(),
            waiting: self.caches.waiting.clone(),
        }
    }

    /// Counts a failure. Returns how many there were in a row before.
    pub(crate) fn failed(&self, uid: &str) -> u32 {
        self.remember(uid, |memory| {
            memory.failures += 1;
            memory.failures - 1
        })
    }

    /// Forgets failures.
    pub(crate) fn succeeded(&self, uid: &str) {
        self.recall(uid, |memory| memory.failures = 0);
    }

    /// The last refusal of a call.
    pub(crate) fn refusal(&self, uid: &str) -> Option<Refusal> {
        self.recall(uid, |memory| memory.refusal.clone())
    }

    /// Remembers how the last call went.
    pub(crate) fn called(&self, uid: &str, refusal: Option<Refusal>) {
        self.remember(uid, |memory| memory.refusal = refusal);
    }

    /// The revision whose objects were last refused.
    pub(crate) fn unapplied(&self, uid: &str) -> Option<Unapplied> {
        self.recall(uid, |memory| memory.unapplied.clone())
    }

    /// Remembers how the last attempt to create the objects of a revision went.
    pub(crate) fn applied(&self, uid: &str, unapplied: Option<Unapplied>) {
        self.remember(uid, |memory| memory.unapplied = unapplied);
    }

    /// Forgets everything about an object, what is shown of it too: another replica knows better.
    pub(crate) fn forget_all_of<K: Resource<DynamicType = ()> + Any>(&self, object: &K) {
        self.forget(&object.uid().unwrap_or_default());
        if let Some(job) = (object as &dyn Any).downcast_ref::<StreamJob>() {
            let namespace = job.namespace().unwrap_or_default();
            self.metrics.forget_job(&namespace, &job.name_any());
        }
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.works.forget(uid);
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}
