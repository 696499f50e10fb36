//! Reading and writing manifests and plans.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use streamkeeper_protocol::{
    head::HEAD_LIMIT, manifest::Manifest, paths::StatePaths, plan::StreamPlan,
};

use crate::{Condition, ObjectStore, StorageError};

/// Most bytes of the metadata of a savepoint.
pub(crate) const RECORD_LIMIT: u64 = 1 << 20;
/// Most bytes of HEAD that are read: this release writes a quarter of that, later ones may write
/// more.
pub const HEAD_READ_LIMIT: u64 = 4 * HEAD_LIMIT as u64;
/// Most bytes of a plan.
pub(crate) const PLAN_LIMIT: u64 = 16 << 20;
/// Most bytes of a manifest.
pub(crate) const MANIFEST_LIMIT: u64 = 64 << 20;

/// Reads the manifest stored at `key`.
pub async fn read_manifest(store: &dyn ObjectStore, key: &str) -> Result<Manifest, StorageError> {
    let object = store.get_at_most(key, MANIFEST_LIMIT).await?;
    Manifest::parse(&object.bytes).map_err(|error| unreadable(store, key, &error.to_string()))
}

/// Writes a manifest to the place given by its checkpoint and attempt, and returns its key. Only
/// the owner of that attempt may call this.
pub async fn write_manifest(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    manifest: &Manifest,
) -> Result<String, StorageError> {
    let key = paths.manifest(manifest.checkpoint, manifest.attempt);
    store
        .put(&key, Bytes::from(manifest.encode()), Condition::Always)
        .await?;
    Ok(key)
}

/// Reads the plan with this hash.
pub async fn read_plan(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    hash: &str,
) -> Result<StreamPlan, StorageError> {
    let key = paths.plan(hash);
    let object = store.get_at_most(&key, PLAN_LIMIT).await?;
    parse(store, &key, &object.bytes)
}

/// Writes a plan to the place given by its hash, and returns the hash. Writing it again is
/// harmless.
pub async fn write_plan(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    plan: &StreamPlan,
) -> Result<String, StorageError> {
    let hash = plan.hash();
    let key = paths.plan(&hash);
    put_json(store, &key, plan).await?;
    Ok(hash)
}

pub(crate) async fn put_json(
    store: &dyn ObjectStore,
    key: &str,
    value: &impl Serialize,
) -> Result<(), StorageError> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| unreadable(store, key, &error.to_string()))?;
    store.put(key, bytes.into(), Condition::Always).await?;
    Ok(())
}

pub(crate) fn parse<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    key: &str,
    bytes: &[u8],
) -> Result<T, StorageError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(store, key, &error.to_string()))
}

/// Error for an object whose content does not match its name.
pub(crate) fn unreadable(store: &dyn ObjectStore, key: &str, detail: &str) -> StorageError {
    StorageError::Invalid {
        action: "read",
        at: format!("{}/{key}", store.describe()),
        detail: detail.to_owned(),
    }
}
