//! Facts about revisions made from Kubernetes objects. The only place that reads their fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{ConfigMap, ContainerStatus, Node, Pod, Service},
        networking::v1::{NetworkPolicy, NetworkPolicySpec},
        policy::v1::PodDisruptionBudget,
    },
    jiff::Timestamp,
};
use kube_core::{Resource, ResourceExt};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use streamkeeper_api::{
    condition,
    names::{CONTAINER, JOB_LABEL, JOB_UID_LABEL, REVISION_LABEL, TRIGGER_LABEL, revision_name},
    v1alpha1::StreamSnapshot,
};

use crate::{
    observed::facts::{
        DAMAGED, Disruption, PodFacts, PolicyFacts, RevisionFacts, SnapshotFacts, StatefulSetFacts,
        Terminated, Waiting,
    },
    revision::record::{RevisionRecord, Tls},
};

/// A kind of which jobs have children. Little is kept of each: there may be thousands.
pub trait Child: Resource<DynamicType = ()> + Sized {
    /// What decisions need of one.
    type Facts: Debug + Send + Sync + 'static;

    /// None when it is no child of ours after all.
    fn facts(&self) -> Option<Self::Facts>;

    /// Its revision; zero for what belongs to all of them.
    fn revision(&self) -> Option<u64> {
        revision_of(self)
    }
}

impl Child for StatefulSet {
    type Facts = StatefulSetFacts;

    fn facts(&self) -> Option<StatefulSetFacts> {
        let replicas = self.spec.as_ref().and_then(|spec| spec.replicas);
        Some(StatefulSetFacts {
            replicas: u32::try_from(replicas.unwrap_or(1)).unwrap_or(0),
            deleting: self.metadata.deletion_timestamp.is_some(),
        })
    }
}

impl Child for ControllerRevision {
    type Facts = KeptRecord;

    /// A StatefulSet makes ControllerRevisions of its own, which carry the labels of its pods.
    fn facts(&self) -> Option<KeptRecord> {
        let job = self.labels().get(JOB_LABEL)?;
        if self.name_any() != revision_name(job, revision_of(self)?) {
            return None;
        }
        let owner = self.owner_references().first();
        Some(KeptRecord {
            json: self
                .data
                .as_ref()
                .map_or_else(Box::default, |data| data.0.to_string().into()),
            owner: owner.map_or_else(Box::default, |owner| owner.uid.as_str().into()),
        })
    }
}

impl Child for Pod {
    type Facts = KeptPod;

    fn facts(&self) -> Option<KeptPod> {
        let ip = self
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_deref());
        Some(KeptPod {
            facts: pod(self),
            ip: ip.map(Into::into),
        })
    }
}

/// That there is one says it all.
impl Child for Service {
    type Facts = ();

    fn facts(&self) -> Option<()> {
        Some(())
    }
}

/// That there is one says it all.
impl Child for ConfigMap {
    type Facts = ();

    fn facts(&self) -> Option<()> {
        Some(())
    }
}

/// That there is one says it all.
impl Child for PodDisruptionBudget {
    type Facts = ();

    fn facts(&self) -> Option<()> {
        Some(())
    }
}

impl Child for NetworkPolicy {
    type Facts = KeptPolicy;

    fn facts(&self) -> Option<KeptPolicy> {
        Some(KeptPolicy {
            spec: fingerprint(self.spec.as_ref()),
            owner: self
                .owner_references()
                .first()
                .map_or_else(Box::default, |owner| owner.uid.as_str().into()),
        })
    }

    fn revision(&self) -> Option<u64> {
        Some(0)
    }
}

/// A NetworkPolicy: what it says only as a fingerprint, for there is one for each job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPolicy {
    spec: [u8; 16],
    /// Uid of the StreamJob.
    owner: Box<str>,
}

impl KeptPolicy {
    /// Compares what was found of the job with this uid with what is wanted.
    pub fn compare(
        found: Option<&Self>,
        wanted: Option<&NetworkPolicySpec>,
        uid: &str,
    ) -> PolicyFacts {
        let found = found.filter(|found| *found.owner == *uid);
        match (found, wanted) {
            (None, None) => PolicyFacts::NotWanted,
            (None, Some(_)) => PolicyFacts::Missing,
            (Some(_), None) => PolicyFacts::Unwanted,
            (Some(found), Some(wanted)) if found.spec == fingerprint(Some(wanted)) => {
                PolicyFacts::AsWanted
            }
            (Some(_), Some(_)) => PolicyFacts::Changed,
        }
    }
}

fn fingerprint(spec: Option<&NetworkPolicySpec>) -> [u8; 16] {
    // A policy consists of strings, numbers and maps keyed by strings: it always serialises.
    let bytes = serde_json::to_vec(&spec).unwrap_or_default();
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(&bytes)[..16]);
    first
}

/// A revision's content as its ControllerRevision has it. Text takes a fraction of what it says,
/// and is read seldom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    json: Box<str>,
    /// Uid of the StreamJob.
    pub owner: Box<str>,
}

impl KeptRecord {
    /// The content; none when it cannot be decoded.
    pub fn record(&self) -> Option<RevisionRecord> {
        serde_json::from_str(&self.json).ok()
    }

    /// Keys of its pods, though the rest may not be decodable.
    pub fn tls(&self) -> Option<Tls> {
        #[derive(Deserialize)]
        struct Only {
            tls: Option<Tls>,
        }
        serde_json::from_str::<Only>(&self.json).ok()?.tls
    }
}

/// A pod, but for how its node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPod {
    facts: PodFacts,
    /// Address, once it has one.
    pub ip: Option<Box<str>>,
}

impl KeptPod {
    /// Its node.
    pub fn node(&self) -> Option<&str> {
        self.facts.node.as_deref()
    }

    /// All of it, with these nodes lost; see [`lost_nodes`].
    pub fn facts(&self, lost: &BTreeMap<String, Timestamp>) -> PodFacts {
        PodFacts {
            node_lost_since: self.node().and_then(|node| lost.get(node)).copied(),
            ..self.facts.clone()
        }
    }
}

/// The children of one job by their revisions.
#[derive(Debug, Clone, Default)]
pub struct Children {
    /// StatefulSets.
    pub stateful_sets: Vec<(u64, StatefulSetFacts)>,
    /// Contents; none when one cannot be decoded.
    pub records: Vec<(u64, Option<RevisionRecord>)>,
    /// Pods.
    pub pods: Vec<(u64, PodFacts)>,
    /// Services.
    pub services: BTreeSet<u64>,
    /// ConfigMaps.
    pub config_maps: BTreeSet<u64>,
    /// PodDisruptionBudgets.
    pub budgets: BTreeSet<u64>,
}

impl Children {
    /// Facts by revision. Reports and preflights are still unknown.
    pub fn revisions(self) -> BTreeMap<u64, RevisionFacts> {
        let mut all: BTreeMap<u64, RevisionFacts> = BTreeMap::new();
        for (revision, record) in self.records {
            all.entry(revision).or_default().record = record;
        }
        for (revision, stateful_set) in self.stateful_sets {
            all.entry(revision).or_default().stateful_set = Some(stateful_set);
        }
        for (revision, pod) in self.pods {
            all.entry(revision).or_default().pods.push(pod);
        }
        for revision in self.services {
            all.entry(revision).or_default().service = true;
        }
        for revision in self.config_maps {
            all.entry(revision).or_default().config_map = true;
        }
        for revision in self.budgets {
            all.entry(revision).or_default().budget = true;
        }
        for facts in all.values_mut() {
            facts.pods.sort_by_key(|pod| pod.ordinal);
        }
        all
    }
}

fn pod(pod: &Pod) -> PodFacts {
    let name = pod.name_any();
    let status = pod.status.as_ref();
    let container = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|all| all.iter().find(|container| container.name == CONTAINER));
    PodFacts {
        ordinal: name
            .rsplit('-')
            .next()
            .and_then(|ordinal| ordinal.parse().ok())
            .unwrap_or(0),
        uid: pod.uid().unwrap_or_default(),
        ready: container.is_some_and(|container| container.ready),
        unready_since: unready_since(pod),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        restarts: container.map_or(0, |container| {
            u32::try_from(container.restart_count).unwrap_or(0)
        }),
        waiting: container.and_then(waiting),
        terminated: container.and_then(terminated),
        unschedulable: unschedulable(pod),
        node_lost_since: None,
        disruption: disruption(pod),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        name,
    }
}

/// Whether Kubernetes or a user ends a healthy pod.
fn disruption(pod: &Pod) -> Option<Disruption> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|known| known.type_ == "DisruptionTarget" && known.status == "True")?;
    Some(Disruption {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
        since: condition.last_transition_time.as_ref()?.0,
    })
}

/// What a decision about a job sees of a snapshot.
pub fn snapshot_facts(snapshot: &StreamSnapshot) -> SnapshotFacts {
    let status = snapshot.status.clone().unwrap_or_default();
    SnapshotFacts {
        name: snapshot.name_any(),
        uid: snapshot.uid().unwrap_or_default(),
        trigger: snapshot.labels().get(TRIGGER_LABEL).cloned(),
        taken_of: snapshot.labels().get(JOB_UID_LABEL).cloned(),
        phase: status.phase,
        deleting: snapshot.metadata.deletion_timestamp.is_some(),
        uri: status.uri,
        endpoint: status.endpoint,
        checkpoint: status.checkpoint.map(|held| held.id),
        completed: status.completion_time.map(|time| time.0),
        damaged: condition::get(&status.conditions, condition::kind::STALLED)
            .is_some_and(|stalled| stalled.reason == DAMAGED),
        needed: false,
        message: condition::get(&status.conditions, condition::kind::READY)
            .map_or_else(String::new, |ready| ready.message.clone()),
    }
}

/// Revision in the label of a child.
pub fn revision_of<K: ResourceExt>(object: &K) -> Option<u64> {
    object.labels().get(REVISION_LABEL)?.parse().ok()
}

/// Nodes whose kubelet no longer reports (`Ready` is `Unknown`), and since when. A node that says
/// itself that it is not ready still obeys, so it is not lost.
pub fn lost_nodes<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> BTreeMap<String, Timestamp> {
    let since = |node: &Node| {
        let ready = node
            .status
            .as_ref()?
            .conditions
            .as_ref()?
            .iter()
            .find(|condition| condition.type_ == "Ready")?;
        (ready.status == "Unknown")
            .then(|| ready.last_transition_time.as_ref().map(|time| time.0))?
    };
    nodes
        .into_iter()
        .filter_map(|node| Some((node.name_any(), since(node)?)))
        .collect()
}

fn waiting(container: &ContainerStatus) -> Option<Waiting> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    Some(Waiting {
        reason: waiting.reason.clone()?,
        message: waiting.message.clone().unwrap_or_default(),
    })
}

fn terminated(container: &ContainerStatus) -> Option<Terminated> {
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref()?.terminated.clone()
    };
    let terminated = ended(&container.state).or_else(|| ended(&container.last_state))?;
    Some(Terminated {
        reason: terminated.reason.unwrap_or_else(|| "Error".to_owned()),
        exit_code: terminated.exit_code,
        message: terminated.message.unwrap_or_default(),
        at: terminated.finished_at.map(|at| at.0),
    })
}

fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status != "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let scheduled = pod
        .status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")?;
    (scheduled.status == "False").then(|| scheduled.message.clone().unwrap_or_default())
}
