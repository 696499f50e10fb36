//! What is done to a job in a scenario.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use streamkeeper_harness::{
    api_server::{Kind, kinds::STREAM_JOBS},
    user::UserRequest,
};

use super::sandbox::{JOB, Sandbox};

/// What a user or the world does, or what is waited for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sends a request of a user.
    Send(UserRequest),
    /// Creates a snapshot, with the first name, of the folder that the second snapshot names.
    ImportSnapshot(&'static str, &'static str),
    /// Sets a schedule of snapshots. The first is due in about a minute.
    ScheduleSnapshots,
    /// Gives HEAD to the StreamJob with this uid, which is gone without a word to its coordinator.
    AbandonHead(&'static str),
    /// Cuts the node of a pod off the network.
    LoseNodeOf(&'static str),
    /// Waits for a transition of this kind at this step.
    WaitForTransition(&'static str, &'static str),
    /// Waits until an object exists and everything that looks at the job has seen it.
    WaitForObject(&'static Kind, &'static str),
    /// Waits until the job, which has run, is gone.
    WaitUntilGone,
    /// Waits for this number of complete snapshots.
    WaitForSnapshots(usize),
}

impl Action {
    /// Creates the job.
    pub fn create(spec: &Value) -> Self {
        Self::Send(UserRequest::create_job(JOB, spec))
    }

    /// Creates the job with the confirmation that the StreamJob with this uid is gone.
    pub fn create_over(gone: &str, spec: &Value) -> Self {
        Self::Send(UserRequest::create_job_over(JOB, gone, spec))
    }

    /// Merges a change into the spec of the job.
    pub fn edit(spec: &Value) -> Self {
        Self::Send(UserRequest::edit_job(JOB, spec))
    }

    /// Asks for a restart of the job.
    pub fn restart() -> Self {
        Self::Send(UserRequest::restart_job(JOB, "2026-03-01T12:00:00Z"))
    }

    /// Deletes the job.
    pub fn delete() -> Self {
        Self::remove(&STREAM_JOBS, JOB)
    }

    /// Deletes an object.
    pub fn remove(kind: &'static Kind, name: &str) -> Self {
        Self::Send(UserRequest::delete(kind, name))
    }

    /// Creates a snapshot of the job.
    pub fn snapshot(name: &str, deletion_policy: &str) -> Self {
        let spec = json!({ "jobRef": { "name": JOB }, "deletionPolicy": deletion_policy });
        Self::Send(UserRequest::create_snapshot(name, &spec))
    }

    /// Carries it out.
    pub async fn play(&self, sandbox: &Sandbox) -> Result<(), String> {
        let done = match self {
            Self::Send(request) => sandbox.send(request).await,
            Self::ImportSnapshot(name, of) => sandbox.send(&import(sandbox, name, of)).await,
            Self::ScheduleSnapshots => {
                let spec = json!({ "snapshots": { "schedule": schedule() } });
                sandbox.send(&UserRequest::edit_job(JOB, &spec)).await
            }
            Self::AbandonHead(uid) => {
                sandbox.abandon_head(uid);
                Ok(())
            }
            Self::LoseNodeOf(pod) => sandbox.lose_node_of(pod).await,
            Self::WaitForTransition(kind, step) => {
                let is_there = |sandbox: &Sandbox| {
                    let job = sandbox.job().unwrap_or_default();
                    let transition = &job["status"]["transition"];
                    transition["kind"] == *kind && transition["step"] == *step
                };
                sandbox.until(&format!("{kind}/{step}"), is_there).await
            }
            Self::WaitForObject(kind, name) => {
                let what = format!("{} {name}", kind.kind);
                let is_there = |sandbox: &Sandbox| sandbox.has_seen(kind, name);
                sandbox.until(&what, is_there).await
            }
            Self::WaitUntilGone => {
                let is_gone =
                    |sandbox: &Sandbox| sandbox.head().is_some() && sandbox.job().is_none();
                sandbox.until("the job to be gone", is_gone).await
            }
            Self::WaitForSnapshots(wanted) => {
                let is_complete = |snapshot: &&Value| snapshot["status"]["phase"] == "Completed";
                let are_there = |sandbox: &Sandbox| {
                    sandbox.snapshots().iter().filter(is_complete).count() >= *wanted
                };
                let what = format!("{wanted} complete snapshots");
                sandbox.until(&what, are_there).await
            }
        };
        done.map_err(|error| format!("{self:?}: {error}"))
    }
}

/// Returns the request for a snapshot of the folder that another snapshot names.
fn import(sandbox: &Sandbox, name: &str, of: &str) -> UserRequest {
    let mut all = sandbox.snapshots().into_iter();
    let held = all.find(|snapshot| snapshot["metadata"]["name"] == *of);
    let uri = held.map(|snapshot| snapshot["status"]["uri"].clone());
    let spec = json!({ "jobRef": { "name": JOB }, "importFrom": { "uri": uri } });
    UserRequest::create_snapshot(name, &spec)
}

/// Returns a schedule whose only moment of the year is half a minute to a minute and a half away.
fn schedule() -> String {
    let due = Timestamp::now() + SignedDuration::from_secs(90);
    due.strftime("%-M %-H %-d %-m *").to_string()
}
