//! `streamkeeper self-test`: a small job through a start, checkpoints, a suspension and a
//! resumption, a snapshot and the way back to it, on the cluster it runs in. `helm test` runs it.
//!
//! What a status proves is in [`evidence`].

mod evidence;

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use streamkeeper_api::{
    condition,
    v1alpha1::{StreamJob, StreamSnapshot},
};

use self::evidence::{
    checkpoint, is, restoration, resumption, returned, saved, says, settled, snapshot_says,
};
use crate::kube_ext::{ApiError, bounded};

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
    #[error("waited {} s for {what}; it says: {says}", waited.as_secs())]
    Late {
        /// What.
        what: &'static str,
        /// How long.
        waited: Duration,
        /// The conditions of what was waited for.
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
    /// It went back to something else, or does not say to what.
    #[error("asked to go back to {asked}, but the job says: {says}")]
    Elsewhere {
        /// The snapshot.
        asked: String,
        /// What its status says of that.
        says: String,
    },
    /// It took too long as a whole.
    #[error("not done within {} s; the last that went well: {done}", deadline.as_secs())]
    Overdue {
        /// How long it may take.
        deadline: Duration,
        /// The last step that was told of.
        done: String,
    },
}

/// What it tests with.
#[derive(Debug, Clone)]
pub struct SelfTest {
    /// Namespace of the job.
    pub namespace: String,
    /// Name of the job and of its snapshot; those of a test before are deleted first.
    pub name: String,
    /// How long each step may take.
    pub patience: Duration,
    /// How long all steps together may take, beside the deletion of job and snapshot.
    pub deadline: Duration,
}

impl SelfTest {
    /// Runs it; job and snapshot are deleted in any case. `tell` is told of every step.
    pub async fn run(&self, client: Client, tell: impl Fn(&str)) -> Result<(), SelfTestError> {
        let jobs: Api<StreamJob> = Api::namespaced(client.clone(), &self.namespace);
        let snapshots: Api<StreamSnapshot> = Api::namespaced(client, &self.namespace);
        let done = Mutex::new("nothing".to_owned());
        let noted = |step: &str| {
            step.clone_into(&mut done.lock().unwrap_or_else(PoisonError::into_inner));
            tell(step);
        };
        self.clear(&jobs, &snapshots).await?;
        let steps = self.steps(&jobs, &snapshots, &noted);
        let result = match tokio::time::timeout(self.deadline, steps).await {
            Ok(result) => result,
            Err(_) => Err(SelfTestError::Overdue {
                deadline: self.deadline,
                done: done.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            }),
        };
        let removed = self.clear(&jobs, &snapshots).await;
        result?;
        removed?;
        tell("deleted, and everything of it is gone");
        Ok(())
    }

    async fn clear(
        &self,
        jobs: &Api<StreamJob>,
        snapshots: &Api<StreamSnapshot>,
    ) -> Result<(), SelfTestError> {
        self.remove(jobs, says).await?;
        self.remove(snapshots, snapshot_says).await
    }

    async fn steps(
        &self,
        jobs: &Api<StreamJob>,
        snapshots: &Api<StreamSnapshot>,
        tell: &impl Fn(&str),
    ) -> Result<(), SelfTestError> {
        let job: StreamJob = serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": { "sql": { "text": SQL }, "workers": { "replicas": 1 }, "checkpoints": { "interval": "1s" } },
        }))?;
        self.create(jobs, &job).await?;
        tell("created");
        self.until(jobs, says, "Ready and a checkpoint", |job| {
            settled(job) && is(job, condition::kind::READY) && checkpoint(job).is_some()
        })
        .await?;
        tell("it runs and takes checkpoints");
        self.patch(jobs, json!({ "suspend": true })).await?;
        let job = self
            .until(jobs, says, "Suspended", |job| {
                settled(job) && is(job, condition::kind::SUSPENDED)
            })
            .await?;
        let suspended = checkpoint(&job).unwrap_or(0);
        tell(&format!("suspended at checkpoint {suspended}"));
        self.patch(jobs, json!({ "suspend": false })).await?;
        let job = self
            .until(jobs, says, "Ready, with what it went on from", |job| {
                settled(job) && is(job, condition::kind::READY) && resumption(job).is_some()
            })
            .await?;
        let resumed = resumption(&job).and_then(|entry| entry.restored_from);
        if resumed.is_none_or(|resumed| resumed < suspended) {
            return Err(SelfTestError::WentBack { suspended, resumed });
        }
        tell(&format!("resumed from checkpoint {}", resumed.unwrap_or(0)));
        self.there_and_back(jobs, snapshots, tell).await
    }

    /// Takes a snapshot and goes back to it.
    async fn there_and_back(
        &self,
        jobs: &Api<StreamJob>,
        snapshots: &Api<StreamSnapshot>,
        tell: &impl Fn(&str),
    ) -> Result<(), SelfTestError> {
        let snapshot: StreamSnapshot = serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": { "jobRef": { "name": self.name }, "deletionPolicy": "Delete" },
        }))?;
        self.create(snapshots, &snapshot).await?;
        let snapshot = self
            .until(snapshots, snapshot_says, "a complete snapshot", |found| {
                saved(found).is_some()
            })
            .await?;
        let to = saved(&snapshot).unwrap_or_default();
        tell(&format!("snapshot of checkpoint {}", to.checkpoint));
        self.patch(
            jobs,
            json!({ "restoreFrom": { "snapshotRef": { "name": self.name } } }),
        )
        .await?;
        let what = "Ready, with the snapshot it went back to";
        let job = self
            .until(jobs, says, what, |job| {
                settled(job) && is(job, condition::kind::READY) && restoration(job).is_some()
            })
            .await?;
        let from = returned(&job, &self.name, &to)?;
        tell(&format!(
            "went back to checkpoint {}, as checkpoint {from}",
            to.checkpoint
        ));
        let what = "a checkpoint after the way back to the snapshot";
        let job = self
            .until(jobs, says, what, |job| checkpoint(job) > Some(from))
            .await?;
        let newer = checkpoint(&job).unwrap_or(0);
        tell(&format!("took checkpoint {newer} after that"));
        Ok(())
    }

    fn what<K: Resource<DynamicType = ()>>(&self) -> String {
        format!("{} {}/{}", K::kind(&()), self.namespace, self.name)
    }

    async fn create<K>(&self, api: &Api<K>, object: &K) -> Result<(), SelfTestError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let params = PostParams::default();
        bounded("create", self.what::<K>(), api.create(&params, object)).await?;
        Ok(())
    }

    async fn patch(&self, jobs: &Api<StreamJob>, spec: Value) -> Result<(), SelfTestError> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let params = PatchParams::default();
        bounded(
            "change",
            self.what::<StreamJob>(),
            jobs.patch(&self.name, &params, &patch),
        )
        .await?;
        Ok(())
    }

    async fn look<K>(&self, api: &Api<K>) -> Result<Option<K>, SelfTestError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        Ok(bounded("read", self.what::<K>(), api.get_opt(&self.name)).await?)
    }

    async fn until<K>(
        &self,
        api: &Api<K>,
        says: impl Fn(&K) -> String,
        what: &'static str,
        is_so: impl Fn(&K) -> bool,
    ) -> Result<K, SelfTestError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let mut waited = Duration::ZERO;
        loop {
            let found = self.look(api).await?;
            let says = found.as_ref().map_or_else(String::new, &says);
            if let Some(found) = found.filter(&is_so) {
                return Ok(found);
            }
            if waited >= self.patience {
                return Err(SelfTestError::Late { what, waited, says });
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
    }

    async fn remove<K>(
        &self,
        api: &Api<K>,
        says: impl Fn(&K) -> String,
    ) -> Result<(), SelfTestError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let mut waited = Duration::ZERO;
        while let Some(found) = self.look(api).await? {
            if found.meta().deletion_timestamp.is_none() {
                let params = DeleteParams::default();
                let deleting = api.delete(&self.name, &params);
                match bounded("delete", self.what::<K>(), deleting).await {
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            if waited >= self.patience {
                let (what, says) = ("its deletion", says(&found));
                return Err(SelfTestError::Late { what, waited, says });
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        Ok(())
    }
}
