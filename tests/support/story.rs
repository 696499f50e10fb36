//! A real controller in a world of its own, and what a test does and sees. Time stands still but for what everybody waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use streamkeeper::{
    api::{
        condition,
        names::{RESTARTED_AT, REVISION_LABEL, pod_name},
        v1alpha1::{S3, SnapshotPhase, StreamJob, StreamJobStatus, StreamSnapshot},
    },
    clock::Clock,
    controller::{Context, Ports, run},
    events::Events,
    health::Readiness,
    leader::{Candidate, Leadership, LeaseClient, decision::Terms},
    lifecycle::Settings,
    metrics::Metrics,
    resources::PodSettings,
    security::Keyring,
    self_test::{SelfTest, SelfTestError},
};
use streamkeeper_protocol::head::{Head, RunState};
use streamkeeper_security::{MasterKey, rustls::time_provider::DefaultTimeProvider};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::{
    api_server::{
        ApiServer, Kind,
        kinds::{
            CONFIG_MAPS, CONTROLLER_REVISIONS, EVENTS, LEASES, PODS, SECRETS, SERVICES,
            STATEFUL_SETS, STREAM_JOBS, STREAM_SNAPSHOTS,
        },
        store::Deletion,
    },
    cluster::{self, text},
    coordinator::{HeadStore, JobPort},
    interference::{Interference, Life},
    kubelet::Exit,
    script::Script,
    world::{SELF_TEST, Use, World},
};

/// Namespace of all jobs.
pub const NAMESPACE: &str = "flights";
/// Namespace of the operator.
const SYSTEM: &str = "streamkeeper-system";
/// How often the world outside the operator moves.
const STEP: Duration = Duration::from_millis(100);
/// How long a story waits for something.
const PATIENCE: Duration = Duration::from_mins(30);

/// One life of the operator.
struct Operator {
    task: JoinHandle<()>,
    life: Life,
    stop: CancellationToken,
}

/// How replicas of the operator compete.
#[derive(Debug, Clone, Copy)]
pub struct Election {
    /// How long the Lease lasts.
    pub lease: Duration,
    /// Whether writes are held to it. Only a negative control says no.
    pub bound: bool,
}

/// A controller in a world of its own.
pub struct Story {
    world: Arc<Mutex<World>>,
    clock: Clock,
    pub settings: Settings,
    /// Master keys of the operator, the current one first; new revisions get certificates by it.
    pub master_keys: Vec<u8>,
    operator: Option<Operator>,
    another: Option<Operator>,
    /// None: there is one replica, or they know nothing of each other.
    election: Option<Election>,
    /// Whether operators wait until they see what they wrote themselves. Only a negative control says no.
    pub sees_own_writes: bool,
    /// Namespaces that operators watch; none means all.
    pub namespaces: Vec<Option<String>>,
    /// How far the clock of the next operator is ahead of the others.
    pub clock_ahead: SignedDuration,
    /// Whether the newest operator is ready.
    readiness: Readiness,
    /// Lives of the operator that a test ended.
    pub crashes: usize,
}

/// Runs a story from an empty cluster with an operator.
pub fn tell<R>(story: impl AsyncFnOnce(&mut Story) -> R) -> R {
    let _log = log();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut told = Story::new();
        told.start_operator();
        let result = story(&mut told).await;
        told.stop_operator();
        result
    })
}

/// With STORY_LOG set (to a filter like `debug`), the operator's log is printed.
fn log() -> Option<tracing::subscriber::DefaultGuard> {
    let filter = std::env::var("STORY_LOG").ok()?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .without_time()
        .finish();
    Some(tracing::subscriber::set_default(subscriber))
}

/// A master key of bytes like this.
pub fn master_key(byte: u8) -> MasterKey {
    MasterKey::new(&[byte; 32]).expect("a key")
}

impl Story {
    fn new() -> Self {
        let began = Instant::now();
        let epoch: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let clock = Clock::new(move || {
            epoch
                .checked_add(began.elapsed())
                .expect("a story of less than centuries")
        });
        let settings = Settings {
            image: "runtime:1".to_owned(),
            storage: Some(Self::default_storage()),
            ..Settings::default()
        };
        Self {
            world: World::new(clock.clone()),
            clock,
            settings,
            master_keys: vec![1],
            operator: None,
            another: None,
            election: None,
            sees_own_writes: true,
            namespaces: vec![None],
            readiness: Readiness::default(),
            clock_ahead: SignedDuration::ZERO,
            crashes: 0,
        }
    }

    /// The storage of jobs that name none.
    pub fn default_storage() -> S3 {
        S3 {
            uri: "s3://streams/prod".to_owned(),
            region: None,
            endpoint: None,
        }
    }

    /// The world, to look at or to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic while locked")
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    // The operator.

    /// Starts an operator with nothing but its settings.
    pub fn start_operator(&mut self) {
        let operator = self.operator("streamkeeper-0");
        self.operator = Some(operator);
    }

    /// Starts a second one beside it, as happens when a node with the first one comes back.
    pub fn start_another_operator(&mut self) {
        let operator = self.operator("streamkeeper-1");
        self.another = Some(operator);
    }

    /// Starts all over with replicas that compete for a Lease: one now, and another with [`Self::start_another_operator`].
    pub fn elect(&mut self, election: Election) {
        self.stop_operator();
        self.election = Some(election);
        self.start_operator();
    }

    /// Whoever holds the Lease, as it says.
    pub fn leader(&self) -> Option<String> {
        let world = self.world();
        let lease = world.store.get(&LEASES, SYSTEM, "streamkeeper")?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        Some(holder.split('_').next().unwrap_or_default().to_owned())
    }

    /// Cuts the network between everything and the first operator, or mends it.
    pub fn connect_operator(&mut self, connected: bool) {
        if let Some(operator) = &self.operator {
            operator.life.connect(connected);
        }
    }

    /// Ends the first operator as the kubelet does: with SIGTERM.
    pub async fn terminate_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop.cancel();
            operator.task.await.expect("it ends by itself");
        }
    }

    fn operator(&mut self, identity: &str) -> Operator {
        let (life, stop) = (Life::new(identity), CancellationToken::new());
        let server = ApiServer {
            world: self.world.clone(),
            life: life.clone(),
        };
        let leadership = if self.election.is_some() {
            Leadership::standing_by()
        } else {
            Leadership::without_lease()
        };
        let client = if self.election.is_none_or(|election| election.bound) {
            Client::new(leadership.layer(server.clone()), NAMESPACE)
        } else {
            Client::new(server.clone(), NAMESPACE)
        };
        let port = Arc::new(JobPort {
            world: self.world.clone(),
            life: life.clone(),
        });
        let ports = Ports {
            jobs: port.clone(),
            heads: port.clone(),
            folders: port,
        };
        let events = Events::new(client.clone(), identity.to_owned());
        let keys = self.master_keys.iter().map(|byte| master_key(*byte));
        let keyring = Keyring::new(keys.collect(), Arc::new(DefaultTimeProvider));
        let settings = Settings {
            master_key: keyring.current(),
            ..self.settings.clone()
        };
        let (keyring, clock) = (Arc::new(keyring), self.clock.clone());
        let pod_settings = PodSettings {
            log_level: "info".to_owned(),
            node_toleration_seconds: 320,
            ..PodSettings::default()
        };
        let (epoch, ahead) = (self.clock.clone(), self.clock_ahead);
        let candidate = self.election.map(|election| {
            let own_clock = Clock::new(move || epoch.now() + ahead);
            let lease = LeaseClient::new(
                Client::new(server, NAMESPACE),
                SYSTEM,
                "streamkeeper",
                identity,
                own_clock,
            );
            let terms = Terms::of(election.lease);
            Candidate::new(lease, terms, leadership.clone(), Metrics::default())
        });
        let context = {
            let client = client.clone();
            let sees_own_writes = self.sees_own_writes;
            move |caches| {
                let context = Context::new(
                    client,
                    ports,
                    events,
                    Metrics::default(),
                    settings,
                    pod_settings,
                    caches,
                )
                .with_clock(clock)
                .with_leadership(leadership)
                .with_keys(keyring);
                if sees_own_writes {
                    context
                } else {
                    context.without_seeing_own_writes()
                }
            }
        };
        self.readiness = Readiness::default();
        let (readiness, namespaces) = (self.readiness.clone(), self.namespaces.clone());
        let stopped = stop.clone();
        let running = async move { run(client, &namespaces, readiness, stopped, context).await };
        let ended = CancellationToken::new();
        let work = {
            let ended = ended.clone();
            async move {
                running.await;
                ended.cancel();
            }
        };
        let candidacy = async move {
            if let Some(candidate) = candidate {
                candidate.run(ended.cancelled()).await;
            }
        };
        Operator {
            task: tokio::spawn(async move {
                tokio::join!(work, candidacy);
            }),
            life,
            stop,
        }
    }

    /// Ends the operator as a crash does.
    pub fn stop_operator(&mut self) {
        for operator in [self.operator.take(), self.another.take()]
            .into_iter()
            .flatten()
        {
            operator.stop.cancel();
            operator.task.abort();
        }
    }

    /// Ends the first of two operators as a crash does.
    pub fn crash_first_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop.cancel();
            operator.task.abort();
        }
    }

    /// Starts another operator, with other settings.
    pub fn restart_operator(&mut self, change: impl FnOnce(&mut Settings)) {
        self.stop_operator();
        change(&mut self.settings);
        self.start_operator();
    }

    fn revive(&mut self) {
        if self
            .operator
            .as_ref()
            .is_some_and(|operator| operator.life.has_ended())
        {
            self.stop_operator();
            self.crashes += 1;
            self.start_operator();
        }
        if let Some(operator) = &self.operator {
            assert!(
                !operator.task.is_finished(),
                "the controller ended by itself\n{}",
                self.describe()
            );
        }
    }

    /// Whether the newest operator says that it is ready.
    pub fn is_operator_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    // Time.

    /// Lets the world go on until something is so.
    pub async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.revive();
            self.world().step();
            // Whoever was told of something gets his turn before anybody looks.
            tokio::time::sleep(STEP).await;
            if is_so(self) {
                return;
            }
            assert!(
                Instant::now() < end,
                "waited {} min for: {what}\n{}",
                PATIENCE.as_secs() / 60,
                self.describe()
            );
        }
    }

    /// Lets the world go on for a while, during which something stays so.
    pub async fn stays(
        &mut self,
        what: &str,
        long: Duration,
        mut is_so: impl FnMut(&Self) -> bool,
    ) {
        let end = Instant::now() + long;
        while Instant::now() < end {
            self.revive();
            self.world().step();
            tokio::time::sleep(STEP).await;
            assert!(is_so(self), "did not stay so: {what}\n{}", self.describe());
        }
    }

    /// Lets the world go on for a while.
    pub async fn pass(&mut self, long: Duration) {
        self.stays("time passes", long, |_| true).await;
    }

    // What users do.

    /// Creates a job with this spec.
    pub fn create(&mut self, name: &str, spec: Value) {
        self.create_in(NAMESPACE, name, spec);
    }

    /// Creates a job with this spec in a namespace.
    pub fn create_in(&mut self, namespace: &str, name: &str, spec: Value) {
        let job: StreamJob = serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob", "metadata": { "name": name, "namespace": namespace }, "spec": spec,
        }))
        .expect("a StreamJob");
        let now = self.now();
        let object = serde_json::to_value(job).expect("JSON");
        self.world()
            .store
            .create(&STREAM_JOBS, namespace, object, now)
            .expect("a valid StreamJob");
    }

    /// Creates a snapshot with this spec.
    pub fn snapshot(&mut self, name: &str, spec: Value) {
        let now = self.now();
        let object = json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot", "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec,
        });
        let snapshot: StreamSnapshot = serde_json::from_value(object).expect("a StreamSnapshot");
        let object = serde_json::to_value(snapshot).expect("JSON");
        self.world()
            .store
            .create(&STREAM_SNAPSHOTS, NAMESPACE, object, now)
            .expect("a valid StreamSnapshot");
    }

    /// Sets an annotation of a snapshot.
    pub fn annotate_snapshot(&mut self, name: &str, key: &str, value: &str) {
        let now = self.now();
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        self.world()
            .store
            .merge(&STREAM_SNAPSHOTS, NAMESPACE, name, &patch, now)
            .expect("a StreamSnapshot");
    }

    /// Sets an annotation of a job.
    pub fn annotate(&mut self, name: &str, key: &str, value: &str) {
        self.patch(
            name,
            &json!({ "metadata": { "annotations": { key: value } } }),
        );
    }

    /// Deletes a snapshot.
    pub fn delete_snapshot(&mut self, name: &str) {
        self.remove(&STREAM_SNAPSHOTS, name);
    }

    /// All snapshots, by name.
    pub fn snapshots(&self) -> BTreeMap<String, StreamSnapshot> {
        let all = self.world().store.all(&STREAM_SNAPSHOTS);
        all.iter()
            .map(|object| {
                let name = text(object, "/metadata/name").to_owned();
                let snapshot =
                    StreamSnapshot::deserialize(object.as_ref()).expect("a StreamSnapshot");
                (name, snapshot)
            })
            .collect()
    }

    /// How far a snapshot is.
    pub fn snapshot_phase(&self, name: &str) -> Option<SnapshotPhase> {
        self.snapshots().get(name)?.status.as_ref()?.phase
    }

    /// Folder of a snapshot.
    pub fn snapshot_uri(&self, name: &str) -> String {
        let all = self.snapshots();
        let status = all.get(name).and_then(|snapshot| snapshot.status.clone());
        status.and_then(|status| status.uri).unwrap_or_default()
    }

    /// Why a snapshot is ready or not.
    pub fn snapshot_message(&self, name: &str) -> String {
        let all = self.snapshots();
        let status = all.get(name).and_then(|snapshot| snapshot.status.clone());
        let conditions = status.unwrap_or_default().conditions;
        condition::get(&conditions, condition::kind::READY)
            .map(|ready| ready.message.clone())
            .unwrap_or_default()
    }

    /// Waits until a snapshot is complete.
    pub async fn saved(&mut self, name: &str) {
        self.until(&format!("snapshot {name} is complete"), |story| {
            story.snapshot_phase(name) == Some(SnapshotPhase::Completed)
        })
        .await;
    }

    /// Merges a change into the spec of a job.
    pub fn edit(&mut self, name: &str, spec: Value) {
        self.patch(name, &json!({ "spec": spec }));
    }

    /// Somebody changes a job again and again, until the task is aborted.
    pub fn storm(&self, name: &str, every: Duration) -> JoinHandle<()> {
        let (world, clock, name) = (self.world.clone(), self.clock.clone(), name.to_owned());
        tokio::spawn(async move {
            for n in 0_u64.. {
                let image = format!("runtime:{}", n % 2 + 1);
                let patch = json!({ "spec": { "image": image } });
                world
                    .lock()
                    .expect("no panic while locked")
                    .store
                    .merge(&STREAM_JOBS, NAMESPACE, &name, &patch, clock.now())
                    .expect("a valid change");
                tokio::time::sleep(every).await;
            }
        })
    }

    /// Asks for a restart, as `kubectl rollout restart` would.
    pub fn ask_for_restart(&mut self, name: &str) {
        let at = self.now().to_string();
        self.patch(
            name,
            &json!({ "metadata": { "annotations": { RESTARTED_AT: at } } }),
        );
    }

    fn patch(&mut self, name: &str, patch: &Value) {
        let now = self.now();
        self.world()
            .store
            .merge(&STREAM_JOBS, NAMESPACE, name, patch, now)
            .expect("a valid change");
    }

    /// Deletes a job.
    pub fn delete(&mut self, name: &str) {
        let now = self.now();
        self.world()
            .store
            .delete(&STREAM_JOBS, NAMESPACE, name, &Deletion::default(), now)
            .expect("a job");
    }

    /// Creates or replaces a ConfigMap.
    pub fn config_map(&mut self, name: &str, key: &str, value: &str) {
        let now = self.now();
        let data = json!({ key: value });
        let mut world = self.world();
        if world.store.get(&CONFIG_MAPS, NAMESPACE, name).is_some() {
            world
                .store
                .merge(&CONFIG_MAPS, NAMESPACE, name, &json!({ "data": data }), now)
                .expect("a ConfigMap");
        } else {
            world
                .store
                .create(
                    &CONFIG_MAPS,
                    NAMESPACE,
                    json!({ "metadata": { "name": name }, "data": data }),
                    now,
                )
                .expect("a ConfigMap");
        }
    }

    // What the world does.

    /// What happens in pods with this image, or whose SQL contains this text.
    pub fn script(&mut self, image_or_sql: &str, script: Script) {
        self.world().jobs.script(image_or_sql, script);
    }

    /// Whether the storage answers.
    pub fn storage(&mut self, store: HeadStore) {
        self.world().jobs.storage = store;
    }

    /// Nobody answers calls of the API, and watches end; or everything is well again.
    pub fn api_server_is_down(&mut self, down: bool) {
        let mut world = self.world();
        world.outage = down;
        if down {
            world.store.end_watches();
        }
    }

    /// Meddles with what the operator asks for.
    pub fn interfere(&mut self, interference: Interference) {
        self.world().interferences.push(interference);
    }

    /// A node cannot be reached any more; what runs there runs on.
    pub fn lose_node(&mut self, node: &str) {
        let now = self.now();
        let mut world = self.world();
        world.cluster.lost.insert(node.to_owned());
        cluster::mark(&mut world.store, node, "Unknown", now);
    }

    /// A pod is to be evicted, as `kubectl drain` does it; its process has not noticed yet.
    pub fn mark_for_eviction(&mut self, pod: &str) {
        let now = self.now();
        let mut marked = self.pod(pod);
        marked["status"]["conditions"]
            .as_array_mut()
            .expect("a pod with conditions")
            .push(json!({
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting", "lastTransitionTime": now.to_string(),
            }));
        self.world().store.put(&PODS, NAMESPACE, pod, Some(marked));
    }

    /// Somebody deletes a pod.
    pub fn remove_pod(&mut self, name: &str) {
        self.remove(&PODS, name);
    }

    /// The container of a pod ends.
    pub fn kill(&mut self, pod: &str, exit: Exit) {
        let uid = text(&self.pod(pod), "/metadata/uid").to_owned();
        self.world().jobs.kill(&uid, exit);
    }

    /// Somebody deletes an object of a revision.
    pub fn remove_service(&mut self, name: &str) {
        self.remove(&SERVICES, name);
    }

    /// Somebody deletes an object of a revision.
    pub fn remove_stateful_set(&mut self, name: &str) {
        self.remove(&STATEFUL_SETS, name);
    }

    /// Somebody scales a StatefulSet behind the operator's back.
    pub fn scale_by_hand(&mut self, name: &str, replicas: u32) {
        let now = self.now();
        let patch = json!({ "spec": { "replicas": replicas } });
        self.world()
            .store
            .merge(&STATEFUL_SETS, NAMESPACE, name, &patch, now)
            .expect("a StatefulSet");
    }

    fn remove(&mut self, kind: &'static Kind, name: &str) {
        let now = self.now();
        self.world()
            .store
            .delete(kind, NAMESPACE, name, &Deletion::default(), now)
            .expect("an object to delete");
    }

    // What one sees.

    /// Whether there is a Service of that name.
    pub fn has_service(&self, name: &str) -> bool {
        self.world().store.get(&SERVICES, NAMESPACE, name).is_some()
    }

    /// The job, unless it is gone.
    pub fn find(&self, name: &str) -> Option<StreamJob> {
        let world = self.world();
        let object = world.store.get(&STREAM_JOBS, NAMESPACE, name)?;
        Some(StreamJob::deserialize(object).expect("a StreamJob"))
    }

    pub fn job(&self, name: &str) -> StreamJob {
        self.find(name).unwrap_or_else(|| panic!("no job {name}"))
    }

    pub fn status(&self, name: &str) -> StreamJobStatus {
        self.find(name)
            .and_then(|job| job.status)
            .unwrap_or_default()
    }

    /// Status and reason of a condition; empty when it is absent.
    pub fn condition(&self, name: &str, kind: &str) -> (String, String) {
        let status = self.status(name);
        condition::get(&status.conditions, kind)
            .map(|found| (found.status.clone(), found.reason.clone()))
            .unwrap_or_default()
    }

    /// Message of a condition.
    pub fn message(&self, name: &str, kind: &str) -> String {
        let status = self.status(name);
        condition::get(&status.conditions, kind)
            .map(|found| found.message.clone())
            .unwrap_or_default()
    }

    /// HEAD of a job.
    pub fn head(&self, name: &str) -> Option<Head> {
        self.world()
            .jobs
            .heads
            .get(&(NAMESPACE.to_owned(), name.to_owned()))
            .cloned()
    }

    /// Revision that runs a job, as HEAD says.
    pub fn runner(&self, name: &str) -> Option<u64> {
        self.head(name)
            .filter(|head| head.state == RunState::Running)
            .map(|head| head.revision)
    }

    pub fn secrets(&self) -> Vec<Value> {
        let secrets = self.world().store.all(&SECRETS);
        secrets.iter().map(|secret| Value::clone(secret)).collect()
    }

    pub fn pod(&self, name: &str) -> Value {
        self.world()
            .store
            .get(&PODS, NAMESPACE, name)
            .cloned()
            .unwrap_or_else(|| panic!("no pod {name}\n{}", self.describe_objects()))
    }

    /// Names of all pods.
    pub fn pods(&self) -> Vec<String> {
        self.world()
            .store
            .all(&PODS)
            .iter()
            .map(|pod| text(pod, "/metadata/name").to_owned())
            .collect()
    }

    /// Revisions that have a StatefulSet, with its replicas.
    pub fn running_sets(&self) -> BTreeMap<u64, u64> {
        let sets = self.world().store.all(&STATEFUL_SETS);
        let entry = |set: &Arc<Value>| {
            Some((
                set["metadata"]["labels"][REVISION_LABEL]
                    .as_str()?
                    .parse()
                    .ok()?,
                set["spec"]["replicas"].as_u64()?,
            ))
        };
        sets.iter().filter_map(entry).collect()
    }

    /// Revisions whose content is kept.
    pub fn revisions(&self) -> BTreeSet<u64> {
        let kept = self.world().store.all(&CONTROLLER_REVISIONS);
        kept.iter()
            .filter_map(|object| {
                object["metadata"]["labels"][REVISION_LABEL]
                    .as_str()?
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// Uids of the pods of a revision, in order: as long as these stay, no pod was touched.
    pub fn pod_uids(&self, job: &str, revision: u64, workers: u32) -> Vec<String> {
        (0..workers)
            .map(|ordinal| {
                text(
                    &self.pod(&pod_name(job, revision, ordinal)),
                    "/metadata/uid",
                )
                .to_owned()
            })
            .collect()
    }

    /// What operators did to jobs so far, with time and author: all effects but the Lease.
    pub fn work(&self) -> Vec<(Timestamp, String, String)> {
        let world = self.world();
        let work = world
            .log
            .iter()
            .filter(|(_, _, effect)| !effect.contains("coordination.k8s.io/leases"));
        work.cloned().collect()
    }

    /// Reasons of all events, oldest first.
    pub fn events(&self) -> Vec<String> {
        self.noted().into_iter().map(|(reason, _)| reason).collect()
    }

    /// Reasons and notes of all events.
    pub fn noted(&self) -> Vec<(String, String)> {
        let mut events = self.world().store.all(&EVENTS);
        events.sort_by_key(|event| {
            text(event, "/metadata/resourceVersion")
                .parse::<u64>()
                .unwrap_or(0)
        });
        events
            .iter()
            .map(|event| {
                (
                    text(event, "/reason").to_owned(),
                    text(event, "/note").to_owned(),
                )
            })
            .collect()
    }

    /// What the operator did so far that changes something.
    pub fn effects(&self) -> Vec<String> {
        self.world().effects.clone()
    }

    /// Runs `streamkeeper self-test` while the world goes on.
    pub async fn run_self_test(&mut self) -> Result<(), SelfTestError> {
        let server = ApiServer {
            world: self.world.clone(),
            life: Life::new(SELF_TEST),
        };
        let test = SelfTest {
            namespace: NAMESPACE.to_owned(),
            name: "self-test".to_owned(),
            patience: Duration::from_mins(2),
        };
        let client = Client::new(server, NAMESPACE);
        let told = tokio::spawn(async move { test.run(client, |_| {}).await });
        self.until("the self-test ends", |_| told.is_finished())
            .await;
        told.await.expect("no panic")
    }

    /// What the self-test needs to be allowed.
    pub fn uses_of_self_test(&self) -> BTreeSet<Use> {
        self.world().uses_of_self_test.clone()
    }

    /// What the operator needs to be allowed.
    pub fn uses(&self) -> BTreeSet<Use> {
        self.world().uses.clone()
    }

    // What stories wait for.

    /// Waits until the job is what its spec says.
    pub async fn ready(&mut self, name: &str) {
        self.until(&format!("{name} is Ready"), |story| story.is_ready(name))
            .await;
    }

    /// Whether the job is what its spec says, and the operator has nothing left to do.
    pub fn is_ready(&self, name: &str) -> bool {
        let Some(job) = self.find(name) else {
            return false;
        };
        let status = job.status.unwrap_or_default();
        let is = |kind| condition::is_true(&status.conditions, kind);
        status.observed_generation == job.metadata.generation
            && status.transition.is_none()
            && is(condition::kind::READY)
            && !is(condition::kind::RECONCILING)
            && !is(condition::kind::STALLED)
    }

    /// Waits until the job is suspended.
    pub async fn suspended(&mut self, name: &str) {
        self.until(&format!("{name} is suspended"), |story| {
            story.condition(name, condition::kind::SUSPENDED).0 == "True"
        })
        .await;
    }

    /// Waits until the job is Stalled for a reason; answers the message.
    pub async fn stalled(&mut self, name: &str, reason: &str) -> String {
        let wanted = ("True".to_owned(), reason.to_owned());
        self.until(&format!("{name} is Stalled: {reason}"), |story| {
            story.condition(name, condition::kind::STALLED) == wanted
        })
        .await;
        self.message(name, condition::kind::STALLED)
    }

    /// Waits until the job took a checkpoint of its own since now.
    pub async fn next_checkpoint(&mut self, name: &str) {
        let newest = |story: &Self| {
            story
                .head(name)
                .and_then(|head| head.last)
                .map(|last| last.checkpoint)
        };
        let before = newest(self);
        self.until("another checkpoint", |story| newest(story) > before)
            .await;
    }

    /// Waits until an effect was asked for whose name begins like this; answers its name.
    pub async fn effect(&mut self, prefix: &str) -> String {
        let find = |story: &Self| {
            story
                .world()
                .effects
                .iter()
                .find(|effect| effect.starts_with(prefix))
                .cloned()
        };
        self.until(&format!("the operator asks for: {prefix}"), |story| {
            find(story).is_some()
        })
        .await;
        find(self).unwrap_or_default()
    }

    // When something goes wrong.

    /// Everything that helps to see why a story failed.
    pub fn describe(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "--- at {} ({} crashes of the operator)",
            self.now(),
            self.crashes
        );
        let _ = write!(out, "{}", self.describe_objects());
        let _ = writeln!(out, "--- events");
        for (reason, note) in self.noted() {
            let _ = writeln!(out, "{reason}: {note}");
        }
        let _ = writeln!(out, "--- last effects");
        let effects = self.effects();
        for effect in effects.iter().skip(effects.len().saturating_sub(40)) {
            let _ = writeln!(out, "{effect}");
        }
        out
    }

    fn describe_objects(&self) -> String {
        let mut out = String::new();
        let world = self.world();
        for job in world.store.all(&STREAM_JOBS) {
            let shown = json!({ "name": job["metadata"]["name"], "generation": job["metadata"]["generation"], "deletionTimestamp": job["metadata"]["deletionTimestamp"], "status": job["status"] });
            let _ = writeln!(out, "--- StreamJob\n{shown:#}");
        }
        for snapshot in world.store.all(&STREAM_SNAPSHOTS) {
            let shown = json!({ "name": snapshot["metadata"]["name"], "labels": snapshot["metadata"]["labels"], "deletionTimestamp": snapshot["metadata"]["deletionTimestamp"], "status": snapshot["status"] });
            let _ = writeln!(out, "--- StreamSnapshot\n{shown:#}");
        }
        for set in world.store.all(&STATEFUL_SETS) {
            let _ = writeln!(
                out,
                "--- StatefulSet {} replicas {}",
                text(&set, "/metadata/name"),
                set["spec"]["replicas"]
            );
        }
        for pod in world.store.all(&PODS) {
            let container = &pod["status"]["containerStatuses"][0];
            let _ = writeln!(
                out,
                "--- Pod {} on {} deleting {} ready {} restarts {} {}",
                text(&pod, "/metadata/name"),
                text(&pod, "/spec/nodeName"),
                pod["metadata"]["deletionTimestamp"],
                container["ready"],
                container["restartCount"],
                container["state"]
            );
        }
        for (name, head) in &world.jobs.heads {
            let _ = writeln!(
                out,
                "--- HEAD {name:?} revision {} attempt {} {:?} workers {} last {:?}",
                head.revision,
                head.attempt,
                head.state,
                head.workers,
                head.last.as_ref().map(|last| last.checkpoint)
            );
        }
        for (uid, process) in world.jobs.describe() {
            let _ = writeln!(out, "--- process in pod {uid}: {process}");
        }
        out
    }
}

/// A future of a story, for lists of stories.
pub type Telling<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;
