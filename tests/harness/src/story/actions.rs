//! What users and the world do in a story.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    super::{
        api_server::kinds::{
            CONFIG_MAPS, DISRUPTION_BUDGETS, NETWORK_POLICIES, PODS, SERVICES, STATEFUL_SETS,
            STREAM_JOBS, STREAM_SNAPSHOTS,
        },
        cluster::{self, text},
        coordinator::HeadStore,
        interference::Interference,
        kubelet::Exit,
        script::Script,
        user::UserRequest,
    },
    NAMESPACE, Story,
};

// What users do: each is a request to the API server.

impl Story {
    /// Sends a request of a user.
    pub fn ask(&mut self, request: &UserRequest) {
        self.ask_in(NAMESPACE, request);
    }

    fn ask_in(&mut self, namespace: &str, request: &UserRequest) {
        let answer = request.send(&mut self.world(), namespace);
        answer.unwrap_or_else(|refusal| panic!("{request:?} is refused: {refusal:?}"));
    }

    /// Creates a job with this spec.
    pub fn create(&mut self, name: &str, spec: Value) {
        self.create_in(NAMESPACE, name, spec);
    }

    /// Creates a job with this spec in a namespace.
    pub fn create_in(&mut self, namespace: &str, name: &str, spec: Value) {
        self.ask_in(namespace, &UserRequest::create_job(name, &spec));
    }

    /// Creates a snapshot with this spec.
    pub fn snapshot(&mut self, name: &str, spec: Value) {
        self.ask(&UserRequest::create_snapshot(name, &spec));
    }

    /// Sets an annotation of a snapshot.
    pub fn annotate_snapshot(&mut self, name: &str, key: &str, value: &str) {
        self.ask(&UserRequest::annotate(&STREAM_SNAPSHOTS, name, key, value));
    }

    /// Sets an annotation of a job.
    pub fn annotate(&mut self, name: &str, key: &str, value: &str) {
        self.ask(&UserRequest::annotate(&STREAM_JOBS, name, key, value));
    }

    /// Sets the finalizers of a snapshot.
    pub fn hold_snapshot(&mut self, name: &str, finalizers: &[&str]) {
        let kind = &STREAM_SNAPSHOTS;
        self.ask(&UserRequest::set_finalizers(kind, name, finalizers));
    }

    /// Sets the finalizers of a job.
    pub fn hold_job(&mut self, name: &str, finalizers: &[&str]) {
        self.ask(&UserRequest::set_finalizers(&STREAM_JOBS, name, finalizers));
    }

    /// Deletes a snapshot.
    pub fn delete_snapshot(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&STREAM_SNAPSHOTS, name));
    }

    /// Merges a change into the spec of a job.
    pub fn edit(&mut self, name: &str, spec: Value) {
        self.ask(&UserRequest::edit_job(name, &spec));
    }

    /// Changes a job again and again, until the task is aborted.
    pub fn storm(&self, name: &str, every: Duration) -> JoinHandle<()> {
        let (world, name) = (self.world.clone(), name.to_owned());
        tokio::spawn(async move {
            for n in 0_u64.. {
                let image = format!("runtime:{}", n % 2 + 1);
                let request = UserRequest::edit_job(&name, &json!({ "image": image }));
                let answer = {
                    let mut world = world.lock().expect("no panic while locked");
                    request.send(&mut world, NAMESPACE)
                };
                answer.expect("a valid change");
                tokio::time::sleep(every).await;
            }
        })
    }

    /// Asks for a restart, as `kubectl rollout restart` does.
    pub fn ask_for_restart(&mut self, name: &str) {
        let at = self.now().to_string();
        self.ask(&UserRequest::restart_job(name, &at));
    }

    /// Deletes a job.
    pub fn delete(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&STREAM_JOBS, name));
    }

    /// Creates or replaces a ConfigMap.
    pub fn config_map(&mut self, name: &str, key: &str, value: &str) {
        let kind = &CONFIG_MAPS;
        let data = json!({ key: value });
        let exists = self.world().store.get(kind, NAMESPACE, name).is_some();
        self.ask(&if exists {
            UserRequest::merge(kind, name, json!({ "data": data }))
        } else {
            let object = json!({ "metadata": { "name": name }, "data": data });
            UserRequest::Create { kind, object }
        });
    }

    /// Deletes a pod.
    pub fn remove_pod(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&PODS, name));
    }

    /// Deletes the Service of a revision.
    pub fn remove_service(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&SERVICES, name));
    }

    /// Deletes the StatefulSet of a revision.
    pub fn remove_stateful_set(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&STATEFUL_SETS, name));
    }

    /// Scales a StatefulSet without the operator.
    pub fn scale_by_hand(&mut self, name: &str, replicas: u32) {
        self.ask(&UserRequest::scale_stateful_set(name, replicas));
    }

    /// Deletes the PodDisruptionBudget of a revision.
    pub fn remove_budget(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&DISRUPTION_BUDGETS, name));
    }

    /// Deletes the NetworkPolicy of a job.
    pub fn remove_network_policy(&mut self, name: &str) {
        self.ask(&UserRequest::delete(&NETWORK_POLICIES, name));
    }

    /// Edits a NetworkPolicy.
    pub fn edit_network_policy(&mut self, name: &str, patch: &Value) {
        self.ask(&UserRequest::merge(&NETWORK_POLICIES, name, patch.clone()));
    }

    /// Creates a NetworkPolicy.
    pub fn create_network_policy(&mut self, name: &str) {
        let object = json!({ "metadata": { "name": name }, "spec": { "podSelector": {} } });
        let kind = &NETWORK_POLICIES;
        self.ask(&UserRequest::Create { kind, object });
    }
}

// What the world does.

impl Story {
    /// Sets what happens in pods with this image, or whose SQL contains this text.
    pub fn script(&mut self, image_or_sql: &str, script: Script) {
        self.world().jobs.script(image_or_sql, script);
    }

    /// Sets whether the storage responds.
    pub fn storage(&mut self, store: HeadStore) {
        self.world().jobs.storage = store;
    }

    /// Refuses every connection to the API server and ends all watches, or serves them again.
    pub fn api_server_is_down(&mut self, down: bool) {
        let mut world = self.world();
        world.outage = down;
        if down {
            world.store.end_watches();
        }
    }

    /// Disturbs what the operator asks for.
    pub fn interfere(&mut self, interference: Interference) {
        self.world().interferences.push(interference);
    }

    /// Cuts a node off the network. What runs there runs on.
    pub fn lose_node(&mut self, node: &str) {
        let now = self.now();
        let mut world = self.world();
        world.cluster.lost.insert(node.to_owned());
        cluster::mark(&mut world.store, node, "Unknown", now);
    }

    /// Marks a pod for eviction, as `kubectl drain` does. Its process has not noticed yet.
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

    /// Ends the container of a pod.
    pub fn kill(&mut self, pod: &str, exit: Exit) {
        let uid = text(&self.pod(pod), "/metadata/uid").to_owned();
        self.world().jobs.kill(&uid, exit);
    }
}
