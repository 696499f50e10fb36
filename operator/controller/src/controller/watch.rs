//! The watches, their caches, and which job a change belongs to.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{
    FutureExt, Stream, StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    future::{BoxFuture, ready},
    stream::{self, select_all},
};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Node, NodeCondition, NodeStatus, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller, Predicate, PredicateConfig, WatchStreamExt,
        controller::{Action as Requeue, Config as ControllerConfig},
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use streamkeeper_api::{
    names::MANAGER,
    v1alpha1::{StreamJob, StreamSnapshot},
};
use streamkeeper_lifecycle::{Child, KeptPod};
use tokio::{
    sync::{SetOnce, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    cache::{Cache, LostNodes, is_gone},
    context::Context,
    error::ReconcileError,
    expectations::{Kind, Written},
    multi_namespace_store::{MultiNamespaceStore, OwnLists, Seen},
    reconcile::{on_error, reconcile},
    snapshots::{self, Waiting},
    turns,
    unreadable::{Own, Sight, Unreadable, complain as complain_of, readable, sight, tell_all},
};
use crate::{health::Readiness, kube_ext::Namespaced};

/// Objects in an answer to a list: all of them are in memory at once, as text and as objects, for
/// each kind.
const PAGE: u32 = 100;

/// Annotation with the whole manifest, as `kubectl apply` leaves it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Reconciles at most this many objects of a kind at once; one without a turn is put off at once.
const CONCURRENCY: u16 = turns::ALL;

/// What the watches have seen. A cache may be late, never ahead.
#[derive(Debug, Clone)]
pub struct Caches {
    pub(super) pods: Cache<Pod>,
    pub(super) stateful_sets: Cache<StatefulSet>,
    pub(super) controller_revisions: Cache<ControllerRevision>,
    pub(super) services: Cache<Service>,
    pub(super) config_maps: Cache<ConfigMap>,
    pub(super) network_policies: Cache<NetworkPolicy>,
    pub(super) budgets: Cache<PodDisruptionBudget>,
    pub(super) nodes: LostNodes,
    /// All snapshots, whose ever they are.
    pub(super) snapshots: Store<StreamSnapshot>,
    /// All jobs.
    pub(super) jobs: Store<StreamJob>,
    /// Snapshots that wait for jobs.
    pub(super) waiting: Waiting,
    job_lists: OwnLists,
    snapshot_lists: OwnLists,
    /// Set once every cache has seen the cluster.
    seen: Arc<SetOnce<()>>,
}

impl Caches {
    /// Empty caches of these namespaces.
    fn new(
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
            snapshots,
            jobs,
            waiting,
            job_lists: OwnLists::new(scopes),
            snapshot_lists: OwnLists::new(scopes),
            seen: Arc::default(),
        }
    }

    /// Waits until every cache has seen the cluster once: before that, "no pods" means nothing.
    pub(super) async fn filled(&self) {
        self.seen.wait().await;
    }

    async fn fill(&self) {
        tokio::join!(
            self.pods.filled(),
            self.stateful_sets.filled(),
            self.controller_revisions.filled(),
            self.services.filled(),
            self.config_maps.filled(),
            self.network_policies.filled(),
            self.budgets.filled(),
            self.nodes.filled(),
            self.job_lists.filled(),
            self.snapshot_lists.filled(),
        );
        let _ = self.seen.set(());
    }

    /// Whether the caches show what was written for a job at some time.
    pub(super) fn show(&self, job: &StreamJob, written: &Written, at: Instant) -> bool {
        let of = (job.namespace().unwrap_or_default(), job.name_any());
        let namespace = &of.0;
        match written {
            Written::Version { kind, version } => match kind {
                Kind::StreamJob => {
                    super::watch_progress::version(job) >= *version
                        || self.job_lists.lists.reached(namespace, u64::MAX, at)
                }
                Kind::StreamSnapshot => self.snapshot_lists.lists.reached(namespace, *version, at),
                Kind::StatefulSet => self.stateful_sets.lists.reached(namespace, *version, at),
                Kind::ControllerRevision => self
                    .controller_revisions
                    .lists
                    .reached(namespace, *version, at),
                Kind::Service => self.services.lists.reached(namespace, *version, at),
                Kind::ConfigMap => self.config_maps.lists.reached(namespace, *version, at),
                Kind::NetworkPolicy => self.network_policies.lists.reached(namespace, *version, at),
                Kind::PodDisruptionBudget => self.budgets.lists.reached(namespace, *version, at),
                Kind::Pod => self.pods.lists.reached(namespace, *version, at),
            },
            // Whatever a list shows that began since is how it is: somebody else may have been
            // faster, and it is still there.
            Written::Gone {
                kind,
                name: object,
                uid,
            } => match kind {
                Kind::StreamJob => true,
                Kind::StreamSnapshot => {
                    let found = self.snapshot(namespace, object);
                    found.is_none_or(|found| is_gone(found.as_ref(), uid))
                        || self.snapshot_lists.lists.reached(namespace, u64::MAX, at)
                }
                Kind::StatefulSet => self.stateful_sets.shows_gone(&of, object, uid, at),
                Kind::ControllerRevision => {
                    self.controller_revisions.shows_gone(&of, object, uid, at)
                }
                Kind::Service => self.services.shows_gone(&of, object, uid, at),
                Kind::ConfigMap => self.config_maps.shows_gone(&of, object, uid, at),
                Kind::NetworkPolicy => self.network_policies.shows_gone(&of, object, uid, at),
                Kind::PodDisruptionBudget => self.budgets.shows_gone(&of, object, uid, at),
                Kind::Pod => self.pods.shows_gone(&of, object, uid, at),
            },
        }
    }

    /// A job by its name.
    pub(super) fn job(&self, namespace: &str, name: &str) -> Option<Arc<StreamJob>> {
        self.jobs.get(&ObjectRef::new(name).within(namespace))
    }

    /// A snapshot by its name.
    pub(super) fn snapshot(&self, namespace: &str, name: &str) -> Option<Arc<StreamSnapshot>> {
        self.snapshots.get(&ObjectRef::new(name).within(namespace))
    }

    /// Demands that a cache be filled anew; answers whether it will be.
    pub(super) fn list_again(&self, kind: Kind) -> bool {
        let lists = match kind {
            Kind::StreamJob => &self.job_lists.lists,
            Kind::StreamSnapshot => &self.snapshot_lists.lists,
            Kind::StatefulSet => &self.stateful_sets.lists,
            Kind::ControllerRevision => &self.controller_revisions.lists,
            Kind::Service => &self.services.lists,
            Kind::ConfigMap => &self.config_maps.lists,
            Kind::NetworkPolicy => &self.network_policies.lists,
            Kind::PodDisruptionBudget => &self.budgets.lists,
            Kind::Pod => &self.pods.lists,
        };
        lists.demand(Instant::now())
    }
}

/// Runs the controller over these namespaces (none means all) until `stop`. `context` is made from
/// the caches.
pub async fn run(
    client: Client,
    scopes: &[Option<String>],
    readiness: Readiness,
    stop: CancellationToken,
    context: impl FnOnce(Caches) -> Context,
) {
    let (jobs, job_writer) = reflector::store::<StreamJob>();
    let (snapshots, snapshot_writer) = reflector::store::<StreamSnapshot>();
    let (waiting, woken) = Waiting::new();
    let caches = Caches::new(scopes, jobs.clone(), snapshots.clone(), waiting);
    let context = Arc::new(context(caches.clone()));
    let parts = (&client, scopes);
    let (told, unreadable) = unbounded();
    let job_changes = spec_changes(
        parts,
        MultiNamespaceStore::new(job_writer, jobs.clone(), scopes, caches.job_lists.clone()),
        Followers(context.clone()),
        told.clone(),
    );
    let snapshot_changes = spec_changes(
        parts,
        MultiNamespaceStore::new(
            snapshot_writer,
            snapshots.clone(),
            scopes,
            caches.snapshot_lists.clone(),
        ),
        Followers(context.clone()),
        told,
    );

    let controller = Controller::for_stream(job_changes, jobs)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
        .reconcile_on(children(parts, &caches.pods))
        .reconcile_on(children(parts, &caches.stateful_sets))
        .reconcile_on(children(parts, &caches.controller_revisions))
        .reconcile_on(children(parts, &caches.services))
        .reconcile_on(children(parts, &caches.config_maps))
        .reconcile_on(children(parts, &caches.network_policies))
        .reconcile_on(children(parts, &caches.budgets))
        .reconcile_on(jobs_of_nodes(&client, &caches))
        .graceful_shutdown_on(stop.clone().cancelled_owned());

    let snapshot_controller = Controller::for_stream(snapshot_changes, snapshots)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
        .reconcile_on(woken)
        .graceful_shutdown_on(stop.clone().cancelled_owned());

    let filling = async {
        caches.fill().await;
        readiness.ready();
        tracing::info!("watching StreamJobs");
    };
    let (of_jobs, of_snapshots) = (context.clone(), context.clone());
    let telling = context.clone();
    let telling = async {
        tokio::select! {
            () = tell_all(unreadable, &telling) => {}
            () = stop.cancelled() => {}
        }
    };
    let running = controller
        .run(in_turn(&stop, reconcile), on_error, context.clone())
        .for_each(move |outcome| {
            tell(outcome, &of_jobs);
            ready(())
        });
    let taking = snapshot_controller
        .run(
            in_turn(&stop, snapshots::reconcile),
            snapshots::on_error,
            context,
        )
        .for_each(move |outcome| {
            tell(outcome, &of_snapshots);
            ready(())
        });
    tokio::join!(filling, running, taking, telling);
}

/// `reconcile`, once this replica leads.
fn in_turn<K, F>(
    stop: &CancellationToken,
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> F + Clone + Send + 'static,
) -> impl FnMut(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Requeue, ReconcileError>>
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
    F: Future<Output = Result<Requeue, ReconcileError>> + Send + 'static,
{
    let stop = stop.clone();
    move |object, context| {
        let (stop, reconcile) = (stop.clone(), reconcile.clone());
        async move {
            if context.leadership.leads() {
                let namespace = object.meta().namespace.clone().unwrap_or_default();
                let slow = context.is_slow(object.meta().uid.as_deref().unwrap_or_default());
                return match context.turns.take(&namespace, slow) {
                    Ok(_turn) => reconcile(object, context).await,
                    Err(again) => Ok(Requeue::requeue(again)),
                };
            }
            // Its turn comes with the Lease.
            tokio::select! {
                () = context.leadership.led() => {}
                () = stop.cancelled() => {}
            }
            // What was read of it, or remembered, is old by now.
            context.forget_all_of(object.as_ref());
            Ok(Requeue::requeue(Duration::ZERO))
        }
        .boxed()
    }
}

/// Whoever has to know of every change of a kind.
trait Follow<K>: Send + 'static {
    fn follow(&self, seen: &Seen<K>);
}

/// Nothing is remembered of what is gone, and who waits for a job hears of it.
struct Followers(Arc<Context>);

impl Follow<StreamJob> for Followers {
    fn follow(&self, seen: &Seen<StreamJob>) {
        for job in seen.changed.iter().chain(&seen.gone) {
            let key = (job.namespace().unwrap_or_default(), job.name_any());
            self.0.caches.waiting.changed(&key);
        }
        for job in &seen.gone {
            self.0.forget_all_of(job);
        }
    }
}

impl Follow<StreamSnapshot> for Followers {
    fn follow(&self, seen: &Seen<StreamSnapshot>) {
        for snapshot in &seen.gone {
            self.0.caches.waiting.forget(snapshot);
            self.0.forget_all_of(snapshot);
        }
    }
}

/// What people change of objects of one of our kinds: specs, finalizers, annotations. Status is our
/// own.
fn spec_changes<K: Namespaced + Own, F: Follow<K>>(
    (client, scopes): (&Client, &[Option<String>]),
    mut merged_store: MultiNamespaceStore<K>,
    follower: F,
    told: UnboundedSender<Unreadable>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K, F> {
    let all = watcher::Config::default().page_size(PAGE);
    watches(client, scopes, &all, &merged_store.own.lists.demands())
        .flat_map(move |(scope, sight)| {
            let seen = match sight {
                Sight::Event(event) => merged_store.see(scope, event, Instant::now()),
                Sight::Unreadable(object) => {
                    complain_of(&K::kind(&()), &object);
                    // The other end lives as long as the controller.
                    let _ = told.unbounded_send(K::unreadable(&object));
                    merged_store.lose(&object.metadata)
                }
            };
            follower.follow(&seen);
            stream::iter(seen.changed)
        })
        .map(Ok::<K, watcher::Error>)
        .predicate_filter(
            predicates::generation
                .combine(predicates::finalizers)
                .combine(predicates::annotations),
            PredicateConfig::default(),
        )
}

fn tell<T, E, Q>(outcome: Result<T, kube::runtime::controller::Error<E, Q>>, context: &Context)
where
    E: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    use kube::runtime::controller::Error::{ObjectNotFound, ReconcilerFailed};
    match outcome {
        Ok(_) => {}
        Err(ObjectNotFound(gone)) => {
            // It went while somebody looked at it.
            context.forget(gone.extra.uid.as_deref().unwrap_or_default());
        }
        Err(error @ ReconcilerFailed(..)) => tracing::debug!(%error, "reconcile"),
        Err(other) => tracing::warn!(error = %other, "watch"),
    }
}

/// What the watches of one kind see, one watch for each namespace. A watch that fails is tried
/// again, later and later; the others go on meanwhile.
fn watches<K: Namespaced>(
    client: &Client,
    scopes: &[Option<String>],
    config: &watcher::Config,
    demands: &watch::Receiver<u64>,
) -> impl Stream<Item = (usize, Sight<K>)> + Send + use<K> {
    let one = |(scope, namespace): (usize, &Option<String>)| {
        let api: Api<DeserializeGuard<K>> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let config = config.clone();
        let begin = move || {
            watcher(api.clone(), config.clone())
                .default_backoff()
                .modify(trim_read)
        };
        restartable(begin, demands.clone())
            .filter_map(|seen| async { seen.map_err(|error| complain::<K>(&error)).ok() })
            .map(move |event| (scope, sight(event)))
            .boxed()
    };
    select_all(scopes.iter().enumerate().map(one))
}

/// Nobody looks at who set which field, nor at the manifest as kubectl applied it: together more
/// than the rest of an object.
fn trim<K: ResourceExt>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

fn trim_read<K: Resource>(object: &mut DeserializeGuard<K>) {
    if let Ok(object) = &mut object.0 {
        trim(object);
    }
}

fn complain<K: Resource<DynamicType = ()>>(error: &watcher::Error) {
    tracing::warn!(kind = %K::kind(&()), %error, "watch; trying again");
}

/// A stream that begins anew whenever that is demanded.
fn restartable<S: Stream + Send + 'static>(
    begin: impl Fn() -> S + Send + 'static,
    demands: watch::Receiver<u64>,
) -> impl Stream<Item = S::Item> + Send + 'static
where
    S::Item: Send,
{
    stream::unfold(
        (Box::pin(begin()), begin, demands),
        |(mut current, begin, mut demands)| async move {
            loop {
                tokio::select! {
                    item = current.next() => return Some((item?, (current, begin, demands))),
                    Ok(()) = demands.changed() => current.set(begin()),
                }
            }
        },
    )
}

/// The jobs whose children of one kind change.
fn children<K: Child + Namespaced>(
    (client, scopes): (&Client, &[Option<String>]),
    cache: &Cache<K>,
) -> impl Stream<Item = ObjectRef<StreamJob>> + Send + 'static {
    let ours = watcher::Config::default()
        .labels(&format!("app.kubernetes.io/managed-by={MANAGER}"))
        .page_size(PAGE);
    let cache = cache.clone();
    watches(client, scopes, &ours, &cache.lists.demands())
        .filter_map(|(scope, sight)| ready(readable(sight).map(|event| (scope, event))))
        .flat_map(move |(scope, event)| stream::iter(cache.see(scope, event, Instant::now())))
}

/// The jobs with a pod on a node that is lost, or comes back.
fn jobs_of_nodes(
    client: &Client,
    caches: &Caches,
) -> impl Stream<Item = ObjectRef<StreamJob>> + Send + 'static {
    let (nodes, pods) = (caches.nodes.clone(), caches.pods.clone());
    let all = watcher::Config::default().page_size(PAGE);
    watcher(Api::<DeserializeGuard<Node>>::all(client.clone()), all)
        .default_backoff()
        .modify(|node| {
            if let Ok(node) = &mut node.0 {
                trim_node(node);
            }
        })
        .flat_map(move |seen| {
            let changed = match seen {
                Ok(event) => match readable(sight(event)) {
                    Some(event) => nodes.see(&event),
                    None => HashSet::new(),
                },
                Err(error) if is_forbidden(&error) => {
                    if nodes.unseen() {
                        tracing::warn!(
                            "nodes may not be listed: pods of a lost node stay away until it is back or its Node is deleted; grant list and watch of nodes"
                        );
                    }
                    HashSet::new()
                }
                Err(error) => {
                    complain::<Node>(&error);
                    HashSet::new()
                }
            };
            let there = |pod: &KeptPod| pod.node().is_some_and(|node| changed.contains(node));
            let concerned = if changed.is_empty() {
                Vec::new()
            } else {
                pods.jobs_with(there)
            };
            stream::iter(concerned)
        })
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.is_forbidden(),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

/// Of a node only matters whether it is lost; there may be thousands.
fn trim_node(node: &mut Node) {
    node.managed_fields_mut().clear();
    node.metadata.annotations = None;
    node.metadata.labels = None;
    node.spec = None;
    if let Some(status) = node.status.take() {
        let ready = |condition: &NodeCondition| condition.type_ == "Ready";
        let conditions = status.conditions.map(|mut all| {
            all.retain(ready);
            all
        });
        node.status = Some(NodeStatus {
            conditions,
            ..NodeStatus::default()
        });
    }
}

/// Time between two looks at a job that is settled and silent.
pub(super) const SETTLED: Duration = Duration::from_mins(1);
