//! Owning HEAD: attempt after attempt, until the job ends or goes to somebody else.
//!
//! An attempt: commits replayed, workers there, graph deployed ([`deploying`]), then
//! [`run`](super::run). Whatever goes wrong ends the attempt, never the ownership.

mod deploying;

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, HeadChange, HeadError, OperationRecord, OperationResult},
    job_api::{Failure, JobPhase, PauseReason, StopMode, StopRequest},
    manifest::Manifest,
};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use ulid::Ulid;

use crate::{
    attempt_failure::{AttemptExit, AttemptFailure},
    checkpoint_failures::FailedCheckpoints,
    checkpoints::pending::Lineage,
    commands::Command,
    compiled_job::CompiledJob,
    coordinator_context::CoordinatorContext,
    events::CoordinatorEvent,
    head_writer::{HeadWriteError, HeadWriter},
    restore_point::RestorePoint,
    savepoints::Copied,
    standby::Claimed,
};
use streamkeeper_control::{
    clock,
    messages::{FailureKind, ToCoordinator, ToWorker},
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
    /// Somebody else owns HEAD.
    Fenced(String),
}

/// The owner of HEAD at work.
pub(crate) struct Leader<'a> {
    pub(crate) context: &'a mut CoordinatorContext,
    pub(crate) job: Arc<CompiledJob>,
    pub(crate) head_writer: HeadWriter,
    /// HEAD's restore point as far as it was read: reading it again is saved when it is still the
    /// same.
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// Operations accepted but not finished, oldest first.
    pub(crate) asked: VecDeque<Command>,
    pub(crate) work: Work,
    pub(crate) attempt: Attempt,
    pub(crate) failed_checkpoints: FailedCheckpoints,
    /// How far the workers are with what they send to stores.
    pub(crate) progress: watch::Sender<u64>,
    /// When uploads that nobody ended were last looked for.
    pub(crate) uploads_swept: Option<Instant>,
    /// Failures since HEAD's restore point last moved, and that restore point.
    failures: (u32, Option<u64>),
    pub(crate) last_number: u64,
}

/// Work beside the event loop that outlives none of its attempts.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) copies: JoinSet<Copied>,
    pub(crate) sweeps: JoinSet<()>,
}

/// The graph under its attempt number.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    /// Workers it runs on.
    pub(crate) workers: u32,
    /// Whether a `Deploy` was sent: another attempt must be claimed before the next.
    pub(crate) used: bool,
    /// Whether the loss of a worker is the end of it.
    pub(crate) live: bool,
    pub(crate) started_ms: i64,
    pub(crate) restored_from: Option<u64>,
    pub(crate) checkpoints: u64,
    pub(crate) lineage: Option<Lineage>,
    /// Checkpoint whose output all workers committed.
    pub(crate) committed: Option<u64>,
    /// What went wrong in it, until somebody acts on it.
    pub(crate) broken: Option<AttemptFailure>,
}

/// The stop that another coordinator left unfinished.
fn goes_on(stop: &OperationRecord) -> Command {
    Command::Stop(StopRequest {
        key: stop.key.clone(),
        mode: StopMode::Savepoint,
        release: stop.release,
    })
}

impl<'a> Leader<'a> {
    pub(crate) fn new(
        context: &'a mut CoordinatorContext,
        job: Arc<CompiledJob>,
        claimed: Claimed,
    ) -> Self {
        let Claimed {
            head_writer,
            restore_point,
            pause,
        } = claimed;
        let head = head_writer.head();
        let manifest = restore_point.map(|RestorePoint { manifest, .. }| manifest);
        let last = head.last.as_ref().map(|last| last.checkpoint);
        context.pauses.begin(
            pause,
            manifest
                .as_ref()
                .and_then(|manifest| manifest.last_record_ms),
            last,
            clock::now_ms(),
        );
        let attempt = Attempt {
            number: head.attempt,
            workers: head.workers,
            ..Attempt::default()
        };
        Self {
            context,
            job,
            head_writer,
            manifest,
            asked: head.open_stop().map(goes_on).into_iter().collect(),
            work: Work::default(),
            attempt,
            failed_checkpoints: FailedCheckpoints::default(),
            progress: watch::Sender::new(0),
            uploads_swept: None,
            failures: (0, last),
            last_number: 0,
        }
    }

    /// Runs the job until it ends or somebody else owns it.
    pub(crate) async fn lead(mut self) -> LeadEnd {
        // They came while HEAD was being claimed.
        while let Some(call) = self.context.waiting_call() {
            self.accept(call);
        }
        loop {
            let end = match self.attempt().await {
                Ok(end) => end,
                Err(AttemptExit::Asked | AttemptExit::Again) => {
                    self.stop_graph();
                    continue;
                }
                Err(AttemptExit::Failed(failure)) => match self.recover(failure).await {
                    Ok(())
                    | Err(AttemptExit::Asked | AttemptExit::Again | AttemptExit::Failed(_)) => {
                        continue;
                    }
                    Err(AttemptExit::Fenced(why)) => LeadEnd::Fenced(why),
                    Err(AttemptExit::Terminate) => LeadEnd::Terminated,
                },
                Err(AttemptExit::Fenced(why)) => LeadEnd::Fenced(why),
                Err(AttemptExit::Terminate) => LeadEnd::Terminated,
            };
            self.stop_graph();
            return self.leave(end);
        }
    }

    fn leave(mut self, end: LeadEnd) -> LeadEnd {
        let phase = match &end {
            LeadEnd::HandedOver | LeadEnd::Stopped => JobPhase::Stopped,
            LeadEnd::Completed => JobPhase::Completed,
            LeadEnd::Terminated => JobPhase::Stopping,
            LeadEnd::Fenced(_) => JobPhase::Fenced,
        };
        self.show(phase);
        for command in std::mem::take(&mut self.asked) {
            if end == LeadEnd::Terminated && self.is_open_in_head(command.key()) {
                // The coordinator that follows finishes it.
                continue;
            }
            let why = format!("the job ended first ({phase:?})");
            self.context.note(
                command.key(),
                command.kind(),
                OperationResult::Failed { why },
            );
        }
        end
    }

    async fn attempt(&mut self) -> Result<LeadEnd, AttemptExit> {
        if self.attempt.used {
            self.claim_again().await?;
        }
        self.replay_commits().await?;
        self.resume_copies();
        if let Some(end) = self.end_at_rest().await? {
            return Ok(end);
        }
        self.wait_for_workers().await?;
        self.deploy().await?;
        loop {
            match self.run().await? {
                Some(end) => return Ok(end),
                // Rescaled: the next attempt is claimed already.
                None => self.deploy().await?,
            }
        }
    }

    async fn claim_again(&mut self) -> Result<(), AttemptExit> {
        let token = Ulid::generate().to_string();
        let head = self
            .write(move |head| head.change().new_attempt(&token))
            .await?;
        self.begin_attempt(&head);
        Ok(())
    }

    /// HEAD says that this attempt begins.
    pub(crate) fn begin_attempt(&mut self, head: &Head) {
        self.attempt = Attempt {
            number: head.attempt,
            workers: head.workers,
            ..Attempt::default()
        };
        tracing::info!(
            attempt = head.attempt,
            workers = head.workers,
            "new attempt"
        );
    }

    /// Stops what runs, tells of the failure, waits before the next attempt.
    async fn recover(&mut self, failure: AttemptFailure) -> Result<(), AttemptExit> {
        let head = self.head_writer.head();
        let last = head.last.as_ref().map(|last| last.checkpoint);
        self.failures = if self.failures.1 == last {
            (self.failures.0 + 1, last)
        } else {
            (1, last)
        };
        let pause = self.context.config.back_off.after(self.failures.0);
        tracing::warn!(
            worker = failure.worker,
            restored_from = last,
            failures = self.failures.0,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "{}",
            failure.message
        );
        if self.attempt.live {
            self.context.restarts += 1;
            let flowed = self
                .context
                .worker_registry
                .last_record_ms(self.attempt.number);
            self.context
                .pauses
                .begin(PauseReason::Failure, flowed, last, clock::now_ms());
        }
        self.stop_graph();
        self.context.show_error(failure.job_error(self.failures));
        self.context.show_failure(Failure {
            at_ms: clock::now_ms(),
            worker: failure.worker,
            message: failure.message,
            restored_from: last,
            terminated: failure.terminated,
            memory_bytes: failure
                .worker
                .and_then(|worker| self.context.worker_registry.left_with(worker)),
        });
        let until = clock::now() + pause;
        while clock::now() < until {
            self.show(JobPhase::BackingOff);
            self.check_at_rest()?;
            if let Some(event) = self.context.next(Some(until)).await {
                self.handle_event(event);
            }
        }
        Ok(())
    }

    /// Ends the graph of this attempt; work beside it that depends on it ends too.
    pub(crate) fn stop_graph(&mut self) {
        if self.attempt.used {
            self.context.worker_registry.send_to_all(&ToWorker::Cancel {
                attempt: self.attempt.number,
            });
        }
        self.attempt.live = false;
        self.work = Work::default();
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
    fn check_at_rest(&mut self) -> Result<(), AttemptExit> {
        self.check()?;
        if self.asked.iter().any(Command::ends_or_moves) {
            Err(AttemptExit::Asked)
        } else {
            Ok(())
        }
    }

    /// Takes event in: answers what a worker said about this attempt, if it is for somebody else to
    /// judge.
    pub(crate) fn handle_event(&mut self, event: CoordinatorEvent) -> Option<(u32, ToCoordinator)> {
        let failure = match event {
            CoordinatorEvent::Call(call) => {
                self.accept(call);
                return None;
            }
            CoordinatorEvent::WorkerRegistered { register, .. }
                if self.runs_on(register.worker) =>
            {
                let worker = register.worker;
                AttemptFailure::of_worker(worker, format!("worker {worker} was restarted"))
            }
            CoordinatorEvent::WorkerLost { worker, why, .. } if self.runs_on(worker) => {
                AttemptFailure::of_worker(worker, format!("worker {worker} is lost: {why}"))
            }
            CoordinatorEvent::WorkerLeft { worker } if self.runs_on(worker) => {
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

    fn runs_on(&self, worker: u32) -> bool {
        self.attempt.live && worker < self.attempt.workers
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
        if message.attempt() != Some(self.attempt.number) || !self.runs_on(worker) {
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
}
