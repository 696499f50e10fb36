//! What people and the world do in a story.

use std::time::Duration;

use serde_json::{Value, json};
use streamkeeper_api::{
    names::RESTARTED_AT,
    v1alpha1::{StreamJob, StreamSnapshot},
};
use tokio::task::JoinHandle;

use super::{
    super::{
        api_server::{
            Kind,
            kinds::{
                CONFIG_MAPS, DISRUPTION_BUDGETS, NETWORK_POLICIES, PODS, SERVICES, STATEFUL_SETS,
                STREAM_JOBS, STREAM_SNAPSHOTS,
            },
            store::Deletion,
        },
        cluster::{self, text},
        coordinator::HeadStore,
        interference::Interference,
        kubelet::Exit,
        script::Script,
    },
    NAMESPACE, Story,
};

impl Story {
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

    /// Somebody sets the finalizers of a snapshot.
    pub fn hold_snapshot(&mut self, name: &str, finalizers: &[&str]) {
        self.hold(&STREAM_SNAPSHOTS, name, finalizers);
    }

    /// Somebody sets the finalizers of a job.
    pub fn hold_job(&mut self, name: &str, finalizers: &[&str]) {
        self.hold(&STREAM_JOBS, name, finalizers);
    }

    fn hold(&mut self, kind: &'static Kind, name: &str, finalizers: &[&str]) {
        let now = self.now();
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        self.world()
            .store
            .merge(kind, NAMESPACE, name, &patch, now)
            .expect("an object to hold");
    }

    /// Deletes a snapshot.
    pub fn delete_snapshot(&mut self, name: &str) {
        self.remove(&STREAM_SNAPSHOTS, name);
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

    /// A user deletes the PodDisruptionBudget of a revision.
    pub fn remove_budget(&mut self, name: &str) {
        self.remove(&DISRUPTION_BUDGETS, name);
    }

    /// A user deletes the NetworkPolicy of a job.
    pub fn remove_network_policy(&mut self, name: &str) {
        self.remove(&NETWORK_POLICIES, name);
    }

    /// A user edits a NetworkPolicy.
    pub fn edit_network_policy(&mut self, name: &str, patch: &Value) {
        let now = self.now();
        self.world()
            .store
            .merge(&NETWORK_POLICIES, NAMESPACE, name, patch, now)
            .expect("a NetworkPolicy");
    }

    /// A user makes a NetworkPolicy.
    pub fn create_network_policy(&mut self, name: &str) {
        let now = self.now();
        let policy = json!({ "metadata": { "name": name }, "spec": { "podSelector": {} } });
        self.world()
            .store
            .create(&NETWORK_POLICIES, NAMESPACE, policy, now)
            .expect("no NetworkPolicy of that name");
    }

    fn remove(&mut self, kind: &'static Kind, name: &str) {
        let now = self.now();
        self.world()
            .store
            .delete(kind, NAMESPACE, name, &Deletion::default(), now)
            .expect("an object to delete");
    }
}
