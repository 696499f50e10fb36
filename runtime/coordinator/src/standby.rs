//! Standing by: watching HEAD, proving that this process could run the job, claiming it when HEAD
//! or the operator says so.

use std::{sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{
        ClaimDecision, Claimant, Head, Ids, OperationKind, OperationResult, Order, RunState, claim,
    },
    job_api::{JobCall, JobError, JobPhase, PauseReason, PromoteFrom, PromoteRequest},
};
use streamkeeper_storage::{
    Condition, HeadAccessError, StorageError, SwapResult, probe, read_head, swap_head, write_plan,
};
use tokio::time::Instant;
use ulid::Ulid;

use crate::{
    attempt_failure::{AttemptFailure, storage_code, storage_reason},
    commands::{Call, Refusal},
    compiled_job::CompiledJob,
    config::StartMode,
    coordinator_context::{CoordinatorContext, During},
    events::CoordinatorEvent,
    head_writer::{HeadWriter, as_storage_error},
    import::{self, VerifiedSavepoint},
    preflight::PreflightRun,
    restore_point::{self, RestorePoint},
    savepoint_preflight::SavepointCheck,
};
use streamkeeper_control::{clock, failpoint};

/// How often HEAD is read when a hand-over may come any moment.
const WATCH_CLOSELY: Duration = Duration::from_millis(150);
/// How often HEAD is read otherwise.
const WATCH: Duration = Duration::from_secs(1);

/// HEAD is ours.
pub(crate) struct Claimed {
    pub(crate) head_writer: HeadWriter,
    /// HEAD's restore point, if it could be read before the claim and is the same after it.
    pub(crate) restore_point: Option<RestorePoint>,
    /// Why no record flows, if any ever did.
    pub(crate) pause: PauseReason,
}

/// Waits until HEAD is ours; none when the process must end.
pub(crate) async fn stand_by(
    context: &mut CoordinatorContext,
    job: &Arc<CompiledJob>,
    idle: JobPhase,
    mut start: StartMode,
) -> Option<Claimed> {
    context.show_phase(idle);
    let mut preflight = PreflightRun::default();
    let mut savepoint = SavepointCheck::default();
    let mut unheard = None;
    let mut next_look = clock::now();
    loop {
        if context.terminate_by.is_some() {
            return None;
        }
        while let Some(call) = context.waiting_call() {
            if let Some(claimed) = answer(context, job, call, &mut savepoint, &mut unheard).await {
                return Some(claimed);
            }
        }
        if clock::now() >= next_look {
            let (pace, claimed) = look(context, job, &mut preflight, &mut start).await;
            if claimed.is_some() {
                return claimed;
            }
            savepoint.check(context, job);
            next_look = clock::now() + pace;
        }
        preflight.publish(context, job);
        savepoint.publish(context, job);
        context.published_status.update(|report| {
            report.phase = idle;
            report.plan_hash = Some(job.plan_hash.clone());
        });
        let workers = context.config.workers;
        let list = context.worker_registry.report(workers);
        context
            .published_status
            .update(|report| report.workers = list);
        match wait(context, &mut preflight, &mut savepoint, next_look).await {
            Some(CoordinatorEvent::Call(call)) => context.put_aside(call),
            Some(CoordinatorEvent::HeadChanged | CoordinatorEvent::CheckSavepoint(_)) => {
                next_look = clock::now();
            }
            _ => {}
        }
    }
}

async fn wait(
    context: &mut CoordinatorContext,
    preflight: &mut PreflightRun,
    savepoint: &mut SavepointCheck,
    until: Instant,
) -> Option<CoordinatorEvent> {
    tokio::select! {
        event = context.next(Some(until)) => event,
        () = preflight.progressed() => None,
        () = savepoint.progressed() => None,
    }
}

/// Reads HEAD, claims it if it is given to us, else sees that the preflight is about its newest
/// checkpoint. Answers when to look again.
async fn look(
    context: &mut CoordinatorContext,
    job: &Arc<CompiledJob>,
    preflight: &mut PreflightRun,
    start: &mut StartMode,
) -> (Duration, Option<Claimed>) {
    let config = context.config.clone();
    let read = async move { read_head(&*config.store, &config.paths).await };
    let found = match aside(context, read).await {
        Some(Ok(found)) => found,
        Some(Err(error)) => {
            let error = as_storage_error(error);
            preflight.unreadable(&error);
            context.show_error(Some(storage_error("reading HEAD", &error)));
            return (WATCH, None);
        }
        None => return (WATCH, None),
    };
    let seen = found.as_ref().map(|(head, _)| Arc::new(head.clone()));
    context.published_status.saw_head(seen);
    if let Some((head, _)) = &found {
        context.learn(head);
    }
    clear_storage_error(context);
    if *start == StartMode::Auto {
        let from = if found.is_some() {
            PromoteFrom::Head
        } else {
            PromoteFrom::Empty
        };
        let request = PromoteRequest {
            key: format!("auto-{}", Ulid::generate()),
            revision: context.config.job.revision,
            from,
            workers: None,
            running_owner: None,
        };
        return match promote(context, job, &request, &mut None).await {
            Ok(claimed) => {
                *start = StartMode::Standby;
                (WATCH, Some(claimed))
            }
            Err(refusal) => {
                tracing::warn!(?refusal, "cannot start by itself");
                context.show_error(Some(JobError {
                    reason: refusal.reason().to_owned(),
                    message: refusal.message().to_owned(),
                }));
                (WATCH, None)
            }
        };
    }
    let Some((head, etag)) = found else {
        preflight.check(context, job, None);
        return (WATCH, None);
    };
    match try_claim(
        context,
        job,
        Some((&head, etag)),
        Order::None,
        context.config.workers,
        &mut None,
    )
    .await
    {
        Ok(claimed) => (WATCH, Some(claimed)),
        Err(NoClaim::StandBy(_)) => {
            preflight.check(context, job, head.last.as_ref());
            let successor = head.job_uid == context.config.job.uid
                && head.revision < context.config.job.revision;
            let live = matches!(head.state, RunState::Running | RunState::HandingOver { .. });
            (
                if successor && live {
                    WATCH_CLOSELY
                } else {
                    WATCH
                },
                None,
            )
        }
        Err(NoClaim::Refused(refusal)) => {
            tracing::warn!(
                ?refusal,
                "HEAD names this revision, but it cannot run the job"
            );
            context.show_error(Some(JobError {
                reason: refusal.code().to_owned(),
                message: refusal.message().to_owned(),
            }));
            preflight.check(context, job, head.last.as_ref());
            (WATCH, None)
        }
        Err(NoClaim::Unfit(failure)) => {
            tracing::warn!(
                message = failure.message,
                "HEAD names this revision, but it cannot go on from there"
            );
            context.show_error(failure.job_error((1, None)));
            preflight.check(context, job, head.last.as_ref());
            (WATCH, None)
        }
        Err(NoClaim::Lost) => (Duration::ZERO, None),
        Err(NoClaim::Store(error)) => {
            context.show_error(Some(storage_error("claiming HEAD", &error)));
            (WATCH, None)
        }
    }
}

/// A refusal that took longer than its caller waited: who asks again under the same key hears it,
/// before anything is tried anew.
type Unheard = Option<(String, Refusal)>;

/// Replies to a call. A promotion that succeeds returns the claim.
async fn answer(
    context: &mut CoordinatorContext,
    job: &Arc<CompiledJob>,
    call: Call,
    savepoint: &mut SavepointCheck,
    unheard: &mut Unheard,
) -> Option<Claimed> {
    if call.reply.is_closed() {
        // Its caller gave up while another call was being answered; if it still wants this, it asks
        // again.
        return None;
    }
    if let Some(known) = context.known(&call.command) {
        let _ = call.reply.send(known);
        return None;
    }
    let JobCall::Promote(request) = &call.command else {
        let message = format!(
            "revision {} stands by: it does not run the job",
            context.config.job.revision
        );
        let _ = call.reply.send(Err(Refusal::new("NotRunning", message)));
        return None;
    };
    if let Some((_, refusal)) = unheard.take_if(|(key, _)| *key == request.key) {
        let _ = call.reply.send(Err(refusal));
        return None;
    }
    let mut verified = match &request.from {
        PromoteFrom::Savepoint { uri } => savepoint.take(uri),
        _ => None,
    };
    let promoted = promote(context, job, request, &mut verified).await;
    if let (Some(verified), PromoteFrom::Savepoint { uri }) = (verified, &request.from) {
        savepoint.put_back(uri, verified);
    }
    match promoted {
        Ok(claimed) => {
            let head = claimed.head_writer.head();
            let checkpoint = head.last.as_ref().map(|last| last.checkpoint);
            let done = OperationResult::Done {
                checkpoint,
                uri: None,
            };
            let operation = context.note(&request.key, OperationKind::Promote, done);
            let _ = call.reply.send(Ok(operation));
            Some(claimed)
        }
        Err(refusal) => {
            tracing::warn!(?refusal, "promotion refused");
            let key = request.key.clone();
            if let Err(Err(refusal)) = call.reply.send(Err(refusal)) {
                *unheard = Some((key, refusal));
            }
            None
        }
    }
}

async fn promote(
    context: &mut CoordinatorContext,
    job: &Arc<CompiledJob>,
    request: &PromoteRequest,
    verified: &mut Option<VerifiedSavepoint>,
) -> Result<Claimed, Refusal> {
    let revision = context.config.job.revision;
    if request.revision != revision {
        let message = format!(
            "this is revision {revision}, not revision {}",
            request.revision
        );
        return Err(Refusal::new("WrongRevision", message));
    }
    let workers = request.workers.unwrap_or(context.config.workers);
    // A write between our reading and ours, by a job that still runs, is no reason to refuse.
    for _ in 0..10 {
        if context.terminate_by.is_some() {
            return Err(Refusal::leaving());
        }
        let config = context.config.clone();
        let read = async move { read_head(&*config.store, &config.paths).await };
        let found = match aside(context, read).await {
            Some(Ok(found)) => found,
            Some(Err(error)) => return Err(unavailable("reading HEAD", &as_storage_error(error))),
            None => return Err(Refusal::leaving()),
        };
        let head = found.as_ref().map(|(head, etag)| (head, etag.clone()));
        let order = Order::Promoted {
            key: &request.key,
            from: &request.from,
            running_owner: request.running_owner.as_deref(),
        };
        match try_claim(context, job, head, order, workers, verified).await {
            Ok(claimed) => return Ok(claimed),
            Err(NoClaim::Lost) => {}
            Err(NoClaim::StandBy(why)) => return Err(Refusal::new("NotRunning", why)),
            Err(NoClaim::Refused(refusal)) => return Err(refusal),
            Err(NoClaim::Unfit(failure)) => {
                let code = failure.reason.unwrap_or("StateIncompatible");
                let code = if code.starts_with("Storage") {
                    "StorageUnavailable"
                } else {
                    code
                };
                let reason = failure.reason.unwrap_or(code);
                return Err(Refusal::new(code, failure.message).because(reason));
            }
            Err(NoClaim::Store(error)) => return Err(unavailable("claiming HEAD", &error)),
        }
    }
    Err(Refusal::new(
        "Busy",
        "HEAD changes faster than it can be claimed; try again",
    ))
}

/// Why HEAD is not ours.
enum NoClaim {
    StandBy(String),
    Refused(Refusal),
    Unfit(AttemptFailure),
    Store(StorageError),
    /// Another coordinator wrote first: look again.
    Lost,
}

async fn try_claim(
    context: &mut CoordinatorContext,
    job: &Arc<CompiledJob>,
    found: Option<(&Head, String)>,
    order: Order<'_>,
    workers: u32,
    verified: &mut Option<VerifiedSavepoint>,
) -> Result<Claimed, NoClaim> {
    let config = context.config.clone();
    let (nonce, token, lineage) = (
        Ulid::generate().to_string(),
        Ulid::generate().to_string(),
        Ulid::generate().to_string(),
    );
    let claimant = Claimant {
        job_uid: &config.job.uid,
        revision: config.job.revision,
        plan_hash: &job.plan_hash,
        max_parallelism: config.max_parallelism,
        workers,
        pod: &config.job.pod,
    };
    let ids = Ids {
        nonce: &nonce,
        token: &token,
        lineage: &lineage,
    };
    let decision = claim(found.as_ref().map(|(head, _)| *head), &claimant, order, ids);
    let (before, condition) = match found {
        Some((head, etag)) => (Some(head.clone()), Condition::Matches(etag)),
        None => (None, Condition::Absent),
    };
    let (next, known) = match (decision, order) {
        (ClaimDecision::Create(next) | ClaimDecision::Replace(next), _) => (next, None),
        (
            ClaimDecision::Import(import),
            Order::Promoted {
                from: PromoteFrom::Savepoint { uri },
                ..
            },
        ) => {
            let work = import::import(
                config.clone(),
                job.clone(),
                uri.clone(),
                verified.take(),
                import,
                before.clone(),
            );
            let Some(done) = aside(context, work).await else {
                return Err(NoClaim::Lost);
            };
            let (kept, next, point) = done.map_err(NoClaim::Refused)?;
            *verified = Some(kept);
            (next, Some(point))
        }
        (ClaimDecision::Import(_), _) => {
            let why = "a savepoint is restored only when a promotion names it".to_owned();
            return Err(NoClaim::StandBy(why));
        }
        (ClaimDecision::StandBy { why }, _) => return Err(NoClaim::StandBy(why)),
        (ClaimDecision::Refuse { code, why }, _) => {
            return Err(NoClaim::Refused(Refusal::new(code, why)));
        }
    };
    let imported = known.is_some();
    let work = prepare_and_swap(config.clone(), job.clone(), next, known, condition);
    let (head, etag, restore_point) = match aside(context, work).await {
        Some(result) => result?,
        None => return Err(NoClaim::Lost),
    };
    if imported {
        failpoint::pass(failpoint::SAVEPOINT_CLAIMED);
    }
    let pause = match before
        .as_ref()
        .map(|before| (before.state, before.revision == head.revision))
    {
        _ if imported => PauseReason::Resume,
        Some((RunState::Running, true)) => PauseReason::CoordinatorRestart,
        Some((RunState::Running | RunState::HandingOver { .. }, _)) => PauseReason::HandOver,
        _ => PauseReason::Resume,
    };
    tracing::info!(
        attempt = head.attempt,
        checkpoint = head.last.as_ref().map(|last| last.checkpoint),
        workers = head.workers,
        "claimed HEAD"
    );
    context.learn(&head);
    context.show_error(None);
    let head_writer = HeadWriter::new(config.store.clone(), config.paths.clone(), head, etag);
    Ok(Claimed {
        head_writer,
        restore_point,
        pause,
    })
}

/// Sees that the plan fits (unless its restore point is `known` to) and is stored, then writes
/// HEAD.
async fn prepare_and_swap(
    config: Arc<super::CoordinatorConfig>,
    job: Arc<CompiledJob>,
    next: Head,
    known: Option<RestorePoint>,
    condition: Condition,
) -> Result<(Head, String, Option<RestorePoint>), NoClaim> {
    let store = &*config.store;
    if condition == Condition::Absent {
        probe(store, config.paths.root())
            .await
            .map_err(NoClaim::Store)?;
    }
    let read = async {
        match &next.last {
            _ if known.is_some() => Ok(known),
            Some(last) => restore_point::read(&config, last, &job).await.map(Some),
            None => Ok(None),
        }
    };
    // Side by side: records wait for this at a hand-over.
    let (restore_point, plan_stored) =
        tokio::join!(read, write_plan(store, &config.paths, &job.plan));
    let restore_point = restore_point.map_err(|unfit| NoClaim::Unfit(unfit.into()))?;
    plan_stored.map_err(NoClaim::Store)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match swap_head(store, &config.paths, &next, condition.clone()).await {
            Ok(SwapResult::Won { etag }) => return Ok((next, etag, restore_point)),
            Ok(SwapResult::Lost { .. } | SwapResult::Fenced { .. } | SwapResult::Gone) => {
                return Err(NoClaim::Lost);
            }
            // No part acts on this claim before it is settled; the next reader of HEAD decides from
            // there.
            Err(error) if tries == 3 => return Err(NoClaim::Store(as_storage_error(error))),
            Err(HeadAccessError::Storage(error)) => {
                tracing::warn!(%error, "the claim is not settled; trying again");
            }
            Err(error) => return Err(NoClaim::Store(as_storage_error(error))),
        }
    }
}

/// Does `work` while calls are put aside; none when the process must end, or the work panicked.
async fn aside<T: Send + 'static>(
    context: &mut CoordinatorContext,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let heard = |context: &mut CoordinatorContext, event: CoordinatorEvent| match event {
        CoordinatorEvent::Terminate { .. } => false,
        CoordinatorEvent::Call(call) => {
            context.put_aside(call);
            true
        }
        _ => true,
    };
    match context.during(work, heard).await {
        During::Done(result) => Some(result),
        During::Left => None,
        During::Broken(why) => {
            tracing::error!(why, "a defect while standing by");
            None
        }
    }
}

fn storage_error(what: &str, error: &StorageError) -> JobError {
    JobError {
        reason: storage_reason(error).to_owned(),
        message: format!("{what}: {error}"),
    }
}

fn unavailable(what: &str, error: &StorageError) -> Refusal {
    Refusal::new(storage_code(error), format!("{what}: {error}")).because(storage_reason(error))
}

/// A store that answers again is no error any more.
fn clear_storage_error(context: &CoordinatorContext) {
    context.published_status.update(|report| {
        if report
            .error
            .as_ref()
            .is_some_and(|error| error.reason.starts_with("Storage"))
        {
            report.error = None;
        }
    });
}
