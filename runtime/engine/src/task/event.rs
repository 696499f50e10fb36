//! Commands to a subtask, and its events.

use std::time::Duration;

use streamkeeper_connectors::sink::Committable;
use streamkeeper_protocol::plan::NodeId;
use streamkeeper_state::FrozenState;

use crate::{EngineError, exchange::Barrier};

/// Command to a subtask, through its inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Sources may read.
    Start,
    /// Take a checkpoint, from the sources on.
    Trigger {
        /// Which.
        barrier: Barrier,
        /// Nodes that hand over all their state, not only what changed.
        full: Vec<NodeId>,
    },
    /// Sources that a final barrier stopped read on.
    Resume,
    /// Leave everything as it is and end.
    Stop,
}

/// Event of a subtask.
#[derive(Debug)]
pub enum Event {
    /// A source handed out its first rows.
    FirstRecord {
        /// When, milliseconds since the epoch.
        at_ms: i64,
    },
    /// A sink's buffer is half full; sent once per sink and checkpoint.
    SinkFilling,
    /// All nodes have passed the barrier.
    Frozen(Snapshot),
    /// All input was read and passed on to the sinks.
    Ended,
    /// Nothing runs any more; the last event.
    Exited(Exit),
}

/// How a subtask ended.
#[derive(Debug)]
pub enum Exit {
    /// It received [`Command::Stop`].
    Stopped,
    /// An operator or connector failed.
    Failed(EngineError),
    /// A defect: the message of the panic.
    Panicked(String),
}

/// Everything a checkpoint holds of one subtask.
#[derive(Debug)]
pub struct Snapshot {
    /// The barrier.
    pub barrier: Barrier,
    /// By node, in no particular order; every node of the plan is there once.
    pub nodes: Vec<NodeSnapshot>,
    /// Whether every input had ended before the barrier.
    pub ended: bool,
    /// Time spent to freeze.
    pub freeze: Duration,
}

/// One node at a barrier.
#[derive(Debug)]
pub struct NodeSnapshot {
    /// Which node.
    pub node: NodeId,
    /// Its watermark.
    pub watermark: Option<i64>,
    /// Its states.
    pub states: Vec<FrozenState>,
    /// Output that waits for the checkpoint, of a sink.
    pub committable: Option<Committable>,
    /// Rows handed out by a source or taken by a sink since the subtask was built.
    pub rows: u64,
}
