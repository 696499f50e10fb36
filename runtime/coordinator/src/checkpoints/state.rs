//! The checkpoint under way, and when the next one begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper_control::{
    clock, failpoint,
    messages::{CheckpointAck, ToWorker},
};
use streamkeeper_protocol::{
    head::Head,
    job_api::{SavepointRequest, StopRequest},
    manifest::CheckpointKind,
};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    allowed_targets::savepoint_folder,
    attempt_failure::AttemptExit,
    checkpoints::{
        garbage::GarbageCollector,
        pending::PendingCheckpoint,
        publish::{Pin, PublishError, Published, publish},
    },
    head_ownership::HeadOwnership,
    head_writer::HeadWriteError,
    progress_deadline::ProgressDeadline,
};

/// Between two requests for a commit that a sink did not do.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// Before a checkpoint that cannot be put off is tried again.
const HOLD: Duration = Duration::from_secs(1);

/// Where the checkpoint under way stands.
pub(crate) enum CheckpointState {
    /// None is under way.
    Idle,
    /// Workers send their shares.
    Pending(PendingCheckpoint),
    /// All shares are there; the manifest and HEAD are written.
    Publishing(AbortOnDropHandle<Published>),
    /// HEAD names it; sinks commit its output.
    Committing(Committing),
}

/// A checkpoint whose output workers commit.
pub(crate) struct Committing {
    checkpoint: u64,
    /// Workers that have not confirmed.
    waiting: BTreeSet<u32>,
    again_at: Instant,
    trouble: Option<String>,
}

/// A checkpoint that came to nothing.
pub(crate) struct AbandonedCheckpoint {
    pub(crate) kind: CheckpointKind,
    /// The cause, with the number of the checkpoint.
    pub(crate) why: String,
}

/// A published checkpoint, or why it came to nothing.
pub(crate) enum PublishOutcome {
    Complete {
        checkpoint: u64,
        kind: CheckpointKind,
        head: Arc<Head>,
    },
    Abandoned(AbandonedCheckpoint),
    /// Publishing ended by a defect, which is logged.
    Broken,
}

/// The checkpoints of a job while its graph runs.
pub(crate) struct Checkpoints {
    state: CheckpointState,
    next_tick: Option<Instant>,
    /// No checkpoint begins before.
    hold_until: Instant,
    /// Savepoint or stop whose savepoint the checkpoint under way becomes.
    pub(crate) saving: Option<SavepointRequest>,
    /// Workers that still send their share of a checkpoint that was given up, with its number. What
    /// they froze for it stays in their memory, so they are asked for no periodic one before.
    owing: BTreeMap<u32, u64>,
    /// Whether a sink fills: a checkpoint is due now, whatever the interval says.
    pub(crate) wanted: bool,
    /// How long operations wait for a commit, while some do.
    commit_deadline: Option<ProgressDeadline>,
    /// Number of the newest checkpoint that was triggered.
    last_number: u64,
    garbage: GarbageCollector,
}

impl Checkpoints {
    pub(crate) fn new() -> Self {
        Self {
            state: CheckpointState::Idle,
            next_tick: None,
            hold_until: clock::now(),
            saving: None,
            owing: BTreeMap::new(),
            wanted: false,
            commit_deadline: None,
            last_number: 0,
            garbage: GarbageCollector::default(),
        }
    }

    /// Begins anew with a graph that was just deployed. Numbers go on.
    pub(crate) fn restart(&mut self, interval: Option<Duration>) {
        *self = Self {
            next_tick: interval.map(|interval| clock::now() + interval),
            last_number: self.last_number,
            garbage: std::mem::take(&mut self.garbage),
            ..Self::new()
        };
    }

    /// Ends work beside the event loop.
    pub(crate) fn abort(&mut self) {
        self.garbage.abort();
    }

    /// Whether a checkpoint is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self.state, CheckpointState::Idle)
    }

    /// Whether a checkpoint may begin now.
    pub(crate) fn may_begin(&self) -> bool {
        !self.is_busy() && clock::now() >= self.hold_until
    }

    /// Whether a periodic checkpoint is due.
    pub(crate) fn is_due(&self) -> bool {
        self.owing.is_empty()
            && (self.wanted || self.next_tick.is_some_and(|tick| clock::now() >= tick))
    }

    /// Returns when the event loop must look at the checkpoints again.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let idle = !self.is_busy();
        let tick = self
            .next_tick
            .filter(|_| idle && self.owing.is_empty())
            .map(|tick| tick.max(self.hold_until));
        let hold = (idle && self.hold_until > clock::now()).then_some(self.hold_until);
        let under_way = match &self.state {
            CheckpointState::Idle | CheckpointState::Publishing(_) => None,
            CheckpointState::Pending(pending) => Some(pending.deadline()),
            CheckpointState::Committing(committing) => Some(committing.again_at),
        };
        let commit = self.commit_deadline.map(|deadline| deadline.by());
        [tick, hold, under_way, commit].into_iter().flatten().min()
    }

    /// Asks all workers for a checkpoint.
    pub(crate) fn trigger(&mut self, owner: &HeadOwnership<'_>, kind: CheckpointKind) {
        let policy = owner.context.config.checkpoints;
        let now = clock::now();
        let next = owner.head_writer.head().next_checkpoint;
        let checkpoint = next.max(self.last_number + 1);
        self.last_number = checkpoint;
        let workers = owner.attempt.workers;
        let registry = &owner.context.worker_registry;
        let leaving = registry.first_to_leave(workers).map(|(_, by)| by);
        let by = [owner.context.terminate_by, leaving];
        let by = by.into_iter().flatten().min();
        let attempt = owner.attempt.number;
        let deadline = ProgressDeadline::new(now, policy.timeout, registry.moved_bytes(attempt));
        self.state = CheckpointState::Pending(PendingCheckpoint::new(
            checkpoint,
            kind,
            workers,
            clock::now_ms(),
            deadline,
            by,
        ));
        self.next_tick = policy.interval.map(|interval| now + interval);
        self.wanted = false;
        tracing::debug!(attempt, checkpoint, ?kind, "checkpoint begins");
        registry.send_to_first(
            workers,
            &ToWorker::TriggerCheckpoint {
                attempt,
                checkpoint,
                kind,
            },
        );
    }

    /// Takes the share of a worker. The last one that was missing begins the publishing; `stop` is
    /// the stop that the checkpoint is for, if it is for one.
    pub(crate) fn take_share(
        &mut self,
        owner: &HeadOwnership<'_>,
        worker: u32,
        share: CheckpointAck,
        stop: Option<&StopRequest>,
    ) {
        self.settle(worker, share.checkpoint);
        let CheckpointState::Pending(pending) = &mut self.state else {
            return;
        };
        if !pending.take(share) {
            return;
        }
        let state = std::mem::replace(&mut self.state, CheckpointState::Idle);
        if let (CheckpointState::Pending(complete), Some(lineage)) = (state, &owner.attempt.lineage)
        {
            let (config, writer) = (owner.context.config.clone(), owner.head_writer.clone());
            let pin = self.pin(owner, stop);
            self.state =
                CheckpointState::Publishing(publish(config, writer, complete, lineage, pin));
        }
    }

    /// Returns the savepoint that the checkpoint under way becomes.
    fn pin(&self, owner: &HeadOwnership<'_>, stop: Option<&StopRequest>) -> Option<Pin> {
        let request = self.saving.as_ref()?;
        let config = &owner.context.config;
        let uri = request.uri.as_deref();
        let folder = savepoint_folder(&*config.store, &config.paths, &request.key, uri).ok()?;
        Some(Pin {
            key: request.key.clone(),
            folder,
            stop: stop
                .filter(|stop| stop.key == request.key)
                .map(|stop| stop.release),
        })
    }

    /// Notes that a worker cannot store its share yet. It may be that of a checkpoint that was
    /// given up.
    pub(crate) fn note_delay(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        worker: u32,
        checkpoint: u64,
        why: &str,
    ) {
        let why = format!("worker {worker}: {why}");
        owner
            .failed_checkpoints
            .count(checkpoint, format!("checkpoint {checkpoint}: {why}"));
        if let CheckpointState::Pending(pending) = &mut self.state
            && pending.checkpoint == checkpoint
        {
            pending.trouble = Some(why);
        }
    }

    /// Gives the pending checkpoint up when a worker declined it.
    pub(crate) fn decline(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        worker: u32,
        checkpoint: u64,
        why: &str,
    ) -> Option<AbandonedCheckpoint> {
        self.settle(worker, checkpoint);
        match &self.state {
            CheckpointState::Pending(pending) if pending.checkpoint == checkpoint => {
                self.abandon_pending(owner, &format!("worker {worker}: {why}"))
            }
            _ => None,
        }
    }

    /// Notes that the share of a worker is stored, or given up.
    fn settle(&mut self, worker: u32, checkpoint: u64) {
        if self
            .owing
            .get(&worker)
            .is_some_and(|owed| *owed <= checkpoint)
        {
            self.owing.remove(&worker);
        }
    }

    fn abandon_pending(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        why: &str,
    ) -> Option<AbandonedCheckpoint> {
        let CheckpointState::Pending(pending) = &self.state else {
            return None;
        };
        let (checkpoint, kind) = (pending.checkpoint, pending.kind);
        self.state = CheckpointState::Idle;
        Some(self.abandon(owner, checkpoint, kind, why))
    }

    fn abandon(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        checkpoint: u64,
        kind: CheckpointKind,
        why: &str,
    ) -> AbandonedCheckpoint {
        tracing::warn!(checkpoint, ?kind, why, "checkpoint failed");
        let attempt = owner.attempt.number;
        owner.context.worker_registry.send_to_first(
            owner.attempt.workers,
            &ToWorker::AbortCheckpoint {
                attempt,
                checkpoint,
            },
        );
        owner
            .failed_checkpoints
            .count(checkpoint, format!("checkpoint {checkpoint}: {why}"));
        self.hold_until = clock::now() + HOLD;
        AbandonedCheckpoint {
            kind,
            why: format!("checkpoint {checkpoint} failed: {why}"),
        }
    }

    /// Waits for the checkpoint that is being published; for ever while there is none.
    pub(crate) async fn next_published(&mut self) -> Result<Published, String> {
        match &mut self.state {
            CheckpointState::Publishing(task) => task.await.map_err(|error| error.to_string()),
            CheckpointState::Idle
            | CheckpointState::Pending(_)
            | CheckpointState::Committing(_) => std::future::pending().await,
        }
    }

    /// Takes the outcome of publishing. Workers commit the output of a checkpoint that HEAD names.
    pub(crate) fn note_published(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        published: Result<Published, String>,
    ) -> Result<PublishOutcome, AttemptExit> {
        self.state = CheckpointState::Idle;
        let Published {
            checkpoint,
            kind,
            manifest,
            result,
        } = match published {
            Ok(published) => published,
            Err(why) => {
                tracing::error!(why, "a defect in the coordinator while publishing");
                return Ok(PublishOutcome::Broken);
            }
        };
        let head = match result {
            Ok(head) => head,
            Err(PublishError::Keep(error @ (HeadWriteError::Fenced(_) | HeadWriteError::Gone))) => {
                return Err(error.into());
            }
            Err(error) => {
                let abandoned = self.abandon(owner, checkpoint, kind, &error.to_string());
                return Ok(PublishOutcome::Abandoned(abandoned));
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
        let before = owner.manifest.replace(manifest.clone());
        let read_on = before.is_none_or(|before| before.records_in < manifest.records_in);
        owner.attempt.checkpoints += 1;
        owner.failed_checkpoints.end();
        owner.moved_on(read_on);
        let (attempt, workers) = (owner.attempt.number, owner.attempt.workers);
        owner.context.worker_registry.send_to_first(
            workers,
            &ToWorker::CommitCheckpoint {
                attempt,
                checkpoint,
            },
        );
        self.state = CheckpointState::Committing(Committing {
            checkpoint,
            waiting: (0..workers).collect(),
            again_at: clock::now() + owner.context.config.commit_timeout,
            trouble: None,
        });
        Ok(PublishOutcome::Complete {
            checkpoint,
            kind,
            head,
        })
    }

    /// Removes what no checkpoint of `head` needs.
    pub(crate) fn collect_garbage(&mut self, owner: &HeadOwnership<'_>, head: Arc<Head>) {
        self.garbage.begin(owner.context.config.clone(), head);
    }

    /// Forgets rounds of garbage collection that ended.
    pub(crate) fn reap_garbage(&mut self) {
        self.garbage.reap();
    }

    /// Notes that a worker committed its output.
    pub(crate) fn note_committed(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        worker: u32,
        checkpoint: u64,
    ) {
        let CheckpointState::Committing(committing) = &mut self.state else {
            return;
        };
        if committing.checkpoint != checkpoint {
            return;
        }
        committing.waiting.remove(&worker);
        if !committing.waiting.is_empty() {
            return;
        }
        failpoint::pass(failpoint::COMMITS_CONFIRMED);
        owner.attempt.committed = Some(checkpoint);
        if owner.head_writer.head().has_open_commits() {
            // Nothing waits for this write; a coordinator that starts after it commits nothing
            // again.
            drop(
                owner
                    .head_writer
                    .change(move |head| head.change().committed(checkpoint)),
            );
        }
        if committing.trouble.is_some() {
            owner.failed_checkpoints.end();
        }
        self.state = CheckpointState::Idle;
    }

    /// Notes that a worker could not commit its output. It is asked again.
    pub(crate) fn note_commit_failed(
        &mut self,
        owner: &mut HeadOwnership<'_>,
        worker: u32,
        checkpoint: u64,
        why: &str,
    ) {
        if let CheckpointState::Committing(committing) = &mut self.state
            && committing.checkpoint == checkpoint
        {
            tracing::warn!(worker, checkpoint, why, "sink output is not committed");
            let message = format!(
                "output of checkpoint {checkpoint} is not committed yet: worker {worker}: {why}"
            );
            committing.trouble = Some(message.clone());
            committing.again_at = clock::now() + COMMIT_AGAIN;
            owner.failed_checkpoints.count(checkpoint, message);
        }
    }

    /// Returns how far the workers are: bytes that they sent, and commits that they confirmed.
    pub(crate) fn progress(&self, owner: &HeadOwnership<'_>) -> u64 {
        let moved = owner
            .context
            .worker_registry
            .moved_bytes(owner.attempt.number);
        let CheckpointState::Committing(committing) = &self.state else {
            return moved;
        };
        moved + u64::from(owner.attempt.workers) - committing.waiting.len() as u64
    }

    /// Gives the pending checkpoint up when it has taken too long.
    pub(crate) fn expire_pending(
        &mut self,
        owner: &mut HeadOwnership<'_>,
    ) -> Option<AbandonedCheckpoint> {
        let attempt = owner.attempt.number;
        let moved = owner.context.worker_registry.moved_bytes(attempt);
        let limit = owner.context.config.checkpoints.timeout;
        let CheckpointState::Pending(pending) = &mut self.state else {
            return None;
        };
        if !pending.is_out_of_time(clock::now(), limit, moved) {
            return None;
        }
        let (checkpoint, missing) = (pending.checkpoint, pending.missing());
        let trouble = pending.trouble.as_deref();
        let trouble = trouble.map_or_else(String::new, |trouble| format!(" ({trouble})"));
        let why = format!("timed out; workers {missing:?} have not stored their share{trouble}");
        self.owing
            .extend(missing.into_iter().map(|worker| (worker, checkpoint)));
        self.abandon_pending(owner, &why)
    }

    /// Asks again for a commit that is not done. Returns why operations that wait for it must fail,
    /// once they have waited for too long; the job runs on.
    pub(crate) fn expire_commit(
        &mut self,
        owner: &HeadOwnership<'_>,
        progress: u64,
    ) -> Option<String> {
        let now = clock::now();
        let CheckpointState::Committing(committing) = &mut self.state else {
            self.commit_deadline = None;
            return None;
        };
        let checkpoint = committing.checkpoint;
        if now >= committing.again_at {
            committing.again_at = now + COMMIT_AGAIN;
            let attempt = owner.attempt.number;
            for worker in &committing.waiting {
                owner.context.worker_registry.send(
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
        let head = owner.head_writer.head();
        if owner.operations.waiting_for_commit(&head).next().is_none() {
            self.commit_deadline = None;
            return None;
        }
        let limit = owner.context.config.commit_timeout;
        let deadline = self
            .commit_deadline
            .get_or_insert_with(|| ProgressDeadline::new(now, limit, progress));
        if !deadline.is_out(now, limit, progress) {
            return None;
        }
        self.commit_deadline = None;
        Some(committing.trouble.clone().unwrap_or_else(|| {
            format!(
                "output of checkpoint {checkpoint} is not committed, and has not got on for {} s: workers {:?} do not answer",
                limit.as_secs(),
                committing.waiting
            )
        }))
    }
}
