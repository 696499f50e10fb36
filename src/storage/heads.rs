//! HEAD of a job, read by the operator itself when no coordinator can be asked.

use std::{future::Future, pin::Pin, time::Duration};

use streamkeeper_protocol::{
    head::{Head, HeadError},
    paths::StatePaths,
};
use streamkeeper_storage::{HeadAccessError, StorageError, read_head};

use super::S3;
use crate::{
    api::condition::Stalled,
    lifecycle::{Fact, ResolvedStorage},
};

/// Reads HEAD records.
pub trait Heads: Send + Sync {
    /// HEAD of job `name` in `namespace`; `Known(None)` only when the store said that there is none.
    fn head<'a>(
        &'a self,
        storage: &'a ResolvedStorage,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Fact<Option<Head>>> + Send + 'a>>;
}

/// A store that takes longer is asked again in the next pass: nothing else that a job needs waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Heads for S3 {
    fn head<'a>(
        &'a self,
        storage: &'a ResolvedStorage,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Fact<Option<Head>>> + Send + 'a>> {
        Box::pin(async move {
            let store = match self.store(storage) {
                Ok(store) => store,
                Err(error) => return Fact::denied(error.to_string()),
            };
            let paths = StatePaths::new(&storage.prefix, namespace, name);
            match tokio::time::timeout(PATIENCE, read_head(store.as_ref(), &paths)).await {
                Ok(Ok(found)) => Fact::Known(found.map(|(head, _)| head)),
                Ok(Err(error)) => unreadable(&error),
                Err(_) => Fact::unknown(format!(
                    "reading HEAD below {}: no answer within {} s",
                    storage.uri,
                    PATIENCE.as_secs()
                )),
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
        | StorageError::Invalid { .. } => Fact::denied(error.to_string()),
        StorageError::NotFound { .. }
        | StorageError::Precondition { .. }
        | StorageError::Conflict { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Unknown { .. } => Fact::unknown(error.to_string()),
    }
}
