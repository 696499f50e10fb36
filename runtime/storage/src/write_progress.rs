//! Progress of writes, which distinguishes a slow write from a stuck one.
//!
//! The caller of a write gives it a [`WriteProgress`]; a store that sends bytes over a network
//! reports there how far it is.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

tokio::task_local! {
    static HERE: WriteProgress;
}

/// Bytes on their way to stores. Those of an object count once, however often it is sent.
#[derive(Debug, Clone, Default)]
pub struct BytesSent(Arc<AtomicU64>);

impl BytesSent {
    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Progress for one more object.
    pub fn object(&self) -> WriteProgress {
        WriteProgress {
            moved: self.clone(),
            furthest: Arc::default(),
        }
    }
}

/// Progress of one object. Clones share it.
#[derive(Debug, Clone)]
pub struct WriteProgress {
    moved: BytesSent,
    furthest: Arc<AtomicU64>,
}

impl WriteProgress {
    /// Runs `work` and counts its writes as those of this object.
    pub async fn count<F: Future>(&self, work: F) -> F::Output {
        HERE.scope(self.clone(), work).await
    }

    /// Records that `bytes` bytes of the object were sent, counted from its beginning.
    pub fn reached(&self, bytes: u64) {
        let before = self.furthest.fetch_max(bytes, Relaxed);
        self.moved
            .0
            .fetch_add(bytes.saturating_sub(before), Relaxed);
    }

    /// The progress that the current work reports to, if there is one.
    pub(crate) fn here() -> Option<Self> {
        HERE.try_with(Clone::clone).ok()
    }

    /// Progress for a part of the object, counted from the beginning of the part.
    pub(crate) fn of_part(&self) -> Self {
        self.moved.object()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_again_counts_once() {
        let moved = BytesSent::default();
        let one = moved.object();
        one.reached(10);
        one.reached(4);
        assert_eq!(moved.bytes(), 10);
        one.clone().reached(12);
        moved.object().reached(5);
        assert_eq!(moved.bytes(), 17);
        assert!(WriteProgress::here().is_none());
        one.count(async { WriteProgress::here().unwrap().reached(20) })
            .await;
        assert_eq!(moved.bytes(), 25);
    }
}
