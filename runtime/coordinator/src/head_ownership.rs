//! What every step of the owner of HEAD works with, and how it waits: events are handled while a
//! write of HEAD or other work goes on.

use std::{pin::pin, sync::Arc, time::Duration};

use streamkeeper_control::{
    clock,
    messages::{FailureKind, ToCoordinator},
};
use streamkeeper_protocol::{
    head::{Head, HeadChange, HeadError, OperationKind, OperationResult},
    job_api::JobError,
    manifest::Manifest,
};
use tokio_util::task::AbortOnDropHandle;
use ulid::Ulid;

use crate::{
    attempt::Attempt,
    attempt_failure::{AttemptExit, AttemptFailure, storage_reason},
    checkpoint_failures::FailedCheckpoints,
    commands::Call,
    compiled_job::CompiledJob,
    coordinator_context::CoordinatorContext,
    events::CoordinatorEvent,
    head_writer::{HeadWriteError, HeadWriter},
    operations::Operations,
    restore_point,
};

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeadEnd {
    /// HEAD names a successor.
    HandedOver,
    /// HEAD says Stopped or Released.
    Stopped,
    /// All input was read and committed.
    Completed,
    /// The process was asked to end; HEAD still says Running.
    Terminated,
    /// Another coordinator owns HEAD.
    Fenced(String),
}

/// What the owner of HEAD works with, from its claim to its end.
pub(crate) struct HeadOwnership<'a> {
    pub(crate) context: &'a mut CoordinatorContext,
    pub(crate) job: Arc<CompiledJob>,
    pub(crate) head_writer: HeadWriter,
    /// The manifest of HEAD's restore point, once it was read. It is read again only when HEAD
    /// names another one.
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) operations: Operations,
    pub(crate) attempt: Attempt,
    pub(crate) failed_checkpoints: FailedCheckpoints,
    /// Failures since HEAD's restore point last moved, and that restore point.
    pub(crate) failures: (u32, Option<u64>),
}

impl HeadOwnership<'_> {
    /// Accepts or refuses a call of the Job API.
    pub(crate) fn accept(&mut self, call: Call) {
        let restored_from = self.attempt.restored_from;
        self.operations.accept(call, self.context, restored_from);
    }

    /// Notes the end of an operation.
    pub(crate) fn finish(&mut self, key: &str, kind: OperationKind, result: OperationResult) {
        self.operations
            .finish(self.context, &self.head_writer, key, kind, result);
    }

    /// Fails every operation that would end or move the job.
    pub(crate) fn fail_endings(&mut self, why: &str) {
        let failed: Vec<_> = self
            .operations
            .iter()
            .filter(|command| command.ends_or_moves())
            .map(|command| (command.key().to_owned(), command.kind()))
            .collect();
        for (key, kind) in failed {
            self.finish(
                &key,
                kind,
                OperationResult::Failed {
                    why: why.to_owned(),
                },
            );
        }
    }

    pub(crate) async fn claim_again(&mut self) -> Result<(), AttemptExit> {
        let token = Ulid::generate().to_string();
        let head = self
            .write(move |head| head.change().new_attempt(&token))
            .await?;
        self.begin_attempt(&head);
        Ok(())
    }

    /// HEAD says that this attempt begins.
    pub(crate) fn begin_attempt(&mut self, head: &Head) {
        self.attempt = Attempt::of(head);
        tracing::info!(
            attempt = head.attempt,
            workers = head.workers,
            "new attempt"
        );
    }

    /// A restore point was reached. Failures before it do not count any more if records were read
    /// for it, or if the attempt has run for long: one that holds nothing new is also reached on
    /// the way to the same failure again.
    pub(crate) fn moved_on(&mut self, read_on: bool) {
        let ran_ms = clock::now_ms().saturating_sub(self.attempt.started_ms);
        let ran = Duration::from_millis(u64::try_from(ran_ms).unwrap_or(0));
        let count = if self.context.config.back_off.settled(read_on, ran) {
            0
        } else {
            self.failures.0
        };
        self.failures = (
            count,
            self.head_writer
                .head()
                .last
                .as_ref()
                .map(|last| last.checkpoint),
        );
        self.context.show_error(None);
    }

    /// What must end the attempt, if something must.
    pub(crate) fn check(&mut self) -> Result<(), AttemptExit> {
        if self.context.terminate_by.is_some() {
            return Err(AttemptExit::Terminate);
        }
        match self.attempt.broken.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// The same while no record flows: an operation that ends or moves the job need not wait for a
    /// graph.
    pub(crate) fn check_at_rest(&mut self) -> Result<(), AttemptExit> {
        self.check()?;
        if self.operations.ending_or_moving().is_some() {
            Err(AttemptExit::Asked)
        } else {
            Ok(())
        }
    }

    /// Takes in an event. Returns what a worker said about this attempt, if another part decides
    /// about it.
    pub(crate) fn handle_event(&mut self, event: CoordinatorEvent) -> Option<(u32, ToCoordinator)> {
        let failure = match event {
            CoordinatorEvent::Call(call) => {
                self.accept(call);
                return None;
            }
            CoordinatorEvent::WorkerRegistered { register, .. }
                if self.attempt.runs_on(register.worker) =>
            {
                let worker = register.worker;
                AttemptFailure::of_worker(worker, format!("worker {worker} was restarted"))
            }
            CoordinatorEvent::WorkerLost { worker, why, .. } if self.attempt.runs_on(worker) => {
                AttemptFailure::of_worker(worker, format!("worker {worker} is lost: {why}"))
            }
            CoordinatorEvent::WorkerLeft { worker } if self.attempt.runs_on(worker) => {
                AttemptFailure::left(worker, None)
            }
            CoordinatorEvent::WorkerMessage {
                worker, message, ..
            } => {
                return self.handle_worker_message(worker, message);
            }
            CoordinatorEvent::WorkerRegistered { .. }
            | CoordinatorEvent::WorkerLost { .. }
            | CoordinatorEvent::WorkerLeft { .. }
            | CoordinatorEvent::HeadChanged
            | CoordinatorEvent::CheckSavepoint(_)
            | CoordinatorEvent::Terminate { .. } => return None,
        };
        self.attempt.broken.get_or_insert(failure);
        None
    }

    fn handle_worker_message(
        &mut self,
        worker: u32,
        message: ToCoordinator,
    ) -> Option<(u32, ToCoordinator)> {
        if let ToCoordinator::Cancelled {
            last_record_ms: Some(at),
            ..
        } = &message
            && let Some(connected_ms) = self.context.worker_registry.connected_ms(worker)
        {
            self.context.pauses.still_flowed(*at, connected_ms);
        }
        if message.attempt() != Some(self.attempt.number) || !self.attempt.runs_on(worker) {
            return None;
        }
        match message {
            ToCoordinator::FirstRecord { at_ms, .. } => {
                self.context.pauses.end(at_ms);
                None
            }
            ToCoordinator::TaskFailed { message, kind, .. } => {
                let leaving = self
                    .context
                    .worker_registry
                    .first_to_leave(self.attempt.workers);
                let failure = match leaving {
                    // Its peers may notice that it is gone before we do.
                    Some((leaver, _)) if kind == FailureKind::Transient => {
                        AttemptFailure::left(leaver, None)
                    }
                    _ => AttemptFailure::of_tasks(worker, message, kind),
                };
                self.attempt.broken.get_or_insert(failure);
                None
            }
            other => Some((worker, other)),
        }
    }

    /// Does `work` while events are taken in; what ends the attempt ends the work.
    pub(crate) async fn during<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, AttemptExit> {
        let mut task = AbortOnDropHandle::new(tokio::spawn(work));
        loop {
            self.check()?;
            tokio::select! {
                biased;
                result = &mut task => {
                    let defect = |error| AttemptFailure::new(format!("a defect in the coordinator: {error}"));
                    return result.map_err(|error| defect(error).into());
                }
                event = self.context.next(None) => {
                    if let Some(event) = event {
                        self.handle_event(event);
                    }
                }
            }
        }
    }

    /// Writes HEAD, whatever fails meanwhile: an outcome left open would be worse.
    pub(crate) async fn write(
        &mut self,
        change: impl Fn(&Head) -> Result<HeadChange, HeadError> + Send + Sync + 'static,
    ) -> Result<Arc<Head>, AttemptExit> {
        let written = self.try_write(change).await?;
        written.map_err(|refused| HeadWriteError::Refused(refused).into())
    }

    /// The same; a change that HEAD does not allow is the caller's affair.
    pub(crate) async fn try_write(
        &mut self,
        change: impl Fn(&Head) -> Result<HeadChange, HeadError> + Send + Sync + 'static,
    ) -> Result<Result<Arc<Head>, HeadError>, AttemptExit> {
        let mut written = pin!(self.head_writer.change(change));
        loop {
            if self
                .context
                .terminate_by
                .is_some_and(|by| clock::now() >= by)
            {
                return Err(AttemptExit::Terminate);
            }
            let until = self.context.terminate_by;
            tokio::select! {
                biased;
                result = &mut written => return match result {
                    Ok(head) => Ok(Ok(head)),
                    Err(HeadWriteError::Refused(refused)) => Ok(Err(refused)),
                    Err(lost) => Err(lost.into()),
                },
                event = self.context.next(until) => {
                    if let Some(event) = event {
                        self.handle_event(event);
                    }
                    self.show_store_trouble();
                }
            }
        }
    }

    /// Tells of a write of HEAD that the store does not settle.
    pub(crate) fn show_store_trouble(&mut self) {
        let error = self.head_writer.trouble().map(|error| JobError {
            reason: storage_reason(&error).to_owned(),
            message: format!("writing HEAD: {error}"),
        });
        if error.is_some() {
            self.context.show_error(error);
        }
    }

    /// The manifest of HEAD's restore point, fit for this plan.
    pub(crate) async fn read_manifest(&mut self) -> Result<Arc<Manifest>, AttemptExit> {
        let head = self.head_writer.head();
        let Some(last) = head.last.clone() else {
            return Err(AttemptFailure::new("HEAD has no restore point").into());
        };
        if let Some(known) = self.manifest.clone()
            && self.context.config.paths.checkpoint_of(&last.manifest)
                == Some((known.checkpoint, known.attempt))
        {
            return Ok(known);
        }
        let (config, job) = (self.context.config.clone(), self.job.clone());
        let point = self
            .during(async move { restore_point::read(&config, &last, &job).await })
            .await?
            .map_err(AttemptFailure::from)?;
        self.manifest = Some(point.manifest.clone());
        Ok(point.manifest)
    }
}
