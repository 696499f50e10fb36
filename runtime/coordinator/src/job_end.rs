//! Writes of HEAD that end this ownership, or move the job to another number of workers.

use streamkeeper_control::{failpoint, job_api_client};
use streamkeeper_protocol::{
    head::{HeadChange, HeadError, OperationKind, OperationResult},
    job_api::{HandOverRequest, JobCall, RescaleRequest, StopMode, StopRequest},
};

use crate::{
    allowed_targets::full_uri,
    attempt_failure::AttemptExit,
    head_changes::{confirm_commit, with_result},
    head_ownership::{HeadOwnership, LeadEnd},
    savepoints::Savepoints,
};

/// Carries out what needs no graph: everything up to the restore point is committed, and
/// nothing after it ever happened.
pub(crate) async fn end_at_rest(
    owner: &mut HeadOwnership<'_>,
    savepoints: &Savepoints,
) -> Result<Option<LeadEnd>, AttemptExit> {
    while let Some(command) = owner.operations.ending_or_moving().cloned() {
        let end = match command {
            JobCall::HandOver(request) => hand_over(owner, &request).await?,
            JobCall::Stop(request) => {
                if request.mode == StopMode::Savepoint
                    && let Err(why) = savepoints.save_before_stop(owner, &request).await?
                {
                    owner.finish(
                        &request.key,
                        OperationKind::Stop,
                        OperationResult::Failed { why },
                    );
                    continue;
                }
                stop(owner, &request).await?
            }
            JobCall::Rescale(request) => {
                rescale(owner, &request, false).await?;
                None
            }
            JobCall::Promote(_) | JobCall::Savepoint(_) => return Ok(None),
        };
        if end.is_some() {
            return Ok(end);
        }
    }
    Ok(None)
}

/// HEAD names the successor, and the successor is told.
pub(crate) async fn hand_over(
    owner: &mut HeadOwnership<'_>,
    request: &HandOverRequest,
) -> Result<Option<LeadEnd>, AttemptExit> {
    let (key, to) = (request.key.clone(), request.to_revision);
    let ended = end(
        owner,
        OperationKind::HandOver,
        &key,
        LeadEnd::HandedOver,
        move |change| change.hand_over(to),
    )
    .await?;
    if ended.is_some() {
        failpoint::pass(failpoint::HANDED_OVER);
        if let Some(address) = &request.to_address {
            let transport = owner.context.config.transport.clone();
            tokio::spawn(job_api_client::poke(transport, address.clone()));
        }
    }
    Ok(ended)
}

/// HEAD says Stopped, or Released.
pub(crate) async fn stop(
    owner: &mut HeadOwnership<'_>,
    request: &StopRequest,
) -> Result<Option<LeadEnd>, AttemptExit> {
    let release = request.release;
    end(
        owner,
        OperationKind::Stop,
        &request.key,
        LeadEnd::Stopped,
        move |change| change.stop(release),
    )
    .await
}

/// One write that ends this ownership and holds the operation's result; none when HEAD does not
/// allow it.
async fn end(
    owner: &mut HeadOwnership<'_>,
    kind: OperationKind,
    key: &str,
    end: LeadEnd,
    how: impl Fn(HeadChange) -> Result<HeadChange, HeadError> + Send + Sync + 'static,
) -> Result<Option<LeadEnd>, AttemptExit> {
    let head = owner.head_writer.head();
    let checkpoint = head.last.as_ref().map(|last| last.checkpoint);
    let uri = head
        .savepoints
        .iter()
        .find(|savepoint| savepoint.key == key)
        .map(|savepoint| full_uri(&*owner.context.config.store, &savepoint.uri));
    let result = OperationResult::Done { checkpoint, uri };
    let (noted, named) = (result.clone(), key.to_owned());
    let written = owner
        .try_write(move |head| {
            let change = confirm_commit(head.change())?;
            with_result(how(change)?, &named, kind, &noted)
        })
        .await?;
    match written {
        Ok(_) => {
            owner.finish(key, kind, result);
            Ok(Some(end))
        }
        Err(refused) => {
            owner.finish(
                key,
                kind,
                OperationResult::Failed {
                    why: refused.to_string(),
                },
            );
            Ok(None)
        }
    }
}

/// HEAD names another number of workers, under a new attempt if the graph of this one ran.
/// Whether it does.
pub(crate) async fn rescale(
    owner: &mut HeadOwnership<'_>,
    request: &RescaleRequest,
    new_attempt: bool,
) -> Result<bool, AttemptExit> {
    let (key, workers) = (request.key.clone(), request.workers);
    let checkpoint = owner
        .head_writer
        .head()
        .last
        .as_ref()
        .map(|last| last.checkpoint);
    let result = OperationResult::Done {
        checkpoint,
        uri: None,
    };
    let noted = result.clone();
    let token = ulid::Ulid::generate().to_string();
    let written = owner
        .try_write(move |head| {
            let change = confirm_commit(head.change())?.on_workers(workers);
            let change = if new_attempt {
                change.new_attempt(&token)?
            } else {
                change
            };
            with_result(change, &key, OperationKind::Rescale, &noted)
        })
        .await?;
    match written {
        Ok(head) => {
            if new_attempt {
                owner.begin_attempt(&head);
            } else {
                owner.attempt.workers = workers;
            }
            owner.finish(&request.key, OperationKind::Rescale, result);
            Ok(true)
        }
        Err(refused) => {
            let why = refused.to_string();
            owner.finish(
                &request.key,
                OperationKind::Rescale,
                OperationResult::Failed { why },
            );
            Ok(false)
        }
    }
}
