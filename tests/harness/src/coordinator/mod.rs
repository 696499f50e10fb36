//! What runs in pod 0 of a revision: a coordinator that obeys the rules of HEAD, told by a
//! [`Script`] how to misbehave.
//!
//! * [`process`]: one process: standing by, leading, over.
//! * [`leading`]: what the owner of HEAD does.
//! * [`port`]: the two traits through which the operator sees all this.
//!
//! Whether a claim, a checkpoint or a hand-over is allowed is decided by
//! `streamkeeper_protocol::head`, as in the real one.

mod leading;
mod port;
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use streamkeeper_api::names::{JOB_LABEL, REVISION_LABEL, SQL_KEY, revision_name};
use streamkeeper_protocol::head::Head;

pub use self::port::{JobPort, Store as HeadStore};
use self::process::{Process, Speaks, Surroundings};
use super::{
    api_server::kinds::{CONFIG_MAPS, PODS, STATEFUL_SETS},
    cluster::{ordinal, text},
    kubelet::Exit,
    script::Script,
    world::World,
};

/// A savepoint, as its folder holds it.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    pub checkpoint: u64,
    pub completed_ms: i64,
    pub revision: u64,
    /// Job that it was taken of.
    pub job_uid: String,
    /// A byte of it was changed.
    pub damaged: bool,
}

/// Names a job: namespace and name.
pub type JobName = (String, String);

/// HEAD records, processes, and what they are told.
#[derive(Debug)]
pub struct Coordinators {
    /// HEAD records, as they lie in storage.
    pub heads: BTreeMap<JobName, Head>,
    /// Folders of savepoints, by URI.
    pub folders: BTreeMap<String, Folder>,
    /// Whether the storage responds.
    pub storage: HeadStore,
    /// Namespaces whose jobs have a storage that takes connections and never responds.
    pub deaf: BTreeSet<String>,
    /// From one checkpoint to the next.
    pub interval: Duration,
    scripts: Vec<(String, Script)>,
    /// By the uid of their pod.
    processes: BTreeMap<String, Process>,
    exits: BTreeMap<String, Exit>,
    dice: u64,
}

impl Default for Coordinators {
    fn default() -> Self {
        Self {
            heads: BTreeMap::new(),
            folders: BTreeMap::new(),
            storage: HeadStore::default(),
            deaf: BTreeSet::new(),
            interval: Duration::from_secs(10),
            scripts: Vec::new(),
            processes: BTreeMap::new(),
            exits: BTreeMap::new(),
            dice: 0,
        }
    }
}

impl Coordinators {
    /// What happens in pods with this image, or whose SQL contains this text. The newest rule that
    /// fits counts.
    pub fn script(&mut self, image_or_sql: &str, script: Script) {
        self.scripts.insert(0, (image_or_sql.to_owned(), script));
    }

    /// The script for a pod.
    pub fn script_of(&self, image: &str, sql: &str) -> Script {
        let fits = |key: &str| image == key || (!sql.is_empty() && sql.contains(key));
        self.scripts
            .iter()
            .find(|(key, _)| fits(key))
            .map(|(_, script)| script.clone())
            .unwrap_or_default()
    }

    /// The process of this pod ends like this, whatever it was doing.
    pub fn kill(&mut self, pod_uid: &str, exit: Exit) {
        self.processes.remove(pod_uid);
        self.exits.insert(pod_uid.to_owned(), exit);
    }

    /// How the process of a pod ended, if it did since the last question.
    pub fn take_exit(&mut self, pod_uid: &str) -> Option<Exit> {
        self.exits.remove(pod_uid)
    }

    /// The pod is stopped: a last checkpoint, as far as the job runs.
    pub fn terminate(&mut self, pod_uid: &str, now: Timestamp) {
        if let Some(mut process) = self.processes.remove(pod_uid) {
            let mut dice = self.dice;
            process.terminate(&mut self.heads, &mut dice, now);
            self.dice = dice;
        }
    }

    /// The Job API of a job is not answered any more.
    pub fn silence(&mut self, job: &str) {
        for process in self
            .processes
            .values_mut()
            .filter(|process| process.job.1 == job)
        {
            process.script.deaf = true;
        }
    }

    /// The processes of a job behave like this from now on.
    pub fn rewrite(&mut self, job: &str, script: &Script) {
        for process in self
            .processes
            .values_mut()
            .filter(|process| process.job.1 == job)
        {
            process.script = script.clone();
        }
    }

    /// Makes HEADs equal that differ in nothing but how often their jobs started.
    pub fn forget_attempts(&mut self) {
        for head in self.heads.values_mut() {
            head.attempt = 0;
        }
    }

    /// What every process does, for people.
    pub fn describe(&self) -> Vec<(String, String)> {
        let line = |process: &Process| {
            format!(
                "{} {:?} {:?} {:?}",
                process.address,
                process.report(),
                process.operations.keys(),
                process.asked
            )
        };
        self.processes
            .iter()
            .map(|(uid, process)| (uid.clone(), line(process)))
            .collect()
    }

    fn at(&mut self, address: &str) -> Option<&mut Process> {
        self.processes
            .values_mut()
            .find(|process| process.address == address && process.reachable)
    }
}

/// One step of every process.
pub fn run(world: &mut World) {
    let now = world.now();
    let pods = world.store.all(&PODS);
    for pod in pods
        .iter()
        .filter(|pod| ordinal(text(pod, "/metadata/name")) == 0)
    {
        start(world, pod);
    }
    // What lost its container is gone; what lost its pod object but not its container, on a lost
    // node, runs on.
    let kubelets = &world.kubelets;
    world.jobs.processes.retain(|uid, process| {
        kubelets
            .running(uid)
            .is_some_and(|container| container.restarts == process.restarts)
    });

    let uids: Vec<String> = world.jobs.processes.keys().cloned().collect();
    for uid in uids {
        let Some(mut process) = world.jobs.processes.remove(&uid) else {
            continue;
        };
        let lost = world.cluster.lost.contains(&process.node);
        process.reachable = !lost;
        let crew = crew(world, &pods, &process, lost);
        let jobs = &mut world.jobs;
        let mut surroundings = Surroundings {
            now,
            crew: &crew,
            storage: &jobs.storage,
            interval: jobs.interval,
            heads: &mut jobs.heads,
            folders: &mut jobs.folders,
            dice: &mut jobs.dice,
        };
        match process.step(&mut surroundings) {
            None => {
                jobs.processes.insert(uid, process);
            }
            Some(exit) => {
                jobs.exits.insert(uid, exit);
            }
        }
    }
}

fn start(world: &mut World, pod: &Value) {
    let uid = text(pod, "/metadata/uid");
    let Some(container) = world
        .kubelets
        .running(uid)
        .filter(|_| !world.jobs.processes.contains_key(uid))
    else {
        return;
    };
    if world.jobs.exits.contains_key(uid) {
        return;
    }
    let namespace = text(pod, "/metadata/namespace");
    let labels = &pod["metadata"]["labels"];
    let (Some(job), Some(Ok(revision))) = (
        labels[JOB_LABEL].as_str(),
        labels[REVISION_LABEL].as_str().map(str::parse),
    ) else {
        panic!(
            "pod {} does not say which job and revision it belongs to: {labels}",
            pod["metadata"]["name"]
        );
    };
    let name = revision_name(job, revision);
    let Some(set) = world.store.get(&STATEFUL_SETS, namespace, &name) else {
        return;
    };
    let sql = world
        .store
        .get(&CONFIG_MAPS, namespace, &name)
        .map(|map| text(map, &format!("/data/{SQL_KEY}")).to_owned())
        .unwrap_or_default();
    let process = Process {
        job: (namespace.to_owned(), job.to_owned()),
        job_uid: text(set, "/metadata/ownerReferences/0/uid").to_owned(),
        revision,
        workers: flag(pod, "workers"),
        slots: flag(pod, "slots"),
        storage: flag(pod, "storage-uri"),
        first_only: pod["spec"]["containers"][0]["args"]
            .as_array()
            .is_some_and(|flags| flags.iter().any(|flag| flag == "--standby=First")),
        max_parallelism: flag(pod, "max-parallelism"),
        address: format!(
            "{}:{}",
            text(pod, "/status/podIP"),
            streamkeeper_protocol::job_api::JOB_API_PORT
        ),
        speaks: Speaks::of(pod),
        node: text(pod, "/spec/nodeName").to_owned(),
        restarts: container.restarts,
        script: world
            .jobs
            .script_of(text(pod, "/spec/containers/0/image"), &sql),
        plan_hash: format!("plan-of-{}-bytes", sql.len()),
        ..Process::new(world.now())
    };
    world.jobs.processes.insert(uid.to_owned(), process);
}

/// Value of a flag of a pod's container, which the real process demands too.
fn flag<T: std::str::FromStr>(pod: &Value, name: &str) -> T {
    let flags = pod["spec"]["containers"][0]["args"].as_array();
    let start = format!("--{name}=");
    flags
        .into_iter()
        .flatten()
        .find_map(|flag| flag.as_str()?.strip_prefix(&start)?.parse().ok())
        .unwrap_or_else(|| {
            panic!(
                "pod {} was started without --{name}",
                pod["metadata"]["name"]
            )
        })
}

/// The workers that a process can talk to: ordinal, and which life of which pod it is.
fn crew(
    world: &World,
    pods: &[Arc<Value>],
    process: &Process,
    lost: bool,
) -> BTreeMap<u32, (String, i32)> {
    let (namespace, job) = &process.job;
    let revision = process.revision.to_string();
    let of_revision = |pod: &&Arc<Value>| {
        let labels = &pod["metadata"]["labels"];
        pod["metadata"]["namespace"] == **namespace
            && labels[JOB_LABEL] == **job
            && labels[REVISION_LABEL] == *revision
    };
    let together = |pod: &&Arc<Value>| {
        let node = text(pod, "/spec/nodeName");
        if lost {
            node == process.node
        } else {
            !world.cluster.lost.contains(node)
        }
    };
    let life = |pod: &Arc<Value>| {
        let uid = text(pod, "/metadata/uid");
        let restarts = world.kubelets.running(uid)?.restarts;
        Some((
            u32::try_from(ordinal(text(pod, "/metadata/name"))).ok()?,
            (uid.to_owned(), restarts),
        ))
    };
    pods.iter()
        .filter(of_revision)
        .filter(together)
        .filter_map(life)
        .collect()
}
