//! A checkpoint copied into a folder of its own: `{metadata.json, manifest.json, plan.json,
//! data/*}`.
//!
//! Nothing outside the folder is needed to restore from it, and it may be moved: its manifest names
//! objects relative to the folder. `metadata.json` is written last, so a folder with one is whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use streamkeeper_protocol::{manifest::Manifest, paths::StatePaths, plan::StreamPlan};

use crate::{
    ObjectStore, StorageError,
    outline::{Outline, Room},
    records::{PLAN_LIMIT, RECORD_LIMIT, parse, put_json, read_manifest, unreadable},
    verify::{SavepointError, verify_manifest},
};

/// The object that makes a folder a savepoint.
pub(crate) const METADATA: &str = "metadata.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const PLAN: &str = "plan.json";

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
/// manifest must be pinned in HEAD. Running it again after a failure finishes the copy. The copy is
/// read back and held against its checksums before it counts as a savepoint.
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
        renamed.insert(object.to_owned(), relative);
    }
    let mut copied = manifest.clone();
    copied.rename_objects(&renamed);
    drop_former(store, folder, &copied).await?;
    // Before its objects: what a copy that never ends has left is known from it, without a listing.
    put_json(store, &key_in(folder, MANIFEST), &copied).await?;
    for (object, relative) in &renamed {
        store.copy(object, &key_in(folder, relative)).await?;
    }
    store
        .copy(&paths.plan(&manifest.plan_hash), &key_in(folder, PLAN))
        .await?;
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

/// Reads what a savepoint is, and nothing else of it.
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

/// Reads a savepoint: what it is, its manifest with the keys its objects have in this bucket, its
/// plan. A folder without `metadata.json` is not a savepoint, or not a whole one.
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

/// What became of the removal of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it is left.
    Done,
    /// It belongs to another job and was left as it is.
    NotOurs {
        /// Uid of the StreamJob it was taken of, as the folder says.
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
    delete_savepoint_within(store, folder, job_uid, Room::ANY).await
}

/// The same with at most so much memory for the names of objects; nothing is removed when they are
/// more ([`StorageError::NoRoom`]).
pub async fn delete_savepoint_within(
    store: &dyn ObjectStore,
    folder: &str,
    job_uid: Option<&str>,
    room: Room,
) -> Result<Removal, StorageError> {
    let manifest = match Outline::read(store, &key_in(folder, MANIFEST), room, false).await {
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

/// Removes what an earlier try to copy to this folder has left and `next` does not name.
async fn drop_former(
    store: &dyn ObjectStore,
    folder: &str,
    next: &Manifest,
) -> Result<(), StorageError> {
    let Some(former) = manifest_in(store, folder).await? else {
        return Ok(());
    };
    let kept = next.objects();
    must_be_inside(store, folder, former.objects().into_iter())?;
    let mut dropped = former.objects();
    dropped.retain(|object| !kept.contains(object));
    if !dropped.is_empty() {
        store.delete(&key_in(folder, METADATA)).await?;
    }
    for object in dropped {
        store.delete(&key_in(folder, object)).await?;
    }
    Ok(())
}

/// The manifest of a folder as it is stored, if there is one: it names objects relative to the
/// folder.
async fn manifest_in(
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
