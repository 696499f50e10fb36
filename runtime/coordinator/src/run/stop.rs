//! How an attempt ends: by what is asked for, by the end of its input, or not after all.

use streamkeeper_protocol::{
    head::{OperationKind, OperationResult},
    job_api::{HandOverRequest, PauseReason, RescaleRequest, StopMode, StopRequest},
};

use crate::{
    attempt_failure::{AttemptExit, AttemptFailure},
    checkpoints::publish::pinned,
    commands::Command,
    leader::{LeadEnd, Leader},
    operations::confirm_commit,
    run::Run,
};
use streamkeeper_control::{clock, failpoint, messages::ToWorker};

/// How the attempt is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StopReason {
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
    Ended(LeadEnd),
    Rescaled,
}

impl Leader<'_> {
    pub(crate) fn next_ending(&mut self, run: &mut Run) -> Option<StopReason> {
        if run.input_ended.len() == self.attempt.workers as usize {
            return Some(StopReason::Complete);
        }
        let command = self
            .asked
            .iter()
            .find(|command| command.ends_or_moves())
            .cloned();
        let leaving = self
            .context
            .worker_registry
            .first_to_leave(self.attempt.workers);
        match (command, leaving) {
            (Some(Command::HandOver(request)), _) => Some(StopReason::HandOver(request)),
            (Some(Command::Stop(request)), _) => Some(StopReason::Stop(request)),
            // Whatever else is asked for is done at rest, or with the worker that follows.
            (_, Some((worker, _))) => Some(StopReason::Leave(worker)),
            (Some(Command::Rescale(request)), None) => {
                let missing = self.context.worker_registry.missing(request.workers);
                if missing.is_empty() {
                    run.rescale_by = None;
                    return Some(StopReason::Rescale(request));
                }
                let by = *run
                    .rescale_by
                    .get_or_insert_with(|| clock::now() + self.context.config.rescale_timeout);
                if clock::now() >= by {
                    run.rescale_by = None;
                    let why = format!(
                        "workers {missing:?} did not register within {} s",
                        self.context.config.rescale_timeout.as_secs()
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

    /// The attempt does not end after all: sources read on.
    pub(crate) fn fail_ending(&mut self, run: &mut Run, why: &str) {
        match &run.ending {
            Some(StopReason::HandOver(_) | StopReason::Stop(_) | StopReason::Rescale(_)) => {
                self.fail_endings(why);
                run.ending = None;
            }
            // Tried again while there is time, or for ever.
            Some(StopReason::Complete) => run.ending = None,
            Some(StopReason::Leave(_) | StopReason::Terminate) | None => {}
        }
        run.at_end = None;
        let attempt = self.attempt.number;
        self.context
            .worker_registry
            .send_to_first(self.attempt.workers, &ToWorker::Resume { attempt });
    }

    pub(crate) fn fail_ending_of(&mut self, run: &mut Run, key: &str, why: &str) {
        if matches!(&run.ending, Some(StopReason::Stop(request)) if request.key == key) {
            self.fail_ending(run, why);
        }
    }

    /// Ends the attempt once all that must come first has happened.
    pub(crate) async fn conclude(&mut self, run: &mut Run) -> Result<Option<RunEnd>, AttemptExit> {
        let Some(ending) = run.ending.clone() else {
            return Ok(None);
        };
        if ending == StopReason::Terminate
            && self
                .context
                .terminate_by
                .is_some_and(|by| clock::now() >= by)
        {
            return Ok(Some(RunEnd::Ended(LeadEnd::Terminated)));
        }
        let without_checkpoint =
            matches!(&ending, StopReason::Stop(request) if request.mode == StopMode::Now);
        if run.is_busy() || !(run.at_end.is_some() || without_checkpoint) {
            return Ok(None);
        }
        if let StopReason::Stop(request) = &ending
            && request.mode == StopMode::Savepoint
            && !pinned(&self.head_writer.head(), &request.key).is_some_and(|record| record.complete)
        {
            return Ok(None);
        }
        if let StopReason::Leave(worker) = ending {
            self.write(|head| confirm_commit(head.change())).await?;
            return Err(AttemptFailure::left(worker, run.at_end).into());
        }
        // From here on the graph is done with: losing a worker means nothing any more.
        self.attempt.live = false;
        let flowed = self
            .context
            .worker_registry
            .last_record_ms(self.attempt.number);
        let ended = match ending {
            StopReason::HandOver(request) => {
                failpoint::pass(failpoint::HAND_OVER_READY);
                self.hand_over(&request).await?
            }
            StopReason::Stop(request) => {
                if request.mode == StopMode::Savepoint {
                    failpoint::pass(failpoint::STOP_SAVED);
                }
                self.stop(&request).await?
            }
            StopReason::Rescale(request) => {
                let before = (self.attempt.number, self.attempt.workers);
                self.context.pauses.begin(
                    PauseReason::Rescale,
                    flowed,
                    run.at_end,
                    clock::now_ms(),
                );
                if self.rescale(&request, true).await? {
                    for worker in self.attempt.workers..before.1 {
                        self.context
                            .worker_registry
                            .send(worker, ToWorker::Cancel { attempt: before.0 });
                    }
                    return Ok(Some(RunEnd::Rescaled));
                }
                None
            }
            StopReason::Complete => {
                self.write(|head| confirm_commit(head.change())?.complete())
                    .await?;
                tracing::info!("all input is read and committed: the job is complete");
                Some(LeadEnd::Completed)
            }
            StopReason::Leave(_) | StopReason::Terminate => {
                self.write(|head| confirm_commit(head.change())).await?;
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
