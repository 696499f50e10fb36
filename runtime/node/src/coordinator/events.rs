//! What the coordinator handles: calls, changes of HEAD, the end of its process, its workers.

use std::time::Duration;

use crate::{
    control::{Register, ToCoordinator},
    coordinator::{commands::Call, worker_connections::Link},
};

/// Something that the coordinator reacts to.
#[derive(Debug)]
pub enum Event {
    /// A call of the Job API.
    Call(Call),
    /// HEAD may have changed: look now.
    Poke,
    /// The operator asks whether this process could start from the savepoint at this URI.
    CheckSavepoint(String),
    /// The process was asked to end within this time.
    Terminate {
        /// Time left.
        grace: Duration,
    },
    /// Something about a worker.
    Worker(WorkerEvent),
}

/// Something about a worker's control connection.
#[derive(Debug)]
pub enum WorkerEvent {
    /// It introduced itself and was welcomed.
    Registered {
        /// Who it is.
        register: Register,
        /// How to reach it.
        link: Link,
    },
    /// It said something.
    Said {
        /// Its ordinal.
        worker: u32,
        /// Its connection.
        link: u64,
        /// What.
        message: ToCoordinator,
    },
    /// Its connection ended.
    Lost {
        /// Its ordinal.
        worker: u32,
        /// The connection.
        link: u64,
        /// Why, for people.
        why: String,
    },
}
