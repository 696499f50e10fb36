//! The controller: watches, and one reconcile loop for each of the operator's kinds.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    channel::mpsc::unbounded,
    future::{BoxFuture, ready},
};
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        Controller,
        controller::{Action as Requeue, Config as ControllerConfig},
        reflector,
    },
};
use streamkeeper_api::v1alpha1::{StreamJob, StreamSnapshot};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{shared::Context, turns},
    health::Readiness,
    reconcile::{error::ReconcileError, on_error, reconcile, tell_unreadable::tell_all},
    watches::{
        caches::Caches,
        multi_namespace_store::{MultiNamespaceStore, Seen},
        streams::{Follow, children, jobs_of_nodes, spec_changes},
        waiting::Waiting,
    },
};

/// Reconciles at most this many objects of a kind at once; one without a turn is put off at once.
const CONCURRENCY: u16 = turns::ALL;

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
        MultiNamespaceStore::new(
            job_writer,
            jobs.clone(),
            scopes,
            caches.own_jobs.lists.clone(),
        ),
        Followers(context.clone()),
        told.clone(),
    );
    let snapshot_changes = spec_changes(
        parts,
        MultiNamespaceStore::new(
            snapshot_writer,
            snapshots.clone(),
            scopes,
            caches.own_snapshots.lists.clone(),
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
        .run(
            in_turn(&stop, reconcile::<StreamJob>),
            on_error::<StreamJob>,
            context.clone(),
        )
        .for_each(move |outcome| {
            tell(outcome, &of_jobs);
            ready(())
        });
    let taking = snapshot_controller
        .run(
            in_turn(&stop, reconcile::<StreamSnapshot>),
            on_error::<StreamSnapshot>,
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

fn tell<T, E, Q>(outcome: Result<T, kube::runtime::controller::Error<E, Q>>, context: &Context)
where
    E: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    use kube::runtime::controller::Error::{ObjectNotFound, ReconcilerFailed};
    match outcome {
        Ok(_) => {}
        Err(ObjectNotFound(gone)) => {
            // It went while a reconcile looked at it.
            context.forget(gone.extra.uid.as_deref().unwrap_or_default());
        }
        Err(error @ ReconcilerFailed(..)) => tracing::debug!(%error, "reconcile"),
        Err(other) => tracing::warn!(error = %other, "watch"),
    }
}
