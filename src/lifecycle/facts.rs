//! Facts about revisions made from Kubernetes objects. The only place that reads their fields.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{ContainerStatus, Node, Pod},
    },
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::observed::{
    Disruption, PodFacts, RevisionFacts, SnapshotFacts, StatefulSetFacts, Terminated, Waiting,
};
use crate::api::{
    condition,
    names::{CONTAINER, JOB_LABEL, REVISION_LABEL, TRIGGER_LABEL, revision_name},
    v1alpha1::StreamSnapshot,
};

/// The children of one job, as the API server has them.
#[derive(Debug, Clone, Default)]
pub struct ChildObjects {
    /// StatefulSets.
    pub stateful_sets: Vec<StatefulSet>,
    /// ControllerRevisions.
    pub controller_revisions: Vec<ControllerRevision>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Revisions that have a Service.
    pub services: BTreeSet<u64>,
    /// Revisions that have a ConfigMap.
    pub config_maps: BTreeSet<u64>,
    /// Nodes that are lost, and since when; see [`lost_nodes`].
    pub lost_nodes: BTreeMap<String, Timestamp>,
}

impl ChildObjects {
    /// Facts by revision. Reports and preflights are still unknown.
    pub fn revisions(&self) -> BTreeMap<u64, RevisionFacts> {
        let mut all: BTreeMap<u64, RevisionFacts> = BTreeMap::new();
        for object in self
            .controller_revisions
            .iter()
            .filter(|object| is_ours(object))
        {
            if let Some(revision) = revision_of(object) {
                let record = object
                    .data
                    .as_ref()
                    .and_then(|data| serde_json::from_value(data.0.clone()).ok());
                all.entry(revision).or_default().record = record;
            }
        }
        for object in &self.stateful_sets {
            if let Some(revision) = revision_of(object) {
                all.entry(revision).or_default().stateful_set = Some(stateful_set(object));
            }
        }
        for object in &self.pods {
            if let Some(revision) = revision_of(object) {
                all.entry(revision).or_default().pods.push(self.pod(object));
            }
        }
        for &revision in &self.services {
            all.entry(revision).or_default().service = true;
        }
        for &revision in &self.config_maps {
            all.entry(revision).or_default().config_map = true;
        }
        for facts in all.values_mut() {
            facts.pods.sort_by_key(|pod| pod.ordinal);
        }
        all
    }

    fn pod(&self, pod: &Pod) -> PodFacts {
        let name = pod.name_any();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
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
            deleting: pod.metadata.deletion_timestamp.is_some(),
            restarts: container.map_or(0, |container| {
                u32::try_from(container.restart_count).unwrap_or(0)
            }),
            waiting: container.and_then(waiting),
            terminated: container.and_then(terminated),
            unschedulable: unschedulable(pod),
            node_lost_since: node
                .as_ref()
                .and_then(|node| self.lost_nodes.get(node))
                .copied(),
            disruption: disruption(pod),
            node,
            name,
        }
    }
}

/// Whether somebody ends a pod that is not to blame.
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
        phase: status.phase,
        deleting: snapshot.metadata.deletion_timestamp.is_some(),
        uri: status.uri,
        checkpoint: status.checkpoint.map(|held| held.id),
        completed: status.completion_time.map(|time| time.0),
        message: condition::get(&status.conditions, condition::kind::READY)
            .map_or_else(String::new, |ready| ready.message.clone()),
    }
}

/// Revision in the label of a child.
pub fn revision_of<K: ResourceExt>(object: &K) -> Option<u64> {
    object.labels().get(REVISION_LABEL)?.parse().ok()
}

/// Nodes whose kubelet no longer reports (`Ready` is `Unknown`), and since when. A node that says itself that it is not ready still obeys, so it is not lost.
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

/// A StatefulSet makes ControllerRevisions of its own, which carry the labels of its pods.
fn is_ours(object: &ControllerRevision) -> bool {
    let name = object
        .labels()
        .get(JOB_LABEL)
        .zip(revision_of(object))
        .map(|(job, revision)| revision_name(job, revision));
    name.is_some_and(|name| name == object.name_any())
}

fn stateful_set(object: &StatefulSet) -> StatefulSetFacts {
    let replicas = object
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    StatefulSetFacts {
        replicas: u32::try_from(replicas).unwrap_or(0),
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
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
    })
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
