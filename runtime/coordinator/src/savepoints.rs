//! Savepoints: a checkpoint pinned in HEAD, copied to a folder of its own, then told.

use std::sync::Arc;

use streamkeeper_protocol::{
    head::{OperationKind, OperationResult, SavepointRecord},
    job_api::StopRequest,
};
use streamkeeper_storage::{
    ObjectStore, SavepointError, StorageError, copy_savepoint, read_manifest,
};
use tokio::sync::watch;

use crate::{
    allowed_targets,
    attempt_failure::AttemptExit,
    commands::Refusal,
    config::CoordinatorConfig,
    head_writer::{HeadWriteError, HeadWriter},
    leader::Leader,
};

/// How copying a savepoint went.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) key: String,
    pub(crate) checkpoint: u64,
    pub(crate) folder: String,
    pub(crate) result: Result<(), CopyError>,
}

/// Why a savepoint was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("copying the savepoint: {0}")]
    Storage(#[from] StorageError),
    #[error("copying the savepoint: {0}")]
    Savepoint(#[from] SavepointError),
    #[error(
        "sink output of checkpoint {checkpoint} is not committed, and has not got on for {seconds} s; a start \
         from its savepoint elsewhere would lose it"
    )]
    NotCommitted { checkpoint: u64, seconds: u64 },
    #[error(transparent)]
    Keep(#[from] HeadWriteError),
}

impl Leader<'_> {
    /// Where a savepoint goes: a folder among the job's own savepoints.
    pub(crate) fn folder(&self, key: &str, uri: Option<&str>) -> Result<String, Refusal> {
        let paths = &self.context.config.paths;
        let Some(uri) = uri else {
            return Ok(paths.savepoint(&allowed_targets::savepoint_name(key)));
        };
        let folder = folder_of(&*self.context.config.store, uri)?;
        allowed_targets::savepoint(paths, &folder)?;
        Ok(folder)
    }

    pub(crate) fn full_uri(&self, folder: &str) -> String {
        format!("{}/{folder}", self.context.config.store.describe())
    }

    /// Copies every savepoint that HEAD pins.
    pub(crate) fn resume_copies(&mut self) {
        let head = self.head_writer.head();
        // A stop copies its own savepoint before the graph starts.
        let stops = |key: &str| {
            self.asked
                .iter()
                .any(|command| command.ends_or_moves() && command.key() == key)
        };
        let open: Vec<_> = head
            .savepoints
            .iter()
            .filter(|record| !record.complete && !stops(&record.key))
            .cloned()
            .collect();
        for record in open {
            self.copy(record);
        }
    }

    /// Copies a savepoint beside the running job.
    pub(crate) fn copy(&mut self, record: SavepointRecord) {
        let (config, head_writer) = (self.context.config.clone(), self.head_writer.clone());
        let (uri, progress) = (self.full_uri(&record.uri), self.progress.subscribe());
        self.work.copies.spawn(async move {
            let result = copy_and_tell(&config, &head_writer, &record, uri, progress).await;
            Copied {
                key: record.key,
                checkpoint: record.checkpoint,
                folder: record.uri,
                result,
            }
        });
    }

    /// What a finished copy means for the operation that asked for it.
    pub(crate) fn copied(&mut self, copied: &Copied) -> Result<(), AttemptExit> {
        let result = match &copied.result {
            Ok(()) => OperationResult::Done {
                checkpoint: Some(copied.checkpoint),
                uri: Some(self.full_uri(&copied.folder)),
            },
            Err(CopyError::Keep(error @ (HeadWriteError::Fenced(_) | HeadWriteError::Gone))) => {
                return Err(error.clone().into());
            }
            Err(error) => OperationResult::Failed {
                why: error.to_string(),
            },
        };
        let asked = self.context.published_status.operation(&copied.key);
        // A stop goes on from here; its own result comes with its own write.
        if asked.is_none_or(|operation| operation.kind == OperationKind::Savepoint) {
            self.finish(&copied.key, OperationKind::Savepoint, result);
        }
        Ok(())
    }

    /// A stop with savepoint while nothing runs: the restore point is what is saved.
    pub(crate) async fn save_before_stop(
        &mut self,
        request: &StopRequest,
    ) -> Result<Result<(), String>, AttemptExit> {
        let folder = match self.folder(&request.key, None) {
            Ok(folder) => folder,
            Err(refusal) => return Ok(Err(refusal.message().to_owned())),
        };
        if self.head_writer.head().last.is_none() {
            return Ok(Ok(()));
        }
        let (key, release) = (request.key.clone(), request.release);
        let pinned = self
            .try_write(move |head| {
                let change = head.change().add_savepoint(&key, &key, &folder)?;
                change.begin_stop(&key, release)
            })
            .await?;
        let head = match pinned {
            Ok(head) => head,
            Err(refused) => return Ok(Err(refused.to_string())),
        };
        let Some(record) = head
            .savepoints
            .iter()
            .find(|record| record.key == request.key)
            .cloned()
        else {
            return Ok(Err("HEAD did not keep the savepoint".to_owned()));
        };
        if record.complete {
            return Ok(Ok(()));
        }
        let (config, head_writer) = (self.context.config.clone(), self.head_writer.clone());
        let (uri, progress) = (self.full_uri(&record.uri), self.progress.subscribe());
        match self
            .during(
                async move { copy_and_tell(&config, &head_writer, &record, uri, progress).await },
            )
            .await?
        {
            Ok(()) => Ok(Ok(())),
            Err(CopyError::Keep(error @ (HeadWriteError::Fenced(_) | HeadWriteError::Gone))) => {
                Err(error.into())
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }
}

/// The folder of the job's bucket that a URI, or a key in it, names.
pub(crate) fn folder_of(store: &dyn ObjectStore, uri: &str) -> Result<String, Refusal> {
    let bucket = store.describe();
    let folder = match uri.strip_prefix(&bucket) {
        // Another bucket's name may begin with this one's.
        Some(rest) if rest.starts_with('/') => rest,
        _ if uri.contains("://") => {
            let message = format!("'{uri}' is not in {bucket}: savepoints lie in the job's bucket");
            return Err(Refusal::bad_request(&message));
        }
        _ => uri,
    };
    let folder = folder.trim_matches('/');
    if folder.is_empty()
        || folder
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(Refusal::bad_request(&format!(
            "'{uri}' is not the name of a folder in {bucket}"
        )));
    }
    Ok(folder.to_owned())
}

async fn copy_and_tell(
    config: &Arc<CoordinatorConfig>,
    head_writer: &HeadWriter,
    record: &SavepointRecord,
    uri: String,
    progress: watch::Receiver<u64>,
) -> Result<(), CopyError> {
    let copy = async {
        let patience = config.commit_timeout;
        let checkpoint = record.checkpoint;
        if !head_writer.committed(checkpoint, patience, progress).await {
            return Err(CopyError::NotCommitted {
                checkpoint,
                seconds: patience.as_secs(),
            });
        }
        let manifest = read_manifest(&*config.store, &record.manifest).await?;
        let copied = copy_savepoint(&*config.store, &config.paths, &manifest, &record.uri).await?;
        Ok::<_, CopyError>(copied)
    };
    let copied = copy.await;
    let (name, key) = (record.name.clone(), record.key.clone());
    let result = match &copied {
        Ok(_) => OperationResult::Done {
            checkpoint: Some(record.checkpoint),
            uri: Some(uri),
        },
        Err(error) => OperationResult::Failed {
            why: error.to_string(),
        },
    };
    let complete = copied.is_ok();
    head_writer
        .change(move |head| {
            let change = head.change();
            let change = if complete {
                change.finish_savepoint(&name)?
            } else {
                change.abandon_savepoint(&name)
            };
            match head.operation(&key) {
                // A stop is not done with its savepoint: it writes its own result.
                Some(known) if known.kind != OperationKind::Savepoint && complete => Ok(change),
                Some(_) => change.finish_operation(&key, result.clone()),
                None => Ok(change),
            }
        })
        .await?;
    copied?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::{S3Store, StorageConfig};

    use super::*;

    #[test]
    fn a_folder_is_one_of_the_jobs_own_bucket() {
        let store = S3Store::new("bucket", StorageConfig::default());
        let folder = |uri: &str| folder_of(&store, uri).ok();
        for uri in ["s3://bucket/a/b", "s3://bucket/a/b/", "a/b", "/a/b/"] {
            assert_eq!(folder(uri).as_deref(), Some("a/b"), "{uri}");
        }
        for uri in [
            "s3://bucket2/a/b",
            "s3://other/a",
            "file:///a",
            "s3://bucket",
            "s3://bucket/",
            "",
            "a//b",
            "a/../b",
        ] {
            assert_eq!(folder(uri), None, "{uri}");
        }
    }
}
