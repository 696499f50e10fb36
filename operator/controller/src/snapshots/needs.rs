//! Which jobs snapshots are kept for.

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
    core::discovery::ApiResource,
};
use streamkeeper_api::v1alpha1::{DeletionPolicy, StreamJob, StreamSnapshot};
use streamkeeper_lifecycle::{
    SnapshotFacts,
    snapshots::{Place, Work, WorkState, needs},
};

use crate::kube_ext::bounded;
use crate::{context::shared::Context, reconcile::error::ReconcileError, watches::caches::Caches};

/// Notes which of the snapshots that the operator took are needed, as far as retention may ask: it
/// never drops the last one.
pub(crate) fn mark(caches: &Caches, namespace: &str, found: &mut [SnapshotFacts]) {
    let taken = |found: &&mut SnapshotFacts| found.trigger.is_some();
    if found.iter_mut().filter(taken).count() < 2 {
        return;
    }
    let mut jobs = caches.own_jobs.store.state();
    jobs.retain(|job| asks(job));
    for snapshot in found.iter_mut().filter(taken) {
        let place = (namespace, snapshot.name.as_str(), snapshot.uri.as_deref());
        let needed = jobs.iter().any(|job| needs(job, place));
        snapshot.needed = needed;
    }
}

/// Whether a job may need any snapshot: few do.
fn asks(job: &StreamJob) -> bool {
    let transition = job.status.as_ref();
    let transition = transition.and_then(|status| status.transition.as_ref());
    job.spec.restore_from.is_some()
        || transition.is_some_and(|transition| transition.restores.is_some())
}

/// A job that needs this snapshot, if its folder is about to be removed. That a cache shows one
/// will do to wait; that there is none, the API server says.
pub(crate) async fn needed_by(
    snapshot: &StreamSnapshot,
    namespace: &str,
    work: &WorkState,
    context: &Context,
) -> Result<Option<String>, ReconcileError> {
    let removes = snapshot.metadata.deletion_timestamp.is_some()
        && snapshot.spec.deletion_policy == DeletionPolicy::Delete;
    let begun = matches!(
        work,
        WorkState::Running {
            work: Work::Remove,
            ..
        } | WorkState::Done {
            work: Work::Remove,
            ..
        }
    );
    let status = snapshot.status.as_ref();
    let Some(folder) = status
        .and_then(|status| status.uri.as_deref())
        .filter(|_| removes && !begun)
    else {
        return Ok(None);
    };
    let name = snapshot.name_any();
    let place = (namespace, name.as_str(), Some(folder));
    let cached = context.caches.own_jobs.store.state();
    if let Some(job) = cached.iter().find(|job| needs(job, place)) {
        let key = (job.namespace().unwrap_or_default(), job.name_any());
        context.caches.waiting.wait(key, snapshot);
        return Ok(Some(job.name_any()));
    }
    let resource = ApiResource::erase::<StreamJob>(&());
    let client = context.client.0.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let jobs = bounded(
        "list",
        format!("StreamJobs in {namespace}"),
        api.list(&ListParams::default()),
    )
    .await?;
    let found = jobs.items.iter().find(|job| may_need(job, place));
    Ok(found.map(ResourceExt::name_any))
}

/// Whether a job needs a snapshot; one that cannot be read does when it names it anywhere where it
/// could.
fn may_need(job: &DynamicObject, place: Place<'_>) -> bool {
    let read = job.clone().try_parse::<StreamJob>();
    let (_, name, folder) = place;
    match read {
        Ok(job) => needs(&job, place),
        Err(_) => [
            &job.data["spec"]["restoreFrom"],
            &job.data["status"]["transition"]["restores"],
        ]
        .into_iter()
        .any(|asked| {
            let asked = asked.to_string();
            asked.contains(name) || folder.is_some_and(|folder| asked.contains(folder))
        }),
    }
}
