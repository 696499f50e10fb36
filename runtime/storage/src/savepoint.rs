//! A checkpoint copied into a folder of its own: `{metadata.json, manifest.json, plan.json, data/*}`.
//!
//! Nothing outside the folder is needed to restore from it, and it may be moved: its manifest names
//! objects relative to the folder. `metadata.json` is written last, so a folder with one is whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use streamkeeper_protocol::{manifest::Manifest, paths::StatePaths, plan::StreamPlan};

use crate::{
    ObjectStore, StorageError,
    records::{parse, put_json, read_manifest, unreadable},
    verify::{SavepointError, verify_manifest},
};

/// The object that makes a folder a savepoint.
pub(crate) const METADATA: &str = "metadata.json";

/// Version of a savepoint's folder; a reader accepts its own and older ones.
pub const SAVEPOINT_FORMAT: u32 = 1;

/// What a savepoint is, for people and for a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointMetadata {
    /// [`SAVEPOINT_FORMAT`] of the writer.
    pub format: u32,
    /// Oldest format a reader must know.
    pub min_reader: u32,
    /// Uid of the StreamJob it was taken of.
    pub job_uid: String,
    /// Lineage of that job's HEAD.
    pub lineage: String,
    /// Revision that took it.
    pub revision: u64,
    /// Checkpoint it holds.
    pub checkpoint: u64,
    /// When that was complete, milliseconds since the epoch.
    pub completed_ms: i64,
    /// Plan it belongs to, whole in `plan.json`.
    pub plan_hash: String,
    /// Key groups.
    pub max_parallelism: u16,
    /// Objects under `data/`.
    pub objects: u64,
    /// Bytes that a restore reads.
    pub total_bytes: u64,
}

/// Key of something in a savepoint's folder.
pub(crate) fn key_in(folder: &str, name: &str) -> String {
    let folder = folder.trim_matches('/');
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The same, as messages name it.
pub(crate) fn at_key(store: &dyn ObjectStore, folder: &str, name: &str) -> String {
    format!("{}/{}", store.describe(), key_in(folder, name))
}

/// Copies all that `manifest` needs, with its plan, to `folder` (a key in the same bucket). The
/// manifest must be pinned in HEAD. Running it again after a failure finishes the copy. The copy is read
/// back and held against its checksums before it counts as a savepoint.
///
/// Output that was prepared but not yet committed travels along: whoever restores it under the same
/// lineage commits it, under another lineage must not.
pub async fn copy_savepoint(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    manifest: &Manifest,
    folder: &str,
) -> Result<SavepointMetadata, SavepointError> {
    let mut renamed = BTreeMap::new();
    for object in manifest.objects() {
        let name = object.rsplit('/').next().unwrap_or(object);
        // Objects of several origins may share a last part; the number keeps them apart.
        let relative = format!("data/{:04}-{name}", renamed.len());
        store.copy(object, &key_in(folder, &relative)).await?;
        renamed.insert(object.to_owned(), relative);
    }
    store
        .copy(
            &paths.plan(&manifest.plan_hash),
            &key_in(folder, "plan.json"),
        )
        .await?;
    let mut copied = manifest.clone();
    copied.rename_objects(&renamed);
    put_json(store, &key_in(folder, "manifest.json"), &copied).await?;
    place(&mut copied, folder);
    verify_manifest(store, &copied, &mut |_| {}).await?;
    let metadata = SavepointMetadata {
        format: SAVEPOINT_FORMAT,
        min_reader: SAVEPOINT_FORMAT,
        job_uid: manifest.job_uid.clone(),
        lineage: manifest.lineage.clone(),
        revision: manifest.revision,
        checkpoint: manifest.checkpoint,
        completed_ms: manifest.completed_ms,
        plan_hash: manifest.plan_hash.clone(),
        max_parallelism: manifest.max_parallelism,
        objects: renamed.len() as u64,
        total_bytes: manifest.total_bytes(),
    };
    put_json(store, &key_in(folder, METADATA), &metadata).await?;
    Ok(metadata)
}

/// Names the objects of a savepoint as they are called in the bucket.
fn place(manifest: &mut Manifest, folder: &str) {
    for range in manifest.ranges_mut() {
        range.object = key_in(folder, &range.object);
    }
}

/// Reads a savepoint: what it is, its manifest with the keys its objects have in this bucket, its
/// plan. A folder without `metadata.json` is not a savepoint, or not a whole one.
pub async fn read_savepoint(
    store: &dyn ObjectStore,
    folder: &str,
) -> Result<(SavepointMetadata, Manifest, StreamPlan), StorageError> {
    let key = key_in(folder, METADATA);
    let metadata: SavepointMetadata = parse(store, &key, &store.get(&key).await?.bytes)?;
    if metadata.min_reader > SAVEPOINT_FORMAT {
        let detail = format!(
            "the savepoint needs a reader of format {}; this release reads up to \
             {SAVEPOINT_FORMAT}: use a newer release",
            metadata.min_reader
        );
        return Err(unreadable(store, &key, &detail));
    }
    let key = key_in(folder, "manifest.json");
    let mut manifest = read_manifest(store, &key).await?;
    for range in manifest.ranges_mut() {
        if !range.object.starts_with("data/") || range.object.contains("..") {
            let detail = format!("object '{}' is outside the savepoint", range.object);
            return Err(unreadable(store, &key, &detail));
        }
    }
    place(&mut manifest, folder);
    let key = key_in(folder, "plan.json");
    let plan = parse(store, &key, &store.get(&key).await?.bytes)?;
    Ok((metadata, manifest, plan))
}

/// Removes a savepoint's folder, its metadata first, so that no half of it looks whole.
pub async fn delete_savepoint(store: &dyn ObjectStore, folder: &str) -> Result<(), StorageError> {
    store.delete(&key_in(folder, METADATA)).await?;
    for entry in store.list(&key_in(folder, "data/")).await? {
        store.delete(&entry.key).await?;
    }
    store.delete(&key_in(folder, "manifest.json")).await?;
    store.delete(&key_in(folder, "plan.json")).await
}
