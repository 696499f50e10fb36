//! What is done to a job.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use streamkeeper_api::names::{RESTARTED_AT, TAKE_OVER};
use streamkeeper_harness::api_server::{Kind, kinds::STREAM_JOBS};

use super::sandbox::{JOB, Sandbox};

/// What a user or the world does.
#[derive(Debug, Clone)]
pub enum Act {
    /// A job is created with this spec.
    Create(Value),
    /// So, with the confirmation that the StreamJob with this uid is gone.
    CreateOver(&'static str, Value),
    /// HEAD says that the StreamJob with this uid runs, of which nothing is left.
    Forsake(&'static str),
    /// A change is merged into its spec.
    Edit(Value),
    /// Somebody asks for a restart.
    Restart,
    /// The job is deleted.
    Delete,
    /// Somebody takes a snapshot, with this name and deletion policy.
    Save(&'static str, &'static str),
    /// Somebody makes a snapshot, with the first name, of what lies where the second one does.
    Import(&'static str, &'static str),
    /// Snapshots are taken by a schedule from now on; the first is due in a minute.
    Schedule,
    /// An object of it is deleted by somebody else.
    Remove(&'static Kind, &'static str),
    /// The node of a pod cannot be reached any more.
    LoseNodeOf(&'static str),
    /// Nothing more is done before a transition of this kind is at this step.
    Await(&'static str, &'static str),
    /// Nothing more is done before an object exists, and everything that looks at the job has seen
    /// it.
    Exists(&'static Kind, &'static str),
    /// Nothing more is done before the job, which has run, is gone.
    Gone,
    /// Nothing more is done before so many snapshots are complete.
    Saved(usize),
}

impl Act {
    pub async fn play(&self, sandbox: &Sandbox) -> Result<(), String> {
        let done = match self {
            Self::Create(spec) => sandbox.create(spec, &json!({})).await,
            Self::CreateOver(uid, spec) => sandbox.create(spec, &json!({ TAKE_OVER: uid })).await,
            Self::Forsake(uid) => {
                sandbox.forsake(uid);
                return Ok(());
            }
            Self::Edit(spec) => return sandbox.patch(&json!({ "spec": spec })).await,
            Self::Restart => {
                let at = json!({ RESTARTED_AT: "2026-03-01T12:00:00Z" });
                let patch = json!({ "metadata": { "annotations": at } });
                return sandbox.patch(&patch).await;
            }
            Self::Save(name, deletion_policy) => return sandbox.save(name, deletion_policy).await,
            Self::Import(name, of) => return sandbox.import(name, of).await,
            Self::Schedule => {
                let schedule = json!({ "schedule": schedule() });
                let spec = json!({ "snapshots": schedule });
                return sandbox.patch(&json!({ "spec": spec })).await;
            }
            Self::Saved(wanted) => {
                let is_complete = |snapshot: &&Value| snapshot["status"]["phase"] == "Completed";
                let what = format!("{wanted} complete snapshots");
                return sandbox
                    .until(&what, |sandbox| {
                        sandbox.snapshots().iter().filter(is_complete).count() >= *wanted
                    })
                    .await;
            }
            Self::Delete => sandbox.remove(&STREAM_JOBS, JOB).await,
            Self::Remove(kind, name) => sandbox.remove(kind, name).await,
            Self::LoseNodeOf(pod) => sandbox.lose_node_of(pod).await,
            Self::Await(kind, step) => {
                let what = format!("{kind}/{step}");
                return sandbox
                    .until(&what, |sandbox| {
                        let job = sandbox.job().unwrap_or_default();
                        let transition = &job["status"]["transition"];
                        transition["kind"] == *kind && transition["step"] == *step
                    })
                    .await;
            }
            Self::Gone => {
                let is_gone =
                    |sandbox: &Sandbox| sandbox.head().is_some() && sandbox.job().is_none();
                return sandbox.until("the job to be gone", is_gone).await;
            }
            Self::Exists(kind, name) => {
                let what = format!("{} {name}", kind.kind);
                return sandbox
                    .until(&what, |sandbox| sandbox.has_seen(kind, name))
                    .await;
            }
        };
        done.map_err(|error| format!("{self:?}: {error}"))
    }
}

/// A moment in half a minute to a minute and a half, once a year.
fn schedule() -> String {
    let due = Timestamp::now() + SignedDuration::from_secs(90);
    due.strftime("%-M %-H %-d %-m *").to_string()
}
