//! Restores entries from runs.
//!
//! Only blocks that may hold wanted key groups are read; neighbours in one request, several
//! requests at once, each decoded when it arrives. Newer runs go first, so that an older value is
//! dropped as soon as it is seen.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use hashbrown::{HashMap, hash_map};
use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::{BlockRef, RunRef, StateRef},
};
use streamkeeper_storage::ObjectStore;

use crate::{Entry, ObjectCache, StateError, decode_block};

/// Requests under way at once.
const PARALLEL: usize = 8;
/// Neighbouring blocks are read together up to this many bytes.
const REQUEST_BYTES: u64 = 8 << 20;

/// A set of key groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSet {
    wanted: Vec<bool>,
}

impl GroupSet {
    /// All of them.
    pub fn all(max_parallelism: u16) -> Self {
        Self {
            wanted: vec![true; usize::from(max_parallelism)],
        }
    }

    /// The groups that a subtask owns.
    pub fn of(assignment: &Assignment, subtask: u32) -> Self {
        Self {
            wanted: assignment
                .owner
                .iter()
                .map(|owner| *owner == subtask)
                .collect(),
        }
    }

    /// The groups that a subtask owns now and did not own before: those that a surviving worker
    /// reads after a rescale.
    pub fn gained(before: &Assignment, after: &Assignment, subtask: u32) -> Self {
        let pairs = before.owner.iter().zip(&after.owner);
        Self {
            wanted: pairs
                .map(|(old, new)| *new == subtask && *old != subtask)
                .collect(),
        }
    }

    /// Whether a group is among them.
    pub fn contains(&self, group: u16) -> bool {
        self.wanted
            .get(usize::from(group))
            .copied()
            .unwrap_or(false)
    }

    /// Whether any group from the first to the last is among them.
    pub fn overlaps(&self, (first, last): (u16, u16)) -> bool {
        (first..=last).any(|group| self.contains(group))
    }
}

/// Neighbouring blocks of one run.
struct Request<'a> {
    run: &'a RunRef,
    blocks: &'a [BlockRef],
}

/// Key group and newest value of a key; none if that is a tombstone.
type Newest = (u16, Option<Box<[u8]>>);

/// Reads the live entries of the wanted key groups, in no order, without tombstones. Parts that are
/// in the `cache` are not read again, and parts that are read are put there.
pub async fn load_state(
    store: &dyn ObjectStore,
    state: &StateRef,
    groups: &GroupSet,
    cache: Option<&ObjectCache>,
) -> Result<Vec<Entry>, StateError> {
    let newest_first = state.runs.iter().rev();
    let requests: Vec<Request<'_>> = newest_first.flat_map(|run| requests(run, groups)).collect();
    let alone = state
        .runs
        .iter()
        .filter(|run| groups.overlaps(run.key_groups))
        .count()
        == 1;
    // Boxed, so that the whole can be awaited in a task of its own.
    let mut parts: Vec<BoxFuture<'_, _>> = Vec::new();
    for request in requests {
        parts.push(read(store, request, groups, cache).boxed());
    }
    // In order: an older run must not be merged before a newer one.
    let mut parts = stream::iter(parts).buffered(PARALLEL);
    let mut plain = Vec::new();
    let mut merged: HashMap<Box<[u8]>, Newest> = HashMap::new();
    while let Some(entries) = parts.try_next().await? {
        if alone {
            plain.extend(entries.into_iter().filter(|entry| entry.value.is_some()));
            continue;
        }
        for entry in entries {
            if let hash_map::Entry::Vacant(place) = merged.entry(entry.key) {
                place.insert((entry.key_group, entry.value));
            }
        }
    }
    let live = merged.into_iter().filter(|(_, (_, value))| value.is_some());
    plain.extend(live.map(|(key, (key_group, value))| Entry {
        key_group,
        key,
        value,
    }));
    Ok(plain)
}

fn requests<'a>(run: &'a RunRef, groups: &GroupSet) -> Vec<Request<'a>> {
    let mut found = Vec::new();
    if !groups.overlaps(run.key_groups) {
        return found;
    }
    let mut start = 0;
    while start < run.blocks.len() {
        if !groups.overlaps(run.blocks[start].key_groups) {
            start += 1;
            continue;
        }
        let mut end = start + 1;
        let mut bytes = run.blocks[start].len;
        while let Some(next) = run.blocks.get(end)
            && groups.overlaps(next.key_groups)
            && bytes + next.len <= REQUEST_BYTES
        {
            bytes += next.len;
            end += 1;
        }
        found.push(Request {
            run,
            blocks: &run.blocks[start..end],
        });
        start = end;
    }
    found
}

async fn read(
    store: &dyn ObjectStore,
    request: Request<'_>,
    groups: &GroupSet,
    cache: Option<&ObjectCache>,
) -> Result<Vec<Entry>, StateError> {
    let Request { run, blocks } = request;
    let object = &run.at.object;
    let length: u64 = blocks.iter().map(|block| block.len).sum();
    let first = blocks.first().map_or(0, |block| block.offset);
    let offset = run.at.offset + first;
    let kept = cache.and_then(|cache| cache.get(object, offset, length));
    let fresh = kept.is_none();
    let bytes: Bytes = match kept {
        Some(bytes) => bytes,
        None => store.get_range(object, offset..offset + length).await?,
    };
    let mut entries = Vec::new();
    for block in blocks {
        let at = run.at.offset + block.offset;
        let part =
            part(&bytes, block.offset - first, block.len).ok_or_else(|| StateError::Corrupt {
                object: object.clone(),
                offset: at,
                detail: format!(
                    "{} bytes, expected {length} from byte {offset}",
                    bytes.len()
                ),
            })?;
        let decoded = decode_block(part, block, object, at)?;
        entries.extend(
            decoded
                .into_iter()
                .filter(|entry| groups.contains(entry.key_group)),
        );
    }
    // Only a part whose checksum is right is kept.
    if let (true, Some(cache)) = (fresh, cache) {
        cache.put(object, offset, bytes);
    }
    Ok(entries)
}

fn part(bytes: &Bytes, offset: u64, len: u64) -> Option<&[u8]> {
    let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
    bytes.get(offset..offset.checked_add(len)?)
}
