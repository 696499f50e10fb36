//! HEAD of a job, read by the operator itself when no coordinator can be asked.

use std::{future::Future, pin::Pin, time::Duration};

use streamkeeper_api::condition::Stalled;
use streamkeeper_lifecycle::{Fact, Grant};
use streamkeeper_protocol::{
    head::{Head, HeadError},
    paths::StatePaths,
};
use streamkeeper_storage::{HeadAccessError, StorageError, read_head};

use crate::buckets::S3;

/// Reads HEAD records.
pub trait Heads: Send + Sync {
    /// HEAD of the job with this root; `Known(None)` only when the store said that there is none.
    fn head<'a>(
        &'a self,
        root: &'a Grant,
    ) -> Pin<Box<dyn Future<Output = Fact<Option<Head>>> + Send + 'a>>;
}

/// A store that takes longer is asked again in the next pass: nothing else that a job needs waits
/// for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for a turn at a server that many jobs read from.
const TURN: Duration = Duration::from_secs(1);

impl Heads for S3 {
    fn head<'a>(
        &'a self,
        root: &'a Grant,
    ) -> Pin<Box<dyn Future<Output = Fact<Option<Head>>> + Send + 'a>> {
        Box::pin(async move {
            let at = format!("s3://{}/{}", root.storage().bucket, root.key());
            let unknown = |why: &str| Fact::unknown(format!("reading HEAD below {at}: {why}"));
            let server = self.server(root.storage());
            let Ok(_turn) = tokio::time::timeout(TURN, server.heads.acquire()).await else {
                return unknown("the store is slow, and many HEAD records are being read");
            };
            if let Err(why) = server.ask() {
                return unknown(&why);
            }
            let store = match self.store(root) {
                Ok(store) => store,
                Err(error) => return Fact::denied(error.to_string()),
            };
            let paths = StatePaths::at(root.key());
            let read = tokio::time::timeout(PATIENCE, read_head(store.as_ref(), &paths)).await;
            server.note(!matches!(
                read,
                Err(_)
                    | Ok(Err(HeadAccessError::Storage(
                        StorageError::Unavailable { .. }
                    )))
            ));
            match read {
                Ok(Ok(found)) => Fact::Known(found.map(|(head, _)| head)),
                Ok(Err(error)) => unreadable(&error),
                Err(_) => unknown(&format!("no answer within {} s", PATIENCE.as_secs())),
            }
        })
    }
}

/// What a HEAD that cannot be read means for decisions.
pub fn unreadable<T>(error: &HeadAccessError) -> Fact<T> {
    match error {
        HeadAccessError::Storage(error) => refused_or_down(error),
        HeadAccessError::Head {
            source: HeadError::TooNew { .. },
            ..
        } => Fact::helpless(Stalled::UnsupportedVersion, error.to_string()),
        HeadAccessError::Head { .. } => Fact::helpless(Stalled::RestoreFailed, error.to_string()),
    }
}

fn refused_or_down<T>(error: &StorageError) -> Fact<T> {
    match error {
        StorageError::AccessDenied { .. }
        | StorageError::NoSuchBucket { .. }
        | StorageError::Unsupported { .. }
        | StorageError::TooLarge { .. }
        | StorageError::OverMemoryLimit { .. }
        | StorageError::Invalid { .. } => Fact::denied(error.to_string()),
        StorageError::NotFound { .. }
        | StorageError::Precondition { .. }
        | StorageError::Conflict { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Unknown { .. } => Fact::unknown(error.to_string()),
    }
}
