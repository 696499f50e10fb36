//! What arrives at one subtask.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow_schema::ArrowError;

use super::{Envelope, Wake};

/// Takes messages for one subtask, in this or another process. Order within a channel is kept.
pub trait Deliver: Send + Sync {
    /// Hands a message over, without waiting. Fails only when it cannot be encoded; a receiver that
    /// is gone is detected by the process that watches it.
    fn deliver(&self, envelope: Envelope) -> Result<(), ArrowError>;
}

/// Takes back the credit of messages that were consumed.
pub trait ReturnCredit: Send + Sync {
    /// `bytes` of the channel (edge, sending subtask) were consumed.
    fn give(&self, bytes: u32);
}

impl ReturnCredit for super::Credit {
    fn give(&self, bytes: u32) {
        Self::give(self, bytes);
    }
}

/// Queue of one subtask: channel messages and commands `C`, added by any thread, taken by the
/// subtask's thread.
pub struct Inbox<C> {
    content: Mutex<Content<C>>,
    arrived: Condvar,
    /// Whether anything happened since the last [`Inbox::take`]: spares the lock when nothing did.
    dirty: AtomicBool,
}

struct Content<C> {
    commands: VecDeque<C>,
    messages: Vec<Envelope>,
}

impl<C> fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("dirty", &self.dirty)
            .finish_non_exhaustive()
    }
}

impl<C> Default for Inbox<C> {
    fn default() -> Self {
        Self {
            content: Mutex::new(Content {
                commands: VecDeque::new(),
                messages: Vec::new(),
            }),
            arrived: Condvar::new(),
            dirty: AtomicBool::new(false),
        }
    }
}

impl<C> Inbox<C> {
    fn change(&self, change: impl FnOnce(&mut Content<C>)) {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut content);
        let news = !self.dirty.swap(true, Ordering::AcqRel);
        drop(content);
        if news {
            self.arrived.notify_one();
        }
    }

    /// Puts a command in.
    pub fn command(&self, command: C) {
        self.change(|content| content.commands.push_back(command));
    }

    /// Ends the current or the next [`Inbox::park`].
    pub fn wake(&self) {
        if !self.dirty.load(Ordering::Acquire) {
            self.change(|_| {});
        }
    }

    /// Takes out all commands and messages and appends them in the order of their arrival. Returns
    /// whether there were any, or whether the inbox was woken.
    pub fn take(&self, commands: &mut VecDeque<C>, messages: &mut Vec<Envelope>) -> bool {
        if !self.dirty.load(Ordering::Acquire) {
            return false;
        }
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        self.dirty.store(false, Ordering::Release);
        commands.append(&mut content.commands);
        if messages.is_empty() {
            std::mem::swap(messages, &mut content.messages);
        } else {
            messages.append(&mut content.messages);
        }
        true
    }

    /// Waits until something arrives, at most so long.
    pub fn park(&self, at_most: Duration) {
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.dirty.load(Ordering::Acquire) {
            drop(
                self.arrived
                    .wait_timeout(content, at_most)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

impl<C: Send> Deliver for Inbox<C> {
    fn deliver(&self, envelope: Envelope) -> Result<(), ArrowError> {
        self.change(|content| content.messages.push(envelope));
        Ok(())
    }
}

impl<C: Send + 'static> Inbox<C> {
    /// A handle that wakes this inbox.
    pub fn waker(self: &Arc<Self>) -> Wake {
        let inbox = Arc::downgrade(self);
        Arc::new(move || {
            if let Some(inbox) = inbox.upgrade() {
                inbox.wake();
            }
        })
    }
}
