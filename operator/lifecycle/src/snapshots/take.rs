//! Not complete yet: taking it of a running job, or reading one that lies in a bucket.

use std::time::Duration;

use streamkeeper_api::{
    names::TRIGGER_LABEL,
    v1alpha1::{CheckpointStatus, SnapshotPhase},
};
use streamkeeper_protocol::{head::OperationResult, job_api::SavepointRequest, paths::StatePaths};

use crate::plan::units::{bytes, millis_at, seconds, time};
use crate::{
    observed::facts::Fact,
    plan::{action::EventKind, plan_builder::back_off},
    revision::storage::ResolvedStorage,
    snapshots::{
        action::{SnapshotAction, key},
        folder,
        folder_work::{Content, Trouble, TroubleKind, Work},
        input::SnapshotJob,
        plan_builder::{
            NOT_VERIFIED, SELDOM, SOON, SnapshotPlanBuilder, Verdict, WorkWait, time_left, waiting,
        },
    },
};

/// It is not complete yet.
pub(super) fn take(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    let spec = &plan.input.snapshot.spec;
    let now = plan.input.now;
    let begun = plan.status.start_time.get_or_insert_with(|| time(now)).0;
    if plan.status.phase.is_none() {
        plan.status.phase = Some(SnapshotPhase::Pending);
    }
    let verdict = match &spec.import_from {
        Some(import) => import_folder(plan, &import.uri),
        None => take_savepoint(plan),
    };
    if let Verdict::Reconciling(_, why) | Verdict::Stalled(_, why) = &verdict
        && !matches!(
            plan.status.phase,
            Some(SnapshotPhase::Failed | SnapshotPhase::Verifying)
        )
        && plan.passed(begun, spec.timeout.to_std())
    {
        let message = format!("it was not complete within {}: {why}", spec.timeout);
        return last_look(plan).unwrap_or_else(|| fail(plan, message));
    }
    if matches!(verdict, Verdict::Reconciling("Waiting", _)) && plan.status.uri.is_none() {
        let left = time_left(now, begun, spec.timeout.to_std());
        plan.requeue = plan.pace(begun, SOON, SELDOM).min(left.max(SOON));
    }
    verdict
}

/// Its time is over, which may have passed while no operator ran: the folder says whether it is
/// complete. None if it is not.
fn last_look(plan: &mut SnapshotPlanBuilder<'_>) -> Option<Verdict> {
    plan.status.uri.as_ref()?;
    // Nothing is asked for any more.
    plan.actions.clear();
    let imported = plan.input.snapshot.spec.import_from.is_some();
    let work = if imported {
        reading(plan)
    } else {
        Work::Inspect
    };
    let saved = matches!(
        plan.input.operation,
        Fact::Known(Some(operation)) if matches!(operation.result, OperationResult::Done { .. })
    );
    match folder::work(plan, work) {
        Ok(content) => Some(complete(plan, content, !imported || work == Work::Verify)),
        Err(WorkWait::Running(progress)) => Some(Verdict::Reconciling(
            "InProgress",
            format!("its time is over; looking at what there is{progress}"),
        )),
        // The coordinator has said that it is complete.
        Err(WorkWait::Trouble(trouble)) if saved => Some(report_trouble(plan, trouble)),
        Err(WorkWait::NotAllowed(why)) if saved => Some(unseen(plan, &why)),
        Err(WorkWait::Trouble(_) | WorkWait::NotAllowed(_)) => None,
    }
}

/// How the folder of an import is read: the coordinator that wrote it has compared the
/// checksums of its own savepoint.
fn reading(plan: &SnapshotPlanBuilder<'_>) -> Work {
    let labels = plan.input.snapshot.metadata.labels.as_ref();
    if labels.is_some_and(|labels| labels.contains_key(TRIGGER_LABEL)) {
        Work::Inspect
    } else {
        Work::Verify
    }
}

pub(super) fn fail(plan: &mut SnapshotPlanBuilder<'_>, message: String) -> Verdict {
    // What was begun is not begun again.
    plan.actions.clear();
    plan.actions.push(SnapshotAction::ForgetWork);
    plan.status.phase = Some(SnapshotPhase::Failed);
    plan.status.completion_time = Some(time(plan.input.now));
    plan.emit_event(EventKind::Warning, "SnapshotFailed", message.clone());
    Verdict::Stalled("SnapshotFailed", message)
}

/// It lies in a bucket already.
pub(super) fn import_folder(plan: &mut SnapshotPlanBuilder<'_>, uri: &str) -> Verdict {
    let named = plan.input.snapshot.spec.job_ref.as_ref();
    let settings = match (named, plan.input.job) {
        (Some(named), None) => {
            // The snapshot outlives the job that it was made of.
            match default_storage(plan) {
                Some(default) => Some(default.clone()),
                None => return waiting(format!("StreamJob {} does not exist", named.name)),
            }
        }
        (_, Some(job)) => match &job.storage {
            Ok(storage) => Some(storage.clone()),
            Err(why) => return waiting(why.clone()),
        },
        (None, None) => default_storage(plan),
    };
    if plan.status.uri.is_none() {
        plan.status.uri = Some(uri.trim_end_matches('/').to_owned());
        let settings = settings.as_ref();
        plan.status.endpoint = settings.and_then(|storage| storage.endpoint.clone());
        plan.status.region = settings.and_then(|storage| storage.region.clone());
        plan.status.phase = Some(SnapshotPhase::InProgress);
        plan.emit_event(
            EventKind::Normal,
            "SnapshotStarted",
            format!("importing {uri}"),
        );
        return Verdict::Reconciling("InProgress", format!("reading {uri}"));
    }
    let work = reading(plan);
    match folder::work(plan, work) {
        Ok(content) => complete(plan, content, work == Work::Verify),
        Err(WorkWait::Running(progress)) => {
            Verdict::Reconciling("InProgress", format!("reading {uri}{progress}"))
        }
        // The job's own pods have written it, as the object says. The operator has not read it.
        Err(WorkWait::NotAllowed(why))
            if reading(plan) == Work::Inspect && is_own_savepoint(plan) =>
        {
            plan.status.phase = Some(SnapshotPhase::Verifying);
            plan.requeue = SELDOM;
            let message = format!(
                "whether it is there and complete was not looked at: {why}. A job that is to go on from it (spec.restoreFrom) reads and checks all of it before that"
            );
            Verdict::Stalled(NOT_VERIFIED, message)
        }
        Err(WorkWait::NotAllowed(why)) => {
            plan.requeue = SELDOM;
            let message = format!(
                "{why}; to start a job from this folder with the job's own credentials, name it in \
                 spec.restoreFrom.uri of the StreamJob"
            );
            Verdict::Stalled(TroubleKind::Denied.reason(), message)
        }
        Err(WorkWait::Trouble(trouble)) => report_trouble(plan, trouble),
    }
}

fn default_storage(plan: &SnapshotPlanBuilder<'_>) -> Option<ResolvedStorage> {
    plan.input.settings.default_storage().ok()
}

pub(super) fn report_trouble(plan: &mut SnapshotPlanBuilder<'_>, trouble: Trouble) -> Verdict {
    if matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Damaged) {
        return fail(plan, trouble.message);
    }
    plan.actions.push(SnapshotAction::ForgetWork);
    plan.requeue = Duration::from_secs(10);
    Verdict::Stalled(trouble.kind.reason(), trouble.message)
}

/// It is taken of a running job.
pub(super) fn take_savepoint(plan: &mut SnapshotPlanBuilder<'_>) -> Verdict {
    let spec = &plan.input.snapshot.spec;
    let name = spec.job_ref.as_ref().map_or("", |job| job.name.as_str());
    let Some(job) = plan.input.job else {
        if plan.status.phase == Some(SnapshotPhase::InProgress) {
            return fail(
                plan,
                format!("StreamJob {name} was deleted before it was complete"),
            );
        }
        return waiting(format!(
            "waiting for StreamJob {name}, which does not exist in this namespace"
        ));
    };
    if job.deleting {
        return fail(plan, format!("StreamJob {name} is being deleted"));
    }
    if job.completed {
        return fail(
            plan,
            format!("StreamJob {name} has read all its input: there is nothing to go on from"),
        );
    }
    let storage = match &job.storage {
        Ok(storage) => storage,
        Err(why) => return waiting(why.clone()),
    };
    let Some(revision) = job.current else {
        return waiting(format!("waiting for StreamJob {name} to run"));
    };
    if job.suspended {
        return waiting(format!(
            "StreamJob {name} is suspended; the snapshot is taken when it runs again"
        ));
    }
    if plan.status.uri.is_none() {
        let folder = folder(plan, job, storage);
        plan.status.uri = Some(format!("s3://{}/{folder}", storage.bucket));
        plan.status.endpoint.clone_from(&storage.endpoint);
        plan.status.region.clone_from(&storage.region);
        plan.status.phase = Some(SnapshotPhase::InProgress);
        plan.emit_event(
            EventKind::Normal,
            "SnapshotStarted",
            format!("of StreamJob {name}, revision {revision}"),
        );
        return Verdict::Reconciling(
            "InProgress",
            format!("asking revision {revision} for a savepoint"),
        );
    }
    plan.status.revision = Some(revision);
    match plan.input.operation {
        Fact::Unknown(unknown) => waiting(format!(
            "waiting for the coordinator of StreamJob {name}: {}",
            unknown.why
        )),
        Fact::Known(Some(operation)) => asked(plan, &operation.result.clone()),
        Fact::Known(None) => ask(plan, revision),
    }
}

pub(super) fn folder(
    plan: &SnapshotPlanBuilder<'_>,
    job: &SnapshotJob,
    storage: &ResolvedStorage,
) -> String {
    StatePaths::new(&storage.prefix, &job.namespace, &job.name)
        .savepoint(&folder::folder_name(plan))
}

pub(super) fn ask(plan: &mut SnapshotPlanBuilder<'_>, revision: u64) -> Verdict {
    let last = plan.status.last_try.as_ref();
    if let Some(last) = last
        && !plan.passed(last.0, back_off(plan.status.retries))
    {
        return Verdict::Reconciling(
            "InProgress",
            format!(
                "the savepoint failed {} times; it is tried again",
                plan.status.retries
            ),
        );
    }
    let key = key(plan.input.snapshot);
    let refused = plan.input.refusal.filter(|refusal| refusal.key == key);
    if let Some(refusal) = refused
        && refusal.code == "BadRequest"
    {
        return fail(plan, refusal.message.clone());
    }
    let message = refused.map_or_else(
        || format!("revision {revision} was asked for a savepoint"),
        |refusal| {
            format!(
                "revision {revision} takes no savepoint yet: {}",
                refusal.message
            )
        },
    );
    let uri = plan.status.uri.as_deref();
    let folder = uri.and_then(|uri| Some(uri.strip_prefix("s3://")?.split_once('/')?.1.to_owned()));
    plan.actions.push(SnapshotAction::Ask {
        revision,
        request: SavepointRequest { key, uri: folder },
    });
    Verdict::Reconciling("InProgress", message)
}

pub(super) fn asked(plan: &mut SnapshotPlanBuilder<'_>, result: &OperationResult) -> Verdict {
    match result {
        OperationResult::Running => Verdict::Reconciling(
            "InProgress",
            "the job takes a checkpoint and copies it".to_owned(),
        ),
        OperationResult::Failed { why } => {
            plan.status.retries += 1;
            plan.status.last_try = Some(time(plan.input.now));
            Verdict::Reconciling(
                "InProgress",
                format!("the savepoint failed and is tried again: {why}"),
            )
        }
        OperationResult::Done { .. } => match folder::work(plan, Work::Inspect) {
            Ok(content) => complete(plan, content, true),
            Err(WorkWait::Running(_)) => {
                Verdict::Reconciling("InProgress", "reading what was saved".to_owned())
            }
            Err(WorkWait::NotAllowed(why)) => unseen(plan, &why),
            Err(WorkWait::Trouble(trouble)) => report_trouble(plan, trouble),
        },
    }
}

/// It is complete, as its job says: the operator may not look.
fn unseen(plan: &mut SnapshotPlanBuilder<'_>, why: &str) -> Verdict {
    plan.status.phase = Some(SnapshotPhase::Completed);
    plan.status.completion_time = Some(time(plan.input.now));
    let said = match plan.input.operation {
        Fact::Known(Some(operation)) => match &operation.result {
            OperationResult::Done { checkpoint, .. } => *checkpoint,
            OperationResult::Running | OperationResult::Failed { .. } => None,
        },
        Fact::Known(None) | Fact::Unknown(_) => None,
    };
    let uri = plan.status.uri.clone();
    let now = time(plan.input.now);
    plan.status.checkpoint = said.map(|id| CheckpointStatus {
        id,
        completion_time: now,
        duration: None,
        size: None,
        uri: uri.clone(),
    });
    let message = format!("it is complete, as its job says; the operator did not look: {why}");
    let note = format!("{}: {message}", uri.unwrap_or_default());
    plan.emit_event(EventKind::Normal, "SnapshotCompleted", note);
    Verdict::Ready(message)
}

/// Whether an import lies where its own job writes savepoints.
fn is_own_savepoint(plan: &SnapshotPlanBuilder<'_>) -> bool {
    let storage = plan
        .input
        .job
        .and_then(|job| Some((job, job.storage.as_ref().ok()?)));
    let import = plan.input.snapshot.spec.import_from.as_ref();
    storage.zip(import).is_some_and(|((job, storage), import)| {
        let folder = StatePaths::new(&storage.prefix, &job.namespace, &job.name).savepoint("");
        let name = import
            .uri
            .trim_end_matches('/')
            .strip_prefix(&format!("s3://{}/{folder}", storage.bucket));
        name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    })
}

pub(super) fn complete(
    plan: &mut SnapshotPlanBuilder<'_>,
    content: Option<Content>,
    verified: bool,
) -> Verdict {
    let Some(content) = content else {
        return fail(plan, "its folder does not say what it holds".to_owned());
    };
    plan.actions.push(SnapshotAction::ForgetWork);
    plan.status.phase = Some(SnapshotPhase::Completed);
    plan.status.completion_time = Some(time(plan.input.now));
    if verified {
        plan.status.verified_time = Some(time(plan.input.now));
    }
    plan.status.revision = Some(content.revision);
    let job = plan.input.job;
    if job.is_some_and(|job| job.uid == content.job_uid) {
        plan.status.job_uid = Some(content.job_uid);
    }
    let took = plan.status.start_time.as_ref().map(|begun| {
        let millis = plan.input.now.as_millisecond() - begun.0.as_millisecond();
        seconds(u64::try_from(millis).unwrap_or(0))
    });
    plan.status.checkpoint = Some(CheckpointStatus {
        id: content.checkpoint,
        completion_time: millis_at(content.completed_ms),
        duration: took,
        size: Some(bytes(content.total_bytes)),
        uri: plan.status.uri.clone(),
    });
    let uri = plan.status.uri.clone().unwrap_or_default();
    let message = format!("it holds checkpoint {}", content.checkpoint);
    plan.emit_event(
        EventKind::Normal,
        "SnapshotCompleted",
        format!("checkpoint {} in {uri}", content.checkpoint),
    );
    Verdict::Ready(message)
}
