//! HEAD of a job, read by the operator itself when no coordinator can be asked.

use std::{future::Future, pin::Pin};

use streamkeeper_protocol::{head::Head, paths::StatePaths};
use streamkeeper_storage::{HeadAccessError, StorageConfig, StorageError, open, read_head};

use crate::lifecycle::{Fact, ResolvedStorage};

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

/// HEAD records on S3, read with the operator's own credentials.
#[derive(Debug, Clone, Copy, Default)]
pub struct S3Heads;

impl Heads for S3Heads {
    fn head<'a>(
        &'a self,
        storage: &'a ResolvedStorage,
        namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Fact<Option<Head>>> + Send + 'a>> {
        Box::pin(async move {
            let config = StorageConfig {
                endpoint: storage.endpoint.clone(),
                region: storage.region.clone(),
            };
            let opened = open(&storage.uri, &config);
            let (store, prefix) = match opened {
                Ok(opened) => opened,
                Err(error) => return Fact::denied(error.to_string()),
            };
            match read_head(store.as_ref(), &StatePaths::new(&prefix, namespace, name)).await {
                Ok(found) => Fact::Known(found.map(|(head, _)| head)),
                Err(HeadAccessError::Storage(error)) => refused_or_down(&error),
                Err(error @ HeadAccessError::Head { .. }) => Fact::denied(error.to_string()),
            }
        })
    }
}

fn refused_or_down<T>(error: &StorageError) -> Fact<T> {
    match error {
        StorageError::AccessDenied { .. }
        | StorageError::NoSuchBucket { .. }
        | StorageError::Invalid { .. } => Fact::denied(error.to_string()),
        StorageError::NotFound { .. }
        | StorageError::Precondition { .. }
        | StorageError::Conflict { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Unknown { .. } => Fact::unknown(error.to_string()),
    }
}
