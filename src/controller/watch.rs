//! The watches, their caches, and which job a change belongs to.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{
            ConfigMap, Node, NodeCondition, NodeStatus, Pod, PodSpec, PodTemplateSpec, Service,
        },
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Controller, Predicate, PredicateConfig, WatchStreamExt,
        controller::Config as ControllerConfig,
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    reconcile::{on_error, reconcile},
    snapshots,
};
use crate::{
    api::{
        names::{JOB_LABEL, MANAGER},
        v1alpha1::{StreamJob, StreamSnapshot},
    },
    health::Readiness,
    lifecycle::lost_nodes,
};

/// Reconciles at most this many jobs at once.
const CONCURRENCY: u16 = 32;

/// What the watches have seen. A cache may be late, never ahead.
#[derive(Debug, Clone)]
pub struct Caches {
    pub(super) pods: Store<Pod>,
    pub(super) stateful_sets: Store<StatefulSet>,
    pub(super) controller_revisions: Store<ControllerRevision>,
    pub(super) services: Store<Service>,
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) nodes: Store<Node>,
    pub(super) snapshots: Store<StreamSnapshot>,
    /// Set once every cache has seen the cluster.
    seen: Arc<SetOnce<()>>,
}

type Writers = (
    reflector::store::Writer<Pod>,
    reflector::store::Writer<StatefulSet>,
    reflector::store::Writer<ControllerRevision>,
    reflector::store::Writer<Service>,
    reflector::store::Writer<ConfigMap>,
    reflector::store::Writer<Node>,
    reflector::store::Writer<StreamSnapshot>,
);

impl Caches {
    /// Empty caches and their writers.
    fn new() -> (Self, Writers) {
        let (pods, pods_writer) = reflector::store();
        let (stateful_sets, stateful_sets_writer) = reflector::store();
        let (controller_revisions, controller_revisions_writer) = reflector::store();
        let (services, services_writer) = reflector::store();
        let (config_maps, config_maps_writer) = reflector::store();
        let (nodes, nodes_writer) = reflector::store();
        let (snapshots, snapshots_writer) = reflector::store();
        (
            Self {
                pods,
                stateful_sets,
                controller_revisions,
                services,
                config_maps,
                nodes,
                snapshots,
                seen: Arc::default(),
            },
            (
                pods_writer,
                stateful_sets_writer,
                controller_revisions_writer,
                services_writer,
                config_maps_writer,
                nodes_writer,
                snapshots_writer,
            ),
        )
    }

    /// Waits until every cache has seen the cluster once: before that, "no pods" means nothing.
    pub(super) async fn filled(&self) {
        self.seen.wait().await;
    }

    /// Waits for the stores and lets everybody else go on. For one caller only: a store wakes nobody but the
    /// last one that asked it.
    async fn fill(&self) {
        let _ = tokio::join!(
            self.pods.wait_until_ready(),
            self.stateful_sets.wait_until_ready(),
            self.controller_revisions.wait_until_ready(),
            self.services.wait_until_ready(),
            self.config_maps.wait_until_ready(),
            self.nodes.wait_until_ready(),
            self.snapshots.wait_until_ready(),
        );
        let _ = self.seen.set(());
    }
}

/// Runs the controller over one namespace, or all, until `stop`. `context` is made from the caches.
pub async fn run(
    client: Client,
    namespace: Option<&str>,
    readiness: Readiness,
    stop: CancellationToken,
    context: impl FnOnce(Caches) -> Context,
) {
    let (
        caches,
        (pods, stateful_sets, controller_revisions, services, config_maps, nodes, snapshots_writer),
    ) = Caches::new();
    let context = Arc::new(context(caches.clone()));
    let (jobs, jobs_writer) = reflector::store::<StreamJob>();
    let triggers = wishes(watched::<StreamJob>(&client, namespace).reflect(jobs_writer));

    let jobs_of_nodes = {
        let pods = caches.pods.clone();
        watcher(Api::<Node>::all(client.clone()), watcher::Config::default())
            .default_backoff()
            .modify(trim_node)
            .reflect(nodes)
            .touched_objects()
            // Kubelets write every few seconds; only whether a node is lost matters.
            .predicate_filter(
                |node: &Node| Some(hash(&lost_nodes([node]))),
                PredicateConfig::default(),
            )
            .filter_map(|seen| async { seen.ok() })
            .flat_map(move |node| futures::stream::iter(jobs_on(&pods, &node.name_any())))
    };

    let controller = Controller::for_stream(triggers, jobs)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
        .watches_stream(
            children(&client, namespace, pods, trim_pod),
            |object: Pod| owner(&object),
        )
        .watches_stream(
            children(&client, namespace, stateful_sets, trim_stateful_set),
            |object: StatefulSet| owner(&object),
        )
        .watches_stream(
            children(&client, namespace, controller_revisions, |_| {}),
            |object: ControllerRevision| owner(&object),
        )
        .watches_stream(
            children(&client, namespace, services, |service| service.spec = None),
            |object: Service| owner(&object),
        )
        .watches_stream(
            children(&client, namespace, config_maps, |map| map.data = None),
            |object: ConfigMap| owner(&object),
        )
        .reconcile_on(jobs_of_nodes)
        .graceful_shutdown_on(stop.clone().cancelled_owned());

    let ready = async {
        caches.fill().await;
        readiness.ready();
        tracing::info!("watching StreamJobs");
    };
    let running = controller
        .run(reconcile, on_error, context.clone())
        .for_each(|outcome| async { tell(outcome) });
    let taking = snapshot_controller(&client, namespace, snapshots_writer, stop)
        .run(snapshots::reconcile, snapshots::on_error, context)
        .for_each(|outcome| async { tell(outcome) });
    tokio::join!(ready, running, taking);
}

/// The controller of StreamSnapshots. What it sees goes into the cache as well: the store of a controller wakes nobody but itself.
fn snapshot_controller(
    client: &Client,
    namespace: Option<&str>,
    cache: reflector::store::Writer<StreamSnapshot>,
    stop: CancellationToken,
) -> Controller<StreamSnapshot> {
    let (snapshots, writer) = reflector::store::<StreamSnapshot>();
    let seen = watched::<StreamSnapshot>(client, namespace);
    let triggers = wishes(seen.reflect(cache).reflect(writer));
    Controller::for_stream(triggers, snapshots)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop.cancelled_owned())
}

/// All objects of one of our kinds.
fn watched<K>(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    watcher(scoped::<K>(client, namespace), watcher::Config::default())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
}

/// Of what was seen, what people changed: specs, finalizers, annotations. Status is our own.
fn wishes<K>(
    seen: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    seen.applied_objects().predicate_filter(
        predicates::generation
            .combine(predicates::finalizers)
            .combine(predicates::annotations),
        PredicateConfig::default(),
    )
}

fn tell<T, E, Q>(outcome: Result<T, kube::runtime::controller::Error<E, Q>>)
where
    E: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    use kube::runtime::controller::Error::{ObjectNotFound, ReconcilerFailed};
    match outcome {
        Ok(_) => {}
        Err(error @ (ObjectNotFound(_) | ReconcilerFailed(..))) => {
            tracing::debug!(%error, "reconcile");
        }
        Err(other) => tracing::warn!(error = %other, "watch"),
    }
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    namespace.map_or_else(
        || Api::all(client.clone()),
        |namespace| Api::namespaced(client.clone(), namespace),
    )
}

/// The operator's own children of one kind, cached without what `trim` takes off, with their deletions.
fn children<K>(
    client: &Client,
    namespace: Option<&str>,
    writer: reflector::store::Writer<K>,
    trim: impl Fn(&mut K) + Copy + Send + 'static,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let ours =
        watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    watcher(scoped::<K>(client, namespace), ours)
        .default_backoff()
        .modify(move |object| {
            object.managed_fields_mut().clear();
            trim(object);
        })
        .reflect(writer)
        .touched_objects()
        .predicate_filter(predicates::resource_version, PredicateConfig::default())
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

/// Of a pod matter its node and how it does.
fn trim_pod(pod: &mut Pod) {
    pod.metadata.annotations = None;
    if let Some(spec) = pod.spec.take() {
        pod.spec = Some(PodSpec {
            node_name: spec.node_name,
            ..PodSpec::default()
        });
    }
}

/// Of a StatefulSet matters how many pods it asks for.
fn trim_stateful_set(set: &mut StatefulSet) {
    set.status = None;
    if let Some(spec) = &mut set.spec {
        spec.template = PodTemplateSpec::default();
    }
}

/// The job that a child belongs to, by its label.
fn owner<K: ResourceExt>(child: &K) -> Option<ObjectRef<StreamJob>> {
    let name = child.labels().get(JOB_LABEL)?;
    Some(ObjectRef::new(name).within(&child.namespace()?))
}

/// The jobs with a pod on a node.
fn jobs_on(pods: &Store<Pod>, node: &str) -> HashSet<ObjectRef<StreamJob>> {
    let there =
        |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    pods.state()
        .iter()
        .filter(|pod| there(pod))
        .filter_map(|pod| owner(pod.as_ref()))
        .collect()
}

fn hash(lost: &BTreeMap<String, Timestamp>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, since) in lost {
        name.hash(&mut hasher);
        since.as_millisecond().hash(&mut hasher);
    }
    hasher.finish()
}

/// Time between two looks at a job that is settled and silent.
pub(super) const SETTLED: Duration = Duration::from_mins(1);
