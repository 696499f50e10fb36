//! The content of a savepoint's folder.

use serde::{Deserialize, Serialize};
use streamkeeper_protocol::{manifest::Manifest, plan::StreamPlan};

use crate::{
    ObjectStore, StorageError,
    manifests::{PLAN_LIMIT, RECORD_LIMIT, parse, read_manifest, unreadable},
};

/// The object that makes a folder a savepoint.
pub(crate) const METADATA: &str = "metadata.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const PLAN: &str = "plan.json";

/// Version of a savepoint's folder; a reader accepts its own and older ones.
pub const SAVEPOINT_FORMAT: u32 = 1;

/// Metadata of a savepoint, for users and for a restore.
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

/// Like [`key_in`], with the store, for messages.
pub(crate) fn at_key(store: &dyn ObjectStore, folder: &str, name: &str) -> String {
    format!("{}/{}", store.describe(), key_in(folder, name))
}

/// Names the objects of a savepoint as they are called in the bucket.
pub(super) fn place(manifest: &mut Manifest, folder: &str) {
    for range in manifest.ranges_mut() {
        range.object = key_in(folder, &range.object);
    }
}

/// Reads the metadata of a savepoint only.
pub async fn read_savepoint_metadata(
    store: &dyn ObjectStore,
    folder: &str,
) -> Result<SavepointMetadata, StorageError> {
    let key = key_in(folder, METADATA);
    let object = store.get_at_most(&key, RECORD_LIMIT).await?;
    let metadata: SavepointMetadata = parse(store, &key, &object.bytes)?;
    if metadata.min_reader > SAVEPOINT_FORMAT {
        let detail = format!(
            "the savepoint needs a reader of format {}; this release reads up to \
             {SAVEPOINT_FORMAT}: use a newer release",
            metadata.min_reader
        );
        return Err(unreadable(store, &key, &detail));
    }
    Ok(metadata)
}

/// Reads a savepoint: its metadata, its manifest with the keys of its objects in this bucket, and
/// its plan. A folder without `metadata.json` is not a savepoint, or not a whole one.
pub async fn read_savepoint(
    store: &dyn ObjectStore,
    folder: &str,
) -> Result<(SavepointMetadata, Manifest, StreamPlan), StorageError> {
    let metadata = read_savepoint_metadata(store, folder).await?;
    let key = key_in(folder, MANIFEST);
    let mut manifest = read_manifest(store, &key).await?;
    must_be_inside(store, folder, manifest.objects().into_iter())?;
    place(&mut manifest, folder);
    let key = key_in(folder, PLAN);
    let plan = store.get_at_most(&key, PLAN_LIMIT).await?;
    let plan = parse(store, &key, &plan.bytes)?;
    Ok((metadata, manifest, plan))
}

/// The manifest of a folder as it is stored, if there is one: it names objects relative to the
/// folder.
pub(super) async fn manifest_in(
    store: &dyn ObjectStore,
    folder: &str,
) -> Result<Option<Manifest>, StorageError> {
    match read_manifest(store, &key_in(folder, MANIFEST)).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses objects that are not directly below `data/`: a stored manifest names nothing else.
pub(crate) fn must_be_inside<'a>(
    store: &dyn ObjectStore,
    folder: &str,
    mut objects: impl Iterator<Item = &'a str>,
) -> Result<(), StorageError> {
    let inside = |object: &str| {
        object.strip_prefix("data/").is_some_and(|name| {
            !name.is_empty() && !name.contains('/') && name != "." && name != ".."
        })
    };
    match objects.find(|object| !inside(object)) {
        None => Ok(()),
        Some(outside) => {
            let detail = format!("object '{outside}' is outside the savepoint");
            Err(unreadable(store, &key_in(folder, MANIFEST), &detail))
        }
    }
}
