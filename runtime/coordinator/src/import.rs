//! A start from a savepoint: proven first, copied among the job's own checkpoints, then claimed
//! with the one write of HEAD.
//!
//! Nothing before that write touches what the job has; whatever ends this process earlier leaves
//! objects that no manifest names.

use std::sync::Arc;

use streamkeeper_protocol::{
    compatibility::StateVerdict,
    head::{Head, Import, LastCheckpoint},
    manifest::Manifest,
};
use streamkeeper_storage::{
    ImportedObjects, SavepointError, StorageError, import_objects, import_plan, open_savepoint,
    read_manifest, verify_manifest, write_imported_manifest,
};

use crate::{
    allowed_targets::folder_of,
    commands::Refusal,
    compiled_job::CompiledJob,
    config::CoordinatorConfig,
    restore_point::{self, RestorePoint, Unfit},
};
use streamkeeper_control::failpoint;

/// A savepoint that this plan can go on from, and its copy: what is still good when another
/// coordinator wrote HEAD first.
#[derive(Debug)]
pub(crate) struct VerifiedSavepoint {
    folder: String,
    /// Its objects are those of the folder.
    savepoint: RestorePoint,
    /// Attempt that the copy was made for, and its objects.
    copy: Option<(u64, ImportedObjects)>,
}

/// Makes the restore point that `import` needs, of a savepoint that may be verified already;
/// `replaced` is HEAD as it is.
pub(crate) async fn import(
    config: Arc<CoordinatorConfig>,
    job: Arc<CompiledJob>,
    uri: String,
    verified: Option<VerifiedSavepoint>,
    import: Import,
    replaced: Option<Head>,
) -> Result<(VerifiedSavepoint, Head, RestorePoint), Refusal> {
    let mut verified = match verified {
        Some(verified) => verified,
        None => verify(&config, &job, &uri, &mut |_| {}).await?,
    };
    let failed = |error: StorageError| refused(&uri, error.into());
    let (key, manifest) = verified
        .copy(&config, &import, replaced.as_ref())
        .await
        .map_err(failed)?;
    let needs_commit = !manifest.committables.is_empty();
    let last = LastCheckpoint {
        checkpoint: manifest.checkpoint,
        manifest: key,
        needs_commit,
        committed: !needs_commit,
        completed_ms: manifest.completed_ms,
        written_bytes: 0,
        total_bytes: manifest.total_bytes(),
        duration_ms: 0,
    };
    let head = import.with(last, &manifest.plan_hash)?;
    tracing::info!(
        uri,
        savepoint_of = verified.savepoint.manifest.checkpoint,
        checkpoint = manifest.checkpoint,
        "the savepoint is among the job's checkpoints"
    );
    let point = RestorePoint {
        manifest: Arc::new(manifest),
        states: verified.savepoint.states.clone(),
    };
    Ok((verified, head, point))
}

/// Reads a savepoint and everything in it, and sees that the plan fits; says how many bytes were
/// compared so far.
pub(crate) async fn verify(
    config: &CoordinatorConfig,
    job: &CompiledJob,
    uri: &str,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<VerifiedSavepoint, Refusal> {
    let store = &*config.store;
    let folder = folder_of(store, uri)?;
    let (_, manifest, _) = open_savepoint(store, &folder)
        .await
        .map_err(|error| refused(uri, error))?;
    let savepoint =
        restore_point::fit(config, manifest, job).map_err(|unfit| does_not_fit(uri, &unfit))?;
    // Before any block is decoded: damage is no matter of the plan.
    verify_manifest(store, &savepoint.manifest, &mut |checked| {
        progress(checked.bytes);
    })
    .await
    .map_err(|error| refused(uri, error))?;
    restore_point::verify_readable(store, &savepoint, &job.plan)
        .await
        .map_err(|unfit| does_not_fit(uri, &unfit))?;
    Ok(VerifiedSavepoint {
        folder,
        savepoint,
        copy: None,
    })
}

fn refused(uri: &str, error: SavepointError) -> Refusal {
    match error {
        SavepointError::Storage(error) => Refusal::new(
            "StorageUnavailable",
            format!("bringing the savepoint {uri}: {error}"),
        ),
        SavepointError::NotFound { at } => Refusal::new(
            "SnapshotNotFound",
            format!("there is no savepoint at {at}, or only half of one"),
        ),
        SavepointError::Missing { .. } | SavepointError::Damaged { .. } => Refusal::new(
            "RestoreFailed",
            format!("the savepoint {uri} cannot be restored: {error}; restore another one"),
        ),
    }
}

fn does_not_fit(uri: &str, unfit: &Unfit) -> Refusal {
    match unfit {
        Unfit::Storage { source, .. } => refused(uri, source.clone().into()),
        Unfit::Incompatible { message, .. } => {
            Refusal::new("StateIncompatible", format!("savepoint {uri}: {message}"))
        }
    }
}

impl VerifiedSavepoint {
    /// Checkpoint that it was of its own job.
    pub(crate) fn checkpoint(&self) -> u64 {
        self.savepoint.manifest.checkpoint
    }

    /// How the plan's states fit.
    pub(crate) fn states(&self) -> Vec<StateVerdict> {
        self.savepoint.states.clone()
    }

    /// Copies what is not copied yet, and writes the manifest of the checkpoint that it becomes.
    async fn copy(
        &mut self,
        config: &CoordinatorConfig,
        import: &Import,
        replaced: Option<&Head>,
    ) -> Result<(String, Manifest), StorageError> {
        let (store, paths) = (&*config.store, &config.paths);
        let next = import.head();
        let saved = &*self.savepoint.manifest;
        let objects = match &self.copy {
            // The owner of HEAD collects nothing of later attempts than its own; after
            // another claim there copies may be gone.
            Some((attempt, objects)) if *attempt == next.attempt => objects.clone(),
            _ => {
                let (number, attempt) = (import.checkpoint(), next.attempt);
                let objects = import_objects(store, paths, saved, number, attempt).await?;
                self.copy = Some((attempt, objects.clone()));
                objects
            }
        };
        failpoint::pass(failpoint::SAVEPOINT_COPIED);
        let mut manifest = saved.clone();
        objects.rename(&mut manifest);
        if !replaced.is_some_and(|head| has_its_commits_open(config, head, saved)) {
            // Committed long ago, or another job's.
            manifest.committables.clear();
        }
        manifest.job_uid.clone_from(&next.job_uid);
        manifest.lineage.clone_from(&next.lineage);
        manifest.revision = next.revision;
        manifest.attempt = next.attempt;
        manifest.checkpoint = import.checkpoint();
        manifest.last_record_ms = match replaced.filter(|head| head.job_uid == next.job_uid) {
            Some(head) => last_record_ms(config, head).await,
            None => None,
        };
        import_plan(store, paths, &self.folder, &manifest.plan_hash).await?;
        let key = write_imported_manifest(store, paths, &manifest).await?;
        failpoint::pass(failpoint::SAVEPOINT_IMPORTED);
        Ok((key, manifest))
    }
}

/// Whether the savepoint is the very checkpoint that HEAD names and whose output is not confirmed:
/// then that must still be committed.
fn has_its_commits_open(config: &CoordinatorConfig, head: &Head, saved: &Manifest) -> bool {
    let same = head.last.as_ref().is_some_and(|last| {
        config.paths.checkpoint_of(&last.manifest) == Some((saved.checkpoint, saved.attempt))
    });
    same && head.has_open_commits()
        && head.lineage == saved.lineage
        && head.job_uid == config.job.uid
}

/// When a record of this job last flowed, as far as its restore point tells: the pause is measured
/// from there, not from the savepoint.
async fn last_record_ms(config: &CoordinatorConfig, head: &Head) -> Option<i64> {
    let last = head.last.as_ref()?;
    let manifest = read_manifest(&*config.store, &last.manifest).await.ok()?;
    manifest.last_record_ms
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use streamkeeper_protocol::{
        head::{ClaimDecision, Claimant, Ids, Order, RunState, claim},
        job_api::PromoteFrom,
    };
    use streamkeeper_storage::{
        Condition, MemoryStore, ObjectStore, copy_savepoint, read_head, read_manifest,
    };

    use super::*;
    use crate::{
        compiled_job::compile,
        restore_point::tests::{SQL, checkpointed, config},
    };

    /// A job with a savepoint in `saved`, and its HEAD.
    async fn saved() -> (MemoryStore, Head) {
        let (store, last) = checkpointed().await;
        let paths = config(store.clone(), false).paths;
        let manifest = read_manifest(&store, &last.manifest).await.unwrap();
        copy_savepoint(&store, &paths, &manifest, "saved")
            .await
            .unwrap();
        let (mut head, _) = read_head(&store, &paths).await.unwrap().unwrap();
        head.job_uid = "u".to_owned();
        (store, head)
    }

    /// What a claim of revision `revision` of the StreamJob `uid` from the savepoint is allowed.
    fn decided_import(head: Option<&Head>, uid: &str, revision: u64) -> Import {
        let claimant = Claimant {
            job_uid: uid,
            revision,
            plan_hash: "p",
            max_parallelism: 8,
            workers: 1,
            pod: "",
        };
        let from = PromoteFrom::Savepoint {
            uri: "saved".to_owned(),
        };
        let order = Order::Promoted {
            key: "k",
            from: &from,
            running_owner: head.map(|head| head.job_uid.as_str()),
        };
        let ids = Ids {
            nonce: "n",
            token: "t",
            lineage: "new",
        };
        match claim(head, &claimant, order, ids) {
            ClaimDecision::Import(import) => import,
            other => panic!("{other:?}"),
        }
    }

    async fn refusal(store: &MemoryStore, sql: &str, uri: &str) -> (&'static str, String) {
        let config = config(store.clone(), false);
        let refusal = verify(&config, &compile(sql).unwrap(), uri, &mut |_| {}).await;
        let refusal = refusal.unwrap_err();
        (refusal.code(), refusal.message().to_owned())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_stands_in_the_way_of_a_restore_is_told_before_anything_happens() {
        let (store, _) = saved().await;
        let (code, why) = refusal(&store, SQL, "nowhere").await;
        assert_eq!(code, "SnapshotNotFound", "{why}");
        let (code, why) = refusal(&store, SQL, "s3://another/saved").await;
        assert_eq!(code, "BadRequest", "{why}");
        let other = SQL.replace("SELECT k", "SELECT v").replace("BY k", "BY v");
        let (code, why) = refusal(&store, &other, "saved").await;
        assert_eq!(code, "StateIncompatible", "{why}");
        assert!(why.contains("would be lost"), "{why}");
        let data: Vec<String> = store.keys();
        let data = data.iter().find(|key| key.starts_with("saved/data/"));
        let key = data.unwrap();
        let mut bytes = store.get(key).await.unwrap().bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = Bytes::from(bytes);
        store.put(key, damaged, Condition::Always).await.unwrap();
        let (code, why) = refusal(&store, SQL, "saved").await;
        assert!(code == "RestoreFailed" && why.contains(key), "{code} {why}");
        store.delete(key).await.unwrap();
        let (code, why) = refusal(&store, SQL, "saved").await;
        assert!(code == "RestoreFailed" && why.contains(key), "{code} {why}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_is_made_once_while_somebody_else_writes_head() {
        let (store, head) = saved().await;
        let config = Arc::new(config(store.clone(), false));
        let job = Arc::new(compile(SQL).unwrap());
        let uri = || "memory:///saved".to_owned();
        let (first, second) = (
            decided_import(Some(&head), "u", 2),
            decided_import(Some(&head), "u", 2),
        );
        let replaced = || Some(head.clone());
        let done = import(config.clone(), job.clone(), uri(), None, first, replaced()).await;
        let (verified, next, point) = done.unwrap();
        assert_eq!((next.revision, next.state), (2, RunState::Running));
        let objects = point.manifest.objects().len();
        assert!(objects > 0, "nothing to copy");
        let again = import(config, job, uri(), Some(verified), second, replaced()).await;
        let (_, _, again) = again.unwrap();
        assert_eq!(again.manifest.objects(), point.manifest.objects());
        // Under another lineage it belongs to that one.
        assert_eq!(again.manifest.lineage, head.lineage);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn output_that_only_the_savepoint_can_still_commit_comes_along() {
        let (store, mut head) = saved().await;
        let config = config(store.clone(), false);
        let saved_manifest = open_savepoint(&store, "saved").await.unwrap().1;
        if let Some(last) = &mut head.last {
            last.needs_commit = true;
            last.committed = false;
        }
        assert!(has_its_commits_open(&config, &head, &saved_manifest));
        let mut confirmed = head.clone();
        if let Some(last) = &mut confirmed.last {
            last.committed = true;
        }
        assert!(!has_its_commits_open(&config, &confirmed, &saved_manifest));
        let older = Manifest {
            checkpoint: saved_manifest.checkpoint - 1,
            ..saved_manifest.clone()
        };
        assert!(!has_its_commits_open(&config, &head, &older));
        let another = Head {
            lineage: "another".to_owned(),
            ..head
        };
        assert!(!has_its_commits_open(&config, &another, &saved_manifest));
    }
}
