//! Records flow: checkpoints by interval, on request, and the last one of an attempt.

pub(crate) mod stop;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streamkeeper_protocol::{
    head::{OperationKind, OperationResult},
    job_api::{JobPhase, SavepointRequest, StopMode},
    manifest::CheckpointKind,
};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    attempt_failure::AttemptExit,
    checkpoints::{
        pending::PendingCheckpoint,
        publish::{Published, finished},
    },
    commands::Command,
    leader::{LeadEnd, Leader},
    progress_deadline::ProgressDeadline,
    run::stop::{RunEnd, StopReason},
};
use streamkeeper_control::{
    clock, failpoint,
    messages::{ToCoordinator, ToWorker},
};

/// Between two requests for a commit that a sink did not do.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// Before a checkpoint that cannot be put off is tried again.
const HOLD: Duration = Duration::from_secs(1);

/// The state of a running attempt.
pub(crate) struct Run {
    pub(crate) next_tick: Option<Instant>,
    /// No checkpoint begins before.
    pub(crate) hold_until: Instant,
    pub(crate) collecting: Option<PendingCheckpoint>,
    pub(crate) publishing: Option<AbortOnDropHandle<Published>>,
    pub(crate) committing: Option<Committing>,
    /// Savepoint or stop whose savepoint the checkpoint under way becomes.
    pub(crate) saving: Option<SavepointRequest>,
    pub(crate) ending: Option<StopReason>,
    /// The final checkpoint, once HEAD names it.
    pub(crate) at_end: Option<u64>,
    pub(crate) input_ended: BTreeSet<u32>,
    pub(crate) rescale_by: Option<Instant>,
    /// Workers that still send their share of a checkpoint that was given up, with its number. What
    /// they froze for it stays in their memory, so they are asked for no periodic one before.
    pub(crate) owing: BTreeMap<u32, u64>,
    /// Whether a sink fills: a checkpoint is due now, whatever the interval says.
    pub(crate) wanted: bool,
    /// How long operations wait for a commit, while some do.
    pub(crate) commit_deadline: Option<ProgressDeadline>,
}

pub(crate) struct Committing {
    pub(crate) checkpoint: u64,
    pub(crate) waiting: BTreeSet<u32>,
    pub(crate) again_at: Instant,
    pub(crate) trouble: Option<String>,
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
            owing: BTreeMap::new(),
            wanted: false,
            commit_deadline: None,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.collecting.is_some() || self.publishing.is_some() || self.committing.is_some()
    }

    /// A worker's share of a checkpoint is stored, or given up.
    fn settled(&mut self, worker: u32, checkpoint: u64) {
        if self
            .owing
            .get(&worker)
            .is_some_and(|owed| *owed <= checkpoint)
        {
            self.owing.remove(&worker);
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

    fn wake(&self) -> Option<Instant> {
        let idle = !self.is_busy();
        let tick = self
            .next_tick
            .filter(|_| idle)
            .map(|tick| tick.max(self.hold_until));
        let hold = (idle && self.hold_until > clock::now()).then_some(self.hold_until);
        let collecting = self.collecting.as_ref().map(PendingCheckpoint::deadline);
        let committing = self
            .committing
            .as_ref()
            .map(|committing| committing.again_at);
        let tick = tick.filter(|_| self.owing.is_empty());
        [
            tick,
            hold,
            collecting,
            committing,
            self.commit_deadline.map(|patience| patience.by()),
            self.rescale_by,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Leader<'_> {
    /// Runs the deployed graph; none when it was rescaled and must be deployed again.
    pub(crate) async fn run(&mut self) -> Result<Option<LeadEnd>, AttemptExit> {
        let mut run = Run::new(self.context.config.checkpoints.interval);
        loop {
            if let Some(failure) = self.attempt.broken.take() {
                self.give_up_saving(&mut run, &format!("the job restarted: {}", failure.message));
                return Err(failure.into());
            }
            self.begin_what_is_due(&mut run);
            self.show(run.phase());
            if let Some(end) = self.conclude(&mut run).await? {
                return Ok(match end {
                    RunEnd::Ended(end) => Some(end),
                    RunEnd::Rescaled => None,
                });
            }
            let wake = run.wake();
            let until = [wake, self.context.terminate_by]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                biased;
                published = finished(&mut run.publishing) => self.published(&mut run, published)?,
                Some(Ok(copied)) = self.work.copies.join_next() => {
                    self.copied(&copied)?;
                    if let Err(error) = &copied.result {
                        self.fail_ending_of(&mut run, &copied.key, &error.to_string());
                    }
                }
                event = self.context.next(until) => {
                    if let Some((worker, message)) = event.and_then(|event| self.handle_event(event)) {
                        self.said(&mut run, worker, message);
                    }
                }
            }
            while self.work.sweeps.try_join_next().is_some() {}
            self.expire(&mut run);
        }
    }

    fn begin_what_is_due(&mut self, run: &mut Run) {
        if self.context.terminate_by.is_some() {
            run.ending.get_or_insert(StopReason::Terminate);
        }
        if run.is_busy() || clock::now() < run.hold_until {
            return;
        }
        if run.ending.is_none() {
            run.ending = self.next_ending(run);
        }
        match &run.ending {
            Some(StopReason::Stop(request)) if request.mode == StopMode::Now => {}
            Some(_) if run.at_end.is_some() => {}
            Some(StopReason::Stop(request)) if request.mode == StopMode::Savepoint => {
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
                } else if run.owing.is_empty()
                    && (run.wanted || run.next_tick.is_some_and(|tick| clock::now() >= tick))
                {
                    self.trigger(run, CheckpointKind::Periodic);
                }
            }
        }
    }

    fn is_being_copied(&self, key: &str) -> bool {
        self.head_writer
            .head()
            .savepoints
            .iter()
            .any(|record| record.key == key)
    }

    fn trigger(&mut self, run: &mut Run, kind: CheckpointKind) {
        let policy = self.context.config.checkpoints;
        let now = clock::now();
        let checkpoint = self
            .head_writer
            .head()
            .next_checkpoint
            .max(self.last_number + 1);
        self.last_number = checkpoint;
        let workers = self.attempt.workers;
        let leaving = self
            .context
            .worker_registry
            .first_to_leave(workers)
            .map(|(_, by)| by);
        let by = [self.context.terminate_by, leaving]
            .into_iter()
            .flatten()
            .min();
        let patience = ProgressDeadline::new(now, policy.timeout, self.moved_bytes());
        run.collecting = Some(PendingCheckpoint::new(
            checkpoint,
            kind,
            workers,
            clock::now_ms(),
            patience,
            by,
        ));
        run.next_tick = policy.interval.map(|interval| now + interval);
        run.wanted = false;
        let attempt = self.attempt.number;
        tracing::debug!(attempt, checkpoint, ?kind, "checkpoint begins");
        self.context.worker_registry.send_to_first(
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
                run.settled(worker, share.checkpoint);
                let complete = run
                    .collecting
                    .as_mut()
                    .is_some_and(|collecting| collecting.take(share));
                if complete
                    && let (Some(collecting), Some(lineage)) =
                        (run.collecting.take(), self.attempt.lineage.clone())
                {
                    run.publishing = Some(self.publish(
                        collecting,
                        &lineage,
                        run.saving.as_ref(),
                        run.ending.as_ref(),
                    ));
                }
            }
            ToCoordinator::CheckpointDelayed {
                checkpoint, why, ..
            } => {
                let why = format!("worker {worker}: {why}");
                self.failed_checkpoints
                    .count(checkpoint, format!("checkpoint {checkpoint}: {why}"));
                // It may be about one that was given up.
                let collecting = run.collecting.as_mut();
                if let Some(collecting) = collecting.filter(|it| it.checkpoint == checkpoint) {
                    collecting.trouble = Some(why);
                }
            }
            ToCoordinator::CheckpointDeclined {
                checkpoint, why, ..
            } => {
                run.settled(worker, checkpoint);
                if run
                    .collecting
                    .as_ref()
                    .is_some_and(|collecting| collecting.checkpoint == checkpoint)
                {
                    self.checkpoint_failed(run, &format!("worker {worker}: {why}"));
                }
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
                    if self.head_writer.head().has_open_commits() {
                        // Nothing waits for this write; a coordinator that starts after it commits
                        // nothing again.
                        drop(
                            self.head_writer
                                .change(move |head| head.change().committed(checkpoint)),
                        );
                    }
                    if committing.trouble.is_some() {
                        self.failed_checkpoints.end();
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
                    committing.trouble = Some(message.clone());
                    committing.again_at = clock::now() + COMMIT_AGAIN;
                    self.failed_checkpoints.count(checkpoint, message);
                }
            }
            ToCoordinator::CheckpointWanted { .. } => run.wanted = true,
            ToCoordinator::InputEnded { .. } => {
                run.input_ended.insert(worker);
            }
            _ => {}
        }
    }

    /// The checkpoint being collected will not be complete.
    pub(crate) fn checkpoint_failed(&mut self, run: &mut Run, why: &str) {
        if let Some(collecting) = run.collecting.take() {
            self.checkpoint_failed_at(run, collecting.checkpoint, collecting.kind, why);
        }
    }

    pub(crate) fn checkpoint_failed_at(
        &mut self,
        run: &mut Run,
        checkpoint: u64,
        kind: CheckpointKind,
        why: &str,
    ) {
        tracing::warn!(checkpoint, ?kind, why, "checkpoint failed");
        let attempt = self.attempt.number;
        self.context.worker_registry.send_to_first(
            self.attempt.workers,
            &ToWorker::AbortCheckpoint {
                attempt,
                checkpoint,
            },
        );
        self.failed_checkpoints
            .count(checkpoint, format!("checkpoint {checkpoint}: {why}"));
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

    fn moved_bytes(&self) -> u64 {
        self.context
            .worker_registry
            .moved_bytes(self.attempt.number)
    }

    fn expire(&mut self, run: &mut Run) {
        let (now, moved) = (clock::now(), self.moved_bytes());
        let (limit, all) = (
            self.context.config.checkpoints.timeout,
            self.attempt.workers,
        );
        let waiting = run.committing.as_ref().map(|it| it.waiting.len() as u64);
        let progress = moved + waiting.map_or(0, |waiting| u64::from(all) - waiting);
        self.progress.send_if_modified(|told| {
            let before = std::mem::replace(told, progress);
            before < progress
        });
        if let Some(collecting) = run.collecting.as_mut()
            && collecting.is_out_of_time(now, limit, moved)
        {
            let missing = collecting.missing();
            let trouble = collecting.trouble.as_deref();
            let trouble = trouble.map_or_else(String::new, |trouble| format!(" ({trouble})"));
            let why =
                format!("timed out; workers {missing:?} have not stored their share{trouble}");
            let checkpoint = collecting.checkpoint;
            run.owing
                .extend(missing.into_iter().map(|worker| (worker, checkpoint)));
            self.checkpoint_failed(run, &why);
        }
        self.expire_commit(run, now, progress);
    }

    /// Asks again for a commit that is not done, and fails what waits for it for too long: the job
    /// runs on.
    fn expire_commit(&mut self, run: &mut Run, now: Instant, progress: u64) {
        let Some(committing) = run.committing.as_mut() else {
            run.commit_deadline = None;
            return;
        };
        let checkpoint = committing.checkpoint;
        if now >= committing.again_at {
            committing.again_at = now + COMMIT_AGAIN;
            let attempt = self.attempt.number;
            for worker in &committing.waiting {
                self.context.worker_registry.send(
                    *worker,
                    ToWorker::CommitCheckpoint {
                        attempt,
                        checkpoint,
                    },
                );
            }
        }
        // The end of the input waits for as long as it takes; a pod that must end has a time of its
        // own.
        if !self.asked.iter().any(|command| self.waits(command)) {
            run.commit_deadline = None;
            return;
        }
        let limit = self.context.config.commit_timeout;
        let patience = run
            .commit_deadline
            .get_or_insert_with(|| ProgressDeadline::new(now, limit, progress));
        if !patience.is_out(now, limit, progress) {
            return;
        }
        run.commit_deadline = None;
        let why = committing.trouble.clone().unwrap_or_else(|| {
            format!(
                "output of checkpoint {checkpoint} is not committed, and has not got on for {} s: workers {:?} do not answer",
                limit.as_secs(),
                committing.waiting
            )
        });
        match &run.ending {
            Some(StopReason::HandOver(_) | StopReason::Stop(_) | StopReason::Rescale(_)) => {
                self.fail_ending(run, &why);
            }
            Some(StopReason::Complete | StopReason::Leave(_) | StopReason::Terminate) | None => {
                self.fail_endings(&why);
            }
        }
        self.fail_savepoints(&why);
    }

    /// Whether an operation cannot go on before output is committed.
    fn waits(&self, command: &Command) -> bool {
        match command {
            Command::HandOver(_) | Command::Stop(_) | Command::Rescale(_) => true,
            Command::Savepoint(request) => !self.is_being_copied(&request.key),
            Command::Promote(_) => false,
        }
    }

    fn fail_savepoints(&mut self, why: &str) {
        let keys: Vec<_> = self
            .asked
            .iter()
            .filter(|command| command.kind() == OperationKind::Savepoint && self.waits(command))
            .map(|command| command.key().to_owned())
            .collect();
        for key in keys {
            let why = why.to_owned();
            self.finish(
                &key,
                OperationKind::Savepoint,
                OperationResult::Failed { why },
            );
        }
    }
}
