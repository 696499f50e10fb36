//! Folders of snapshots: what one holds, whether all of it is there and as it was written, and
//! removing it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use streamkeeper_lifecycle::{
    Grant,
    snapshots::{Content, Trouble, TroubleKind, Work},
};
use streamkeeper_storage::{
    Checked, MemoryLimit, ObjectStore, Removal, SavepointError, SavepointMetadata, StorageError,
    delete_savepoint_within, read_savepoint_metadata, verify_savepoint_within,
};

use crate::buckets::{
    S3,
    watched::{SILENCE, Watched},
};

/// Memory for what the manifest of one folder names: a tenant may have written it, and several are
/// worked on at once.
const ROOM: MemoryLimit = MemoryLimit(4 << 20);

/// How far work on a folder is, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Progress {
    /// Notes how far it is.
    pub fn set(&self, done: u64, total: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Done so far, of so many.
    pub fn get(&self) -> (u64, u64) {
        (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        )
    }
}

/// How work on a folder went: what it holds, if it was read.
pub type Outcome = Result<Option<Content>, Trouble>;

/// Works on folders of snapshots.
pub trait Folders: Send + Sync {
    /// Does the work. Doing it again does no harm. With `job_uid`, a savepoint of another job is
    /// not removed.
    fn work<'a>(
        &'a self,
        work: Work,
        place: &'a Grant,
        job_uid: Option<&'a str>,
        progress: &'a Progress,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

impl Folders for S3 {
    fn work<'a>(
        &'a self,
        work: Work,
        place: &'a Grant,
        job_uid: Option<&'a str>,
        progress: &'a Progress,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let server = self.server(place.storage());
            let _turn = self.turn(place.namespace(), &server).await;
            server.ask().map_err(|why| Trouble {
                kind: TroubleKind::Down,
                message: format!("s3://{}/{}: {why}", place.storage().bucket, place.key()),
            })?;
            let store = self.store(place).map_err(|error| trouble(&error))?;
            let store = Watched::new(store);
            let work = done(work, &store, place.key(), job_uid, progress);
            let outcome = store.follow(work, SILENCE).await.unwrap_or_else(|| {
                Err(Trouble {
                    kind: TroubleKind::Down,
                    message: format!(
                        "s3://{}/{}: the store answered nothing for {} min; the work was given up and is begun again",
                        place.storage().bucket,
                        place.key(),
                        SILENCE.as_secs() / 60
                    ),
                })
            });
            let down = |trouble: &Trouble| trouble.kind == TroubleKind::Down;
            server.note(!outcome.as_ref().is_err_and(down));
            outcome
        })
    }
}

async fn done(
    work: Work,
    store: &dyn ObjectStore,
    folder: &str,
    job_uid: Option<&str>,
    progress: &Progress,
) -> Outcome {
    match work {
        Work::Remove => {
            let removed = delete_savepoint_within(store, folder, job_uid, ROOM).await;
            return match removed.map_err(|error| trouble(&error))? {
                Removal::Done => Ok(None),
                Removal::NotOurs { job_uid } => Err(Trouble {
                    kind: TroubleKind::NotOurs,
                    message: format!("it is a savepoint of the StreamJob with uid {job_uid}"),
                }),
            };
        }
        Work::Verify => {
            let mut tell = |checked: Checked| progress.set(checked.bytes, checked.of_bytes);
            verify_savepoint_within(store, folder, ROOM, &mut tell)
                .await
                .map_err(|error| damage(&error))?;
        }
        Work::Inspect => {}
    }
    let read = read_savepoint_metadata(store, folder).await;
    read.map(|metadata| Some(content(metadata)))
        .map_err(|error| trouble(&error))
}

fn content(metadata: SavepointMetadata) -> Content {
    Content {
        checkpoint: metadata.checkpoint,
        completed_ms: metadata.completed_ms,
        total_bytes: metadata.total_bytes,
        revision: metadata.revision,
        job_uid: metadata.job_uid,
    }
}

fn damage(error: &SavepointError) -> Trouble {
    let kind = match error {
        SavepointError::Storage(error) => return trouble(error),
        SavepointError::NotFound { .. } => TroubleKind::Missing,
        SavepointError::Missing { .. } | SavepointError::Damaged { .. } => TroubleKind::Damaged,
    };
    Trouble {
        kind,
        message: error.to_string(),
    }
}

fn trouble(error: &StorageError) -> Trouble {
    let kind = match error {
        StorageError::OverMemoryLimit { .. } => {
            return Trouble {
                kind: TroubleKind::TooLarge,
                message: format!(
                    "too large for the operator: {error}; `streamjob-runtime verify` compares its checksums without such a limit"
                ),
            };
        }
        StorageError::NotFound { .. } | StorageError::NoSuchBucket { .. } => TroubleKind::Missing,
        StorageError::Invalid { .. } | StorageError::TooLarge { .. } => TroubleKind::Damaged,
        StorageError::AccessDenied { .. } | StorageError::Unsupported { .. } => TroubleKind::Denied,
        StorageError::Precondition { .. }
        | StorageError::Conflict { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Unknown { .. } => TroubleKind::Down,
    };
    Trouble {
        kind,
        message: error.to_string(),
    }
}
