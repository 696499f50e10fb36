//! How far writes are, which tells one that is slow from one that is stuck.
//!
//! Whoever waits for a write gives it a [`Meter`]; a store that sends bytes over a network says
//! there how far it is.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

tokio::task_local! {
    static HERE: Meter;
}

/// Bytes on their way to stores. Those of an object count once, however often it is sent.
#[derive(Debug, Clone, Default)]
pub struct Moved(Arc<AtomicU64>);

impl Moved {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// A meter for one object more.
    pub fn object(&self) -> Meter {
        Meter {
            moved: self.clone(),
            furthest: Arc::default(),
        }
    }
}

/// How far one object is. Clones are about the same object.
#[derive(Debug, Clone)]
pub struct Meter {
    moved: Moved,
    furthest: Arc<AtomicU64>,
}

impl Meter {
    /// Does `work`, whose writes are those of this object.
    pub async fn count<F: Future>(&self, work: F) -> F::Output {
        HERE.scope(self.clone(), work).await
    }

    /// Notes that so many bytes of the object were sent, from its begin.
    pub fn reached(&self, bytes: u64) {
        let before = self.furthest.fetch_max(bytes, Relaxed);
        self.moved
            .0
            .fetch_add(bytes.saturating_sub(before), Relaxed);
    }

    /// The meter of the work that this is part of, if somebody waits for it.
    pub(crate) fn here() -> Option<Self> {
        HERE.try_with(Clone::clone).ok()
    }

    /// A meter for a part of the object, which counts from its own begin.
    pub(crate) fn of_part(&self) -> Self {
        self.moved.object()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_again_counts_once() {
        let moved = Moved::default();
        let one = moved.object();
        one.reached(10);
        one.reached(4);
        assert_eq!(moved.bytes(), 10);
        one.clone().reached(12);
        moved.object().reached(5);
        assert_eq!(moved.bytes(), 17);
        assert!(Meter::here().is_none());
        one.count(async { Meter::here().unwrap().reached(20) })
            .await;
        assert_eq!(moved.bytes(), 25);
    }
}
