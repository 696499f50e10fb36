//! HEAD of a job, read by the operator itself when no coordinator can be asked.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use streamkeeper_protocol::{head::Head, paths::StatePaths};
use streamkeeper_storage::{
    HeadAccessError, ObjectStore, StorageConfig, StorageError, open, read_head,
};

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

/// A store that takes longer is asked again in the next pass: nothing else that a job needs waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a bucket is reached: its name, endpoint and region.
type Place = (String, Option<String>, Option<String>);

/// HEAD records on S3, read with the operator's own credentials. There is one client per bucket: each has connections, certificates and credentials of its own.
#[derive(Debug, Clone, Default)]
pub struct S3Heads {
    stores: Arc<Mutex<HashMap<Place, Arc<dyn ObjectStore>>>>,
}

impl S3Heads {
    fn store(&self, storage: &ResolvedStorage) -> Result<Arc<dyn ObjectStore>, StorageError> {
        let place = (
            storage.bucket.clone(),
            storage.endpoint.clone(),
            storage.region.clone(),
        );
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = stores.get(&place) {
            return Ok(known.clone());
        }
        let config = StorageConfig {
            endpoint: storage.endpoint.clone(),
            region: storage.region.clone(),
        };
        let (store, _) = open(&format!("s3://{}", storage.bucket), &config)?;
        stores.insert(place, store.clone());
        Ok(store)
    }
}

impl Heads for S3Heads {
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
                Ok(Err(HeadAccessError::Storage(error))) => refused_or_down(&error),
                Ok(Err(error @ HeadAccessError::Head { .. })) => Fact::denied(error.to_string()),
                Err(_) => Fact::unknown(format!(
                    "reading HEAD below {}: no answer within {} s",
                    storage.uri,
                    PATIENCE.as_secs()
                )),
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
