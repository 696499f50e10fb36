//! A complete checkpoint becomes durable: its manifest is written, then HEAD names it. The write of
//! HEAD is the commit point.

use std::sync::Arc;

use streamkeeper_control::{clock, failpoint};
use streamkeeper_protocol::{
    head::{Head, HeadError, OperationKind, OperationResult},
    manifest::{CheckpointKind, Manifest},
};
use streamkeeper_storage::{StorageError, write_manifest};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    attempt::Lineage,
    checkpoints::pending::{PendingCheckpoint, entry_of},
    config::CoordinatorConfig,
    head_changes::{confirm_commit, with_result},
    head_writer::{HeadWriteError, HeadWriter},
};

/// The savepoint that a checkpoint becomes.
pub(crate) struct Pin {
    pub(crate) key: String,
    pub(crate) folder: String,
    /// Whether the state is released, if it is a stop that asks for the savepoint.
    pub(crate) stop: Option<bool>,
}

/// The outcome of publishing a checkpoint.
pub(crate) struct Published {
    pub(crate) checkpoint: u64,
    pub(crate) kind: CheckpointKind,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) result: Result<Arc<Head>, PublishError>,
}

/// Why a complete checkpoint did not become the restore point.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("writing the manifest: {0}")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Keep(#[from] HeadWriteError),
}

/// Begins to publish a checkpoint whose shares are complete.
pub(crate) fn publish(
    config: Arc<CoordinatorConfig>,
    head_writer: HeadWriter,
    complete: PendingCheckpoint,
    of: &Lineage,
    pin: Option<Pin>,
) -> AbortOnDropHandle<Published> {
    let (checkpoint, kind) = (complete.checkpoint, complete.kind);
    let (manifest, written_bytes) = complete.complete(of, clock::now_ms());
    let manifest = Arc::new(manifest);
    AbortOnDropHandle::new(tokio::spawn(async move {
        failpoint::pass(failpoint::SHARES_COMPLETE);
        let written = write_manifest(&*config.store, &config.paths, &manifest).await;
        failpoint::pass(failpoint::MANIFEST_WRITTEN);
        let result = match written {
            Ok(key) => publish_in_head(
                &head_writer,
                &manifest,
                key,
                written_bytes,
                config.checkpoints.retain,
                pin,
            )
            .await
            .map_err(PublishError::from),
            Err(error) => Err(error.into()),
        };
        Published {
            checkpoint,
            kind,
            manifest,
            result,
        }
    }))
}

async fn publish_in_head(
    head_writer: &HeadWriter,
    manifest: &Arc<Manifest>,
    key: String,
    written_bytes: u64,
    retain: usize,
    pin: Option<Pin>,
) -> Result<Arc<Head>, HeadWriteError> {
    let manifest = manifest.clone();
    head_writer
        .change(move |head| {
            if head.attempt != manifest.attempt {
                return Err(HeadError::NotLast {
                    checkpoint: manifest.checkpoint,
                });
            }
            let entry = entry_of(&manifest, key.clone(), written_bytes, clock::now_ms());
            // A checkpoint begins only after the output of the one before is committed.
            let (change, _) = confirm_commit(head.change())?.publish(
                entry,
                &manifest.plan_hash,
                retain.saturating_sub(1),
            )?;
            match &pin {
                None => Ok(change),
                Some(Pin { key, folder, stop }) => {
                    let change = change.add_savepoint(key, key, folder)?;
                    match stop {
                        Some(release) => change.begin_stop(key, *release),
                        None => with_result(
                            change,
                            key,
                            OperationKind::Savepoint,
                            &OperationResult::Running,
                        ),
                    }
                }
            }
        })
        .await
}
