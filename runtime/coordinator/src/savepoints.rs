//! Savepoints: a checkpoint that HEAD pins is copied to a folder of its own.

use std::sync::Arc;

use streamkeeper_protocol::{
    head::{OperationKind, OperationResult, SavepointRecord},
    job_api::StopRequest,
};
use streamkeeper_storage::{SavepointError, StorageError, copy_savepoint, read_manifest};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    allowed_targets::{self, full_uri},
    attempt_failure::AttemptExit,
    config::CoordinatorConfig,
    head_ownership::HeadOwnership,
    head_writer::{HeadWriteError, HeadWriter},
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

/// Copies of savepoints beside the running job. They end with the attempt.
pub(crate) struct Savepoints {
    copies: JoinSet<Copied>,
    /// How far the workers are with what they send to stores.
    progress: watch::Sender<u64>,
}

impl Savepoints {
    pub(crate) fn new() -> Self {
        Self {
            copies: JoinSet::new(),
            progress: watch::Sender::new(0),
        }
    }

    /// Copies every savepoint that HEAD pins.
    pub(crate) fn resume(&mut self, owner: &HeadOwnership<'_>) {
        let head = owner.head_writer.head();
        // A stop copies its own savepoint before the graph starts.
        let stops = |key: &str| {
            owner
                .operations
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
            self.copy(owner, record);
        }
    }

    /// Copies a savepoint beside the running job.
    pub(crate) fn copy(&mut self, owner: &HeadOwnership<'_>, record: SavepointRecord) {
        let (config, head_writer) = (owner.context.config.clone(), owner.head_writer.clone());
        let (uri, progress) = (
            full_uri(&*config.store, &record.uri),
            self.progress.subscribe(),
        );
        self.copies.spawn(async move {
            let result = copy_and_tell(&config, &head_writer, &record, uri, progress).await;
            Copied {
                key: record.key,
                checkpoint: record.checkpoint,
                folder: record.uri,
                result,
            }
        });
    }

    /// Waits for the next copy that ends; for ever while there is none.
    pub(crate) async fn next_copied(&mut self) -> Copied {
        loop {
            match self.copies.join_next().await {
                Some(Ok(copied)) => return copied,
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Notes how far the workers are; copies wait for their commits as long as this grows.
    pub(crate) fn note_progress(&self, progress: u64) {
        self.progress.send_if_modified(|told| {
            let before = std::mem::replace(told, progress);
            before < progress
        });
    }

    /// Ends all copies. The next attempt begins them again.
    pub(crate) fn abort(&mut self) {
        self.copies = JoinSet::new();
    }

    /// A stop with savepoint while nothing runs: the restore point is what is saved.
    pub(crate) async fn save_before_stop(
        &self,
        owner: &mut HeadOwnership<'_>,
        request: &StopRequest,
    ) -> Result<Result<(), String>, AttemptExit> {
        let folder = match allowed_targets::savepoint_folder(
            &*owner.context.config.store,
            &owner.context.config.paths,
            &request.key,
            None,
        ) {
            Ok(folder) => folder,
            Err(refusal) => return Ok(Err(refusal.message().to_owned())),
        };
        if owner.head_writer.head().last.is_none() {
            return Ok(Ok(()));
        }
        let (key, release) = (request.key.clone(), request.release);
        let pinned = owner
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
        let (config, head_writer) = (owner.context.config.clone(), owner.head_writer.clone());
        let (uri, progress) = (
            full_uri(&*config.store, &record.uri),
            self.progress.subscribe(),
        );
        match owner
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

/// What a finished copy means for the operation that asked for it.
pub(crate) fn note_copied(
    owner: &mut HeadOwnership<'_>,
    copied: &Copied,
) -> Result<(), AttemptExit> {
    let result = match &copied.result {
        Ok(()) => OperationResult::Done {
            checkpoint: Some(copied.checkpoint),
            uri: Some(full_uri(&*owner.context.config.store, &copied.folder)),
        },
        Err(CopyError::Keep(error @ (HeadWriteError::Fenced(_) | HeadWriteError::Gone))) => {
            return Err(error.clone().into());
        }
        Err(error) => OperationResult::Failed {
            why: error.to_string(),
        },
    };
    let asked = owner.context.published_status.operation(&copied.key);
    // A stop goes on from here; its own result comes with its own write.
    if asked.is_none_or(|operation| operation.kind == OperationKind::Savepoint) {
        owner.finish(&copied.key, OperationKind::Savepoint, result);
    }
    Ok(())
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
