//! The sending end of a worker's control connection.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use streamkeeper_control::messages::ToWorker;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One control connection. Messages are sent in order, or lost with the connection.
#[derive(Debug, Clone)]
pub struct WorkerLink {
    /// Tells connections of one worker apart.
    pub id: u64,
    messages: mpsc::UnboundedSender<ToWorker>,
}

impl WorkerLink {
    /// Creates a link with a new id, and the queue of messages that its connection sends.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ToWorker>) {
        let (messages, queue) = mpsc::unbounded_channel();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        (Self { id, messages }, queue)
    }

    /// Sends a message. The reader of the connection notices when the connection is lost.
    pub fn send(&self, message: ToWorker) {
        let _ = self.messages.send(message);
    }
}
