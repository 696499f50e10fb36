//! Is everything there that a savepoint needs, and is it what was written?
//!
//! Reads every byte that a restore would read, once, in parts of [`PART`] bytes: memory stays small however large the state is. Checksums are those of the manifest;
//! what the bytes mean is nothing that this crate knows.

use std::collections::BTreeMap;

use streamkeeper_protocol::manifest::{BlockRef, Manifest, ObjectRange};

use crate::{
    ObjectStore, StorageError,
    savepoint::{METADATA, at_key, key_in, read_savepoint},
};

/// Bytes asked for at once.
const PART: u64 = 4 << 20;

/// How much was checked, of how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Objects that are right.
    pub objects: u64,
    /// All objects.
    pub of_objects: u64,
    /// Bytes that were read and are right.
    pub bytes: u64,
    /// All bytes.
    pub of_bytes: u64,
}

/// Why a savepoint will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavepointError {
    /// The store failed, which says nothing about the savepoint.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is none, or it was never finished.
    #[error("{at} holds no savepoint, or half of one: it has no {METADATA}")]
    NotFound {
        /// The folder.
        at: String,
    },
    /// An object is not there.
    #[error("{at} is missing")]
    Missing {
        /// The object.
        at: String,
    },
    /// An object is not what was written.
    #[error("{at} is damaged: {detail}")]
    Damaged {
        /// The object.
        at: String,
        /// What is wrong, with its place.
        detail: String,
    },
}

/// Checks a savepoint's folder: every object there, every checksum right. `progress` hears of every part that was read.
pub async fn verify_savepoint(
    store: &dyn ObjectStore,
    folder: &str,
    progress: &mut (dyn FnMut(Checked) + Send),
) -> Result<Checked, SavepointError> {
    let (metadata, manifest, _) = open_savepoint(store, folder).await?;
    let objects = manifest.objects().len() as u64;
    let named = (metadata.checkpoint, &metadata.plan_hash, metadata.objects);
    if named != (manifest.checkpoint, &manifest.plan_hash, objects) {
        return Err(SavepointError::Damaged {
            at: at_key(store, folder, METADATA),
            detail: format!(
                "it tells of checkpoint {} in {} objects, the manifest beside it of checkpoint {} in {objects}",
                metadata.checkpoint, metadata.objects, manifest.checkpoint
            ),
        });
    }
    verify_manifest(store, &manifest, progress).await
}

/// Reads a savepoint; what is wrong with it is told apart from a store that fails.
pub async fn open_savepoint(
    store: &dyn ObjectStore,
    folder: &str,
) -> Result<
    (
        crate::SavepointMetadata,
        Manifest,
        streamkeeper_protocol::plan::StreamPlan,
    ),
    SavepointError,
> {
    let metadata = key_in(folder, METADATA);
    read_savepoint(store, folder)
        .await
        .map_err(|error| match error {
            StorageError::NotFound { at, .. } if at.ends_with(&metadata) => {
                SavepointError::NotFound {
                    at: at_key(store, folder, "").trim_end_matches('/').to_owned(),
                }
            }
            StorageError::NotFound { at, .. } => SavepointError::Missing { at },
            StorageError::Invalid { at, detail, .. } => SavepointError::Damaged { at, detail },
            StorageError::TooLarge { at, limit } => SavepointError::Damaged {
                at,
                detail: format!("it holds more than {limit} bytes, which nothing of its kind does"),
            },
            error => error.into(),
        })
}

/// Checks all that a manifest names. Object by object, so that it can be told how many are right.
pub async fn verify_manifest(
    store: &dyn ObjectStore,
    manifest: &Manifest,
    progress: &mut (dyn FnMut(Checked) + Send),
) -> Result<Checked, SavepointError> {
    let spans = spans(manifest);
    let mut checked = Checked {
        of_objects: spans.len() as u64,
        of_bytes: manifest.total_bytes(),
        ..Checked::default()
    };
    progress(checked);
    for spans in spans.values() {
        for span in spans {
            span.check(store, &mut |bytes| {
                checked.bytes += bytes;
                progress(checked);
            })
            .await?;
        }
        checked.objects += 1;
    }
    progress(checked);
    Ok(checked)
}

/// A run with its blocks, or staged rows.
struct Span<'a> {
    range: &'a ObjectRange,
    blocks: &'a [BlockRef],
}

/// Everything a manifest needs, by object.
fn spans(manifest: &Manifest) -> BTreeMap<&str, Vec<Span<'_>>> {
    let states = manifest.operators.iter().flat_map(|of| &of.states);
    let runs = states.flat_map(|state| &state.runs).map(|run| Span {
        range: &run.at,
        blocks: &run.blocks,
    });
    let staged = manifest.committables.iter().filter_map(|committable| {
        let range = committable.staged.as_ref()?;
        Some(Span { range, blocks: &[] })
    });
    let mut by_object: BTreeMap<&str, Vec<Span<'_>>> = BTreeMap::new();
    for span in runs.chain(staged) {
        by_object.entry(&span.range.object).or_default().push(span);
    }
    by_object
}

impl Span<'_> {
    async fn check(
        &self,
        store: &dyn ObjectStore,
        read: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), SavepointError> {
        let object = &self.range.object;
        let damaged = |detail: String| SavepointError::Damaged {
            at: format!("{}/{object}", store.describe()),
            detail,
        };
        let mut sums = Sums::new(self);
        let mut done = 0;
        while done < self.range.len {
            let len = PART.min(self.range.len - done);
            let from = self.range.offset + done;
            let bytes = match store.get_range(object, from..from + len).await {
                Ok(bytes) => bytes,
                Err(StorageError::NotFound { at, .. }) => {
                    return Err(SavepointError::Missing { at });
                }
                // Shorter than what was written.
                Err(StorageError::Invalid { detail, .. }) => return Err(damaged(detail)),
                Err(error) => return Err(error.into()),
            };
            if bytes.len() as u64 != len {
                let detail = format!("{} of {len} bytes from byte {from}", bytes.len());
                return Err(damaged(detail));
            }
            sums.take(&bytes).map_err(damaged)?;
            done += len;
            read(len);
        }
        sums.finish().map_err(damaged)
    }
}

/// Checksums of a span and of its blocks, part by part.
struct Sums<'a> {
    range: &'a ObjectRange,
    /// Blocks that are not finished.
    blocks: &'a [BlockRef],
    /// Bytes taken so far.
    taken: u64,
    whole: u32,
    block: u32,
    /// Whether some bytes of the first of `blocks` were taken.
    inside: bool,
}

impl<'a> Sums<'a> {
    fn new(span: &Span<'a>) -> Self {
        Self {
            range: span.range,
            blocks: span.blocks,
            taken: 0,
            whole: 0,
            block: 0,
            inside: false,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        self.whole = crc32c::crc32c_append(self.whole, bytes);
        while let Some((block, rest)) = self.blocks.split_first()
            && !bytes.is_empty()
        {
            if !self.inside && self.taken != block.offset {
                return Err(format!(
                    "its blocks are not back to back at byte {}",
                    self.range.offset + self.taken
                ));
            }
            let left = (block.offset + block.len).saturating_sub(self.taken);
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (mine, others) = bytes.split_at(here);
            self.block = crc32c::crc32c_append(self.block, mine);
            self.taken += here as u64;
            bytes = others;
            self.inside = here as u64 != left;
            if !self.inside {
                if self.block != block.crc32c {
                    return Err(format!(
                        "the block of {} bytes at byte {} has checksum {:08x}, written was {:08x}",
                        block.len,
                        self.range.offset + block.offset,
                        self.block,
                        block.crc32c
                    ));
                }
                self.block = 0;
                self.blocks = rest;
            }
        }
        self.taken += bytes.len() as u64;
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        if !self.blocks.is_empty() {
            return Err(format!(
                "its blocks are more than the {} bytes at byte {}",
                self.range.len, self.range.offset
            ));
        }
        if self.whole != self.range.crc32c {
            return Err(format!(
                "the {} bytes at byte {} have checksum {:08x}, written was {:08x}",
                self.range.len, self.range.offset, self.whole, self.range.crc32c
            ));
        }
        Ok(())
    }
}
