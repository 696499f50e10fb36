//! What users and the world do.

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use streamkeeper_harness::{
    api_server::{
        Kind,
        kinds::{NODES, PODS, STREAM_JOBS, STREAM_SNAPSHOTS},
        store::rfc3339,
    },
    cluster::text,
};
use streamkeeper_protocol::head::RunState;

use super::{
    super::{cluster_sync::node_name, object_cache::resource},
    JOB, Sandbox,
};

impl Sandbox {
    /// Creates a snapshot of the job.
    pub async fn save(&self, name: &str, deletion_policy: &str) -> Result<(), String> {
        let spec = json!({ "jobRef": { "name": JOB }, "deletionPolicy": deletion_policy });
        self.snapshot(name, &spec).await
    }

    /// Creates a snapshot of what another one holds.
    pub async fn import(&self, name: &str, of: &str) -> Result<(), String> {
        let mut all = self.snapshots().into_iter();
        let held = all.find(|snapshot| snapshot["metadata"]["name"] == *of);
        let uri = held.map(|snapshot| snapshot["status"]["uri"].clone());
        let spec = json!({ "jobRef": { "name": JOB }, "importFrom": { "uri": uri } });
        self.snapshot(name, &spec).await
    }

    async fn snapshot(&self, name: &str, spec: &Value) -> Result<(), String> {
        let snapshot = json!({
            "apiVersion": STREAM_SNAPSHOTS.api_version(), "kind": STREAM_SNAPSHOTS.kind, "metadata": { "name": name }, "spec": spec,
        });
        let snapshot: DynamicObject = serde_json::from_value(snapshot).expect("a StreamSnapshot");
        let api = self.api(&STREAM_SNAPSHOTS);
        let created = api.create(&PostParams::default(), &snapshot).await;
        created.map_err(|error| error.to_string())?;
        self.until("the watch to tell of the snapshot", |sandbox| {
            let mut all = sandbox.snapshots().into_iter();
            all.any(|snapshot| snapshot["metadata"]["name"] == name)
        })
        .await
    }

    pub async fn create(&self, spec: &Value, annotations: &Value) -> Result<(), kube::Error> {
        let job = json!({
            "apiVersion": STREAM_JOBS.api_version(), "kind": STREAM_JOBS.kind, "metadata": { "name": JOB, "annotations": annotations }, "spec": spec,
        });
        let job: DynamicObject = serde_json::from_value(job).expect("a StreamJob");
        let api = self.api(&STREAM_JOBS);
        api.create(&PostParams::default(), &job).await.map(|_| ())
    }

    /// Changes the job; done once the watch tells of it, so that nobody takes what was for what is.
    pub async fn patch(&self, patch: &Value) -> Result<(), String> {
        let api = self.api(&STREAM_JOBS);
        let patched = api
            .patch(JOB, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|error| error.to_string())?;
        self.until("the watch to tell of the change", |sandbox| {
            let generation = |job: Value| job["metadata"]["generation"].as_i64();
            sandbox.job().and_then(generation) >= patched.metadata.generation
        })
        .await
    }

    pub async fn remove(&self, kind: &Kind, name: &str) -> Result<(), kube::Error> {
        let params = DeleteParams::background();
        self.api(kind).delete(name, &params).await.map(|_| ())
    }

    /// The node of a pod cannot be reached any more; what runs there runs on.
    pub async fn lose_node_of(&self, pod: &str) -> Result<(), kube::Error> {
        let node = {
            let mut world = self.world.lock().expect("no panic while locked");
            let pod = world.store.get(&PODS, &self.namespace, pod).cloned();
            let node = text(&pod.unwrap_or_default(), "/spec/nodeName").to_owned();
            world.cluster.lost.insert(node.clone());
            node
        };
        self.mark(&node, "Unknown").await
    }

    /// HEAD is that of a StreamJob which went without a word to its coordinator.
    pub fn forsake(&self, uid: &str) {
        let mut world = self.world.lock().expect("no panic while locked");
        for head in world.jobs.heads.values_mut() {
            uid.clone_into(&mut head.job_uid);
            head.state = RunState::Running;
            head.nonce += "-forsaken";
        }
    }

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
