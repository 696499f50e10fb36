//! A savepoint copied among a job's own checkpoints.
//!
//! Until HEAD names the manifest nothing of it counts: its data are orphans that the garbage
//! collection of some later checkpoint removes.

use std::collections::BTreeMap;

use bytes::Bytes;
use streamkeeper_protocol::{manifest::Manifest, paths::StatePaths};
use ulid::Ulid;

use crate::{Condition, ObjectStore, StorageError};

/// Where a savepoint's objects were copied to: new keys by old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedObjects(BTreeMap<String, String>);

/// Copies all objects of `savepoint` (as returned by [`crate::read_savepoint`]) below the job's
/// `data/`, as data of this checkpoint and attempt.
///
/// The attempt must be greater than that of HEAD: then the garbage collection of the present owner
/// leaves the copies alone.
pub async fn import_objects(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    savepoint: &Manifest,
    checkpoint: u64,
    attempt: u64,
) -> Result<ImportedObjects, StorageError> {
    let mut copied = BTreeMap::new();
    for (number, object) in savepoint.objects().into_iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let key = paths.data(checkpoint, attempt, number, &Ulid::generate().to_string());
        store.copy(object, &key).await?;
        copied.insert(object.to_owned(), key);
    }
    Ok(ImportedObjects(copied))
}

impl ImportedObjects {
    /// The manifest as it names the copies.
    pub fn rename(&self, manifest: &mut Manifest) {
        manifest.rename_objects(&self.0);
    }
}

/// Stores the plan of a savepoint's folder where the job looks for the plan with this hash, unless
/// it is there.
pub async fn import_plan(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    folder: &str,
    plan_hash: &str,
) -> Result<(), StorageError> {
    let key = paths.plan(plan_hash);
    match store.get(&key).await {
        Err(StorageError::NotFound { .. }) => {}
        known => return known.map(|_| ()),
    }
    store
        .copy(&crate::savepoint::folder::key_in(folder, "plan.json"), &key)
        .await
}

/// Writes the manifest of an import under a unique name and returns its key. The name is unique
/// because the writer owns nothing yet: another process may claim that attempt and publish that
/// checkpoint.
pub async fn write_imported_manifest(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    manifest: &Manifest,
) -> Result<String, StorageError> {
    let unique = Ulid::generate().to_string();
    let key = paths.imported_manifest(manifest.checkpoint, manifest.attempt, &unique);
    store
        .put(&key, Bytes::from(manifest.encode()), Condition::Always)
        .await?;
    Ok(key)
}
