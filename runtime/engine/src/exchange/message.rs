//! What travels over a channel.

use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::manifest::CheckpointKind;

/// One message of a channel.
#[derive(Debug, Clone)]
pub enum Msg {
    /// Rows.
    Batch(Batch),
    /// Watermark: no row behind it is older; epoch milliseconds.
    Watermark(i64),
    /// The channel is idle: do not wait for its watermark.
    Idle,
    /// The channel is active again.
    Active,
    /// Everything before it belongs to the checkpoint, everything behind it does not.
    Barrier(Barrier),
    /// No row and no watermark behind it; barriers still come.
    End,
}

/// The line between two checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// Number of the checkpoint.
    pub checkpoint: u64,
    /// Why it is taken.
    pub kind: CheckpointKind,
}

/// A message with the channel it arrives on. The receiving subtask is the inbox it lies in.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Exchange edge, as numbered by [`crate::task::Topology`].
    pub edge: usize,
    /// Sending subtask.
    pub from: u32,
    /// Credit it used, to be returned once consumed; 0 for control messages.
    pub cost: u32,
    /// The message.
    pub msg: Msg,
}
