//! The sender's allowance of one channel.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// Default credit of a channel. Enough for several batches; a job holds at most this much, and one
/// batch more, per channel.
pub const CREDIT_BYTES: u32 = 256 << 10;

/// Wakes a subtask; cheap, may be called from anywhere.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Bytes that may still be sent. A send may overdraw it once; then the sender waits until the
/// receiver has returned enough.
pub struct Credit {
    available: AtomicI64,
    wake: Wake,
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credit")
            .field("available", &self.available)
            .finish_non_exhaustive()
    }
}

impl Credit {
    /// An allowance of `bytes`; `wake` is called when an exhausted one becomes positive again.
    pub fn new(bytes: u32, wake: Wake) -> Self {
        Self {
            available: AtomicI64::new(i64::from(bytes)),
            wake,
        }
    }

    /// Whether more may be sent.
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire) > 0
    }

    /// Uses `bytes`, also beyond what is there.
    pub fn take(&self, bytes: u32) {
        self.available.fetch_sub(i64::from(bytes), Ordering::AcqRel);
    }

    /// Returns `bytes` that were consumed.
    pub fn give(&self, bytes: u32) {
        let before = self.available.fetch_add(i64::from(bytes), Ordering::AcqRel);
        if before <= 0 && before + i64::from(bytes) > 0 {
            (self.wake)();
        }
    }
}
