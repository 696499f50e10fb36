//! What the operator reads and removes in buckets by itself, with its own credentials, where a [`Grant`] allows it.
//!
//! * [`heads`]: HEAD of a job, when no coordinator can be asked.
//! * [`folders`]: folders of snapshots.
//! * `breaker`: stores that do not answer.
//! * `metered`: few large objects at a time.

mod breaker;
pub mod folders;
pub mod heads;
mod metered;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use streamkeeper_storage::{ObjectStore, StorageConfig, StorageError, open};
use tokio::{sync::Semaphore, time::Instant};

use self::breaker::Breaker;
pub use self::{
    folders::{Folders, Progress},
    heads::Heads,
};
use crate::lifecycle::{Grant, ResolvedStorage};

/// Clients that are kept, the last used: each has connections, certificates and credentials of its own.
const CLIENTS: usize = 16;
/// HEAD records that are read at once from one server.
const HEADS: usize = 64;
/// Folders that are worked on at once: altogether, on one server, for one namespace.
const FOLDERS: (usize, usize, usize) = (8, 4, 2);

/// Where a bucket is reached: its name, endpoint and region.
type Place = (String, Option<String>, Option<String>);
/// A server: endpoint and region.
type ServerName = (Option<String>, Option<String>);
/// Clients of places; the last used comes last.
type Clients = Vec<(Place, Arc<dyn ObjectStore>)>;

/// S3, with the operator's own credentials.
#[derive(Debug, Clone)]
pub struct S3 {
    clients: Arc<Mutex<Clients>>,
    servers: Arc<Mutex<HashMap<ServerName, Arc<Server>>>>,
    namespaces: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    folders: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            clients: Arc::default(),
            servers: Arc::default(),
            namespaces: Arc::default(),
            folders: Arc::new(Semaphore::new(FOLDERS.0)),
            large: Arc::new(Semaphore::new(1)),
        }
    }
}

/// One server, and what is asked of it.
#[derive(Debug)]
struct Server {
    breaker: Mutex<Breaker>,
    heads: Semaphore,
    folders: Semaphore,
}

impl Server {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allows a request, or says why none is sent.
    fn ask(&self) -> Result<(), String> {
        self.breaker()
            .ask(Instant::now())
            .map_err(|left: Duration| {
                format!(
                    "the store did not answer several times in a row; it is asked again in {} s",
                    left.as_secs() + 1
                )
            })
    }

    /// Notes whether it answered.
    fn note(&self, answered: bool) {
        let mut breaker = self.breaker();
        if answered {
            breaker.answered();
        } else {
            breaker.failed(Instant::now());
        }
    }
}

impl S3 {
    fn store(&self, grant: &Grant) -> Result<Arc<dyn ObjectStore>, StorageError> {
        let storage = grant.storage();
        let place = (
            storage.bucket.clone(),
            storage.endpoint.clone(),
            storage.region.clone(),
        );
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = clients.iter().position(|(known, _)| *known == place) {
            let known = clients.remove(at);
            let store = known.1.clone();
            clients.push(known);
            return Ok(store);
        }
        let config = StorageConfig {
            endpoint: storage.endpoint.clone(),
            region: storage.region.clone(),
        };
        let (store, _) = open(&format!("s3://{}", storage.bucket), &config)?;
        if clients.len() >= CLIENTS {
            clients.remove(0);
        }
        clients.push((place, store.clone()));
        Ok(store)
    }

    fn server(&self, storage: &ResolvedStorage) -> Arc<Server> {
        let name = (storage.endpoint.clone(), storage.region.clone());
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        // Endpoints are those of the configuration; regions are what users write.
        if servers.len() > 4 * CLIENTS {
            servers.retain(|_, server| Arc::strong_count(server) > 1);
        }
        let new = || {
            Arc::new(Server {
                breaker: Mutex::default(),
                heads: Semaphore::new(HEADS),
                folders: Semaphore::new(FOLDERS.1),
            })
        };
        servers.entry(name).or_insert_with(new).clone()
    }

    /// The turns of a namespace.
    fn namespace(&self, name: &str) -> Arc<Semaphore> {
        let mut all = self
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|known, turns| known == name || Arc::strong_count(turns) > 1);
        let new = || Arc::new(Semaphore::new(FOLDERS.2));
        all.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::S3Store;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        api::v1alpha1,
        lifecycle::{Fact, Settings},
    };

    fn granted(settings: &Settings, namespace: &str) -> Grant {
        let storage = settings.default_storage().unwrap();
        let key = format!("state/{namespace}/job");
        settings.grant(&storage, namespace, &key).unwrap()
    }

    /// A thousand jobs whose store takes connections and never answers.
    #[tokio::test(start_paused = true)]
    async fn a_deaf_store_is_waited_for_a_few_times_and_then_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let settings = Settings {
            storage: Some(v1alpha1::S3 {
                uri: "s3://shared/state".to_owned(),
                region: None,
                endpoint: Some(url.clone()),
            }),
            ..Settings::default()
        };
        let config = StorageConfig {
            endpoint: Some(url.clone()),
            region: None,
        };
        let buckets = S3::default();
        let client = S3Store::with_credentials("shared", config, "key", "secret");
        let place = ("shared".to_owned(), Some(url), None);
        buckets
            .clients
            .lock()
            .unwrap()
            .push((place, Arc::new(client)));
        let (root, began) = (granted(&settings, "deaf"), Instant::now());
        for _ in 0..1000 {
            let head = buckets.head(&root).await;
            assert!(matches!(head, Fact::Unknown(_)), "{head:?}");
        }
        let waited = began.elapsed();
        assert!(
            waited < Duration::from_secs(40),
            "{waited:?} for 1,000 reads"
        );
    }

    #[test]
    fn clients_that_were_not_used_for_long_are_dropped() {
        let mut settings = Settings {
            storage: Some(v1alpha1::S3 {
                uri: "s3://shared/state".to_owned(),
                region: None,
                endpoint: Some("http://127.0.0.1:1".to_owned()),
            }),
            ..Settings::default()
        };
        let buckets = S3::default();
        for number in 0..100 {
            if let Some(storage) = &mut settings.storage {
                storage.region = Some(format!("region-{number}"));
            }
            buckets.store(&granted(&settings, "a")).unwrap();
        }
        assert_eq!(buckets.clients.lock().unwrap().len(), CLIENTS);
    }
}
