//! A checkpoint whose shares are complete becomes the restore point, and its output is committed.

use std::{sync::Arc, time::Duration};

use streamkeeper_protocol::{
    head::{Head, OperationKind, OperationResult, SavepointRecord},
    job_api::SavepointRequest,
    manifest::{CheckpointKind, Manifest},
};
use streamkeeper_storage::{StorageError, collect_garbage, end_stale_uploads, write_manifest};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    attempt_failure::AttemptExit,
    checkpoints::pending::{Lineage, PendingCheckpoint, entry_of},
    head_writer::{HeadWriteError, HeadWriter},
    leader::Leader,
    operations::{confirm_commit, with_result},
    run::{Committing, Run, stop::StopReason},
};
use streamkeeper_control::{clock, failpoint, messages::ToWorker};

/// Between two looks for uploads that nobody ended.
const UPLOADS_EVERY: Duration = Duration::from_hours(1);

/// The savepoint that a checkpoint becomes.
struct Pin {
    key: String,
    folder: String,
    /// Whether the state is released, if it is a stop that asks for the savepoint.
    stop: Option<bool>,
}

/// What became of it.
pub(crate) struct Published {
    checkpoint: u64,
    kind: CheckpointKind,
    manifest: Arc<Manifest>,
    result: Result<Arc<Head>, PublishError>,
}

/// Why a complete checkpoint did not become the restore point.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("writing the manifest: {0}")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Keep(#[from] HeadWriteError),
}

impl Leader<'_> {
    pub(crate) fn publish(
        &self,
        collecting: PendingCheckpoint,
        of: &Lineage,
        saving: Option<&SavepointRequest>,
        ending: Option<&StopReason>,
    ) -> AbortOnDropHandle<Published> {
        let (checkpoint, kind) = (collecting.checkpoint, collecting.kind);
        let (manifest, written_bytes) = collecting.complete(of, clock::now_ms());
        let manifest = Arc::new(manifest);
        let config = self.context.config.clone();
        let head_writer = self.head_writer.clone();
        let pin = saving.and_then(|request| {
            let folder = self.folder(&request.key, request.uri.as_deref()).ok()?;
            let stop = match ending {
                Some(StopReason::Stop(stop)) if stop.key == request.key => Some(stop.release),
                _ => None,
            };
            Some(Pin {
                key: request.key.clone(),
                folder,
                stop,
            })
        });
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

    pub(crate) fn published(
        &mut self,
        run: &mut Run,
        published: Result<Published, String>,
    ) -> Result<(), AttemptExit> {
        run.publishing = None;
        let Published {
            checkpoint,
            kind,
            manifest,
            result,
        } = match published {
            Ok(published) => published,
            Err(why) => {
                self.checkpoint_failed(run, &format!("a defect in the coordinator: {why}"));
                return Ok(());
            }
        };
        let head = match result {
            Ok(head) => head,
            Err(PublishError::Keep(error @ (HeadWriteError::Fenced(_) | HeadWriteError::Gone))) => {
                return Err(error.into());
            }
            Err(error) => {
                self.checkpoint_failed_at(run, checkpoint, kind, &error.to_string());
                return Ok(());
            }
        };
        failpoint::pass(failpoint::HEAD_WRITTEN);
        if let Some(last) = &head.last {
            tracing::info!(
                checkpoint,
                ?kind,
                duration_ms = last.duration_ms,
                written_bytes = last.written_bytes,
                total_bytes = last.total_bytes,
                "checkpoint complete"
            );
        }
        let before = self.manifest.replace(manifest.clone());
        let read_on = before.is_none_or(|before| before.records_in < manifest.records_in);
        self.attempt.checkpoints += 1;
        self.failed_checkpoints.end();
        self.moved_on(read_on);
        let attempt = self.attempt.number;
        self.context.worker_registry.send_to_first(
            self.attempt.workers,
            &ToWorker::CommitCheckpoint {
                attempt,
                checkpoint,
            },
        );
        run.committing = Some(Committing {
            checkpoint,
            waiting: (0..self.attempt.workers).collect(),
            again_at: clock::now() + self.context.config.commit_timeout,
            trouble: None,
        });
        if kind == CheckpointKind::Final {
            run.at_end = Some(checkpoint);
        }
        if let Some(request) = run.saving.take()
            && let Some(record) = pinned(&head, &request.key)
        {
            if kind == CheckpointKind::Final {
                failpoint::pass(failpoint::STOP_PINNED);
            }
            self.copy(record);
        }
        if self.work.sweeps.is_empty() {
            let (config, now) = (self.context.config.clone(), clock::now());
            let last = self.uploads_swept;
            let stale = last.is_none_or(|last| now.duration_since(last) >= UPLOADS_EVERY);
            if stale {
                self.uploads_swept = Some(now);
            }
            self.work.sweeps.spawn(async move {
                if stale {
                    let now_ms = clock::now_ms();
                    let ended = end_stale_uploads(&*config.store, &config.paths, now_ms).await;
                    tracing::debug!(ended, "uploads that nobody ended");
                }
                match collect_garbage(&*config.store, &config.paths, &head).await {
                    Ok(collected) => tracing::debug!(?collected, "garbage collected"),
                    Err(error) => tracing::warn!(%error, "garbage is not collected"),
                }
            });
        }
        Ok(())
    }
}

/// The savepoint of HEAD that an operation asked for.
pub(crate) fn pinned(head: &Head, key: &str) -> Option<SavepointRecord> {
    head.savepoints
        .iter()
        .find(|record| record.key == key)
        .cloned()
}

/// Waits for a checkpoint that is being published; for ever if there is none.
pub(crate) async fn finished(
    publishing: &mut Option<AbortOnDropHandle<Published>>,
) -> Result<Published, String> {
    match publishing {
        Some(task) => task.await.map_err(|error| error.to_string()),
        None => std::future::pending().await,
    }
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
                return Err(streamkeeper_protocol::head::HeadError::NotLast {
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
