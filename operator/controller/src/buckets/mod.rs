//! What the operator reads and removes in buckets by itself, with its own credentials, where a
//! [`Grant`] allows it.
//!
//! * [`heads`]: HEAD of a job, when no coordinator can be asked.
//! * [`folders`]: folders of snapshots.
//! * `breaker`: stores that do not answer.
//! * `watched`: work that is given up when nothing is answered.

mod breaker;
pub(crate) mod folder_tasks;
pub mod folders;
pub mod heads;
mod watched;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use streamkeeper_storage::{ObjectStore, StorageConfig, StorageError, open};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::Instant,
};

use self::breaker::Breaker;

pub use self::{
    folders::{Folders, Progress},
    heads::Heads,
};
use streamkeeper_lifecycle::{Grant, ResolvedStorage};

/// Clients that are kept, the last used: each has connections, certificates and credentials of its
/// own.
const CLIENTS: usize = 16;
/// HEAD records that are read at once from one server.
const HEADS: usize = 64;
/// Folders that are worked on at once: altogether, on one server, for one namespace.
const FOLDERS: (usize, usize, usize) = (8, 4, 2);
/// Servers that are remembered although no job asks anything of them.
const SERVERS: usize = 4 * CLIENTS;

/// Where a bucket is reached: its name, endpoint and region.
type Place = (String, Option<String>, Option<String>);
/// A server: its endpoint, else its region. Users choose regions: where there is an endpoint they
/// lead nowhere else.
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
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            clients: Arc::default(),
            servers: Arc::default(),
            namespaces: Arc::default(),
            folders: Arc::new(Semaphore::new(FOLDERS.0)),
        }
    }
}

/// A turn to work on a folder: of its namespace, on its server, and altogether. Semaphores are
/// never closed.
type Turn<'a> = (
    Option<OwnedSemaphorePermit>,
    Option<SemaphorePermit<'a>>,
    Option<SemaphorePermit<'a>>,
);

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
            ..StorageConfig::default()
        };
        let (store, _) = open(&format!("s3://{}", storage.bucket), &config)?;
        if clients.len() >= CLIENTS {
            clients.remove(0);
        }
        clients.push((place, store.clone()));
        Ok(store)
    }

    fn server(&self, storage: &ResolvedStorage) -> Arc<Server> {
        let region = storage.region.clone();
        let name = match storage.endpoint.clone() {
            Some(endpoint) => (Some(endpoint), None),
            None => (None, region),
        };
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        // What is known of a server that does not answer is kept: else it would be asked as if it
        // did.
        if servers.len() > SERVERS {
            let now = Instant::now();
            servers.retain(|_, server| {
                Arc::strong_count(server) > 1 || server.breaker().is_remembered(now)
            });
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

    /// A turn to work on a folder. Who waits for the turns of its namespace takes none of others,
    /// and who waits for its server none of other servers.
    async fn turn<'a>(&'a self, namespace: &str, server: &'a Server) -> Turn<'a> {
        (
            self.namespace(namespace).acquire_owned().await.ok(),
            server.folders.acquire().await.ok(),
            self.folders.acquire().await.ok(),
        )
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
    use streamkeeper_api::v1alpha1;
    use streamkeeper_lifecycle::{Fact, Settings, grant};

    fn granted(settings: &Settings, namespace: &str) -> Grant {
        let storage = settings.default_storage().unwrap();
        let key = format!("state/{namespace}/job");
        grant(settings, &storage, namespace, &key).unwrap()
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
                ..v1alpha1::S3::default()
            }),
            ..Settings::default()
        };
        let config = StorageConfig {
            endpoint: Some(url.clone()),
            region: None,
            ..StorageConfig::default()
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

    fn settings() -> Settings {
        Settings {
            storage: Some(v1alpha1::S3 {
                uri: "s3://shared/state".to_owned(),
                region: None,
                endpoint: Some("http://127.0.0.1:1".to_owned()),
                ..v1alpha1::S3::default()
            }),
            ..Settings::default()
        }
    }

    #[tokio::test]
    async fn work_that_waits_for_the_turns_of_its_namespace_holds_none_of_its_server() {
        let buckets = S3::default();
        let server = buckets.server(granted(&settings(), "a").storage());
        let mut greedy: Vec<_> = (0..4)
            .map(|_| Box::pin(buckets.turn("greedy", &server)))
            .collect();
        let mut taken = Vec::new();
        for work in &mut greedy {
            taken.push(futures::poll!(work));
        }
        let of_greedy = taken.iter().filter(|turn| turn.is_ready()).count();
        assert_eq!(of_greedy, FOLDERS.2);
        let mut other = Box::pin(buckets.turn("other", &server));
        taken.push(futures::poll!(&mut other));
        assert!(
            taken[4].is_ready(),
            "four of one namespace and one of another"
        );
        // The control: turns of the server that are taken are waited for.
        let third = Box::pin(buckets.turn("third", &server));
        let held = third.await;
        let mut fourth = Box::pin(buckets.turn("fourth", &server));
        assert!(futures::poll!(&mut fourth).is_pending());
        drop(held);
        fourth.await;
    }

    #[test]
    fn a_region_makes_no_other_server_of_an_endpoint_but_of_amazon() {
        let buckets = S3::default();
        let storage = |endpoint: Option<&str>, region: &str| ResolvedStorage {
            endpoint: endpoint.map(ToOwned::to_owned),
            region: Some(region.to_owned()),
            ..settings().default_storage().unwrap()
        };
        let same = |one: &ResolvedStorage, other: &ResolvedStorage| {
            Arc::ptr_eq(&buckets.server(one), &buckets.server(other))
        };
        let own = Some("http://s3");
        assert!(same(&storage(own, "a"), &storage(own, "b")));
        assert!(!same(&storage(None, "a"), &storage(None, "b")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_not_forgotten_for_others_that_are_made_up() {
        let buckets = S3::default();
        let storage = |region: &str| ResolvedStorage {
            endpoint: None,
            region: Some(region.to_owned()),
            ..settings().default_storage().unwrap()
        };
        for _ in 0..10 {
            buckets.server(&storage("deaf")).note(false);
        }
        for n in 0..1000 {
            buckets.server(&storage(&format!("made-up-{n}")));
        }
        assert!(buckets.servers.lock().unwrap().len() <= SERVERS + 1);
        buckets.server(&storage("deaf")).ask().unwrap_err();
        // The control: what is over long ago is forgotten.
        tokio::time::advance(Duration::from_hours(1)).await;
        for n in 0..=SERVERS {
            buckets.server(&storage(&format!("later-{n}")));
        }
        let known = buckets.servers.lock().unwrap();
        assert!(!known.contains_key(&(None, Some("deaf".to_owned()))));
    }

    #[test]
    fn clients_that_were_not_used_for_long_are_dropped() {
        let mut settings = settings();
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
