//! Operations of the Job API, from acceptance to result, for the owner of HEAD.

use streamkeeper_protocol::{
    head::{Begun, HeadChange, HeadError, OperationKind, OperationResult},
    job_api::{HandOverRequest, Operation, PromoteFrom, RescaleRequest, StopMode, StopRequest},
};

use crate::{
    allowed_targets,
    attempt_failure::AttemptExit,
    commands::{Call, Command, Refusal},
    leader::{LeadEnd, Leader},
};

/// Longest idempotency key.
const KEY_LIMIT: usize = 128;

impl Leader<'_> {
    /// Answers a call; what is accepted is carried out when its turn comes.
    pub(crate) fn accept(&mut self, call: Call) {
        let answer = self.consider(&call.command);
        if let Err(refusal) = &answer {
            tracing::warn!(key = call.command.key(), ?refusal, "call refused");
        }
        let _ = call.reply.send(answer);
    }

    fn consider(&mut self, command: &Command) -> Result<Operation, Refusal> {
        if let Some(known) = self.context.known(command) {
            return known;
        }
        if command.key().is_empty() || command.key().len() > KEY_LIMIT {
            return Err(Refusal::bad_request(&format!(
                "the idempotency key must have 1 to {KEY_LIMIT} bytes"
            )));
        }
        let revision = self.context.config.job.revision;
        match command {
            Command::Promote(request) => {
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
                    checkpoint: self.attempt.restored_from,
                    uri: None,
                };
                return Ok(self.context.note(command.key(), command.kind(), done));
            }
            Command::Savepoint(request) => {
                self.folder(&request.key, request.uri.as_deref())?;
            }
            Command::HandOver(request) => {
                let config = &self.context.config;
                allowed_targets::hand_over(&config.job, config.on_loopback, request)?;
            }
            Command::Rescale(request) => {
                let limit = u32::from(self.context.config.max_parallelism);
                if request.workers == 0
                    || request.workers.saturating_mul(self.context.config.slots) > limit
                {
                    let message = format!(
                        "workers × slots must be 1 to maxParallelism: {} × {} with maxParallelism {limit}",
                        request.workers, self.context.config.slots
                    );
                    return Err(Refusal::bad_request(&message));
                }
            }
            Command::Stop(_) => {}
        }
        if command.ends_or_moves()
            && let Some(other) = self.asked.iter().find(|other| other.ends_or_moves())
        {
            let message = format!("{:?} '{}' is in progress", other.kind(), other.key());
            return Err(Refusal::new("Busy", message));
        }
        tracing::info!(key = command.key(), kind = ?command.kind(), "accepted");
        self.asked.push_back(command.clone());
        Ok(self
            .context
            .note(command.key(), command.kind(), OperationResult::Running))
    }

    /// Notes the end of an operation; HEAD learns of it with the write that made it true, if one
    /// did.
    pub(crate) fn finish(&mut self, key: &str, kind: OperationKind, result: OperationResult) {
        match &result {
            OperationResult::Failed { why } => tracing::warn!(key, ?kind, why, "operation failed"),
            result => tracing::info!(key, ?kind, ?result, "operation finished"),
        }
        self.asked.retain(|command| command.key() != key);
        if matches!(result, OperationResult::Failed { .. }) && self.is_open_in_head(key) {
            // The head writer writes in order, and a result that stands stays: nothing waits for
            // this write.
            let (named, noted) = (key.to_owned(), result.clone());
            drop(
                self.head_writer
                    .change(move |head| head.change().finish_operation(&named, noted.clone())),
            );
        }
        self.context.note(key, kind, result);
    }

    /// Whether HEAD says that an operation goes on.
    pub(crate) fn is_open_in_head(&self, key: &str) -> bool {
        self.head_writer
            .head()
            .operation(key)
            .is_some_and(|known| known.result == OperationResult::Running)
    }

    /// Fails every operation that would end or move the job.
    pub(crate) fn fail_endings(&mut self, why: &str) {
        let failed: Vec<_> = self
            .asked
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

    /// Carries out what needs no graph: everything up to the restore point is committed, and
    /// nothing after it ever happened.
    pub(crate) async fn end_at_rest(&mut self) -> Result<Option<LeadEnd>, AttemptExit> {
        while let Some(command) = self
            .asked
            .iter()
            .find(|command| command.ends_or_moves())
            .cloned()
        {
            let end = match command {
                Command::HandOver(request) => self.hand_over(&request).await?,
                Command::Stop(request) => {
                    if request.mode == StopMode::Savepoint
                        && let Err(why) = self.save_before_stop(&request).await?
                    {
                        self.finish(
                            &request.key,
                            OperationKind::Stop,
                            OperationResult::Failed { why },
                        );
                        continue;
                    }
                    self.stop(&request).await?
                }
                Command::Rescale(request) => {
                    self.rescale(&request, false).await?;
                    None
                }
                Command::Promote(_) | Command::Savepoint(_) => return Ok(None),
            };
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    /// HEAD names the successor, and the successor is told.
    pub(crate) async fn hand_over(
        &mut self,
        request: &HandOverRequest,
    ) -> Result<Option<LeadEnd>, AttemptExit> {
        let (key, to) = (request.key.clone(), request.to_revision);
        let ended = self
            .end(
                OperationKind::HandOver,
                &key,
                LeadEnd::HandedOver,
                move |change| change.hand_over(to),
            )
            .await?;
        if ended.is_some() {
            streamkeeper_control::failpoint::pass(streamkeeper_control::failpoint::HANDED_OVER);
            if let Some(address) = &request.to_address {
                let transport = self.context.config.transport.clone();
                tokio::spawn(streamkeeper_control::job_api_client::poke(
                    transport,
                    address.clone(),
                ));
            }
        }
        Ok(ended)
    }

    /// HEAD says Stopped, or Released.
    pub(crate) async fn stop(
        &mut self,
        request: &StopRequest,
    ) -> Result<Option<LeadEnd>, AttemptExit> {
        let release = request.release;
        self.end(
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
        &mut self,
        kind: OperationKind,
        key: &str,
        end: LeadEnd,
        how: impl Fn(HeadChange) -> Result<HeadChange, HeadError> + Send + Sync + 'static,
    ) -> Result<Option<LeadEnd>, AttemptExit> {
        let head = self.head_writer.head();
        let checkpoint = head.last.as_ref().map(|last| last.checkpoint);
        let uri = head
            .savepoints
            .iter()
            .find(|savepoint| savepoint.key == key)
            .map(|savepoint| self.full_uri(&savepoint.uri));
        let result = OperationResult::Done { checkpoint, uri };
        let (noted, named) = (result.clone(), key.to_owned());
        let written = self
            .try_write(move |head| {
                let change = confirm_commit(head.change())?;
                with_result(how(change)?, &named, kind, &noted)
            })
            .await?;
        match written {
            Ok(_) => {
                self.finish(key, kind, result);
                Ok(Some(end))
            }
            Err(refused) => {
                self.finish(
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
        &mut self,
        request: &RescaleRequest,
        new_attempt: bool,
    ) -> Result<bool, AttemptExit> {
        let (key, workers) = (request.key.clone(), request.workers);
        let checkpoint = self
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
        let written = self
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
                    self.begin_attempt(&head);
                } else {
                    self.attempt.workers = workers;
                }
                self.finish(&request.key, OperationKind::Rescale, result);
                Ok(true)
            }
            Err(refused) => {
                let why = refused.to_string();
                self.finish(
                    &request.key,
                    OperationKind::Rescale,
                    OperationResult::Failed { why },
                );
                Ok(false)
            }
        }
    }
}

/// The caller knows that all output of the restore point is committed.
pub(crate) fn confirm_commit(change: HeadChange) -> Result<HeadChange, HeadError> {
    match change.head().last.as_ref().map(|last| last.checkpoint) {
        Some(checkpoint) => change.committed(checkpoint),
        None => Ok(change),
    }
}

/// The change together with the result of the operation that made it.
pub(crate) fn with_result(
    change: HeadChange,
    key: &str,
    kind: OperationKind,
    result: &OperationResult,
) -> Result<HeadChange, HeadError> {
    let change = if change.head().operation(key).is_some() {
        change
    } else {
        match change.begin_operation(key, kind)? {
            Begun::New(change) => change,
            Begun::Known(known) => {
                return Err(HeadError::KeyReused {
                    key: known.key,
                    kind: known.kind,
                });
            }
        }
    };
    change.finish_operation(key, result.clone())
}
