//! Everything outside the operator, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use streamkeeper_controller::clock::Clock;

use super::{
    api_server::{Call, Refusal, Subresource, Verb, store::Store},
    cluster::{self, Cluster, collect_garbage, run_stateful_sets, text},
    coordinator::{self, Coordinators},
    interference::{Fate, Interference},
    kubelet::{self, Kubelets},
};

/// A verb on a resource of an API group, as RBAC names them: `(group, resource, verb)`.
pub type Use = (String, String, String);

/// Name of the client that is not an operator.
pub const SELF_TEST: &str = "self-test";

/// Everything outside the operator.
#[derive(Debug)]
pub struct World {
    pub store: Store,
    pub cluster: Cluster,
    pub kubelets: Kubelets,
    pub jobs: Coordinators,
    pub interferences: Vec<Interference>,
    /// What the operator did, in order: calls that change something, of the API and of
    /// coordinators.
    pub effects: Vec<String>,
    /// The same with time and author.
    pub log: Vec<(Timestamp, String, String)>,
    /// Where in stores it looked, or acted, with its own credentials.
    pub looked: BTreeSet<String>,
    /// What it told people: reasons of conditions that are a state of their own, and of events.
    pub told: BTreeSet<String>,
    /// What it needs to be allowed.
    pub uses: BTreeSet<Use>,
    /// How often it asked for that.
    pub asked: BTreeMap<Use, usize>,
    /// What `streamkeeper self-test` needs to be allowed.
    pub uses_of_self_test: BTreeSet<Use>,
    /// Namespaces that are being deleted.
    pub terminating: BTreeSet<String>,
    /// Watches from before this version must list again.
    pub forgotten: u64,
    /// How long lists of a resource (its plural name) take.
    pub slow_lists: BTreeMap<&'static str, Duration>,
    /// How long watches of a resource that begin from now on are late.
    pub slow_watches: BTreeMap<&'static str, Duration>,
    /// No call of the API is answered.
    pub outage: bool,
    /// The operator may not see nodes.
    pub hidden_nodes: bool,
    /// Whether ConfigMaps cannot be read one by one; those of jobs are watched.
    pub hidden_config_maps: bool,
    /// Version of the store that the cluster's controllers saw last.
    controlled: (u64, Option<usize>),
    clock: Clock,
}

impl World {
    pub fn new(clock: Clock) -> Arc<Mutex<Self>> {
        let mut world = Self {
            store: Store::default(),
            cluster: Cluster::default(),
            kubelets: Kubelets::default(),
            jobs: Coordinators::default(),
            interferences: Vec::new(),
            effects: Vec::new(),
            looked: BTreeSet::new(),
            log: Vec::new(),
            told: BTreeSet::new(),
            uses: BTreeSet::new(),
            asked: BTreeMap::new(),
            uses_of_self_test: BTreeSet::new(),
            terminating: BTreeSet::new(),
            forgotten: 0,
            slow_lists: BTreeMap::new(),
            slow_watches: BTreeMap::new(),
            outage: false,
            hidden_nodes: false,
            hidden_config_maps: false,
            controlled: (0, None),
            clock,
        };
        let now = world.now();
        cluster::boot(&mut world.store, now);
        Arc::new(Mutex::new(world))
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets everything outside the operator happen that is due.
    pub fn step(&mut self) {
        let now = self.now();
        // They act on changes only.
        let seen = (self.store.version(), self.cluster.quota);
        if self.controlled != seen {
            self.controlled = seen;
            collect_garbage(&mut self.store, now);
            run_stateful_sets(&mut self.store, self.cluster.quota, now);
        }
        kubelet::run(self);
        coordinator::run(self);
    }

    /// Notes what an object of a call tells people.
    pub fn hear(&mut self, object: &Value) {
        let conditions = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let reasons = conditions.filter_map(|condition| {
            let kind = text(condition, "/type");
            let tells = match text(condition, "/status") {
                "True" => ["Reconciling", "Stalled"].contains(&kind),
                "False" => ["CheckpointsHealthy", "StorageRead"].contains(&kind),
                _ => false,
            };
            tells.then(|| text(condition, "/reason").to_owned())
        });
        let event = (object["kind"] == "Event").then(|| text(object, "/reason").to_owned());
        self.told.extend(reasons.chain(event));
    }

    /// How long a call takes.
    pub fn patience_for(&self, call: &Call) -> Option<Duration> {
        let lists = call.verb == Verb::List;
        self.slow_lists
            .get(call.kind.plural)
            .copied()
            .filter(|_| lists)
    }

    /// What becomes of a call of the API.
    pub fn fate_of_call(&mut self, call: &Call, author: &str) -> Fate {
        let subresource = match call.subresource {
            Some(Subresource::Status) => "/status",
            Some(Subresource::Scale) => "/scale",
            None => "",
        };
        let needed = (
            call.kind.group.to_owned(),
            format!("{}{subresource}", call.kind.plural),
            call.verb.as_str().to_owned(),
        );
        if author == SELF_TEST {
            self.uses_of_self_test.insert(needed);
            return Fate::Served;
        }
        *self.asked.entry(needed.clone()).or_default() += 1;
        self.uses.insert(needed);
        if self.hidden_nodes && call.kind.plural == "nodes" {
            return Fate::Refused(Refusal::forbidden("nodes", "no role grants it"));
        }
        if self.hidden_config_maps && call.kind.plural == "configmaps" && call.verb == Verb::Get {
            return Fate::Refused(Refusal::forbidden("configmaps", "no role grants it"));
        }
        if call.writes() {
            self.fate(call.to_string(), author)
        } else {
            Fate::Served
        }
    }

    /// What becomes of something that the operator asks for.
    pub fn fate(&mut self, effect: String, author: &str) -> Fate {
        let fate = self.interferences.iter_mut().find_map(|interference| {
            interference
                .takes(&effect)
                .then(|| interference.fate.clone())
        });
        self.interferences
            .retain(|interference| !interference.is_over());
        self.log
            .push((self.clock.now(), author.to_owned(), effect.clone()));
        self.effects.push(effect);
        fate.unwrap_or(Fate::Served)
    }

    /// What admission says to a new object.
    pub fn admit(&self, call: &Call) -> Result<(), Refusal> {
        let namespace = call.namespace.as_deref().unwrap_or_default();
        if self.terminating.contains(namespace) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            return Err(Refusal::forbidden(&call.to_string(), &why));
        }
        Ok(())
    }

    /// Whether changes after this version are not known any more.
    pub fn has_forgotten(&self, version: u64) -> bool {
        version < self.forgotten
    }
}
