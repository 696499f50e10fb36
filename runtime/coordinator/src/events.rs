//! The events that a coordinator handles: calls, changes of HEAD, the end of its process, and what
//! happens on the control connections of its workers.

use std::time::Duration;

use crate::{commands::Call, worker_link::WorkerLink};
use streamkeeper_control::messages::{Register, ToCoordinator};

/// An event that the coordinator handles.
#[derive(Debug)]
pub enum CoordinatorEvent {
    /// A call of the Job API.
    Call(Call),
    /// HEAD may have changed: the coordinator reads it now.
    HeadChanged,
    /// The operator asks whether this process could start from the savepoint at this URI.
    CheckSavepoint(String),
    /// The process must end within this time.
    Terminate {
        /// Time left.
        grace: Duration,
    },
    /// A worker registered, and was accepted.
    WorkerRegistered {
        /// The registration.
        register: Register,
        /// The connection of the worker.
        link: WorkerLink,
    },
    /// A worker sent a message.
    WorkerMessage {
        /// Ordinal of the worker.
        worker: u32,
        /// Its connection.
        link: u64,
        /// The message.
        message: ToCoordinator,
    },
    /// The connection of a worker ended.
    WorkerLost {
        /// Ordinal of the worker.
        worker: u32,
        /// The connection.
        link: u64,
        /// The cause, as a sentence for people.
        why: String,
    },
    /// The connection of a worker ended that had announced it. Connections report
    /// [`Self::WorkerLost`]; the coordinator knows which worker had announced its end.
    WorkerLeft {
        /// Ordinal of the worker.
        worker: u32,
    },
}
