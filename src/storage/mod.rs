//! What the operator reads and removes in buckets by itself, with its own credentials.
//!
//! * [`heads`]: HEAD of a job, when no coordinator can be asked.
//! * [`folders`]: folders of snapshots.

pub mod folders;
pub mod heads;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use streamkeeper_storage::{ObjectStore, StorageConfig, StorageError, open};

pub use self::{
    folders::{Folders, Progress},
    heads::Heads,
};
use crate::lifecycle::ResolvedStorage;

/// Where a bucket is reached: its name, endpoint and region.
type Place = (String, Option<String>, Option<String>);

/// S3, with the operator's own credentials. There is one client per bucket: each has connections, certificates and credentials of its own.
#[derive(Debug, Clone, Default)]
pub struct S3 {
    stores: Arc<Mutex<HashMap<Place, Arc<dyn ObjectStore>>>>,
}

impl S3 {
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
