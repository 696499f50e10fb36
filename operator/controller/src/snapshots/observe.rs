//! The job, its coordinator and the work on the folder into facts.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{Resource, ResourceExt};
use streamkeeper_api::v1alpha1::{StreamJob, StreamJobStatus, StreamSnapshot};
use streamkeeper_lifecycle::{
    Fact, Refusal, Settings,
    revision::record::storage_of,
    snapshots::{SnapshotInput, SnapshotJob, WorkState, is_at_rest, is_decided_by, key},
};
use streamkeeper_protocol::job_api::Operation;
use tokio::time::Instant;

use crate::kube_ext::get;
use crate::{
    context::shared::Context,
    jobs::observe::{held_storage, operation_of},
    reconcile::error::ReconcileError,
    snapshots::needs::needed_by,
};

/// What was seen of a snapshot.
pub(crate) struct Observed {
    job: Option<SnapshotJob>,
    /// Its job, for events.
    pub(crate) job_reference: Option<ObjectReference>,
    operation: Fact<Option<Operation>>,
    work: WorkState,
    refusal: Option<Refusal>,
    needed_by: Option<String>,
}

impl Observed {
    pub(crate) fn input<'a>(
        &'a self,
        snapshot: &'a StreamSnapshot,
        settings: &'a Settings,
        now: Timestamp,
    ) -> SnapshotInput<'a> {
        SnapshotInput {
            snapshot,
            job: self.job.as_ref(),
            settings,
            operation: &self.operation,
            work: &self.work,
            refusal: self.refusal.as_ref(),
            needed_by: self.needed_by.as_deref(),
            now,
        }
    }
}

/// Everything that a decision about a snapshot may depend on.
pub(crate) async fn observe(
    snapshot: &StreamSnapshot,
    context: &Context,
) -> Result<Observed, ReconcileError> {
    let namespace = snapshot.namespace().unwrap_or_default();
    let uid = snapshot.uid().unwrap_or_default();
    let job = job(snapshot, &namespace, context).await?;
    let job_reference = job.as_ref().map(|job| job.object_ref(&()));
    let job = job.map(|job| facts(&job, context));
    let began = Instant::now();
    let operation = operation(snapshot, job.as_ref(), context).await;
    context.answered_after(&uid, began.elapsed());
    let work = context.works.state(&uid);
    Ok(Observed {
        needed_by: needed_by(snapshot, &namespace, &work, context).await?,
        work,
        refusal: context.refusal(&uid),
        job,
        job_reference,
        operation,
    })
}

/// The job of a snapshot that is not at rest: there may be thousands of those. The cache of jobs
/// will do, but where something is decided for good by it.
async fn job(
    snapshot: &StreamSnapshot,
    namespace: &str,
    context: &Context,
) -> Result<Option<Arc<StreamJob>>, ReconcileError> {
    let named = snapshot.spec.job_ref.as_ref();
    let Some(name) = named
        .map(|job| job.name.as_str())
        .filter(|_| !is_at_rest(snapshot))
    else {
        return Ok(None);
    };
    let caches = &context.caches;
    // Before the cache is asked: what changes in between is told of.
    let key = (namespace.to_owned(), name.to_owned());
    caches.waiting.wait(key, snapshot);
    let cached = caches.job(namespace, name);
    let known = cached.as_ref().map(|job| facts(job, context));
    if !is_decided_by(snapshot, known.as_ref()) {
        return Ok(cached);
    }
    let fresh = get::<StreamJob>(&context.client.0, namespace, name).await?;
    Ok(fresh.map(Arc::new))
}

fn facts(job: &StreamJob, context: &Context) -> SnapshotJob {
    let status = job.status.as_ref();
    SnapshotJob {
        name: job.name_any(),
        namespace: job.namespace().unwrap_or_default(),
        uid: job.uid().unwrap_or_default(),
        current: status.and_then(StreamJobStatus::current_revision),
        deleting: job.metadata.deletion_timestamp.is_some(),
        suspended: job.spec.suspend,
        completed: status.is_some_and(|status| status.completion_time.is_some()),
        storage: storage_of(job, &context.settings, held_storage(job, context).as_ref())
            .map_err(|error| error.to_string()),
    }
}

async fn operation(
    snapshot: &StreamSnapshot,
    job: Option<&SnapshotJob>,
    context: &Context,
) -> Fact<Option<Operation>> {
    let deleting = snapshot.metadata.deletion_timestamp.is_some();
    let asked = snapshot.spec.import_from.is_none()
        && snapshot.status.as_ref().is_some_and(|status| {
            status.uri.is_some() && (deleting || status.completion_time.is_none())
        });
    let Some((job, revision)) = job
        .filter(|_| asked)
        .and_then(|job| Some((job, job.current?)))
    else {
        return Fact::unknown("not asked");
    };
    let at = (job.namespace.as_str(), job.name.as_str(), revision);
    operation_of(context, at, &key(snapshot)).await
}
