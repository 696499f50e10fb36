//! What every reconcile shares.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;

use super::{snapshots::Works, watch::Caches};
use crate::{
    clock::Clock,
    engine::JobApi,
    events::Events,
    lifecycle::{Refusal, Settings, Unapplied},
    metrics::Metrics,
    resources::PodSettings,
    storage::{Folders, Heads},
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
    pub(super) client: ClientHandle,
    pub(super) ports: Ports,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) settings: Settings,
    pub(super) pod_settings: PodSettings,
    pub(super) caches: Caches,
    pub(super) clock: Clock,
    pub(super) works: Works,
    memory: Mutex<HashMap<String, Memory>>,
}

/// A client that can stand in a struct that is printed.
#[derive(Clone)]
pub(super) struct ClientHandle(pub(super) Client);

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
            works: Works::default(),
            memory: Mutex::default(),
        }
    }

    /// The same, by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    fn remember<T>(&self, uid: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        change(memory.entry(uid.to_owned()).or_default())
    }

    /// Counts a failure; answers how many there were in a row before.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        self.remember(uid, |memory| {
            memory.failures += 1;
            memory.failures - 1
        })
    }

    /// Forgets failures.
    pub(super) fn succeeded(&self, uid: &str) {
        self.remember(uid, |memory| memory.failures = 0);
    }

    /// The last refusal of a call.
    pub(super) fn refusal(&self, uid: &str) -> Option<Refusal> {
        self.remember(uid, |memory| memory.refusal.clone())
    }

    /// Remembers how the last call went.
    pub(super) fn called(&self, uid: &str, refusal: Option<Refusal>) {
        self.remember(uid, |memory| memory.refusal = refusal);
    }

    /// The revision whose objects were last refused.
    pub(super) fn unapplied(&self, uid: &str) -> Option<Unapplied> {
        self.remember(uid, |memory| memory.unapplied.clone())
    }

    /// Remembers how the last attempt to create the objects of a revision went.
    pub(super) fn applied(&self, uid: &str, unapplied: Option<Unapplied>) {
        self.remember(uid, |memory| memory.unapplied = unapplied);
    }

    /// Forgets a job that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}
