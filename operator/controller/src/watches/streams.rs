//! The watches as streams: what changed, and which job a change belongs to.

use std::collections::HashSet;

use futures::{
    Stream, StreamExt,
    channel::mpsc::UnboundedSender,
    future::ready,
    stream::{self, select_all},
};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt, predicates, reflector::ObjectRef, watcher,
    },
};
use streamkeeper_api::{names::MANAGER, v1alpha1::StreamJob};
use streamkeeper_lifecycle::{Child, KeptPod};
use tokio::{sync::watch, time::Instant};

use crate::{
    kube_ext::Namespaced,
    watches::{
        cache::Cache,
        caches::Caches,
        multi_namespace_store::{MultiNamespaceStore, Seen},
        unreadable::{Own, Sight, Unreadable, complain as complain_of, readable, sight},
    },
};

/// Objects in an answer to a list: all of them are in memory at once, as text and as objects, for
/// each kind.
const PAGE: u32 = 100;

/// Annotation with the whole manifest, as `kubectl apply` leaves it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A part that is told of every change of a kind.
pub(crate) trait Follow<K>: Send + 'static {
    fn follow(&self, seen: &Seen<K>);
}

/// What people change of objects of one of our kinds: specs, finalizers, annotations. Status is our
/// own.
pub(crate) fn spec_changes<K: Namespaced + Own, F: Follow<K>>(
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

/// Removes the managed fields and the manifest that kubectl applied: the operator reads neither,
/// and together they are larger than the rest of an object.
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
pub(crate) fn children<K: Child + Namespaced>(
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
pub(crate) fn jobs_of_nodes(
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
