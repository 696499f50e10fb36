//! Reads the outline of a stored manifest.

use super::{
    MemoryLimit, NO_ROOM, Outline, OutlineBuilder, fields,
    parts::{ParseError, parse},
};
use crate::{
    ObjectStore, StorageError,
    manifests::{MANIFEST_LIMIT, PLAN_LIMIT, unreadable},
};

/// Reads the manifest stored at `key`. Blocks are left out where the memory limit does not allow
/// them, or without `with_blocks`: the checksum of a run covers all its blocks.
pub(crate) async fn read_outline(
    store: &dyn ObjectStore,
    key: &str,
    room: MemoryLimit,
    with_blocks: bool,
) -> Result<Outline, StorageError> {
    let builder = OutlineBuilder::new(room, with_blocks);
    let read = parse(store, key, MANIFEST_LIMIT, move |text| {
        fields::read(builder, text)
    });
    read.await.map_err(|error| match error {
        ParseError::Storage(error) => error,
        ParseError::Text(why) => unreadable(store, key, &why),
        ParseError::OverMemoryLimit => StorageError::OverMemoryLimit {
            at: format!("{}/{key}", store.describe()),
            room: room.0,
        },
    })
}

/// Whether the plan stored at `key` can be read, without holding it.
pub(crate) async fn look_at_plan(store: &dyn ObjectStore, key: &str) -> Result<(), StorageError> {
    let looked = parse(store, key, PLAN_LIMIT, fields::read_plan);
    looked.await.map_err(|error| match error {
        ParseError::Storage(error) => error,
        ParseError::Text(why) => unreadable(store, key, &why),
        ParseError::OverMemoryLimit => unreadable(store, key, NO_ROOM),
    })
}
