//! The sending ends of channels to other workers.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::ArrowError;
use streamkeeper_engine::exchange::{
    Deliver, Envelope, ReturnCredit,
    frame::{FrameEncoder, credit_frame},
};

use super::PeerFrames;

/// Sends the messages of one local subtask to one subtask elsewhere. Encodes on the caller's
/// thread.
#[derive(Debug)]
pub struct RemoteLink {
    peer: PeerFrames,
    to: u32,
    /// Shared by the links of one subtask to one peer; used by that subtask's thread alone.
    encoder: Arc<Mutex<FrameEncoder>>,
}

impl RemoteLink {
    /// A link to subtask `to` on the worker behind `peer`.
    pub fn new(peer: PeerFrames, to: u32, encoder: Arc<Mutex<FrameEncoder>>) -> Self {
        Self { peer, to, encoder }
    }
}

impl Deliver for RemoteLink {
    fn deliver(&self, envelope: Envelope) -> Result<(), ArrowError> {
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = encoder.encode(&envelope, self.to)?;
        self.peer.send(frame);
        Ok(())
    }
}

/// Returns the credit of one channel from another worker.
#[derive(Debug)]
pub struct RemoteReturn {
    peer: PeerFrames,
    edge: usize,
    from: u32,
    to: u32,
}

impl RemoteReturn {
    /// Of the channel of `edge` from subtask `from` behind `peer` to the local subtask `to`.
    pub fn new(peer: PeerFrames, edge: usize, from: u32, to: u32) -> Self {
        Self {
            peer,
            edge,
            from,
            to,
        }
    }
}

impl ReturnCredit for RemoteReturn {
    fn give(&self, bytes: u32) {
        self.peer
            .send(credit_frame(self.edge, self.from, self.to, bytes).to_vec());
    }
}
