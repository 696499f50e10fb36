//! What the scheduler and the kubelets do: pods get a node, an address, a running container, and an
//! end.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use streamkeeper_api::names::{CONTAINER, SQL_KEY};

use super::{
    api_server::{
        kinds::{CONFIG_MAPS, PODS, SECRETS},
        store::rfc3339,
    },
    cluster::{NODE_NAMES, text},
    world::World,
};

/// Longest wait of a crash loop.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub reason: String,
    pub message: String,
}

impl Exit {
    /// Ended by itself with an error.
    pub fn error(message: &str) -> Self {
        Self {
            code: 1,
            reason: "Error".to_owned(),
            message: message.to_owned(),
        }
    }

    /// Killed for using too much memory.
    pub fn out_of_memory() -> Self {
        Self {
            code: 137,
            reason: "OOMKilled".to_owned(),
            message: String::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Created,
    NoImage,
    Running,
    Waiting { until: Timestamp },
}

/// The container of a pod.
#[derive(Debug, Clone)]
pub struct Container {
    state: State,
    pub restarts: i32,
    last: Option<(Exit, Timestamp)>,
    ip: String,
    /// What the status of its pod shows.
    shown: Option<(State, i32)>,
}

/// All containers, by the uid of their pod.
#[derive(Debug)]
pub struct Kubelets {
    containers: BTreeMap<String, Container>,
    /// Pods get the addresses after this one.
    pub network: Ipv4Addr,
    /// Wait before the second restart of a container; it doubles from there.
    pub wait: Duration,
    addresses: u32,
    placed: usize,
}

impl Default for Kubelets {
    fn default() -> Self {
        Self {
            containers: BTreeMap::new(),
            network: Ipv4Addr::new(10, 0, 0, 0),
            wait: Duration::from_secs(10),
            addresses: 0,
            placed: 0,
        }
    }
}

impl Kubelets {
    /// The container of a pod, if it runs.
    pub fn running(&self, pod_uid: &str) -> Option<&Container> {
        self.containers
            .get(pod_uid)
            .filter(|container| container.state == State::Running)
    }
}

/// One step of every kubelet.
pub fn run(world: &mut World) {
    let now = world.now();
    for pod in world.store.all(&PODS) {
        let (namespace, name) = (
            text(&pod, "/metadata/namespace").to_owned(),
            text(&pod, "/metadata/name").to_owned(),
        );
        let Some(node) = pod["spec"]["nodeName"].as_str() else {
            schedule(world, Value::clone(&pod), &namespace, &name);
            continue;
        };
        if world.cluster.lost.contains(node) {
            continue;
        }
        let uid = text(&pod, "/metadata/uid").to_owned();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            world.jobs.terminate(&uid, now);
            world.kubelets.containers.remove(&uid);
            world.store.put(&PODS, &namespace, &name, None);
            continue;
        }
        turn(world, &pod, &uid, now);
        let Some(container) = world.kubelets.containers.get_mut(&uid) else {
            continue;
        };
        let shows = Some((container.state.clone(), container.restarts));
        if container.shown != shows {
            let mut next = Value::clone(&pod);
            next["status"] = status(container, &pod, now);
            container.shown = shows;
            world.store.put(&PODS, &namespace, &name, Some(next));
        }
    }
    let alive: Vec<String> = world
        .store
        .all(&PODS)
        .iter()
        .map(|pod| text(pod, "/metadata/uid").to_owned())
        .collect();
    let unreachable = &world.cluster.lost;
    // What runs on a lost node runs on, whatever the API server holds.
    if unreachable.is_empty() {
        world
            .kubelets
            .containers
            .retain(|uid, _| alive.contains(uid));
    }
}

fn schedule(world: &mut World, mut pod: Value, namespace: &str, name: &str) {
    let now = world.now();
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        world.store.put(&PODS, namespace, name, None);
        return;
    }
    let placed = world.store.all(&PODS);
    let placed = placed
        .iter()
        .filter(|pod| !pod["spec"]["nodeName"].is_null());
    let is_full = world
        .cluster
        .room
        .is_some_and(|room| placed.count() >= room);
    let full = is_full.then(|| "0/3 nodes are available: 3 Insufficient memory".to_owned());
    if let Some(why) = world.cluster.full.as_ref().or(full.as_ref()) {
        if pod["status"]["conditions"].is_null() {
            let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why, "lastTransitionTime": rfc3339(now) });
            pod["status"] = json!({ "phase": "Pending", "conditions": [condition] });
        }
    } else {
        let up: Vec<&str> = NODE_NAMES
            .into_iter()
            .filter(|node| !world.cluster.lost.contains(*node))
            .collect();
        let Some(node) = up.get(world.kubelets.placed % up.len().max(1)) else {
            return;
        };
        pod["spec"]["nodeName"] = json!(node);
        world.kubelets.placed += 1;
    }
    world.store.put(&PODS, namespace, name, Some(pod));
}

/// One step of one container.
fn turn(world: &mut World, pod: &Value, uid: &str, now: Timestamp) {
    let missing = world
        .jobs
        .script_of(text(pod, "/spec/containers/0/image"), "")
        .missing_image;
    let created = !world.kubelets.containers.contains_key(uid);
    let refused = if created { unmet(world, pod) } else { None };
    let exit = world.jobs.take_exit(uid);
    let kubelets = &mut world.kubelets;
    let (network, wait, addresses) = (kubelets.network, kubelets.wait, &mut kubelets.addresses);
    let container = kubelets
        .containers
        .entry(uid.to_owned())
        .or_insert_with(|| {
            *addresses += 1;
            Container {
                state: State::Created,
                restarts: 0,
                last: None,
                ip: Ipv4Addr::from_bits(network.to_bits() + *addresses).to_string(),
                shown: None,
            }
        });
    if let (State::Created, Some(refused)) = (&container.state, refused) {
        panic!("{refused}");
    }
    container.state = match container.state.clone() {
        State::Created | State::NoImage if missing => State::NoImage,
        State::Created | State::NoImage => State::Running,
        State::Running => match exit {
            None => State::Running,
            Some(exit) => {
                container.last = Some((exit, now));
                // The first restart is at once, the next after 10 s, 20 s, ...
                let wait = match container.restarts {
                    0 => Duration::ZERO,
                    again => (wait * (1 << (again - 1).min(6))).min(LONGEST_WAIT),
                };
                State::Waiting {
                    until: now.checked_add(wait).expect("a near time"),
                }
            }
        },
        State::Waiting { until } if until > now => State::Waiting { until },
        State::Waiting { .. } => {
            container.restarts += 1;
            State::Running
        }
    };
}

/// What keeps a kubelet from starting the pod at all: a volume whose source is missing. A defect of
/// the operator's objects, so it fails the test.
fn unmet(world: &World, pod: &Value) -> Option<String> {
    let namespace = text(pod, "/metadata/namespace");
    let volumes = pod["spec"]["volumes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut maps = volumes
        .iter()
        .map(|volume| text(volume, "/configMap/name"))
        .filter(|name| !name.is_empty());
    let lost = volumes
        .iter()
        .map(|volume| text(volume, "/secret/secretName"))
        .find(|name| !name.is_empty() && world.store.get(&SECRETS, namespace, name).is_none());
    if let Some(name) = lost {
        let pod = text(pod, "/metadata/name");
        return Some(format!(
            "pod {pod} mounts Secret {name}, which does not exist"
        ));
    }
    let name = maps.find(|name| {
        world
            .store
            .get(&CONFIG_MAPS, namespace, name)
            .is_none_or(|map| map["data"][SQL_KEY].is_null())
    })?;
    Some(format!(
        "pod {} mounts ConfigMap {name}, which does not exist or has no {SQL_KEY}",
        text(pod, "/metadata/name")
    ))
}

fn status(container: &Container, pod: &Value, now: Timestamp) -> Value {
    let running = container.state == State::Running;
    let image = text(pod, "/spec/containers/0/image");
    let state = match &container.state {
        State::Created => json!({ "waiting": { "reason": "ContainerCreating" } }),
        State::NoImage => {
            json!({ "waiting": { "reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\": not found") } })
        }
        State::Running => json!({ "running": {} }),
        State::Waiting { .. } => {
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": format!("back-off restarting failed container {CONTAINER}") } })
        }
    };
    let last = container.last.as_ref().map(|(exit, at)| json!({ "terminated": { "exitCode": exit.code, "reason": exit.reason, "message": exit.message, "finishedAt": rfc3339(*at) } }));
    let mut conditions = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = if running { "True" } else { "False" };
    for (kind, value) in [("PodScheduled", "True"), ("Ready", ready)] {
        let known = conditions
            .iter()
            .any(|condition| condition["type"] == kind && condition["status"] == value);
        if !known {
            conditions.retain(|condition| condition["type"] != kind);
            conditions
                .push(json!({ "type": kind, "status": value, "lastTransitionTime": rfc3339(now) }));
        }
    }
    json!({
        "phase": if running || container.restarts > 0 { "Running" } else { "Pending" },
        "podIP": container.ip,
        "conditions": conditions,
        "containerStatuses": [{
            "name": CONTAINER, "image": image, "imageID": "", "ready": running, "restartCount": container.restarts,
            "state": state, "lastState": last.unwrap_or_else(|| json!({})),
        }],
    })
}
