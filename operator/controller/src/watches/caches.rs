//! The caches of all watched kinds. A cache may be late, never ahead.

use std::{fmt, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{Lookup, ObjectRef, Store},
};
use streamkeeper_api::v1alpha1::{StreamJob, StreamSnapshot};
use streamkeeper_lifecycle::Child;
use tokio::{sync::SetOnce, time::Instant};

use crate::watches::{
    cache::{Cache, JobKey, is_gone},
    lost_nodes::LostNodes,
    multi_namespace_store::OwnLists,
    progress::{Lists, version},
    waiting::Waiting,
    written::{Kind, Written},
};

/// A watched kind, as far as the operator compares it with what it wrote.
trait Watched {
    /// How far the watches of the kind have come.
    fn lists(&self) -> &Lists;
    /// Whether an object of a job is shown as gone or on its way out, or was still listed after
    /// `at`.
    fn shows_gone(&self, job: &JobKey, name: &str, uid: &str, at: Instant) -> bool;
}

impl<K: Child> Watched for Cache<K> {
    fn lists(&self) -> &Lists {
        &self.lists
    }

    fn shows_gone(&self, job: &JobKey, name: &str, uid: &str, at: Instant) -> bool {
        Cache::shows_gone(self, job, name, uid, at)
    }
}

/// All objects of one of the operator's own kinds.
#[derive(Clone)]
pub(crate) struct OwnCache<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    pub(crate) store: Store<K>,
    pub(crate) lists: OwnLists,
}

impl<K> OwnCache<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    fn new(store: Store<K>, scopes: &[Option<String>]) -> Self {
        Self {
            store,
            lists: OwnLists::new(scopes),
        }
    }
}

impl<K> fmt::Debug for OwnCache<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCache")
            .field("lists", &self.lists)
            .finish_non_exhaustive()
    }
}

impl<K> Watched for OwnCache<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    fn lists(&self) -> &Lists {
        &self.lists.lists
    }

    fn shows_gone(&self, (namespace, _): &JobKey, name: &str, uid: &str, at: Instant) -> bool {
        let found = self.store.get(&ObjectRef::new(name).within(namespace));
        found.is_none_or(|found| is_gone(found.as_ref(), uid))
            || self.lists().reached(namespace, u64::MAX, at)
    }
}

/// What the watches have seen. A cache may be late, never ahead.
#[derive(Debug, Clone)]
pub struct Caches {
    pub(crate) pods: Cache<Pod>,
    pub(crate) stateful_sets: Cache<StatefulSet>,
    pub(crate) controller_revisions: Cache<ControllerRevision>,
    pub(crate) services: Cache<Service>,
    pub(crate) config_maps: Cache<ConfigMap>,
    pub(crate) network_policies: Cache<NetworkPolicy>,
    pub(crate) budgets: Cache<PodDisruptionBudget>,
    pub(crate) nodes: LostNodes,
    /// Snapshots that wait for jobs.
    pub(crate) waiting: Waiting,
    pub(crate) own_jobs: OwnCache<StreamJob>,
    pub(crate) own_snapshots: OwnCache<StreamSnapshot>,
    /// Set once every cache has seen the cluster.
    seen: Arc<SetOnce<()>>,
}

impl Caches {
    /// Empty caches of these namespaces.
    pub(crate) fn new(
        scopes: &[Option<String>],
        jobs: Store<StreamJob>,
        snapshots: Store<StreamSnapshot>,
        waiting: Waiting,
    ) -> Self {
        Self {
            pods: Cache::new(scopes),
            stateful_sets: Cache::new(scopes),
            controller_revisions: Cache::new(scopes),
            services: Cache::new(scopes),
            config_maps: Cache::new(scopes),
            network_policies: Cache::new(scopes),
            budgets: Cache::new(scopes),
            nodes: LostNodes::default(),
            waiting,
            own_jobs: OwnCache::new(jobs, scopes),
            own_snapshots: OwnCache::new(snapshots, scopes),
            seen: Arc::default(),
        }
    }

    /// Waits until every cache has seen the cluster once: before that, "no pods" means nothing.
    pub(crate) async fn filled(&self) {
        self.seen.wait().await;
    }

    /// Waits until every cache has seen the cluster, and lets [`Self::filled`] go on.
    pub(crate) async fn fill(&self) {
        tokio::join!(
            self.pods.filled(),
            self.stateful_sets.filled(),
            self.controller_revisions.filled(),
            self.services.filled(),
            self.config_maps.filled(),
            self.network_policies.filled(),
            self.budgets.filled(),
            self.nodes.filled(),
            self.own_jobs.lists.filled(),
            self.own_snapshots.lists.filled(),
        );
        let _ = self.seen.set(());
    }

    /// The cache of a kind.
    fn of(&self, kind: Kind) -> &dyn Watched {
        match kind {
            Kind::StreamJob => &self.own_jobs,
            Kind::StreamSnapshot => &self.own_snapshots,
            Kind::StatefulSet => &self.stateful_sets,
            Kind::ControllerRevision => &self.controller_revisions,
            Kind::Service => &self.services,
            Kind::ConfigMap => &self.config_maps,
            Kind::NetworkPolicy => &self.network_policies,
            Kind::PodDisruptionBudget => &self.budgets,
            Kind::Pod => &self.pods,
        }
    }

    /// Whether the caches show what was written for an object of kind `own` at some time.
    pub(crate) fn show<K: ResourceExt>(
        &self,
        (own, object): (Kind, &K),
        written: &Written,
        at: Instant,
    ) -> bool {
        let of = (object.namespace().unwrap_or_default(), object.name_any());
        match written {
            // The object itself tells its version.
            Written::Version {
                kind,
                version: known,
            } if *kind == own => {
                version(object) >= *known || self.of(*kind).lists().reached(&of.0, u64::MAX, at)
            }
            Written::Version { kind, version } => {
                self.of(*kind).lists().reached(&of.0, *version, at)
            }
            // Whatever a list shows that began since is how it is: another client may have been
            // faster, and it is still there.
            Written::Gone { kind, name, uid } => self.of(*kind).shows_gone(&of, name, uid, at),
        }
    }

    /// A job by its name.
    pub(crate) fn job(&self, namespace: &str, name: &str) -> Option<Arc<StreamJob>> {
        self.own_jobs
            .store
            .get(&ObjectRef::new(name).within(namespace))
    }

    /// A snapshot by its name.
    pub(crate) fn snapshot(&self, namespace: &str, name: &str) -> Option<Arc<StreamSnapshot>> {
        self.own_snapshots
            .store
            .get(&ObjectRef::new(name).within(namespace))
    }

    /// Demands that a cache be filled anew. Returns whether it will be.
    pub(crate) fn list_again(&self, kind: Kind) -> bool {
        self.of(kind).lists().demand(Instant::now())
    }
}
