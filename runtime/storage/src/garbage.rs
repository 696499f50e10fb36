//! Garbage collection of a job's objects.
//!
//! Mark, then sweep. The mark phase marks the objects that HEAD pins: those of the restore point,
//! the retained checkpoints, the last retired state and the savepoints being copied. If one of
//! their manifests cannot be read, nothing is swept. The sweep phase removes unmarked manifests and
//! data of checkpoints before the restore point: HEAD dropped them, or they never became a
//! checkpoint. A later manifest can only name what a pinned one names and what is written after it,
//! so this is correct even for a HEAD that is no longer the newest. Savepoint folders, plans and
//! names that this release does not know are never touched.

use std::collections::HashSet;

use streamkeeper_protocol::{head::Head, paths::StatePaths};

use crate::{ObjectStore, StorageError, manifests::read_manifest};

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects removed.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Data objects and manifests that stay.
    pub kept: u64,
}

/// Age of multipart uploads that no living process can own, in milliseconds.
const STALE_MS: i64 = 24 * 60 * 60 * 1000;

/// Aborts multipart uploads of data that began more than a day ago and returns their number: their
/// process was killed, and nothing else aborts them. Does nothing on a store without such a
/// request.
pub async fn end_stale_uploads(store: &dyn ObjectStore, paths: &StatePaths, now_ms: i64) -> u64 {
    let prefix = paths.data_prefix();
    let ended = store.end_uploads(&prefix, now_ms.saturating_sub(STALE_MS));
    ended.await.unwrap_or_else(|error| {
        tracing::debug!(%error, "uploads that nobody ended stay, if there are any");
        0
    })
}

/// Removes objects that are no longer needed. `head` is the record that the caller itself wrote
/// last.
pub async fn collect_garbage(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    head: &Head,
) -> Result<Collected, StorageError> {
    let mut collected = Collected::default();
    let Some(last) = &head.last else {
        return Ok(collected);
    };
    let mut marked = HashSet::new();
    for key in head.pinned_manifests() {
        let manifest = read_manifest(store, key).await?;
        marked.extend(manifest.objects().into_iter().map(str::to_owned));
        marked.insert(key.to_owned());
    }
    // Manifests last: until its data is gone, a manifest records what belonged together.
    let mut listed = store.list(&paths.data_prefix()).await?;
    listed.extend(store.list(&paths.manifests()).await?);
    for object in listed {
        let dead = paths
            .checkpoint_of(&object.key)
            .is_some_and(|(checkpoint, attempt)| {
                checkpoint < last.checkpoint && attempt <= head.attempt
            });
        if dead && !marked.contains(&object.key) {
            store.delete(&object.key).await?;
            collected.removed += 1;
            collected.removed_bytes += object.size;
        } else {
            collected.kept += 1;
        }
    }
    Ok(collected)
}
