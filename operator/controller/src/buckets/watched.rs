//! Work on a store that is given up when the store does not answer: every answer counts as
//! progress.

use std::{
    future::Future,
    ops::Range,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use streamkeeper_storage::{
    Begin, Condition, Object, ObjectMeta, ObjectStore, StorageError, StoreFuture,
};

/// How long a store may be silent: longer than its client tries one request again and again.
pub(super) const SILENCE: Duration = Duration::from_mins(5);

/// The store, for one piece of work.
#[derive(Debug)]
pub(super) struct Watched {
    store: Arc<dyn ObjectStore>,
    answers: AtomicU64,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        let answers = AtomicU64::new(0);
        Self { store, answers }
    }

    /// What becomes of work on this store; none when it was given up, because nothing was answered
    /// for `silence` or longer.
    pub(super) async fn follow<T>(
        &self,
        work: impl Future<Output = T>,
        silence: Duration,
    ) -> Option<T> {
        let mut work = pin!(work);
        let mut before = self.answers.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = tokio::time::timeout(silence, &mut work).await {
                return Some(done);
            }
            let now = self.answers.load(Ordering::Relaxed);
            if now == before {
                return None;
            }
            before = now;
        }
    }

    fn heard<'a, T: 'a>(&'a self, asked: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let answer: Result<T, StorageError> = asked.await;
            self.answers.fetch_add(1, Ordering::Relaxed);
            answer
        })
    }
}

impl ObjectStore for Watched {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        self.heard(self.store.get(key))
    }

    fn get_at_most<'a>(&'a self, key: &'a str, limit: u64) -> StoreFuture<'a, Object> {
        self.heard(self.store.get_at_most(key, limit))
    }

    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        self.heard(self.store.begin(key, len))
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        self.heard(self.store.get_range(key, range))
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        self.heard(self.store.get_range_of(key, version, range))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        self.heard(self.store.put(key, bytes, condition))
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        self.heard(self.store.delete(key))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        self.heard(self.store.list(prefix))
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        self.heard(self.store.copy(from, to))
    }

    fn end_uploads<'a>(&'a self, prefix: &'a str, before_ms: i64) -> StoreFuture<'a, u64> {
        self.heard(self.store.end_uploads(prefix, before_ms))
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::{FaultStore, MemoryStore};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A store that takes so long for every answer.
    fn slow(takes: Duration) -> Watched {
        let store = FaultStore::new(MemoryStore::new());
        store.before(Arc::new(move |_| Box::pin(sleep(takes))));
        Watched::new(Arc::new(store))
    }

    async fn ten_answers(store: &Watched) {
        for _ in 0..10 {
            store.delete("key").await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_on_a_silent_store_is_given_up_and_on_a_slow_one_it_is_not() {
        let began = Instant::now();
        let silent = slow(Duration::from_hours(1000));
        let done = silent.follow(ten_answers(&silent), SILENCE).await;
        assert_eq!(done, None);
        assert!(began.elapsed() < 2 * SILENCE, "{:?}", began.elapsed());
        // The control: it takes far longer, and something is answered all the time.
        let (began, slow) = (Instant::now(), slow(SILENCE / 2));
        let done = slow.follow(ten_answers(&slow), SILENCE).await;
        assert_eq!(done, Some(()));
        assert!(began.elapsed() >= 5 * SILENCE);
    }
}
