//! Owning HEAD: attempt after attempt, until the job ends or goes to another process.
//!
//! A failure ends the attempt, never the ownership.

use std::sync::Arc;

use streamkeeper_control::{clock, messages::ToWorker};
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{Failure, JobPhase, PauseReason},
};

use crate::{
    attempt::Attempt,
    attempt_failure::{AttemptExit, AttemptFailure},
    attempt_run::{AttemptRun, RunEnd},
    checkpoint_failures::FailedCheckpoints,
    checkpoints::state::Checkpoints,
    compiled_job::CompiledJob,
    coordinator_context::CoordinatorContext,
    deployment,
    head_ownership::{HeadOwnership, LeadEnd},
    job_end, job_report,
    operations::{Operations, is_open_in_head},
    restore_point::RestorePoint,
    savepoints::Savepoints,
    standby::Claimed,
};

/// The owner of HEAD at work: its attempt and operations (in [`HeadOwnership`]), its checkpoints
/// and its savepoints.
pub(crate) struct JobLeader<'a> {
    owner: HeadOwnership<'a>,
    checkpoints: Checkpoints,
    savepoints: Savepoints,
}

impl<'a> JobLeader<'a> {
    /// Takes over what a claim found.
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
        Self {
            owner: HeadOwnership {
                context,
                job,
                head_writer,
                manifest,
                operations: Operations::unfinished(&head),
                attempt: Attempt::of(&head),
                failed_checkpoints: FailedCheckpoints::default(),
                failures: (0, last),
            },
            checkpoints: Checkpoints::new(),
            savepoints: Savepoints::new(),
        }
    }

    /// Runs the job until it ends or another coordinator owns it.
    pub(crate) async fn lead(mut self) -> LeadEnd {
        // They came while HEAD was being claimed.
        while let Some(call) = self.owner.context.waiting_call() {
            self.owner.accept(call);
        }
        loop {
            let end = match self.run_attempt().await {
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
        job_report::publish(&mut self.owner, phase);
        for command in self.owner.operations.take_all() {
            if end == LeadEnd::Terminated && is_open_in_head(&self.owner.head_writer, command.key())
            {
                // The coordinator that follows finishes it.
                continue;
            }
            let why = format!("the job ended first ({phase:?})");
            self.owner.context.note(
                command.key(),
                command.kind(),
                OperationResult::Failed { why },
            );
        }
        end
    }

    /// Runs one attempt: commits replayed, workers there, graph deployed, then records flow.
    async fn run_attempt(&mut self) -> Result<LeadEnd, AttemptExit> {
        let owner = &mut self.owner;
        if owner.attempt.used {
            owner.claim_again().await?;
        }
        deployment::replay_commits(owner).await?;
        self.savepoints.resume(owner);
        if let Some(end) = job_end::end_at_rest(owner, &self.savepoints).await? {
            return Ok(end);
        }
        deployment::wait_for_workers(owner).await?;
        loop {
            deployment::deploy(owner).await?;
            let run = AttemptRun::new(owner, &mut self.checkpoints, &mut self.savepoints);
            match run.run().await? {
                RunEnd::Ended(end) => return Ok(end),
                // The next attempt is claimed already.
                RunEnd::Rescaled => {}
            }
        }
    }

    /// Stops what runs, tells of the failure, waits before the next attempt.
    async fn recover(&mut self, failure: AttemptFailure) -> Result<(), AttemptExit> {
        let head = self.owner.head_writer.head();
        let last = head.last.as_ref().map(|last| last.checkpoint);
        self.owner.failures = if self.owner.failures.1 == last {
            (self.owner.failures.0 + 1, last)
        } else {
            (1, last)
        };
        let pause = self
            .owner
            .context
            .config
            .back_off
            .after(self.owner.failures.0);
        tracing::warn!(
            worker = failure.worker,
            restored_from = last,
            failures = self.owner.failures.0,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "{}",
            failure.message
        );
        if self.owner.attempt.live {
            self.owner.context.restarts += 1;
            let flowed = self
                .owner
                .context
                .worker_registry
                .last_record_ms(self.owner.attempt.number);
            self.owner
                .context
                .pauses
                .begin(PauseReason::Failure, flowed, last, clock::now_ms());
        }
        self.stop_graph();
        self.owner
            .context
            .show_error(failure.job_error(self.owner.failures));
        self.owner.context.show_failure(Failure {
            at_ms: clock::now_ms(),
            worker: failure.worker,
            message: failure.message,
            restored_from: last,
            terminated: failure.terminated,
            memory_bytes: failure
                .worker
                .and_then(|worker| self.owner.context.worker_registry.left_with(worker)),
        });
        let until = clock::now() + pause;
        while clock::now() < until {
            job_report::publish(&mut self.owner, JobPhase::BackingOff);
            self.owner.check_at_rest()?;
            if let Some(event) = self.owner.context.next(Some(until)).await {
                self.owner.handle_event(event);
            }
        }
        Ok(())
    }

    /// Ends the graph of this attempt; work beside it that depends on it ends too.
    fn stop_graph(&mut self) {
        if self.owner.attempt.used {
            self.owner
                .context
                .worker_registry
                .send_to_all(&ToWorker::Cancel {
                    attempt: self.owner.attempt.number,
                });
        }
        self.owner.attempt.live = false;
        self.savepoints.abort();
        self.checkpoints.abort();
    }
}
