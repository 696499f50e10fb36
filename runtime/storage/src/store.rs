//! The trait every store implements.

use std::{fmt::Debug, future::Future, ops::Range, pin::Pin};

use bytes::Bytes;

/// A boxed future, so that stores are trait objects.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// An object with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Content.
    pub bytes: Bytes,
    /// Version, for [`Condition::Matches`].
    pub etag: String,
}

/// The first bytes of an object, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Its first bytes.
    pub bytes: Bytes,
    /// Bytes of all of it.
    pub size: u64,
    /// Version, for [`ObjectStore::get_range_of`]; empty when the store returns none.
    pub etag: String,
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Full key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Version.
    pub etag: String,
    /// Last change, milliseconds since the epoch, by the store's clock.
    pub modified_ms: i64,
}

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// Only if no object has this key (`If-None-Match: *`).
    Absent,
    /// Only if the object still has this version (`If-Match`).
    Matches(String),
}

/// One bucket of objects. Keys have no leading slash.
pub trait ObjectStore: Send + Sync + Debug {
    /// Reads an object; [`StorageError::NotFound`] when there is none.
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object>;

    /// Reads an object of at most `limit` bytes; [`StorageError::TooLarge`] when it holds more,
    /// without reading more.
    fn get_at_most<'a>(&'a self, key: &'a str, limit: u64) -> StoreFuture<'a, Object> {
        Box::pin(async move {
            let object = self.get(key).await?;
            if object.bytes.len() as u64 > limit {
                return Err(StorageError::TooLarge {
                    at: format!("{}/{key}", self.describe()),
                    limit,
                });
            }
            Ok(object)
        })
    }

    /// Reads the first bytes of an object, at most `len`, and its size: for objects that are read
    /// part by part. A store whose listings have other versions than its reads returns the version
    /// of listings.
    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        Box::pin(async move {
            let object = self.get(key).await?;
            let size = object.bytes.len();
            let first = usize::try_from(len).map_or(size, |len| len.min(size));
            Ok(Begin {
                bytes: object.bytes.slice(..first),
                size: size as u64,
                etag: object.etag,
            })
        })
    }

    /// Reads a part of an object.
    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes>;

    /// Reads a part of an object if the object still has the version that [`ObjectStore::list`]
    /// gave; [`StorageError::Precondition`] when it was replaced or changed since.
    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes>;

    /// Writes an object and returns its version. A conditional write is tried once: a lost response
    /// is [`StorageError::Unknown`], never retried blindly.
    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String>;

    /// Removes an object; no error when there is none.
    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()>;

    /// All objects whose key starts with `prefix`, in key order.
    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>>;

    /// Copies an object inside the store.
    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()>;

    /// Aborts multipart uploads of objects whose key starts with `prefix` that began before
    /// `before_ms` (milliseconds since the epoch), and returns their number. Most stores have none.
    fn end_uploads<'a>(&'a self, prefix: &'a str, before_ms: i64) -> StoreFuture<'a, u64> {
        let _ = (prefix, before_ms);
        Box::pin(async { Ok(0) })
    }

    /// Name of the store in messages: `s3://bucket` or `file:///dir`.
    fn describe(&self) -> String;
}

/// Why an action of a store failed. Messages name the bucket, the key and the action; never a
/// credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// No such object.
    #[error("{action} {at}: no such object")]
    NotFound {
        /// S3 action, like `GetObject`.
        action: &'static str,
        /// `s3://bucket/key`.
        at: String,
    },
    /// The condition of a write or of a read did not hold (412).
    #[error("{action} {at}: the object was changed by somebody else")]
    Precondition {
        /// S3 action.
        action: &'static str,
        /// `s3://bucket/key`.
        at: String,
    },
    /// A concurrent conditional write was in progress (409): try again.
    #[error("{action} {at}: conflicts with a write in progress")]
    Conflict {
        /// S3 action.
        action: &'static str,
        /// `s3://bucket/key`.
        at: String,
    },
    /// An object holds more than anything of its kind does.
    #[error(
        "GetObject {at}: it holds more than {limit} bytes, which nothing of its kind does; \
             nothing of it was used"
    )]
    TooLarge {
        /// `s3://bucket/key`.
        at: String,
        /// Most bytes that are read.
        limit: u64,
    },
    /// The object is valid, but its names need more than the memory limit.
    #[error("GetObject {at}: it names more than fits in {room} bytes of memory")]
    OverMemoryLimit {
        /// `s3://bucket/key`.
        at: String,
        /// Most bytes of memory.
        room: u64,
    },
    /// Credentials missing, wrong or without the right (401, 403).
    #[error("{action} {at}: access denied ({detail})")]
    AccessDenied {
        /// S3 action.
        action: &'static str,
        /// `s3://bucket/key`.
        at: String,
        /// The store's code.
        detail: String,
    },
    /// No such bucket.
    #[error("{action} {at}: the bucket does not exist")]
    NoSuchBucket {
        /// S3 action.
        action: &'static str,
        /// `s3://bucket`.
        at: String,
    },
    /// The store cannot be reached or returns 5xx; nothing was written, or the action is harmless
    /// to repeat.
    #[error("{action} {at}: the store does not answer ({detail})")]
    Unavailable {
        /// S3 action.
        action: &'static str,
        /// `s3://bucket/key`.
        at: String,
        /// The store's message.
        detail: String,
    },
    /// The response to a conditional write was lost: the write may have happened. Read back.
    #[error("{action} {at}: the answer was lost, the write may have happened ({detail})")]
    Unknown {
        /// S3 action.
        action: &'static str,
        /// `s3://bucket/key`.
        at: String,
        /// What happened.
        detail: String,
    },
    /// The store does not support the action (501), or does not carry it out as required.
    #[error("{action} {at}: {detail}")]
    Unsupported {
        /// S3 action.
        action: &'static str,
        /// Where.
        at: String,
        /// What the store does instead, and what to do.
        detail: String,
    },
    /// The request or the configuration is wrong.
    #[error("{action} {at}: {detail}")]
    Invalid {
        /// S3 action.
        action: &'static str,
        /// Where.
        at: String,
        /// Why.
        detail: String,
    },
}

impl<S: ObjectStore + ?Sized> ObjectStore for std::sync::Arc<S> {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        (**self).get(key)
    }

    fn get_at_most<'a>(&'a self, key: &'a str, limit: u64) -> StoreFuture<'a, Object> {
        (**self).get_at_most(key, limit)
    }

    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        (**self).begin(key, len)
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        (**self).get_range(key, range)
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        (**self).get_range_of(key, version, range)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        (**self).put(key, bytes, condition)
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        (**self).delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        (**self).list(prefix)
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        (**self).copy(from, to)
    }

    fn end_uploads<'a>(&'a self, prefix: &'a str, before_ms: i64) -> StoreFuture<'a, u64> {
        (**self).end_uploads(prefix, before_ms)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}
