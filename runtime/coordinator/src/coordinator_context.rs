//! What every role of the coordinator works with: its events, its workers, what it shows.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, OperationKind, OperationResult},
    job_api::{Failure, JobCall, JobError, JobPhase, Operation},
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    commands::{Call, Refusal},
    config::CoordinatorConfig,
    events::CoordinatorEvent,
    liveness::Liveness,
    processing_pauses::Pauses,
    published_status::PublishedStatus,
    worker_registry::WorkerRegistry,
};
use streamkeeper_control::messages::ToCoordinator;

/// The event loop turns at least this often, so that its health can be told.
const TURN: Duration = Duration::from_secs(1);

/// What every role of a coordinator works with. It outlives every claim of this process.
pub(crate) struct CoordinatorContext {
    pub(crate) config: Arc<CoordinatorConfig>,
    pub(crate) published_status: Arc<PublishedStatus>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) worker_registry: WorkerRegistry,
    pub(crate) pauses: Pauses,
    pub(crate) restarts: u64,
    events: mpsc::UnboundedReceiver<CoordinatorEvent>,
    /// Savepoint that the operator asked about.
    pub(crate) savepoint_to_check: Option<String>,
    /// Calls that came before a part could decide about them.
    calls: VecDeque<Call>,
    /// Set when the process must end.
    pub(crate) terminate_by: Option<Instant>,
}

impl CoordinatorContext {
    pub(crate) fn new(
        config: Arc<CoordinatorConfig>,
        published_status: Arc<PublishedStatus>,
        liveness: Arc<Liveness>,
        events: mpsc::UnboundedReceiver<CoordinatorEvent>,
    ) -> Self {
        Self {
            config,
            published_status,
            liveness,
            worker_registry: WorkerRegistry::default(),
            pauses: Pauses::default(),
            restarts: 0,
            events,
            savepoint_to_check: None,
            calls: VecDeque::new(),
            terminate_by: None,
        }
    }

    /// Waits for the next event; none at `until`, at the next turn of the loop, and when this
    /// context has handled the event alone.
    pub(crate) async fn next(&mut self, until: Option<Instant>) -> Option<CoordinatorEvent> {
        let turn = streamkeeper_control::clock::now() + TURN;
        let wake = until.map_or(turn, |until| until.min(turn));
        self.liveness.turn();
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = tokio::time::sleep_until(wake) => None,
        };
        event.and_then(|event| self.classify(event))
    }

    /// Applies an event to the workers and the process. Returns it unless that was all.
    fn classify(&mut self, event: CoordinatorEvent) -> Option<CoordinatorEvent> {
        match &event {
            CoordinatorEvent::Call(_)
            | CoordinatorEvent::HeadChanged
            | CoordinatorEvent::WorkerLeft { .. } => {}
            CoordinatorEvent::CheckSavepoint(uri) => {
                if self.savepoint_to_check.as_ref() == Some(uri) {
                    return None;
                }
                self.savepoint_to_check = Some(uri.clone());
            }
            CoordinatorEvent::Terminate { grace } => {
                self.terminate_by = Some(streamkeeper_control::clock::now() + *grace);
            }
            CoordinatorEvent::WorkerRegistered { register, link } => {
                let worker = register.worker;
                tracing::info!(worker, address = register.data_addr, "worker registered");
                self.worker_registry.register(
                    register.clone(),
                    link.clone(),
                    streamkeeper_control::clock::now_ms(),
                );
            }
            CoordinatorEvent::WorkerLost { worker, link, why } => {
                let worker = *worker;
                let leaving = self.worker_registry.is_leaving(worker);
                if !self.worker_registry.lose(worker, *link) {
                    return None;
                }
                if leaving {
                    tracing::info!(worker, "worker left");
                    return Some(CoordinatorEvent::WorkerLeft { worker });
                }
                tracing::warn!(worker, why, "worker lost");
            }
            CoordinatorEvent::WorkerMessage {
                worker,
                link,
                message,
            } => {
                let worker = *worker;
                if !self.worker_registry.is_current(worker, *link) {
                    return None;
                }
                if let ToCoordinator::Heartbeat(heartbeat) = message {
                    self.worker_registry.heard(worker, heartbeat.clone());
                    return None;
                }
                if let ToCoordinator::Leaving { within_ms, .. } = message {
                    tracing::info!(worker, within_ms, "worker leaves");
                    let by = streamkeeper_control::clock::now() + Duration::from_millis(*within_ms);
                    self.worker_registry.leave(worker, by);
                }
            }
        }
        Some(event)
    }

    /// Does `work` while events are taken in; calls wait for [`CoordinatorContext::waiting_call`].
    /// Dropped, it ends the work.
    pub(crate) async fn during<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
        mut heard: impl FnMut(&mut Self, CoordinatorEvent) -> bool,
    ) -> During<T> {
        let mut task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(work));
        loop {
            tokio::select! {
                biased;
                result = &mut task => return match result {
                    Ok(result) => During::Done(result),
                    Err(error) => During::Broken(error.to_string()),
                },
                event = self.next(None) => {
                    if let Some(event) = event && !heard(self, event) {
                        return During::Left;
                    }
                }
            }
        }
    }

    /// Keeps a call until a part can decide about it.
    pub(crate) fn put_aside(&mut self, call: Call) {
        self.calls.push_back(call);
    }

    /// A call that waits.
    pub(crate) fn waiting_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// What the key of a command already stands for: the answer, or a refusal.
    pub(crate) fn known(&self, command: &JobCall) -> Option<Result<Operation, Refusal>> {
        let known = self.published_status.operation(command.key())?;
        Some(if known.kind == command.kind() {
            Ok(known)
        } else {
            let message = format!(
                "idempotency key '{}' was used for another call ({:?}): use a new key",
                known.key, known.kind
            );
            Err(Refusal::new("KeyReused", message))
        })
    }

    /// Notes an operation's result, in memory only; answers it.
    pub(crate) fn note(
        &self,
        key: &str,
        kind: OperationKind,
        result: OperationResult,
    ) -> Operation {
        let operation = Operation {
            key: key.to_owned(),
            kind,
            result,
        };
        self.published_status.set_operation(operation.clone());
        operation
    }

    pub(crate) fn show_phase(&self, phase: JobPhase) {
        self.published_status.update(|report| report.phase = phase);
    }

    pub(crate) fn show_error(&self, error: Option<JobError>) {
        if let Some(error) = &error {
            streamkeeper_control::termination_message::write_termination_message(&error.message);
        }
        self.published_status.update(|report| report.error = error);
    }

    pub(crate) fn show_failure(&self, failure: Failure) {
        streamkeeper_control::termination_message::write_termination_message(&failure.message);
        self.published_status
            .update(|report| report.last_failure = Some(failure));
    }

    /// Takes what HEAD remembers over into the published status.
    pub(crate) fn learn(&self, head: &Head) {
        self.published_status.learn_operations(head);
    }
}

/// How work beside the event loop ended.
pub(crate) enum During<T> {
    /// With this.
    Done(T),
    /// It was given up because of an event.
    Left,
    /// It panicked.
    Broken(String),
}
