//! `streamkeeper self-test`: a small job through a start, checkpoints, a suspension and a resumption, on the cluster it runs in. `helm test` runs it.

use std::time::Duration;

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    api::{
        condition,
        v1alpha1::{HistoryEntry, StreamJob, TransitionKind},
    },
    kube_ext::{ApiError, bounded},
};

/// A job that needs nothing but storage and has state.
const SQL: &str = "\
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50', 'fields.n.min' = '1', 'fields.n.max' = '10');
CREATE TABLE nowhere (n BIGINT, seen BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n, COUNT(*) FROM numbers GROUP BY n;
";
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The API server did not do something.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something did not happen in time.
    #[error("waited {} s for {what}; the job says: {says}", waited.as_secs())]
    Late {
        /// What.
        what: &'static str,
        /// How long.
        waited: Duration,
        /// Its conditions.
        says: String,
    },
    /// The manifest is not what this version understands.
    #[error("the manifest of the job is wrong: {0}")]
    Manifest(#[from] serde_json::Error),
    /// It went on from an older checkpoint, or from nothing.
    #[error("suspended at checkpoint {suspended}, but resumed from {resumed:?}")]
    WentBack {
        /// The checkpoint it was suspended at.
        suspended: u64,
        /// The checkpoint it went on from.
        resumed: Option<u64>,
    },
}

/// What it tests with.
#[derive(Debug, Clone)]
pub struct SelfTest {
    /// Namespace of the job.
    pub namespace: String,
    /// Name of the job; one of that name from a test before is deleted first.
    pub name: String,
    /// How long each step may take.
    pub patience: Duration,
}

impl SelfTest {
    /// Runs it; the job is deleted in any case. `tell` is told of every step.
    pub async fn run(&self, client: Client, tell: impl Fn(&str)) -> Result<(), SelfTestError> {
        let jobs: Api<StreamJob> = Api::namespaced(client, &self.namespace);
        self.remove(&jobs).await?;
        let result = self.steps(&jobs, &tell).await;
        let removed = self.remove(&jobs).await;
        result?;
        removed?;
        tell("deleted, and everything of it is gone");
        Ok(())
    }

    async fn steps(
        &self,
        jobs: &Api<StreamJob>,
        tell: &impl Fn(&str),
    ) -> Result<(), SelfTestError> {
        let job: StreamJob = serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": { "sql": { "text": SQL }, "workers": { "replicas": 1 }, "checkpoints": { "interval": "1s" } },
        }))?;
        bounded(
            "create",
            self.what(),
            jobs.create(&PostParams::default(), &job),
        )
        .await?;
        tell("created");
        self.until(jobs, "Ready and a checkpoint", |job| {
            is(job, condition::kind::READY) && checkpoint(job).is_some()
        })
        .await?;
        tell("it runs and takes checkpoints");
        self.patch(jobs, json!({ "suspend": true })).await?;
        let job = self
            .until(jobs, "Suspended", |job| is(job, condition::kind::SUSPENDED))
            .await?;
        let suspended = checkpoint(&job).unwrap_or(0);
        tell(&format!("suspended at checkpoint {suspended}"));
        self.patch(jobs, json!({ "suspend": false })).await?;
        let job = self
            .until(jobs, "Ready, with what it went on from", |job| {
                is(job, condition::kind::READY) && resumption(job).is_some()
            })
            .await?;
        let resumed = resumption(&job).and_then(|entry| entry.restored_from);
        if resumed.is_none_or(|resumed| resumed < suspended) {
            return Err(SelfTestError::WentBack { suspended, resumed });
        }
        tell(&format!("resumed from checkpoint {}", resumed.unwrap_or(0)));
        Ok(())
    }

    fn what(&self) -> String {
        format!("StreamJob {}/{}", self.namespace, self.name)
    }

    async fn patch(&self, jobs: &Api<StreamJob>, spec: Value) -> Result<(), SelfTestError> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let params = PatchParams::default();
        bounded(
            "change",
            self.what(),
            jobs.patch(&self.name, &params, &patch),
        )
        .await?;
        Ok(())
    }

    async fn look(&self, jobs: &Api<StreamJob>) -> Result<Option<StreamJob>, SelfTestError> {
        Ok(bounded("read", self.what(), jobs.get_opt(&self.name)).await?)
    }

    async fn until(
        &self,
        jobs: &Api<StreamJob>,
        what: &'static str,
        is_so: impl Fn(&StreamJob) -> bool,
    ) -> Result<StreamJob, SelfTestError> {
        let mut waited = Duration::ZERO;
        loop {
            let job = self.look(jobs).await?;
            let says = job.as_ref().map_or_else(String::new, says);
            if let Some(job) = job.filter(|job| settled(job) && is_so(job)) {
                return Ok(job);
            }
            if waited >= self.patience {
                return Err(SelfTestError::Late { what, waited, says });
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
    }

    async fn remove(&self, jobs: &Api<StreamJob>) -> Result<(), SelfTestError> {
        let mut waited = Duration::ZERO;
        while let Some(job) = self.look(jobs).await? {
            if job.metadata.deletion_timestamp.is_none() {
                let params = DeleteParams::default();
                let deleting = jobs.delete(&self.name, &params);
                match bounded("delete", self.what(), deleting).await {
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            if waited >= self.patience {
                let (what, says) = ("its deletion", says(&job));
                return Err(SelfTestError::Late { what, waited, says });
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        Ok(())
    }
}

/// Whether its status is about its newest spec, and nothing is under way.
fn settled(job: &StreamJob) -> bool {
    job.status.as_ref().is_some_and(|status| {
        status.observed_generation == job.metadata.generation && status.transition.is_none()
    })
}

fn is(job: &StreamJob, kind: &str) -> bool {
    let status = job.status.as_ref();
    status.is_some_and(|status| condition::is_true(&status.conditions, kind))
}

fn checkpoint(job: &StreamJob) -> Option<u64> {
    Some(job.status.as_ref()?.last_checkpoint.as_ref()?.id)
}

/// Its resumption, once it had its first record.
fn resumption(job: &StreamJob) -> Option<&HistoryEntry> {
    let history = &job.status.as_ref()?.history;
    let resumed = |entry: &&HistoryEntry| entry.kind == TransitionKind::Resume;
    history
        .iter()
        .find(resumed)
        .filter(|entry| entry.pause.is_some())
}

fn says(job: &StreamJob) -> String {
    let conditions = job.status.iter().flat_map(|status| &status.conditions);
    let all: Vec<String> = conditions
        .map(|condition| {
            let (kind, status) = (&condition.type_, &condition.status);
            format!(
                "{kind}={status} ({}: {})",
                condition.reason, condition.message
            )
        })
        .collect();
    if all.is_empty() {
        format!(
            "nothing; is an operator looking after namespace {}?",
            job.namespace().unwrap_or_default()
        )
    } else {
        all.join(", ")
    }
}
