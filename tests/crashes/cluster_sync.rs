//! Lets the simulated scheduler, kubelets and coordinators live on the objects of a real API
//! server: what it holds is copied into their world, what they do there is done here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use kube::Client;
use serde_json::{Value, json};
use streamkeeper_controller::coordinator_client::JobApi;
use streamkeeper_harness::{
    api_server::{
        Kind,
        kinds::{CONFIG_MAPS, PODS, SECRETS, STATEFUL_SETS},
    },
    cluster::{ordinal, text},
    coordinator::{self, JobPort},
    interference::Life,
    kubelet,
    world::World,
};
use streamkeeper_protocol::job_api::{JOB_API_PORT, JobPhase};

use super::{
    crash_injector::CrashInjector,
    job_api_server::{at, serve_job_api},
    object_cache::{ObjectCache, PARTS, value},
    server::Server,
};

/// How often everything outside the operator moves.
const STEP: Duration = Duration::from_millis(50);

/// What one of them did to a pod.
#[derive(Debug, PartialEq)]
enum Deed {
    Bound { node: String },
    Reported { status: Value },
    Removed,
}

/// The world of one namespace, and what was seen of it.
pub struct ClusterSync {
    pub namespace: String,
    pub world: Arc<Mutex<World>>,
    pub object_cache: Arc<ObjectCache>,
    /// Versions that were copied, by kind and name.
    copied: BTreeMap<(&'static str, String), String>,
    /// Uids that were seen, by kind and name: how often an object was made.
    lives: BTreeMap<String, BTreeSet<String>>,
    /// Who runs the job, while more than one does.
    doubted: Vec<String>,
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// Revision, attempt and token of every claim.
    claims: Vec<(u64, u64, String)>,
}

impl ClusterSync {
    pub fn new(namespace: &str, world: Arc<Mutex<World>>, object_cache: Arc<ObjectCache>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            world,
            object_cache,
            copied: BTreeMap::new(),
            lives: BTreeMap::new(),
            doubted: Vec::new(),
            violations: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// How often each object was made.
    pub fn lives(&self) -> BTreeMap<String, usize> {
        self.lives
            .iter()
            .map(|(name, uids)| (name.clone(), uids.len()))
            .collect()
    }

    /// One step of everything outside the operator; what is to be done about it here.
    fn step(&mut self) -> Vec<(String, String, Deed)> {
        let world = self.world.clone();
        let mut world = world.lock().expect("no panic while locked");
        self.copy(&mut world);
        let before = world.store.all(&PODS);
        kubelet::run(&mut world);
        coordinator::run(&mut world);
        self.judge(&world);
        let mut deeds = Vec::new();
        for pod in before {
            let (name, uid) = (text(&pod, "/metadata/name"), text(&pod, "/metadata/uid"));
            let mut did = |deed| deeds.push((name.to_owned(), uid.to_owned(), deed));
            match world.store.get(&PODS, &self.namespace, name) {
                None => did(Deed::Removed),
                Some(after) => {
                    let node = &after["spec"]["nodeName"];
                    if let Some(node) = node.as_str().filter(|_| *node != pod["spec"]["nodeName"]) {
                        let node = node_name(&self.namespace, node);
                        did(Deed::Bound { node });
                    }
                    if after["status"] != pod["status"] {
                        let status = after["status"].clone();
                        did(Deed::Reported { status });
                    }
                }
            }
        }
        deeds
    }

    /// Copies what is new. A pod waits for the objects it was made from, which come by other
    /// watches.
    fn copy(&mut self, world: &mut World) {
        let mut gone: BTreeSet<_> = self.copied.keys().cloned().collect();
        for kind in PARTS {
            for object in self.object_cache.list(kind, &self.namespace) {
                let name = object.metadata.name.clone().unwrap_or_default();
                let version = object.metadata.resource_version.clone().unwrap_or_default();
                let uid = object.metadata.uid.clone().unwrap_or_default();
                if !is_foreign(kind, &name) {
                    let lives = self.lives.entry(format!("{}/{name}", kind.kind));
                    lives.or_default().insert(uid);
                }
                let key = (kind.plural, name.clone());
                gone.remove(&key);
                let known = self.copied.get(&key);
                if known == Some(&version) || (known.is_none() && !self.is_founded(kind, &name)) {
                    continue;
                }
                let mut object = value(kind, &object);
                let node = object["spec"]["nodeName"].as_str();
                if let Some(node) = node.filter(|_| kind.kind == "Pod") {
                    let own = node.strip_prefix(&format!("{}-", self.namespace));
                    object["spec"]["nodeName"] = json!(own.unwrap_or(node));
                }
                world.store.put(kind, &self.namespace, &name, Some(object));
                self.copied.insert(key, version);
            }
        }
        for (plural, name) in gone {
            if let Some(kind) = PARTS.iter().find(|kind| kind.plural == plural) {
                world.store.put(kind, &self.namespace, &name, None);
            }
            self.copied.remove(&(plural, name));
        }
    }

    fn is_founded(&self, kind: &Kind, name: &str) -> bool {
        let revision = name.rsplit_once('-').map_or(name, |(revision, _)| revision);
        let has = |kind: &Kind| {
            let key = (kind.plural, revision.to_owned());
            self.copied.contains_key(&key)
        };
        // The Secret is the job's, not the revision's.
        let keys = || {
            self.copied
                .keys()
                .any(|(plural, _)| *plural == SECRETS.plural)
        };
        kind.kind != "Pod" || has(&CONFIG_MAPS) && has(&STATEFUL_SETS) && keys()
    }

    /// Checks that HEAD only grows, that no attempt is claimed twice, and that a coordinator which
    /// lost HEAD ends with its next step.
    fn judge(&mut self, world: &World) {
        for head in world.jobs.heads.values() {
            let claim = (head.revision, head.attempt, head.token.clone());
            if self.claims.last() == Some(&claim) {
                continue;
            }
            if let Some((revision, attempt, _)) = self.claims.last()
                && (head.revision < *revision || head.attempt <= *attempt)
            {
                let crime = format!("HEAD went from {:?} to {claim:?}", self.claims.last());
                self.violations.push(crime);
            }
            self.claims.push(claim);
        }
    }

    /// Who says that it runs the job. The loser of a claim may say so for one step more.
    fn count_runners(&mut self, runners: Vec<String>) {
        if runners.len() > 1 && self.doubted == runners {
            self.violations.push(format!("two runners: {runners:?}"));
        }
        self.doubted = if runners.len() > 1 {
            runners
        } else {
            Vec::new()
        };
    }

    /// Addresses of coordinators, by the uid of their pod.
    fn coordinators(&self) -> BTreeMap<String, SocketAddr> {
        let world = self.world.lock().expect("no panic while locked");
        let first = |pod: &&Arc<Value>| ordinal(text(pod, "/metadata/name")) == 0;
        world
            .store
            .all(&PODS)
            .iter()
            .filter(first)
            .filter_map(|pod| {
                let address = format!("{}:{JOB_API_PORT}", text(pod, "/status/podIP"));
                Some((text(pod, "/metadata/uid").to_owned(), address.parse().ok()?))
            })
            .collect()
    }
}

/// The StatefulSet controller makes revisions of its own.
pub fn is_foreign(kind: &Kind, name: &str) -> bool {
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let ours = name.rsplit_once("-r").is_some_and(|(_, rest)| number(rest));
    kind.kind == "ControllerRevision" && !ours
}

/// Nodes belong to no namespace, so each stage has nodes of its own name.
pub fn node_name(namespace: &str, node: &str) -> String {
    format!("{namespace}-{node}")
}

/// Moves everything outside the operator. Returns only when something went wrong.
pub async fn turn(
    client: Client,
    sync: Arc<Mutex<ClusterSync>>,
    injector: Arc<CrashInjector>,
    life: Arc<AtomicUsize>,
) -> String {
    let (namespace, port) = {
        let sync = sync.lock().expect("no panic while locked");
        let port = JobPort {
            world: sync.world.clone(),
            life: Life::new("operator"),
        };
        (sync.namespace.clone(), port)
    };
    let mut servers: HashMap<String, Server> = HashMap::new();
    loop {
        let (deeds, wanted) = {
            let mut sync = sync.lock().expect("no panic while locked");
            (sync.step(), sync.coordinators())
        };
        servers.retain(|uid, _| wanted.contains_key(uid));
        let mut runners = Vec::new();
        for (uid, address) in wanted {
            if let Ok(report) = port.report(&at(address)).await
                && let Some(attempt) = report.attempt
                && report.phase != JobPhase::Stopped
            {
                runners.push(format!("revision {} attempt {attempt}", report.revision));
            }
            if let Entry::Vacant(place) = servers.entry(uid) {
                let server =
                    serve_job_api(address, port.clone(), injector.clone(), life.clone()).await;
                place.insert(server);
            }
        }
        sync.lock()
            .expect("no panic while locked")
            .count_runners(runners);
        for (name, uid, deed) in deeds {
            if let Err(error) = carry_out(&client, &namespace, &name, &uid, &deed).await {
                return format!("pod {name}: {deed:?}: {error}");
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Does to a real pod what was done to its copy; a pod that changed or went in between is looked at
/// again in the next step.
async fn carry_out(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    deed: &Deed,
) -> Result<(), kube::Error> {
    let pod = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let request = match deed {
        Deed::Bound { node } => {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "uid": uid },
                "target": { "apiVersion": "v1", "kind": "Node", "name": node },
            });
            http::Request::post(format!("{pod}/binding")).body(binding)
        }
        Deed::Reported { status } => http::Request::patch(format!("{pod}/status"))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(json!({ "metadata": { "uid": uid }, "status": status })),
        Deed::Removed => http::Request::delete(pod).body(json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": { "uid": uid },
        })),
    };
    let mut request = request
        .expect("a request")
        .map(|body| body.to_string().into_bytes());
    request
        .headers_mut()
        .entry(http::header::CONTENT_TYPE)
        .or_insert(http::HeaderValue::from_static("application/json"));
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
