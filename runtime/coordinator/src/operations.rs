//! Operations of the Job API that the owner of HEAD has accepted, oldest first.

use std::collections::VecDeque;

use streamkeeper_protocol::{
    head::{Head, OperationKind, OperationResult},
    job_api::{JobCall, Operation, PromoteFrom, SavepointRequest, StopMode, StopRequest},
};

use crate::{
    allowed_targets,
    commands::{Call, Refusal},
    coordinator_context::CoordinatorContext,
    head_writer::HeadWriter,
};

/// Longest idempotency key.
const KEY_LIMIT: usize = 128;

/// Operations that are accepted and not finished.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    accepted: VecDeque<JobCall>,
}

impl Operations {
    /// Returns the operations that HEAD knows to be unfinished: the stop that another coordinator
    /// left, if it did.
    pub(crate) fn unfinished(head: &Head) -> Self {
        let stop = head.open_stop().map(|stop| {
            JobCall::Stop(StopRequest {
                key: stop.key.clone(),
                mode: StopMode::Savepoint,
                release: stop.release,
            })
        });
        Self {
            accepted: stop.into_iter().collect(),
        }
    }

    /// Accepts or refuses a call, and replies. An accepted operation is carried out when its turn
    /// comes.
    pub(crate) fn accept(
        &mut self,
        call: Call,
        context: &CoordinatorContext,
        restored_from: Option<u64>,
    ) {
        let answer = self.consider(&call.command, context, restored_from);
        if let Err(refusal) = &answer {
            tracing::warn!(key = call.command.key(), ?refusal, "call refused");
        }
        let _ = call.reply.send(answer);
    }

    fn consider(
        &mut self,
        command: &JobCall,
        context: &CoordinatorContext,
        restored_from: Option<u64>,
    ) -> Result<Operation, Refusal> {
        if let Some(known) = context.known(command) {
            return known;
        }
        if command.key().is_empty() || command.key().len() > KEY_LIMIT {
            return Err(Refusal::bad_request(&format!(
                "the idempotency key must have 1 to {KEY_LIMIT} bytes"
            )));
        }
        let revision = context.config.job.revision;
        match command {
            JobCall::Promote(request) => {
                if request.revision != revision {
                    let message = format!(
                        "this is revision {revision}, not revision {}",
                        request.revision
                    );
                    return Err(Refusal::new("WrongRevision", message));
                }
                match &request.from {
                    PromoteFrom::Empty | PromoteFrom::Fresh => {
                        return Err(Refusal::new(
                            "HeadExists",
                            "HEAD exists, and this revision runs the job already",
                        ));
                    }
                    PromoteFrom::Savepoint { .. } => {
                        return Err(Refusal::new(
                            "WrongRevision",
                            "this revision runs the job already: a restore of a running job is a new revision",
                        ));
                    }
                    PromoteFrom::Head | PromoteFrom::TakeOver => {}
                }
                let done = OperationResult::Done {
                    checkpoint: restored_from,
                    uri: None,
                };
                return Ok(context.note(command.key(), command.kind(), done));
            }
            JobCall::Savepoint(request) => {
                let config = &context.config;
                let uri = request.uri.as_deref();
                allowed_targets::savepoint_folder(
                    &*config.store,
                    &config.paths,
                    &request.key,
                    uri,
                )?;
            }
            JobCall::HandOver(request) => {
                let config = &context.config;
                allowed_targets::hand_over(&config.job, config.on_loopback, request)?;
            }
            JobCall::Rescale(request) => {
                let limit = u32::from(context.config.max_parallelism);
                if request.workers == 0
                    || request.workers.saturating_mul(context.config.slots) > limit
                {
                    let message = format!(
                        "workers × slots must be 1 to maxParallelism: {} × {} with maxParallelism {limit}",
                        request.workers, context.config.slots
                    );
                    return Err(Refusal::bad_request(&message));
                }
            }
            JobCall::Stop(_) => {}
        }
        if command.ends_or_moves()
            && let Some(other) = self.accepted.iter().find(|other| other.ends_or_moves())
        {
            let message = format!("{:?} '{}' is in progress", other.kind(), other.key());
            return Err(Refusal::new("Busy", message));
        }
        tracing::info!(key = command.key(), kind = ?command.kind(), "accepted");
        self.accepted.push_back(command.clone());
        Ok(context.note(command.key(), command.kind(), OperationResult::Running))
    }

    /// Notes the end of an operation; HEAD learns of it with the write that made it true, if one
    /// did.
    pub(crate) fn finish(
        &mut self,
        context: &CoordinatorContext,
        head_writer: &HeadWriter,
        key: &str,
        kind: OperationKind,
        result: OperationResult,
    ) {
        match &result {
            OperationResult::Failed { why } => tracing::warn!(key, ?kind, why, "operation failed"),
            result => tracing::info!(key, ?kind, ?result, "operation finished"),
        }
        self.accepted.retain(|command| command.key() != key);
        if matches!(result, OperationResult::Failed { .. }) && is_open_in_head(head_writer, key) {
            // The head writer writes in order, and a result that stands stays: nothing waits for
            // this write.
            let (named, noted) = (key.to_owned(), result.clone());
            drop(
                head_writer
                    .change(move |head| head.change().finish_operation(&named, noted.clone())),
            );
        }
        context.note(key, kind, result);
    }

    /// Returns the operation that ends the attempt or moves it to other workers, if one is
    /// accepted.
    pub(crate) fn ending_or_moving(&self) -> Option<&JobCall> {
        self.accepted.iter().find(|command| command.ends_or_moves())
    }

    /// Returns every operation that is accepted and not finished, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &JobCall> {
        self.accepted.iter()
    }

    /// Returns the oldest savepoint that no checkpoint was taken for yet.
    pub(crate) fn savepoint_to_take(&self, head: &Head) -> Option<SavepointRequest> {
        self.accepted.iter().find_map(|command| match command {
            JobCall::Savepoint(request) if !is_being_copied(head, &request.key) => {
                Some(request.clone())
            }
            _ => None,
        })
    }

    /// Returns the operations that cannot go on before output is committed.
    pub(crate) fn waiting_for_commit<'a>(
        &'a self,
        head: &'a Head,
    ) -> impl Iterator<Item = &'a JobCall> {
        self.accepted.iter().filter(|command| match command {
            JobCall::HandOver(_) | JobCall::Stop(_) | JobCall::Rescale(_) => true,
            JobCall::Savepoint(request) => !is_being_copied(head, &request.key),
            JobCall::Promote(_) => false,
        })
    }

    /// Removes and returns all operations.
    pub(crate) fn take_all(&mut self) -> VecDeque<JobCall> {
        std::mem::take(&mut self.accepted)
    }
}

fn is_being_copied(head: &Head, key: &str) -> bool {
    head.savepoints.iter().any(|record| record.key == key)
}

/// Whether HEAD says that an operation goes on.
pub(crate) fn is_open_in_head(head_writer: &HeadWriter, key: &str) -> bool {
    head_writer
        .head()
        .operation(key)
        .is_some_and(|known| known.result == OperationResult::Running)
}
