//! What every role of the coordinator works with: its events, its workers, what it shows.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, OperationKind, OperationResult},
    job_api::{Failure, JobError, JobPhase, Operation},
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    control::ToCoordinator,
    coordinator::{
        commands::{Call, Command, Refusal},
        config::CoordinatorConfig,
        events::{Event, WorkerEvent},
        processing_pauses::Pauses,
        published_status::PublishedStatus,
        worker_registry::WorkerRegistry,
    },
    http::Liveness,
};

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
    events: mpsc::UnboundedReceiver<Event>,
    /// Savepoint that somebody thinks of starting from.
    pub(crate) savepoint_to_check: Option<String>,
    /// Calls that came while nobody could decide about them.
    calls: VecDeque<Call>,
    /// Set when the process must end.
    pub(crate) terminate_by: Option<Instant>,
}

/// What is left of an event after the context has dealt with it.
#[derive(Debug)]
pub(crate) enum CoordinatorEvent {
    /// A call of the Job API.
    Call(Call),
    /// HEAD may have changed.
    Poke,
    /// The process must end; see [`CoordinatorContext::terminate_by`].
    Terminate,
    /// A worker connected (again).
    Registered(u32),
    /// A worker is gone.
    Lost(u32, String),
    /// A worker is gone that had said so.
    Left(u32),
    /// A worker said something, on its current connection.
    Said(u32, ToCoordinator),
    /// Nothing that matters to anybody else.
    Nothing,
}

impl CoordinatorContext {
    pub(crate) fn new(
        config: Arc<CoordinatorConfig>,
        published_status: Arc<PublishedStatus>,
        liveness: Arc<Liveness>,
        events: mpsc::UnboundedReceiver<Event>,
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

    /// The next news, or none at `until`.
    pub(crate) async fn next(&mut self, until: Option<Instant>) -> Option<CoordinatorEvent> {
        let turn = crate::clock::now() + TURN;
        let wake = until.map_or(turn, |until| until.min(turn));
        self.liveness.turn();
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = tokio::time::sleep_until(wake) => None,
        };
        event.map(|event| self.classify(event))
    }

    fn classify(&mut self, event: Event) -> CoordinatorEvent {
        match event {
            Event::Call(call) => CoordinatorEvent::Call(call),
            Event::Poke => CoordinatorEvent::Poke,
            Event::CheckSavepoint(uri) if self.savepoint_to_check.as_ref() == Some(&uri) => {
                CoordinatorEvent::Nothing
            }
            Event::CheckSavepoint(uri) => {
                self.savepoint_to_check = Some(uri);
                CoordinatorEvent::Poke
            }
            Event::Terminate { grace } => {
                self.terminate_by = Some(crate::clock::now() + grace);
                CoordinatorEvent::Terminate
            }
            Event::Worker(WorkerEvent::Registered { register, link }) => {
                let worker = register.worker;
                tracing::info!(worker, address = register.data_addr, "worker registered");
                self.worker_registry
                    .register(register, link, crate::clock::now_ms());
                CoordinatorEvent::Registered(worker)
            }
            Event::Worker(WorkerEvent::Lost { worker, link, why }) => {
                let leaving = self.worker_registry.is_leaving(worker);
                if !self.worker_registry.lose(worker, link) {
                    return CoordinatorEvent::Nothing;
                }
                if leaving {
                    tracing::info!(worker, "worker left");
                    return CoordinatorEvent::Left(worker);
                }
                tracing::warn!(worker, why, "worker lost");
                CoordinatorEvent::Lost(worker, why)
            }
            Event::Worker(WorkerEvent::Said {
                worker,
                link,
                message,
            }) => {
                if !self.worker_registry.is_current(worker, link) {
                    return CoordinatorEvent::Nothing;
                }
                if let ToCoordinator::Heartbeat(heartbeat) = message {
                    self.worker_registry.heard(worker, heartbeat);
                    return CoordinatorEvent::Nothing;
                }
                if let ToCoordinator::Leaving { within_ms, .. } = &message {
                    tracing::info!(worker, within_ms, "worker leaves");
                    let by = crate::clock::now() + Duration::from_millis(*within_ms);
                    self.worker_registry.leave(worker, by);
                }
                CoordinatorEvent::Said(worker, message)
            }
        }
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
                news = self.next(None) => {
                    if let Some(news) = news && !heard(self, news) {
                        return During::Left;
                    }
                }
            }
        }
    }

    /// Puts a call aside until somebody can decide about it.
    pub(crate) fn put_aside(&mut self, call: Call) {
        self.calls.push_back(call);
    }

    /// A call that waits.
    pub(crate) fn waiting_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// What the key of a command already stands for: the answer, or a refusal.
    pub(crate) fn known(&self, command: &Command) -> Option<Result<Operation, Refusal>> {
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
            crate::telemetry::write_termination_message(&error.message);
        }
        self.published_status.update(|report| report.error = error);
    }

    pub(crate) fn show_failure(&self, failure: Failure) {
        crate::telemetry::write_termination_message(&failure.message);
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
