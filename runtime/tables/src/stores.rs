//! Opens the stores of tables, one for each bucket or directory.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use streamkeeper_connectors::{ConnectorError, source::Stores};
use streamkeeper_storage::{ObjectStore, StorageConfig, open_within};

use crate::access::Access;

/// Stores by URI, with one configuration for all.
pub struct UriStores {
    config: StorageConfig,
    /// By what comes before the key, so that clients and their connections are shared.
    opened: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl UriStores {
    /// Opens nothing yet.
    pub fn new(config: StorageConfig) -> Self {
        Self {
            config,
            opened: Mutex::default(),
        }
    }
}

impl fmt::Debug for UriStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UriStores")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Stores for UriStores {
    fn open(&self, uri: &str) -> Result<(Arc<dyn ObjectStore>, String), ConnectorError> {
        let files = Access::of_process().files();
        let opened = open_within(uri, &self.config, files);
        let (store, key) = opened.map_err(|source| ConnectorError::Storage {
            table: String::new(),
            source,
        })?;
        let name = store.describe();
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((opened.entry(name).or_insert(store).clone(), key))
    }
}
