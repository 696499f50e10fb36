//! A store whose large objects are read one at a time by all work together: memory is bounded by one of them.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use streamkeeper_storage::{Condition, Object, ObjectMeta, ObjectStore, StorageError, StoreFuture};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Objects up to this size are not waited for.
const SMALL: u64 = 4 << 20;

/// The store, for one piece of work. Its turn to read large objects ends with it.
#[derive(Debug)]
pub(super) struct Metered {
    store: Arc<dyn ObjectStore>,
    large: Arc<Semaphore>,
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Metered {
    pub(super) fn new(store: Arc<dyn ObjectStore>, large: Arc<Semaphore>) -> Self {
        let turn = Mutex::default();
        Self { store, large, turn }
    }

    fn has_turn(&self) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.is_some()
    }
}

impl ObjectStore for Metered {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        self.get_at_most(key, SMALL)
    }

    fn get_at_most<'a>(&'a self, key: &'a str, limit: u64) -> StoreFuture<'a, Object> {
        Box::pin(async move {
            if !self.has_turn() {
                match self.store.get_at_most(key, limit.min(SMALL)).await {
                    Err(StorageError::TooLarge { .. }) if limit > SMALL => {}
                    answer => return answer,
                }
                // The semaphore is never closed.
                let turn = self.large.clone().acquire_owned().await.ok();
                *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
            }
            self.store.get_at_most(key, limit).await
        })
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        self.store.get_range(key, range)
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        self.store.get_range_of(key, version, range)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        self.store.put(key, bytes, condition)
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        self.store.delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        self.store.copy(from, to)
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn only_one_piece_of_work_holds_a_large_object_and_small_ones_do_not_wait() {
        let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
        let large = vec![0; usize::try_from(SMALL).unwrap() + 1];
        for (key, bytes) in [("large", large), ("small", vec![0])] {
            let always = Condition::Always;
            store.put(key, bytes.into(), always).await.unwrap();
        }
        let turns = Arc::new(Semaphore::new(1));
        let one = Metered::new(store.clone(), turns.clone());
        let other = Metered::new(store, turns);
        one.get_at_most("large", 16 << 20).await.unwrap();
        let mut waits = other.get_at_most("large", 16 << 20);
        assert!(futures::poll!(&mut waits).is_pending());
        other.get_at_most("small", 16 << 20).await.unwrap();
        drop(one);
        waits.await.unwrap();
        let error = other.get_at_most("large", 1).await.unwrap_err();
        assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    }
}
