//! The events that the worker loop handles, and the sender that a graph reports them with.

use streamkeeper_engine::task::Event;
use tokio::sync::mpsc;

use super::{commit::Outcome, failure::Failure, graph::Built, session::FromSession, store::Stored};

/// An event that the worker loop handles.
#[derive(Debug)]
pub(super) enum WorkerEvent {
    Session(FromSession),
    Built {
        attempt: u64,
        took_ms: u64,
        result: Box<Result<Built, Failure>>,
    },
    Subtask {
        attempt: u64,
        subtask: u32,
        event: Event,
    },
    PeerLost {
        attempt: u64,
        worker: u32,
        why: String,
    },
    Stored {
        attempt: u64,
        outcome: Result<Stored, String>,
    },
    Committed {
        attempt: u64,
        checkpoint: u64,
        outcome: Outcome,
    },
}

impl From<FromSession> for WorkerEvent {
    fn from(news: FromSession) -> Self {
        Self::Session(news)
    }
}

/// Sends the events of a graph to the worker loop.
#[derive(Debug, Clone)]
pub(super) struct EventSender(pub(super) mpsc::UnboundedSender<WorkerEvent>);

impl EventSender {
    /// Sends what a subtask reports.
    pub(super) fn subtask(&self, attempt: u64, subtask: u32, event: Event) {
        // A worker loop that is gone has stopped its subtasks.
        let _ = self.0.send(WorkerEvent::Subtask {
            attempt,
            subtask,
            event,
        });
    }

    /// Reports that a connection to another worker is lost.
    pub(super) fn peer_lost(&self, attempt: u64, worker: u32, why: String) {
        let _ = self.0.send(WorkerEvent::PeerLost {
            attempt,
            worker,
            why,
        });
    }
}
