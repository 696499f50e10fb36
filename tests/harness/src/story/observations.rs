//! What one sees of a story.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use streamkeeper_api::{
    condition,
    names::{REVISION_LABEL, pod_name},
    v1alpha1::{SnapshotPhase, StreamJob, StreamJobStatus, StreamSnapshot},
};
use streamkeeper_controller::Remembered;
use streamkeeper_protocol::head::{Head, RunState};

use super::{
    super::{
        api_server::kinds::{
            CONTROLLER_REVISIONS, EVENTS, PODS, SECRETS, SERVICES, STATEFUL_SETS, STREAM_JOBS,
            STREAM_SNAPSHOTS,
        },
        cluster::text,
        world::Use,
    },
    NAMESPACE, Story,
};

impl Story {
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

    /// What the self-test needs to be allowed.
    pub fn uses_of_self_test(&self) -> BTreeSet<Use> {
        self.world().uses_of_self_test.clone()
    }

    /// What the operator needs to be allowed.
    pub fn uses(&self) -> BTreeSet<Use> {
        self.world().uses.clone()
    }

    /// Of how many objects the operator remembers something.
    pub fn remembered(&self) -> usize {
        let known = self.remembered.lock().expect("no panic while locked");
        known.as_ref().map_or(0, Remembered::count)
    }

    /// How often the operator asked this of a resource of ours.
    pub fn asked(&self, verb: &str, resource: &str) -> usize {
        let world = self.world();
        let of = (
            "streamkeeper.dev".to_owned(),
            resource.to_owned(),
            verb.to_owned(),
        );
        world.asked.get(&of).copied().unwrap_or_default()
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
