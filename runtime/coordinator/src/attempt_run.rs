//! Records flow: checkpoints by interval, on request, and the last one of an attempt.

use std::collections::BTreeSet;

use streamkeeper_control::{
    clock, failpoint,
    messages::{ToCoordinator, ToWorker},
};
use streamkeeper_protocol::{
    head::{OperationKind, OperationResult},
    job_api::{
        HandOverRequest, JobCall, JobPhase, PauseReason, RescaleRequest, SavepointRequest,
        StopMode, StopRequest,
    },
    manifest::CheckpointKind,
};
use tokio::time::Instant;

use crate::{
    attempt_failure::{AttemptExit, AttemptFailure},
    checkpoints::{
        publish::Published,
        state::{AbandonedCheckpoint, Checkpoints, PublishOutcome},
    },
    head_changes::{confirm_commit, pinned},
    head_ownership::{HeadOwnership, LeadEnd},
    job_end, job_report,
    savepoints::{Copied, Savepoints, note_copied},
};

/// Why the attempt is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StopReason {
    HandOver(HandOverRequest),
    Stop(StopRequest),
    Rescale(RescaleRequest),
    Complete,
    /// The pod of this worker must end; the job goes on with its next one.
    Leave(u32),
    Terminate,
}

/// How a run ended.
pub(crate) enum RunEnd {
    /// The ownership ends.
    Ended(LeadEnd),
    /// The job was rescaled: the graph must be deployed again.
    Rescaled,
}

/// A graph that runs.
pub(crate) struct AttemptRun<'r, 'a> {
    owner: &'r mut HeadOwnership<'a>,
    checkpoints: &'r mut Checkpoints,
    savepoints: &'r mut Savepoints,
    ending: Option<StopReason>,
    /// The final checkpoint, once HEAD names it.
    at_end: Option<u64>,
    /// Workers whose sources have read all their input.
    input_ended: BTreeSet<u32>,
    rescale_by: Option<Instant>,
}

impl<'r, 'a> AttemptRun<'r, 'a> {
    /// Takes over a graph that was just deployed.
    pub(crate) fn new(
        owner: &'r mut HeadOwnership<'a>,
        checkpoints: &'r mut Checkpoints,
        savepoints: &'r mut Savepoints,
    ) -> Self {
        Self {
            owner,
            checkpoints,
            savepoints,
            ending: None,
            at_end: None,
            input_ended: BTreeSet::new(),
            rescale_by: None,
        }
    }

    /// Runs the graph until it ends, fails, or must be deployed again.
    pub(crate) async fn run(mut self) -> Result<RunEnd, AttemptExit> {
        let interval = self.owner.context.config.checkpoints.interval;
        self.checkpoints.restart(interval);
        let ended = self.run_to_end().await;
        // A checkpoint under way ends with its self.
        self.checkpoints.restart(None);
        ended
    }

    async fn run_to_end(&mut self) -> Result<RunEnd, AttemptExit> {
        loop {
            if let Some(failure) = self.owner.attempt.broken.take() {
                self.give_up_saving(&format!("the job restarted: {}", failure.message));
                return Err(failure.into());
            }
            self.begin_what_is_due();
            job_report::publish(self.owner, self.phase());
            if let Some(end) = self.conclude().await? {
                return Ok(end);
            }
            let until = [
                self.checkpoints.wake(),
                self.rescale_by,
                self.owner.context.terminate_by,
            ];
            let until = until.into_iter().flatten().min();
            tokio::select! {
                biased;
                published = self.checkpoints.next_published() => self.published(published)?,
                copied = self.savepoints.next_copied() => self.copied(&copied)?,
                event = self.owner.context.next(until) => {
                    if let Some((worker, message)) =
                        event.and_then(|event| self.owner.handle_event(event))
                    {
                        self.handle_message(worker, message);
                    }
                }
            }
            self.checkpoints.reap_garbage();
            self.expire();
        }
    }

    fn phase(&self) -> JobPhase {
        match &self.ending {
            None | Some(StopReason::Complete) => JobPhase::Running,
            Some(StopReason::Rescale(_)) => JobPhase::Rescaling,
            Some(
                StopReason::HandOver(_)
                | StopReason::Stop(_)
                | StopReason::Leave(_)
                | StopReason::Terminate,
            ) => JobPhase::Stopping,
        }
    }

    fn begin_what_is_due(&mut self) {
        if self.owner.context.terminate_by.is_some() {
            self.ending.get_or_insert(StopReason::Terminate);
        }
        if !self.checkpoints.may_begin() {
            return;
        }
        if self.ending.is_none() {
            self.ending = self.next_ending();
        }
        match &self.ending {
            Some(StopReason::Stop(request)) if request.mode == StopMode::Now => {}
            Some(_) if self.at_end.is_some() => {}
            Some(StopReason::Stop(request)) if request.mode == StopMode::Savepoint => {
                self.checkpoints.saving = Some(SavepointRequest {
                    key: request.key.clone(),
                    uri: None,
                });
                self.checkpoints.trigger(self.owner, CheckpointKind::Final);
            }
            Some(_) => self.checkpoints.trigger(self.owner, CheckpointKind::Final),
            None => {
                let head = self.owner.head_writer.head();
                if let Some(request) = self.owner.operations.savepoint_to_take(&head) {
                    self.checkpoints.saving = Some(request);
                    self.checkpoints
                        .trigger(self.owner, CheckpointKind::Savepoint);
                } else if self.checkpoints.is_due() {
                    self.checkpoints
                        .trigger(self.owner, CheckpointKind::Periodic);
                }
            }
        }
    }

    fn handle_message(&mut self, worker: u32, message: ToCoordinator) {
        let owner = &mut *self.owner;
        match message {
            ToCoordinator::CheckpointAck(share) => {
                let stop = match &self.ending {
                    Some(StopReason::Stop(request)) => Some(request),
                    _ => None,
                };
                self.checkpoints.take_share(owner, worker, share, stop);
            }
            ToCoordinator::CheckpointDelayed {
                checkpoint, why, ..
            } => self.checkpoints.note_delay(owner, worker, checkpoint, &why),
            ToCoordinator::CheckpointDeclined {
                checkpoint, why, ..
            } => {
                let abandoned = self.checkpoints.decline(owner, worker, checkpoint, &why);
                self.checkpoint_abandoned(abandoned);
            }
            ToCoordinator::Committed { checkpoint, .. } => {
                self.checkpoints.note_committed(owner, worker, checkpoint);
            }
            ToCoordinator::CommitFailed {
                checkpoint, why, ..
            } => self
                .checkpoints
                .note_commit_failed(owner, worker, checkpoint, &why),
            ToCoordinator::CheckpointWanted { .. } => self.checkpoints.wanted = true,
            ToCoordinator::InputEnded { .. } => {
                self.input_ended.insert(worker);
            }
            _ => {}
        }
    }

    fn published(&mut self, published: Result<Published, String>) -> Result<(), AttemptExit> {
        match self.checkpoints.note_published(self.owner, published)? {
            PublishOutcome::Complete {
                checkpoint,
                kind,
                head,
            } => {
                if kind == CheckpointKind::Final {
                    self.at_end = Some(checkpoint);
                }
                if let Some(request) = self.checkpoints.saving.take()
                    && let Some(record) = pinned(&head, &request.key)
                {
                    if kind == CheckpointKind::Final {
                        failpoint::pass(failpoint::STOP_PINNED);
                    }
                    self.savepoints.copy(self.owner, record);
                }
                self.checkpoints.collect_garbage(self.owner, head);
            }
            PublishOutcome::Abandoned(abandoned) => self.checkpoint_abandoned(Some(abandoned)),
            PublishOutcome::Broken => {}
        }
        Ok(())
    }

    /// Fails the operations that the checkpoint was for.
    fn checkpoint_abandoned(&mut self, abandoned: Option<AbandonedCheckpoint>) {
        if let Some(AbandonedCheckpoint { kind, why }) = abandoned {
            self.give_up_saving(&why);
            if kind == CheckpointKind::Final {
                self.fail_ending(&why);
            }
        }
    }

    fn give_up_saving(&mut self, why: &str) {
        if let Some(request) = self.checkpoints.saving.take()
            && self.ending.is_none()
        {
            let why = why.to_owned();
            self.owner.finish(
                &request.key,
                OperationKind::Savepoint,
                OperationResult::Failed { why },
            );
        }
    }

    fn copied(&mut self, copied: &Copied) -> Result<(), AttemptExit> {
        note_copied(self.owner, copied)?;
        if let Err(error) = &copied.result
            && matches!(&self.ending, Some(StopReason::Stop(request)) if request.key == copied.key)
        {
            self.fail_ending(&error.to_string());
        }
        Ok(())
    }

    /// Gives up what has taken too long.
    fn expire(&mut self) {
        let progress = self.checkpoints.progress(self.owner);
        self.savepoints.note_progress(progress);
        let abandoned = self.checkpoints.expire_pending(self.owner);
        self.checkpoint_abandoned(abandoned);
        let Some(why) = self.checkpoints.expire_commit(self.owner, progress) else {
            return;
        };
        match &self.ending {
            Some(StopReason::HandOver(_) | StopReason::Stop(_) | StopReason::Rescale(_)) => {
                self.fail_ending(&why);
            }
            Some(StopReason::Complete | StopReason::Leave(_) | StopReason::Terminate) | None => {
                self.owner.fail_endings(&why);
            }
        }
        self.fail_savepoints(&why);
    }

    fn fail_savepoints(&mut self, why: &str) {
        let head = self.owner.head_writer.head();
        let keys: Vec<_> = self
            .owner
            .operations
            .waiting_for_commit(&head)
            .filter(|command| command.kind() == OperationKind::Savepoint)
            .map(|command| command.key().to_owned())
            .collect();
        for key in keys {
            let why = why.to_owned();
            self.owner.finish(
                &key,
                OperationKind::Savepoint,
                OperationResult::Failed { why },
            );
        }
    }

    /// Notes that the attempt does not end after all: sources read on.
    fn fail_ending(&mut self, why: &str) {
        match &self.ending {
            Some(StopReason::HandOver(_) | StopReason::Stop(_) | StopReason::Rescale(_)) => {
                self.owner.fail_endings(why);
                self.ending = None;
            }
            // Tried again while there is time, or for ever.
            Some(StopReason::Complete) => self.ending = None,
            Some(StopReason::Leave(_) | StopReason::Terminate) | None => {}
        }
        self.at_end = None;
        let attempt = self.owner.attempt.number;
        self.owner
            .context
            .worker_registry
            .send_to_first(self.owner.attempt.workers, &ToWorker::Resume { attempt });
    }

    fn next_ending(&mut self) -> Option<StopReason> {
        if self.input_ended.len() == self.owner.attempt.workers as usize {
            return Some(StopReason::Complete);
        }
        let command = self.owner.operations.ending_or_moving().cloned();
        let leaving = self
            .owner
            .context
            .worker_registry
            .first_to_leave(self.owner.attempt.workers);
        match (command, leaving) {
            (Some(JobCall::HandOver(request)), _) => Some(StopReason::HandOver(request)),
            (Some(JobCall::Stop(request)), _) => Some(StopReason::Stop(request)),
            // Whatever else is asked for is done at rest, or with the worker that follows.
            (_, Some((worker, _))) => Some(StopReason::Leave(worker)),
            (Some(JobCall::Rescale(request)), None) => {
                let missing = self.owner.context.worker_registry.missing(request.workers);
                if missing.is_empty() {
                    self.rescale_by = None;
                    return Some(StopReason::Rescale(request));
                }
                let by = *self.rescale_by.get_or_insert_with(|| {
                    clock::now() + self.owner.context.config.rescale_timeout
                });
                if clock::now() >= by {
                    self.rescale_by = None;
                    let why = format!(
                        "workers {missing:?} did not register within {} s",
                        self.owner.context.config.rescale_timeout.as_secs()
                    );
                    self.owner.finish(
                        &request.key,
                        OperationKind::Rescale,
                        OperationResult::Failed { why },
                    );
                }
                None
            }
            (Some(JobCall::Promote(_) | JobCall::Savepoint(_)) | None, None) => None,
        }
    }

    /// Ends the attempt once all that must come first has happened.
    async fn conclude(&mut self) -> Result<Option<RunEnd>, AttemptExit> {
        let Some(ending) = self.ending.clone() else {
            return Ok(None);
        };
        if ending == StopReason::Terminate
            && self
                .owner
                .context
                .terminate_by
                .is_some_and(|by| clock::now() >= by)
        {
            return Ok(Some(RunEnd::Ended(LeadEnd::Terminated)));
        }
        let without_checkpoint =
            matches!(&ending, StopReason::Stop(request) if request.mode == StopMode::Now);
        if self.checkpoints.is_busy() || !(self.at_end.is_some() || without_checkpoint) {
            return Ok(None);
        }
        if let StopReason::Stop(request) = &ending
            && request.mode == StopMode::Savepoint
            && !pinned(&self.owner.head_writer.head(), &request.key)
                .is_some_and(|record| record.complete)
        {
            return Ok(None);
        }
        if let StopReason::Leave(worker) = ending {
            self.owner
                .write(|head| confirm_commit(head.change()))
                .await?;
            return Err(AttemptFailure::left(worker, self.at_end).into());
        }
        // From here on the graph is done with: losing a worker means nothing any more.
        self.owner.attempt.live = false;
        let flowed = self
            .owner
            .context
            .worker_registry
            .last_record_ms(self.owner.attempt.number);
        let ended = match ending {
            StopReason::HandOver(request) => {
                failpoint::pass(failpoint::HAND_OVER_READY);
                job_end::hand_over(self.owner, &request).await?
            }
            StopReason::Stop(request) => {
                if request.mode == StopMode::Savepoint {
                    failpoint::pass(failpoint::STOP_SAVED);
                }
                job_end::stop(self.owner, &request).await?
            }
            StopReason::Rescale(request) => {
                let before = (self.owner.attempt.number, self.owner.attempt.workers);
                self.owner.context.pauses.begin(
                    PauseReason::Rescale,
                    flowed,
                    self.at_end,
                    clock::now_ms(),
                );
                if job_end::rescale(self.owner, &request, true).await? {
                    for worker in self.owner.attempt.workers..before.1 {
                        self.owner
                            .context
                            .worker_registry
                            .send(worker, ToWorker::Cancel { attempt: before.0 });
                    }
                    return Ok(Some(RunEnd::Rescaled));
                }
                None
            }
            StopReason::Complete => {
                self.owner
                    .write(|head| confirm_commit(head.change())?.complete())
                    .await?;
                tracing::info!("all input is read and committed: the job is complete");
                Some(LeadEnd::Completed)
            }
            StopReason::Leave(_) | StopReason::Terminate => {
                self.owner
                    .write(|head| confirm_commit(head.change()))
                    .await?;
                Some(LeadEnd::Terminated)
            }
        };
        match ended {
            Some(end) => Ok(Some(RunEnd::Ended(end))),
            // HEAD did not allow it: go on from the checkpoint that it names.
            None => Err(AttemptExit::Again),
        }
    }
}
