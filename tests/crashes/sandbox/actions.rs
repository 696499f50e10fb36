//! How requests of users and faults of the world reach the control plane of a sandbox.

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use streamkeeper_harness::{
    api_server::{
        kinds::{NODES, PODS, STREAM_JOBS, STREAM_SNAPSHOTS},
        store::rfc3339,
    },
    cluster::text,
    user::UserRequest,
};
use streamkeeper_protocol::head::RunState;

use super::{
    super::{cluster_sync::node_name, object_cache::resource},
    Sandbox,
};

impl Sandbox {
    /// Sends a request of a user to the API server. Changes of jobs and new snapshots are waited
    /// for until the watch shows them, so that the state before is not taken for the state after.
    pub async fn send(&self, request: &UserRequest) -> Result<(), String> {
        let refused = |error: kube::Error| error.to_string();
        match request {
            UserRequest::Create { kind, object } => {
                let object: DynamicObject =
                    serde_json::from_value(object.clone()).expect("an object");
                let created = self.api(kind).create(&PostParams::default(), &object).await;
                let name = created.map_err(refused)?.metadata.name;
                if *kind == &STREAM_SNAPSHOTS {
                    let is_new =
                        |snapshot: &Value| snapshot["metadata"]["name"].as_str() == name.as_deref();
                    self.until("the watch to show the snapshot", |sandbox| {
                        sandbox.snapshots().iter().any(is_new)
                    })
                    .await?;
                }
            }
            UserRequest::Merge { kind, name, patch } => {
                let params = PatchParams::default();
                let patch = Patch::Merge(patch);
                let patched = self.api(kind).patch(name, &params, &patch).await;
                let generation = patched.map_err(refused)?.metadata.generation;
                if *kind == &STREAM_JOBS {
                    let shown = |job: Value| job["metadata"]["generation"].as_i64();
                    self.until("the watch to show the change", |sandbox| {
                        sandbox.job().and_then(shown) >= generation
                    })
                    .await?;
                }
            }
            UserRequest::Delete { kind, name } => {
                let params = DeleteParams::background();
                let deleted = self.api(kind).delete(name, &params).await;
                deleted.map(|_| ()).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// Cuts the node of a pod off the network. What runs there runs on.
    pub async fn lose_node_of(&self, pod: &str) -> Result<(), String> {
        let node = {
            let mut world = self.world.lock().expect("no panic while locked");
            let pod = world.store.get(&PODS, &self.namespace, pod).cloned();
            let node = text(&pod.unwrap_or_default(), "/spec/nodeName").to_owned();
            world.cluster.lost.insert(node.clone());
            node
        };
        let marked = self.mark(&node, "Unknown").await;
        marked.map_err(|error| error.to_string())
    }

    /// Gives HEAD to a StreamJob that went without a word to its coordinator.
    pub fn abandon_head(&self, uid: &str) {
        let mut world = self.world.lock().expect("no panic while locked");
        for head in world.jobs.heads.values_mut() {
            uid.clone_into(&mut head.job_uid);
            head.state = RunState::Running;
            head.nonce += "-forsaken";
        }
    }

    /// Sets the readiness that the node controller sees.
    pub(super) async fn mark(&self, node: &str, ready: &str) -> Result<(), kube::Error> {
        let now = rfc3339(Timestamp::now());
        let conditions = json!([{
            "type": "Ready", "status": ready, "reason": "Simulated", "message": "", "lastTransitionTime": now, "lastHeartbeatTime": now,
        }]);
        let patch = json!({ "status": { "conditions": conditions } });
        let name = node_name(&self.namespace, node);
        let nodes: Api<DynamicObject> = Api::all_with(self.env.client.clone(), &resource(&NODES));
        nodes
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map(|_| ())
    }
}
