//! Records flow: checkpoints by interval, on request, and the last one of an attempt.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, OperationKind, OperationResult, SavepointRecord},
    job_api::{
        CheckpointFailures, HandOverRequest, JobPhase, PauseReason, RescaleRequest,
        SavepointRequest, StopMode, StopRequest,
    },
    manifest::{CheckpointKind, Manifest},
};
use streamkeeper_storage::{StorageError, collect_garbage, write_manifest};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Command,
    checkpoint::{Collecting, Lineage, entry_of},
    failure::{AttemptFailure, Interrupt},
    keeper::{HeadKeeper, KeepError},
    leader::{LeadEnd, Leader},
    operations::{confirm_commit, with_result},
};
use crate::{
    clock,
    control::{ToCoordinator, ToWorker},
    failpoint,
};

/// Between two requests for a commit that a sink did not do.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// Before a checkpoint that cannot be put off is tried again.
const HOLD: Duration = Duration::from_secs(1);

/// The state of a running attempt.
pub(super) struct Run {
    next_tick: Option<Instant>,
    /// No checkpoint begins before.
    hold_until: Instant,
    collecting: Option<Collecting>,
    publishing: Option<AbortOnDropHandle<Published>>,
    committing: Option<Committing>,
    /// Savepoint or stop whose savepoint the checkpoint under way becomes.
    saving: Option<SavepointRequest>,
    ending: Option<Ending>,
    /// The final checkpoint, once HEAD names it.
    at_end: Option<u64>,
    input_ended: BTreeSet<u32>,
    rescale_by: Option<Instant>,
}

/// How the attempt is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    HandOver(HandOverRequest),
    Stop(StopRequest),
    Rescale(RescaleRequest),
    Complete,
    /// The pod of this worker must end; the job goes on with its next one.
    Leave(u32),
    Terminate,
}

struct Committing {
    checkpoint: u64,
    waiting: BTreeSet<u32>,
    again_at: Instant,
    deadline: Instant,
    trouble: Option<String>,
}

struct Published {
    checkpoint: u64,
    kind: CheckpointKind,
    manifest: Arc<Manifest>,
    result: Result<Arc<Head>, PublishError>,
}

/// Why a complete checkpoint did not become the restore point.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("writing the manifest: {0}")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl Run {
    fn new(interval: Option<Duration>) -> Self {
        Self {
            next_tick: interval.map(|interval| clock::now() + interval),
            hold_until: clock::now(),
            collecting: None,
            publishing: None,
            committing: None,
            saving: None,
            ending: None,
            at_end: None,
            input_ended: BTreeSet::new(),
            rescale_by: None,
        }
    }

    fn is_busy(&self) -> bool {
        self.collecting.is_some() || self.publishing.is_some() || self.committing.is_some()
    }

    fn phase(&self) -> JobPhase {
        match &self.ending {
            None | Some(Ending::Complete) => JobPhase::Running,
            Some(Ending::Rescale(_)) => JobPhase::Rescaling,
            Some(Ending::HandOver(_) | Ending::Stop(_) | Ending::Leave(_) | Ending::Terminate) => {
                JobPhase::Stopping
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        let idle = !self.is_busy();
        let tick = self
            .next_tick
            .filter(|_| idle)
            .map(|tick| tick.max(self.hold_until));
        let hold = (idle && self.hold_until > clock::now()).then_some(self.hold_until);
        let collecting = self
            .collecting
            .as_ref()
            .map(|collecting| collecting.deadline);
        let committing = self
            .committing
            .as_ref()
            .map(|committing| committing.again_at.min(committing.deadline));
        [tick, hold, collecting, committing, self.rescale_by]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Leader<'_> {
    /// Runs the deployed graph; none when it was rescaled and must be deployed again.
    pub(super) async fn run(&mut self) -> Result<Option<LeadEnd>, Interrupt> {
        let mut run = Run::new(self.desk.config.checkpoints.interval);
        loop {
            if let Some(failure) = self.attempt.broken.take() {
                self.give_up_saving(&mut run, &format!("the job restarted: {}", failure.message));
                return Err(failure.into());
            }
            self.begin_what_is_due(&mut run);
            self.show(run.phase());
            if let Some(end) = self.conclude(&mut run).await? {
                return Ok(match end {
                    Concluded::Ended(end) => Some(end),
                    Concluded::Rescaled => None,
                });
            }
            let wake = run.wake();
            let until = [wake, self.desk.terminate_by].into_iter().flatten().min();
            tokio::select! {
                biased;
                published = finished(&mut run.publishing) => self.published(&mut run, published)?,
                Some(Ok(copied)) = self.work.copies.join_next() => {
                    self.copied(&copied)?;
                    if let Err(error) = &copied.result {
                        self.fail_ending_of(&mut run, &copied.key, &error.to_string());
                    }
                }
                news = self.desk.next(until) => {
                    if let Some((worker, message)) = news.and_then(|news| self.hear(news)) {
                        self.said(&mut run, worker, message);
                    }
                }
            }
            while self.work.sweeps.try_join_next().is_some() {}
            self.expire(&mut run);
        }
    }

    fn begin_what_is_due(&mut self, run: &mut Run) {
        if self.desk.terminate_by.is_some() {
            run.ending.get_or_insert(Ending::Terminate);
        }
        if run.is_busy() || clock::now() < run.hold_until {
            return;
        }
        if run.ending.is_none() {
            run.ending = self.next_ending(run);
        }
        match &run.ending {
            Some(Ending::Stop(request)) if request.mode == StopMode::Now => {}
            Some(_) if run.at_end.is_some() => {}
            Some(Ending::Stop(request)) if request.mode == StopMode::Savepoint => {
                run.saving = Some(SavepointRequest {
                    key: request.key.clone(),
                    uri: None,
                });
                self.trigger(run, CheckpointKind::Final);
            }
            Some(_) => self.trigger(run, CheckpointKind::Final),
            None => {
                let asked = self.asked.iter().find_map(|command| match command {
                    Command::Savepoint(request) if !self.is_being_copied(&request.key) => {
                        Some(request.clone())
                    }
                    _ => None,
                });
                if let Some(request) = asked {
                    run.saving = Some(request);
                    self.trigger(run, CheckpointKind::Savepoint);
                } else if run.next_tick.is_some_and(|tick| clock::now() >= tick) {
                    self.trigger(run, CheckpointKind::Periodic);
                }
            }
        }
    }

    fn is_being_copied(&self, key: &str) -> bool {
        self.keeper
            .head()
            .savepoints
            .iter()
            .any(|record| record.key == key)
    }

    fn next_ending(&mut self, run: &mut Run) -> Option<Ending> {
        if run.input_ended.len() == self.attempt.workers as usize {
            return Some(Ending::Complete);
        }
        let command = self
            .asked
            .iter()
            .find(|command| command.ends_or_moves())
            .cloned();
        let leaving = self.desk.roster.first_to_leave(self.attempt.workers);
        match (command, leaving) {
            (Some(Command::HandOver(request)), _) => Some(Ending::HandOver(request)),
            (Some(Command::Stop(request)), _) => Some(Ending::Stop(request)),
            // Whatever else is asked for is done at rest, or with the worker that follows.
            (_, Some((worker, _))) => Some(Ending::Leave(worker)),
            (Some(Command::Rescale(request)), None) => {
                let missing = self.desk.roster.missing(request.workers);
                if missing.is_empty() {
                    run.rescale_by = None;
                    return Some(Ending::Rescale(request));
                }
                let by = *run
                    .rescale_by
                    .get_or_insert_with(|| clock::now() + self.desk.config.rescale_timeout);
                if clock::now() >= by {
                    run.rescale_by = None;
                    let why = format!(
                        "workers {missing:?} did not register within {} s",
                        self.desk.config.rescale_timeout.as_secs()
                    );
                    self.finish(
                        &request.key,
                        OperationKind::Rescale,
                        OperationResult::Failed { why },
                    );
                }
                None
            }
            (Some(Command::Promote(_) | Command::Savepoint(_)) | None, None) => None,
        }
    }

    fn trigger(&mut self, run: &mut Run, kind: CheckpointKind) {
        let policy = self.desk.config.checkpoints;
        let now = clock::now();
        let checkpoint = self.keeper.head().next_checkpoint.max(self.last_number + 1);
        self.last_number = checkpoint;
        let workers = self.attempt.workers;
        let leaving = self.desk.roster.first_to_leave(workers).map(|(_, by)| by);
        let by = [self.desk.terminate_by, leaving]
            .into_iter()
            .flatten()
            .min();
        let deadline = by.map_or(now + policy.timeout, |by| by.min(now + policy.timeout));
        run.collecting = Some(Collecting::new(
            checkpoint,
            kind,
            workers,
            clock::now_ms(),
            deadline,
        ));
        run.next_tick = policy.interval.map(|interval| now + interval);
        let attempt = self.attempt.number;
        tracing::debug!(attempt, checkpoint, ?kind, "checkpoint begins");
        self.desk.roster.send_to_first(
            workers,
            &ToWorker::TriggerCheckpoint {
                attempt,
                checkpoint,
                kind,
            },
        );
    }

    fn said(&mut self, run: &mut Run, worker: u32, message: ToCoordinator) {
        match message {
            ToCoordinator::CheckpointAck(share) => {
                let complete = run
                    .collecting
                    .as_mut()
                    .is_some_and(|collecting| collecting.take(share));
                if complete
                    && let (Some(collecting), Some(lineage)) =
                        (run.collecting.take(), self.attempt.lineage.clone())
                {
                    run.publishing = Some(self.publish(collecting, &lineage, run.saving.as_ref()));
                }
            }
            ToCoordinator::CheckpointDeclined {
                checkpoint, why, ..
            } if run
                .collecting
                .as_ref()
                .is_some_and(|collecting| collecting.checkpoint == checkpoint) =>
            {
                self.checkpoint_failed(run, &format!("worker {worker}: {why}"));
            }
            ToCoordinator::Committed { checkpoint, .. } => {
                let Some(committing) = run
                    .committing
                    .as_mut()
                    .filter(|committing| committing.checkpoint == checkpoint)
                else {
                    return;
                };
                committing.waiting.remove(&worker);
                if committing.waiting.is_empty() {
                    failpoint::pass(failpoint::COMMITS_CONFIRMED);
                    self.attempt.committed = Some(checkpoint);
                    if committing.trouble.is_some() {
                        self.checkpoint_failures = CheckpointFailures::default();
                    }
                    run.committing = None;
                }
            }
            ToCoordinator::CommitFailed {
                checkpoint, why, ..
            } => {
                if let Some(committing) = run
                    .committing
                    .as_mut()
                    .filter(|committing| committing.checkpoint == checkpoint)
                {
                    tracing::warn!(worker, checkpoint, why, "sink output is not committed");
                    let message = format!(
                        "output of checkpoint {checkpoint} is not committed yet: worker {worker}: {why}"
                    );
                    self.checkpoint_failures.consecutive += 1;
                    self.checkpoint_failures.last = Some(message.clone());
                    committing.trouble = Some(message);
                    committing.again_at = clock::now() + COMMIT_AGAIN;
                }
            }
            ToCoordinator::InputEnded { .. } => {
                run.input_ended.insert(worker);
            }
            _ => {}
        }
    }

    fn publish(
        &self,
        collecting: Collecting,
        of: &Lineage,
        saving: Option<&SavepointRequest>,
    ) -> AbortOnDropHandle<Published> {
        let (checkpoint, kind) = (collecting.checkpoint, collecting.kind);
        let (manifest, written_bytes) = collecting.complete(of, clock::now_ms());
        let manifest = Arc::new(manifest);
        let config = self.desk.config.clone();
        let keeper = self.keeper.clone();
        let pin = saving.and_then(|request| {
            let folder = self.folder(&request.key, request.uri.as_deref()).ok()?;
            Some((request.key.clone(), folder))
        });
        AbortOnDropHandle::new(tokio::spawn(async move {
            failpoint::pass(failpoint::SHARES_COMPLETE);
            let written = write_manifest(&*config.store, &config.paths, &manifest).await;
            failpoint::pass(failpoint::MANIFEST_WRITTEN);
            let result = match written {
                Ok(key) => publish_in_head(
                    &keeper,
                    &manifest,
                    key,
                    written_bytes,
                    config.checkpoints.retain,
                    pin,
                )
                .await
                .map_err(PublishError::from),
                Err(error) => Err(error.into()),
            };
            Published {
                checkpoint,
                kind,
                manifest,
                result,
            }
        }))
    }

    fn published(
        &mut self,
        run: &mut Run,
        published: Result<Published, String>,
    ) -> Result<(), Interrupt> {
        run.publishing = None;
        let Published {
            checkpoint,
            kind,
            manifest,
            result,
        } = match published {
            Ok(published) => published,
            Err(why) => {
                self.checkpoint_failed(run, &format!("a defect in the coordinator: {why}"));
                return Ok(());
            }
        };
        let head = match result {
            Ok(head) => head,
            Err(PublishError::Keep(error @ (KeepError::Fenced(_) | KeepError::Gone))) => {
                return Err(error.into());
            }
            Err(error) => {
                self.checkpoint_failed_at(run, checkpoint, kind, &error.to_string());
                return Ok(());
            }
        };
        failpoint::pass(failpoint::HEAD_WRITTEN);
        if let Some(last) = &head.last {
            tracing::info!(
                checkpoint,
                ?kind,
                duration_ms = last.duration_ms,
                written_bytes = last.written_bytes,
                total_bytes = last.total_bytes,
                "checkpoint complete"
            );
        }
        self.manifest = Some(manifest);
        self.attempt.checkpoints += 1;
        self.checkpoint_failures = CheckpointFailures::default();
        self.moved_on();
        let attempt = self.attempt.number;
        self.desk.roster.send_to_first(
            self.attempt.workers,
            &ToWorker::CommitCheckpoint {
                attempt,
                checkpoint,
            },
        );
        run.committing = Some(Committing {
            checkpoint,
            waiting: (0..self.attempt.workers).collect(),
            again_at: clock::now() + self.desk.config.commit_timeout,
            deadline: clock::now() + self.desk.config.commit_timeout,
            trouble: None,
        });
        if kind == CheckpointKind::Final {
            run.at_end = Some(checkpoint);
        }
        if let Some(request) = run.saving.take()
            && let Some(record) = pinned(&head, &request.key)
        {
            self.copy(record);
        }
        if self.work.sweeps.is_empty() {
            let config = self.desk.config.clone();
            self.work.sweeps.spawn(async move {
                match collect_garbage(&*config.store, &config.paths, &head).await {
                    Ok(collected) => tracing::debug!(?collected, "garbage collected"),
                    Err(error) => tracing::warn!(%error, "garbage is not collected"),
                }
            });
        }
        Ok(())
    }

    /// The checkpoint being collected will not be complete.
    fn checkpoint_failed(&mut self, run: &mut Run, why: &str) {
        if let Some(collecting) = run.collecting.take() {
            self.checkpoint_failed_at(run, collecting.checkpoint, collecting.kind, why);
        }
    }

    fn checkpoint_failed_at(
        &mut self,
        run: &mut Run,
        checkpoint: u64,
        kind: CheckpointKind,
        why: &str,
    ) {
        tracing::warn!(checkpoint, ?kind, why, "checkpoint failed");
        let attempt = self.attempt.number;
        self.desk.roster.send_to_first(
            self.attempt.workers,
            &ToWorker::AbortCheckpoint {
                attempt,
                checkpoint,
            },
        );
        self.checkpoint_failures.consecutive += 1;
        self.checkpoint_failures.last = Some(format!("checkpoint {checkpoint}: {why}"));
        let why = format!("checkpoint {checkpoint} failed: {why}");
        self.give_up_saving(run, &why);
        if kind == CheckpointKind::Final {
            self.fail_ending(run, &why);
        }
        run.hold_until = clock::now() + HOLD;
    }

    fn give_up_saving(&mut self, run: &mut Run, why: &str) {
        if let Some(request) = run.saving.take()
            && run.ending.is_none()
        {
            self.finish(
                &request.key,
                OperationKind::Savepoint,
                OperationResult::Failed {
                    why: why.to_owned(),
                },
            );
        }
    }

    /// The attempt does not end after all: sources read on.
    fn fail_ending(&mut self, run: &mut Run, why: &str) {
        match &run.ending {
            Some(Ending::HandOver(_) | Ending::Stop(_) | Ending::Rescale(_)) => {
                self.fail_endings(why);
                run.ending = None;
            }
            // Tried again while there is time, or for ever.
            Some(Ending::Complete) => run.ending = None,
            Some(Ending::Leave(_) | Ending::Terminate) | None => {}
        }
        run.at_end = None;
        let attempt = self.attempt.number;
        self.desk
            .roster
            .send_to_first(self.attempt.workers, &ToWorker::Resume { attempt });
    }

    fn fail_ending_of(&mut self, run: &mut Run, key: &str, why: &str) {
        if matches!(&run.ending, Some(Ending::Stop(request)) if request.key == key) {
            self.fail_ending(run, why);
        }
    }

    fn expire(&mut self, run: &mut Run) {
        let now = clock::now();
        if let Some(collecting) = run
            .collecting
            .as_ref()
            .filter(|collecting| now >= collecting.deadline)
        {
            let why = format!(
                "timed out; workers {:?} have not stored their share",
                collecting.missing()
            );
            self.checkpoint_failed(run, &why);
        }
        let Some(committing) = run.committing.as_mut() else {
            return;
        };
        let checkpoint = committing.checkpoint;
        if now >= committing.again_at {
            committing.again_at = now + COMMIT_AGAIN;
            let attempt = self.attempt.number;
            for worker in &committing.waiting {
                self.desk.roster.send(
                    *worker,
                    ToWorker::CommitCheckpoint {
                        attempt,
                        checkpoint,
                    },
                );
            }
        }
        let endless = matches!(
            run.ending,
            Some(Ending::Complete | Ending::Leave(_) | Ending::Terminate) | None
        );
        if now >= committing.deadline && !endless && run.at_end.is_some() {
            let trouble = committing.trouble.clone();
            let why = trouble.unwrap_or_else(|| {
                format!("output of checkpoint {checkpoint} is not committed in time")
            });
            committing.deadline = now + self.desk.config.commit_timeout;
            self.fail_ending(run, &why);
        }
    }

    /// Ends the attempt once all that must come first has happened.
    async fn conclude(&mut self, run: &mut Run) -> Result<Option<Concluded>, Interrupt> {
        let Some(ending) = run.ending.clone() else {
            return Ok(None);
        };
        if ending == Ending::Terminate
            && self.desk.terminate_by.is_some_and(|by| clock::now() >= by)
        {
            return Ok(Some(Concluded::Ended(LeadEnd::Terminated)));
        }
        let without_checkpoint =
            matches!(&ending, Ending::Stop(request) if request.mode == StopMode::Now);
        if run.is_busy() || !(run.at_end.is_some() || without_checkpoint) {
            return Ok(None);
        }
        if let Ending::Stop(request) = &ending
            && request.mode == StopMode::Savepoint
            && !pinned(&self.keeper.head(), &request.key).is_some_and(|record| record.complete)
        {
            return Ok(None);
        }
        if let Ending::Leave(worker) = ending {
            self.write(|head| confirm_commit(head.change())).await?;
            return Err(AttemptFailure::left(worker, run.at_end).into());
        }
        // From here on the graph is done with: losing a worker means nothing any more.
        self.attempt.live = false;
        let flowed = self.desk.roster.last_record_ms(self.attempt.number);
        let ended = match ending {
            Ending::HandOver(request) => {
                failpoint::pass(failpoint::HAND_OVER_READY);
                self.hand_over(&request).await?
            }
            Ending::Stop(request) => self.stop(&request).await?,
            Ending::Rescale(request) => {
                let before = (self.attempt.number, self.attempt.workers);
                self.desk
                    .pauses
                    .begin(PauseReason::Rescale, flowed, run.at_end, clock::now_ms());
                if self.rescale(&request, true).await? {
                    for worker in self.attempt.workers..before.1 {
                        self.desk
                            .roster
                            .send(worker, ToWorker::Cancel { attempt: before.0 });
                    }
                    return Ok(Some(Concluded::Rescaled));
                }
                None
            }
            Ending::Complete => {
                self.write(|head| confirm_commit(head.change())?.complete())
                    .await?;
                tracing::info!("all input is read and committed: the job is complete");
                Some(LeadEnd::Completed)
            }
            Ending::Leave(_) | Ending::Terminate => {
                self.write(|head| confirm_commit(head.change())).await?;
                Some(LeadEnd::Terminated)
            }
        };
        match ended {
            Some(end) => Ok(Some(Concluded::Ended(end))),
            // HEAD did not allow it: go on from the checkpoint that it names.
            None => Err(Interrupt::Again),
        }
    }
}

/// How a run ended.
enum Concluded {
    Ended(LeadEnd),
    Rescaled,
}

fn pinned(head: &Head, key: &str) -> Option<SavepointRecord> {
    head.savepoints
        .iter()
        .find(|record| record.key == key)
        .cloned()
}

async fn finished(
    publishing: &mut Option<AbortOnDropHandle<Published>>,
) -> Result<Published, String> {
    match publishing {
        Some(task) => task.await.map_err(|error| error.to_string()),
        None => std::future::pending().await,
    }
}

async fn publish_in_head(
    keeper: &HeadKeeper,
    manifest: &Arc<Manifest>,
    key: String,
    written_bytes: u64,
    retain: usize,
    pin: Option<(String, String)>,
) -> Result<Arc<Head>, KeepError> {
    let manifest = manifest.clone();
    keeper
        .change(move |head| {
            if head.attempt != manifest.attempt {
                return Err(streamkeeper_protocol::head::HeadError::NotLast {
                    checkpoint: manifest.checkpoint,
                });
            }
            let entry = entry_of(&manifest, key.clone(), written_bytes, clock::now_ms());
            // A checkpoint begins only after the output of the one before is committed.
            let (change, _) = confirm_commit(head.change())?.publish(
                entry,
                &manifest.plan_hash,
                retain.saturating_sub(1),
            )?;
            match &pin {
                None => Ok(change),
                Some((key, folder)) => {
                    let change = change.add_savepoint(key, key, folder)?;
                    if manifest.kind == CheckpointKind::Savepoint {
                        with_result(
                            change,
                            key,
                            OperationKind::Savepoint,
                            &OperationResult::Running,
                        )
                    } else {
                        Ok(change)
                    }
                }
            }
        })
        .await
}
