//! Removes a savepoint.

use super::folder::{MANIFEST, METADATA, PLAN, key_in, must_be_inside, read_savepoint_metadata};
use crate::{
    ObjectStore, StorageError,
    manifest_outline::{MemoryLimit, Outline, read_outline},
};

/// What became of the removal of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it is left.
    Done,
    /// It belongs to another job and was left as it is.
    NotOurs {
        /// Uid of the StreamJob it was taken of, as recorded in the folder.
        job_uid: String,
    },
}

/// Removes a savepoint: `metadata.json` first, so that no half of it looks whole, then the objects
/// that its manifest names, then the rest. Nothing is removed because a listing shows it. With
/// `job_uid`, a savepoint of another job stays. Running it again after a failure finishes the
/// removal.
pub async fn delete_savepoint(
    store: &dyn ObjectStore,
    folder: &str,
    job_uid: Option<&str>,
) -> Result<Removal, StorageError> {
    delete_savepoint_within(store, folder, job_uid, MemoryLimit::UNLIMITED).await
}

/// Like [`delete_savepoint`], with a limit on the memory for the names of objects. Nothing is
/// removed when they need more ([`StorageError::OverMemoryLimit`]).
pub async fn delete_savepoint_within(
    store: &dyn ObjectStore,
    folder: &str,
    job_uid: Option<&str>,
    room: MemoryLimit,
) -> Result<Removal, StorageError> {
    let manifest = match read_outline(store, &key_in(folder, MANIFEST), room, false).await {
        Ok(manifest) => Some(manifest),
        Err(StorageError::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    if let Some(wanted) = job_uid {
        let metadata = match read_savepoint_metadata(store, folder).await {
            Ok(metadata) => Some(metadata.job_uid),
            Err(StorageError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let named = manifest.iter().map(|manifest| manifest.job_uid.clone());
        let other = named.chain(metadata).find(|found| found != wanted);
        if let Some(job_uid) = other {
            return Ok(Removal::NotOurs { job_uid });
        }
    }
    let objects = manifest.iter().flat_map(Outline::objects);
    must_be_inside(store, folder, objects.clone())?;
    store.delete(&key_in(folder, METADATA)).await?;
    for object in objects {
        store.delete(&key_in(folder, object)).await?;
    }
    store.delete(&key_in(folder, MANIFEST)).await?;
    store.delete(&key_in(folder, PLAN)).await?;
    Ok(Removal::Done)
}
