//! Objects in memory, for tests. Clones share their objects.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{Condition, Object, ObjectMeta, ObjectStore, StorageError, StoreFuture};

/// A store in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, (Bytes, u64)>,
    writes: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().by_key.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // Every change is one insert or remove: a panic elsewhere leaves nothing half done.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

fn at(key: &str) -> String {
    format!("memory:///{key}")
}

fn found<'a>(
    objects: &'a Objects,
    action: &'static str,
    key: &str,
) -> Result<&'a (Bytes, u64), StorageError> {
    objects
        .by_key
        .get(key)
        .ok_or_else(|| StorageError::NotFound {
            action,
            at: at(key),
        })
}

impl Objects {
    fn put(&mut self, key: &str, bytes: Bytes) -> String {
        self.writes += 1;
        self.by_key.insert(key.to_owned(), (bytes, self.writes));
        etag(self.writes)
    }

    fn put_if(
        &mut self,
        key: &str,
        bytes: Bytes,
        condition: &Condition,
    ) -> Result<String, StorageError> {
        let action = "PutObject";
        let now = self.by_key.get(key).map(|(_, version)| etag(*version));
        match (condition, now) {
            (Condition::Always, _) | (Condition::Absent, None) => {}
            (Condition::Matches(wanted), Some(now)) if *wanted == now => {}
            (Condition::Matches(_), None) => {
                return Err(StorageError::NotFound {
                    action,
                    at: at(key),
                });
            }
            (Condition::Absent | Condition::Matches(_), Some(_)) => {
                return Err(StorageError::Precondition {
                    action,
                    at: at(key),
                });
            }
        }
        Ok(self.put(key, bytes))
    }
}

impl ObjectStore for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        Box::pin(async move {
            let objects = self.lock();
            let (bytes, version) = found(&objects, "GetObject", key)?;
            Ok(Object {
                bytes: bytes.clone(),
                etag: etag(*version),
            })
        })
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let objects = self.lock();
            let (bytes, _) = found(&objects, "GetObject", key)?;
            slice(bytes, &range).ok_or_else(|| outside(&range, bytes.len() as u64, at(key)))
        })
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let action = "GetObject";
            let objects = self.lock();
            let (bytes, now) = found(&objects, action, key)?;
            if etag(*now) != version {
                let at = at(key);
                return Err(StorageError::Precondition { action, at });
            }
            slice(bytes, &range).ok_or_else(|| outside(&range, bytes.len() as u64, at(key)))
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        Box::pin(async move { self.lock().put_if(key, bytes, &condition) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.lock().by_key.remove(key);
            Ok(())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        Box::pin(async move {
            let objects = self.lock();
            let from = objects.by_key.range(prefix.to_owned()..);
            let below = from.take_while(|(key, _)| key.starts_with(prefix));
            let listed = below.map(|(key, (bytes, version))| ObjectMeta {
                key: key.clone(),
                size: bytes.len() as u64,
                etag: etag(*version),
                modified_ms: i64::try_from(*version).unwrap_or(i64::MAX),
            });
            Ok(listed.collect())
        })
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut objects = self.lock();
            let bytes = found(&objects, "CopyObject", from)?.0.clone();
            objects.put(to, bytes);
            Ok(())
        })
    }

    fn describe(&self) -> String {
        "memory://".to_owned()
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (start, end) = (
        usize::try_from(range.start).ok()?,
        usize::try_from(range.end).ok()?,
    );
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// A range that reaches past the object: a damaged reference, not something to fill up.
pub(crate) fn outside(range: &Range<u64>, size: u64, at: String) -> StorageError {
    let detail = format!(
        "bytes {} to {} of an object of {size} bytes",
        range.start, range.end
    );
    StorageError::Invalid {
        action: "GetObject",
        at,
        detail,
    }
}
