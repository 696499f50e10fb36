//! A checkpoint copied into a savepoint's folder.

use std::collections::BTreeMap;

use streamkeeper_protocol::{manifest::Manifest, paths::StatePaths};

use super::{
    SavepointError, SavepointMetadata,
    folder::{
        MANIFEST, METADATA, PLAN, SAVEPOINT_FORMAT, key_in, manifest_in, must_be_inside, place,
    },
};
use crate::{ObjectStore, StorageError, manifests::put_json, verify::verify_manifest};

/// Copies all that `manifest` needs, with its plan, to `folder` (a key in the same bucket). The
/// manifest must be pinned in HEAD. Running it again after a failure finishes the copy. The copy is
/// read back and compared with its checksums before it counts as a savepoint.
///
/// Output that was prepared but not yet committed is copied too: a restore under the same lineage
/// commits it, a restore under another lineage must not.
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
    // Before its objects, so that the objects of an unfinished copy are known without a listing.
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
