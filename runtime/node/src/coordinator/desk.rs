//! What every role of the coordinator works with: its events, its workers, what it shows.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, OperationKind, OperationResult},
    job_api::{Failure, JobError, JobPhase, Operation},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Board, Call, Command, CoordinatorConfig, Event, Refusal, WorkerEvent, pauses::Pauses,
    roster::Roster,
};
use crate::{control::ToCoordinator, http::Vitals};

/// The event loop turns at least this often, so that its health can be told.
const TURN: Duration = Duration::from_secs(1);

/// The coordinator's desk: outlives every claim of this process.
pub(super) struct Desk {
    pub(super) config: Arc<CoordinatorConfig>,
    pub(super) board: Arc<Board>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) roster: Roster,
    pub(super) pauses: Pauses,
    pub(super) restarts: u64,
    events: mpsc::UnboundedReceiver<Event>,
    /// Savepoint that somebody thinks of starting from.
    pub(super) asked_about: Option<String>,
    /// Calls that came while nobody could decide about them.
    calls: VecDeque<Call>,
    /// Set when the process must end.
    pub(super) terminate_by: Option<Instant>,
}

/// What is left of an event after the desk has dealt with it.
#[derive(Debug)]
pub(super) enum News {
    /// A call of the Job API.
    Call(Call),
    /// HEAD may have changed.
    Poke,
    /// The process must end; see [`Desk::terminate_by`].
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

impl Desk {
    pub(super) fn new(
        config: Arc<CoordinatorConfig>,
        board: Arc<Board>,
        vitals: Arc<Vitals>,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        Self {
            config,
            board,
            vitals,
            roster: Roster::default(),
            pauses: Pauses::default(),
            restarts: 0,
            events,
            asked_about: None,
            calls: VecDeque::new(),
            terminate_by: None,
        }
    }

    /// The next news, or none at `until`.
    pub(super) async fn next(&mut self, until: Option<Instant>) -> Option<News> {
        let turn = crate::clock::now() + TURN;
        let wake = until.map_or(turn, |until| until.min(turn));
        self.vitals.turn();
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = tokio::time::sleep_until(wake) => None,
        };
        event.map(|event| self.digest(event))
    }

    fn digest(&mut self, event: Event) -> News {
        match event {
            Event::Call(call) => News::Call(call),
            Event::Poke => News::Poke,
            Event::Prove(uri) if self.asked_about.as_ref() == Some(&uri) => News::Nothing,
            Event::Prove(uri) => {
                self.asked_about = Some(uri);
                News::Poke
            }
            Event::Terminate { grace } => {
                self.terminate_by = Some(crate::clock::now() + grace);
                News::Terminate
            }
            Event::Worker(WorkerEvent::Registered { register, link }) => {
                let worker = register.worker;
                tracing::info!(worker, address = register.data_addr, "worker registered");
                self.roster.register(register, link, crate::clock::now_ms());
                News::Registered(worker)
            }
            Event::Worker(WorkerEvent::Lost { worker, link, why }) => {
                let leaving = self.roster.is_leaving(worker);
                if !self.roster.lose(worker, link) {
                    return News::Nothing;
                }
                if leaving {
                    tracing::info!(worker, "worker left");
                    return News::Left(worker);
                }
                tracing::warn!(worker, why, "worker lost");
                News::Lost(worker, why)
            }
            Event::Worker(WorkerEvent::Said {
                worker,
                link,
                message,
            }) => {
                if !self.roster.is_current(worker, link) {
                    return News::Nothing;
                }
                if let ToCoordinator::Heartbeat(heartbeat) = message {
                    self.roster.heard(worker, heartbeat);
                    return News::Nothing;
                }
                if let ToCoordinator::Leaving { within_ms, .. } = &message {
                    tracing::info!(worker, within_ms, "worker leaves");
                    let by = crate::clock::now() + Duration::from_millis(*within_ms);
                    self.roster.leave(worker, by);
                }
                News::Said(worker, message)
            }
        }
    }

    /// Does `work` while events are taken in; calls wait at the desk for [`Desk::waiting_call`]. Dropped, it ends the work.
    pub(super) async fn during<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
        mut heard: impl FnMut(&mut Self, News) -> bool,
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
    pub(super) fn put_aside(&mut self, call: Call) {
        self.calls.push_back(call);
    }

    /// A call that waits.
    pub(super) fn waiting_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// What the key of a command already stands for: the answer, or a refusal.
    pub(super) fn known(&self, command: &Command) -> Option<Result<Operation, Refusal>> {
        let known = self.board.operation(command.key())?;
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
    pub(super) fn note(
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
        self.board.set_operation(operation.clone());
        operation
    }

    pub(super) fn show_phase(&self, phase: JobPhase) {
        self.board.update(|report| report.phase = phase);
    }

    pub(super) fn show_error(&self, error: Option<JobError>) {
        if let Some(error) = &error {
            crate::telemetry::leave_last_words(&error.message);
        }
        self.board.update(|report| report.error = error);
    }

    pub(super) fn show_failure(&self, failure: Failure) {
        crate::telemetry::leave_last_words(&failure.message);
        self.board
            .update(|report| report.last_failure = Some(failure));
    }

    /// Takes what HEAD remembers over to the board.
    pub(super) fn learn(&self, head: &Head) {
        self.board.learn_operations(head);
    }
}

/// How work beside the event loop ended.
pub(super) enum During<T> {
    /// With this.
    Done(T),
    /// It was given up because of an event.
    Left,
    /// It panicked.
    Broken(String),
}
