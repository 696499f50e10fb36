//! Where one plan is played: a namespace, nodes and an operator of its own, in a control plane that
//! many share.

mod actions;

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api, Client,
    api::{
        DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
        PropagationPolicy,
    },
};
use serde_json::{Value, json};
use streamkeeper_controller::clock::Clock;
use streamkeeper_harness::{
    api_server::{
        Kind,
        kinds::{CONFIG_MAPS, SERVICES, STATEFUL_SETS, STREAM_JOBS, STREAM_SNAPSHOTS},
    },
    cluster::NODE_NAMES,
    world::World,
};
use streamkeeper_protocol::head::Head;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    bucket::{Tenant, Tenants, serve_bucket},
    cluster_sync::{ClusterSync, node_name, turn},
    control_plane::ControlPlane,
    crash_injector::CrashInjector,
    object_cache::{ObjectCache, PARTS, resource, value},
    operator::Lives,
    outcome::{Outcome, OutcomeParts},
    scenarios::Scenario,
    server::Server,
};

/// How long a plan waits for something. It never waits that long unless it fails.
const PATIENCE: Duration = Duration::from_mins(15);
/// Name of every job.
pub const JOB: &str = "delays";

/// Stages set so far: theatres share the control plane and the addresses.
static STAGES: AtomicUsize = AtomicUsize::new(0);

/// What all stages share.
pub struct CrashEnv {
    pub client: Client,
    object_cache: Arc<ObjectCache>,
    tenants: Tenants,
    bucket: Server,
    folder: TempDir,
    _control_plane: Arc<ControlPlane>,
}

impl CrashEnv {
    pub async fn open(control_plane: Arc<ControlPlane>) -> Arc<Self> {
        let client = control_plane.client();
        let tenants = Tenants::default();
        let folder = tempfile::Builder::new()
            .prefix("streamkeeper-crashes-")
            .tempdir()
            .expect("a folder");
        Arc::new(Self {
            object_cache: ObjectCache::of(&client).await,
            bucket: serve_bucket(tenants.clone()).await,
            client,
            tenants,
            folder,
            _control_plane: control_plane,
        })
    }
}

/// Where one plan is played.
pub struct Sandbox {
    env: Arc<CrashEnv>,
    pub namespace: String,
    pub injector: Arc<CrashInjector>,
    sync: Arc<Mutex<ClusterSync>>,
    world: Arc<Mutex<World>>,
    lives: Lives,
    /// They return only when something goes wrong, and say what.
    tasks: Vec<JoinHandle<String>>,
}

impl Sandbox {
    pub async fn set(env: Arc<CrashEnv>, scenario: &Scenario) -> Result<Self, String> {
        let number = STAGES.fetch_add(1, Ordering::AcqRel);
        let namespace = format!("stage-{number:04}");
        let client = env.client.clone();
        let world = World::new(Clock::default());
        {
            let mut world = world.lock().expect("no panic while locked");
            let number = u32::try_from(number).expect("few stages");
            world.kubelets.network =
                Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 0).to_bits() + number * 256);
            world.kubelets.wait = Duration::from_millis(500);
            world.jobs.interval = Duration::from_millis(500);
            for (image_or_sql, script) in &scenario.scripts {
                world.jobs.script(image_or_sql, script.clone());
            }
        }
        let sync = ClusterSync::new(&namespace, world.clone(), env.object_cache.clone());
        let folder = env.folder.path().join(&namespace);
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let sandbox = Self {
            lives: Lives {
                namespace: namespace.clone(),
                bucket: env.bucket.address,
                folder,
                acts_first: scenario.acts_first,
                life: Arc::default(),
            },
            env,
            namespace,
            injector: Arc::default(),
            sync: Arc::new(Mutex::new(sync)),
            world,
            tasks: Vec::new(),
        };
        sandbox
            .build(&client)
            .await
            .map_err(|error| error.to_string())?;
        Ok(sandbox)
    }

    async fn build(&self, client: &Client) -> Result<(), kube::Error> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        let nodes: Api<Node> = Api::all(client.clone());
        for name in NODE_NAMES {
            let node = Node {
                metadata: ObjectMeta {
                    name: Some(node_name(&self.namespace, name)),
                    ..ObjectMeta::default()
                },
                ..Node::default()
            };
            nodes.create(&PostParams::default(), &node).await?;
            self.mark(name, "True").await?;
        }
        let tenant = Tenant {
            world: self.world.clone(),
            injector: self.injector.clone(),
            life: self.lives.life.clone(),
            removed: Arc::default(),
        };
        let mut tenants = self.env.tenants.lock().expect("no panic while locked");
        tenants.insert(self.namespace.clone(), tenant);
        Ok(())
    }

    /// Everything begins to move.
    pub fn begin(&mut self) {
        let client = self.env.client.clone();
        let (sync, injector, life) = (
            self.sync.clone(),
            self.injector.clone(),
            self.lives.life.clone(),
        );
        self.tasks = vec![
            tokio::spawn(turn(client.clone(), sync, injector.clone(), life)),
            tokio::spawn(self.lives.clone().go_on(client, injector)),
        ];
    }

    fn api(&self, kind: &Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.env.client.clone(), &self.namespace, &resource(kind))
    }

    // What one sees.

    /// The job, as last told by the watch.
    pub fn job(&self) -> Option<Value> {
        let jobs = self.env.object_cache.list(&STREAM_JOBS, &self.namespace);
        jobs.first().map(|job| value(&STREAM_JOBS, job))
    }

    /// The snapshots, as last told by the watch.
    pub fn snapshots(&self) -> Vec<Value> {
        let kind = &STREAM_SNAPSHOTS;
        let all = self.env.object_cache.list(kind, &self.namespace);
        all.iter().map(|snapshot| value(kind, snapshot)).collect()
    }

    /// Whether an object exists where the kubelets and the coordinators live too: it counts as
    /// made.
    pub fn has_seen(&self, kind: &Kind, name: &str) -> bool {
        let world = self.world.lock().expect("no panic while locked");
        world.store.get(kind, &self.namespace, name).is_some()
    }

    pub fn head(&self) -> Option<Head> {
        let world = self.world.lock().expect("no panic while locked");
        world.jobs.heads.values().next().cloned()
    }

    /// Whether the operator has nothing left to do: it says so, or the job is gone with all that
    /// ran. Snapshots outlive it.
    pub fn is_settled(&self) -> bool {
        let rests = |snapshot: &Value| {
            let phase = &snapshot["status"]["phase"];
            ["Completed", "Failed"].iter().any(|rest| phase == rest)
        };
        if !self.snapshots().iter().all(rests) {
            return false;
        }
        let Some(job) = self.job() else {
            let mut parts = PARTS.iter().filter(|kind| **kind != &STREAM_SNAPSHOTS);
            return parts.all(|kind| {
                let left = self.env.object_cache.list(kind, &self.namespace);
                left.is_empty()
            });
        };
        let status = &job["status"];
        let reconciling = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Reconciling");
        status["observedGeneration"] == job["metadata"]["generation"]
            && status["transition"].is_null()
            && !reconciling
            && !status["conditions"].is_null()
    }

    /// Whether no more than one revision has objects: what is left of others goes after the
    /// operator has said that it is done.
    pub fn is_tidy(&self) -> bool {
        [&CONFIG_MAPS, &SERVICES, &STATEFUL_SETS]
            .iter()
            .all(|kind| self.env.object_cache.list(kind, &self.namespace).len() <= 1)
    }

    /// The end as watches show it.
    pub fn end(&self, attempts: bool) -> Outcome {
        let objects = PARTS.iter().flat_map(|&kind| {
            let objects = self.env.object_cache.list(kind, &self.namespace);
            objects
                .into_iter()
                .map(move |object| (kind, value(kind, &object)))
        });
        self.end_of(objects.collect(), attempts)
    }

    /// The end as the API server holds it now.
    pub async fn true_end(&self, attempts: bool) -> Result<Outcome, String> {
        let mut objects = Vec::new();
        for kind in PARTS {
            let listed = self.api(kind).list(&ListParams::default()).await;
            let listed = listed.map_err(|error| format!("listing {}: {error}", kind.plural))?;
            objects.extend(listed.items.into_iter().map(|mut object| {
                object.metadata.managed_fields = None;
                (kind, value(kind, &object))
            }));
        }
        Ok(self.end_of(objects, attempts))
    }

    fn end_of(&self, objects: Vec<(&'static Kind, Value)>, attempts: bool) -> Outcome {
        let lives = self.sync.lock().expect("no panic while locked").lives();
        let world = self.world.lock().expect("no panic while locked");
        let folders = world.jobs.folders.keys().cloned().collect();
        drop(world);
        Outcome::of(&OutcomeParts {
            namespace: &self.namespace,
            objects,
            head: self.head(),
            lives,
            folders,
            attempts,
        })
    }

    /// What must never happen and did.
    pub fn violations(&self) -> Vec<String> {
        let sync = self.sync.lock().expect("no panic while locked");
        sync.violations.clone()
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.check(what, deadline)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Fails when it is too late, or when a task has ended.
    pub fn check(&self, what: &str, deadline: Instant) -> Result<(), String> {
        if self.tasks.iter().any(JoinHandle::is_finished) {
            return Err(format!("something ended while waiting for: {what}"));
        }
        if Instant::now() > deadline {
            return Err(format!("waited {} s for: {what}", PATIENCE.as_secs()));
        }
        Ok(())
    }

    /// When a wait that begins now ends.
    pub fn deadline() -> Instant {
        Instant::now() + PATIENCE
    }

    /// Everything that helps to see why a plan failed.
    pub async fn describe(&mut self) -> String {
        let mut told = String::new();
        for task in self.tasks.drain(..) {
            if task.is_finished() {
                told += &format!("--- ended: {:?}\n", task.await);
            } else {
                task.abort();
            }
        }
        told += "--- what was changed\n";
        for effect in self.injector.all_effects() {
            told += &format!("{effect}\n");
        }
        let job = self.job().unwrap_or_default();
        told += &format!(
            "--- status\n{:#}\n--- HEAD\n{:?}\n",
            job["status"],
            self.head()
        );
        told + &self.lives.last_words()
    }

    /// Ends everything and removes what would be in the way of others.
    pub async fn strike(mut self) -> Result<(), String> {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.clear().await.map_err(|error| error.to_string())
    }

    async fn clear(&self) -> Result<(), kube::Error> {
        let name = self.namespace.clone();
        let tenants = self.env.tenants.lock();
        tenants.expect("no panic while locked").remove(&name);
        let free = json!({ "metadata": { "finalizers": null } });
        for kind in [&STREAM_JOBS, &STREAM_SNAPSHOTS] {
            for held in self.env.object_cache.list(kind, &name) {
                let held = held.metadata.name.as_deref().unwrap_or_default();
                let freed = self
                    .api(kind)
                    .patch(held, &PatchParams::default(), &Patch::Merge(&free))
                    .await;
                freed.map(|_| ()).or_else(unless_gone)?;
            }
        }
        // StatefulSets before their pods, else there are new ones: in the order of the list.
        for kind in PARTS {
            let now = DeleteParams {
                grace_period_seconds: (kind.kind == "Pod").then_some(0),
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            let all = ListParams::default();
            self.api(kind).delete_collection(&now, &all).await?;
        }
        let nodes: Api<Node> = Api::all(self.env.client.clone());
        for node in NODE_NAMES {
            nodes
                .delete(&node_name(&name, node), &DeleteParams::default())
                .await?;
        }
        let _ = std::fs::remove_dir_all(&self.lives.folder);
        Ok(())
    }
}

fn unless_gone(error: kube::Error) -> Result<(), kube::Error> {
    match error {
        kube::Error::Api(status) if status.code == 404 => Ok(()),
        error => Err(error),
    }
}
