//! Verifies that all objects of a savepoint are there and undamaged.
//!
//! Reads every byte that a restore would read, once, in parts of [`PART`] bytes: memory stays small
//! however large the state is. Checksums are those of the manifest; this crate does not interpret
//! the bytes.

use streamkeeper_protocol::manifest::{BlockRef, Manifest};

use crate::{
    ObjectStore, StorageError,
    manifest_outline::{
        MemoryLimit, look_at_plan, read_outline,
        span::{Span, spans},
    },
    savepoint::{
        SavepointError,
        folder::{
            MANIFEST, METADATA, PLAN, at_key, key_in, must_be_inside, read_savepoint,
            read_savepoint_metadata,
        },
    },
};

/// Bytes requested at once.
const PART: u64 = 4 << 20;

/// Progress of a check.
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

/// Checks a savepoint's folder: every object there, every checksum right. Calls `progress` after
/// every part.
pub async fn verify_savepoint(
    store: &dyn ObjectStore,
    folder: &str,
    progress: &mut (dyn FnMut(Checked) + Send),
) -> Result<Checked, SavepointError> {
    verify_savepoint_within(store, folder, MemoryLimit::UNLIMITED, progress).await
}

/// Like [`verify_savepoint`], with a limit on the memory for what the manifest names:
/// [`StorageError::OverMemoryLimit`] when it needs more.
pub async fn verify_savepoint_within(
    store: &dyn ObjectStore,
    folder: &str,
    room: MemoryLimit,
    progress: &mut (dyn FnMut(Checked) + Send),
) -> Result<Checked, SavepointError> {
    let convert = |error| as_savepoint_error(store, folder, error);
    let metadata = read_savepoint_metadata(store, folder)
        .await
        .map_err(convert)?;
    let key = key_in(folder, MANIFEST);
    let manifest = read_outline(store, &key, room, true)
        .await
        .map_err(convert)?;
    must_be_inside(store, folder, manifest.objects()).map_err(convert)?;
    look_at_plan(store, &key_in(folder, PLAN))
        .await
        .map_err(convert)?;
    let objects = manifest.len() as u64;
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
    let of_bytes = manifest.total_bytes;
    if metadata.total_bytes != of_bytes {
        return Err(SavepointError::Damaged {
            at: at_key(store, folder, METADATA),
            detail: format!(
                "it tells of {} bytes, the manifest beside it of {of_bytes}",
                metadata.total_bytes
            ),
        });
    }
    verify_spans(
        store,
        folder,
        manifest.spans(),
        (objects, of_bytes),
        progress,
    )
    .await
}

/// Reads a savepoint. The error distinguishes a damaged savepoint from a store that fails.
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
    read_savepoint(store, folder)
        .await
        .map_err(|error| as_savepoint_error(store, folder, error))
}

/// Converts the error of a read to what it means for the savepoint.
fn as_savepoint_error(
    store: &dyn ObjectStore,
    folder: &str,
    error: StorageError,
) -> SavepointError {
    match error {
        StorageError::NotFound { at, .. } if at.ends_with(&key_in(folder, METADATA)) => {
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
    }
}

/// Checks all that a manifest names, object by object, so that the number of correct objects is
/// known.
pub async fn verify_manifest(
    store: &dyn ObjectStore,
    manifest: &Manifest,
    progress: &mut (dyn FnMut(Checked) + Send),
) -> Result<Checked, SavepointError> {
    let spans = spans(manifest);
    let of = (manifest.objects().len() as u64, manifest.total_bytes());
    verify_spans(store, "", spans.into_iter(), of, progress).await
}

/// Checks spans that are sorted by object; objects are named relative to the folder.
async fn verify_spans<'a>(
    store: &dyn ObjectStore,
    folder: &str,
    spans: impl Iterator<Item = Span<'a>> + Send,
    (of_objects, of_bytes): (u64, u64),
    progress: &mut (dyn FnMut(Checked) + Send),
) -> Result<Checked, SavepointError> {
    let mut checked = Checked {
        of_objects,
        of_bytes,
        ..Checked::default()
    };
    progress(checked);
    let mut before: Option<Span<'a>> = None;
    for span in spans {
        if let Some(before) = &before {
            checked.objects += u64::from(before.object != span.object);
            // Named twice, read once.
            if span.is_part_of(before) {
                checked.bytes = checked.bytes.saturating_add(span.len);
                progress(checked);
                continue;
            }
        }
        span.check(store, folder, &mut |bytes| {
            checked.bytes = checked.bytes.saturating_add(bytes);
            progress(checked);
        })
        .await?;
        before = Some(span);
    }
    checked.objects += u64::from(before.is_some());
    progress(checked);
    Ok(checked)
}

impl Span<'_> {
    /// Whether a check of `other` covers all that this span names.
    fn is_part_of(&self, other: &Span<'_>) -> bool {
        self.blocks.is_empty()
            && (self.object, self.offset, self.len, self.crc32c)
                == (other.object, other.offset, other.len, other.crc32c)
    }

    async fn check(
        &self,
        store: &dyn ObjectStore,
        folder: &str,
        read: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), SavepointError> {
        let object = &key_in(folder, self.object);
        let damaged = |detail: String| SavepointError::Damaged {
            at: format!("{}/{object}", store.describe()),
            detail,
        };
        if self.offset.checked_add(self.len).is_none() {
            return Err(damaged(format!(
                "the manifest names {} bytes at byte {} of it, which ends nowhere",
                self.len, self.offset
            )));
        }
        let mut sums = Sums::new(self);
        let mut done = 0;
        while done < self.len {
            let len = PART.min(self.len - done);
            // The end of the span fits a number.
            let from = self.offset + done;
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
    span: Span<'a>,
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
            span: *span,
            blocks: span.blocks,
            taken: 0,
            whole: 0,
            block: 0,
            inside: false,
        }
    }

    /// Offset in the object of a byte of the span. It saturates, because the offsets of a block are
    /// not trusted.
    const fn at(&self, byte: u64) -> u64 {
        self.span.offset.saturating_add(byte)
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        self.whole = crc32c::crc32c_append(self.whole, bytes);
        while let Some((block, rest)) = self.blocks.split_first()
            && !bytes.is_empty()
        {
            if !self.inside && self.taken != block.offset {
                return Err(format!(
                    "its blocks are not back to back at byte {}",
                    self.at(self.taken)
                ));
            }
            let left = block
                .offset
                .saturating_add(block.len)
                .saturating_sub(self.taken);
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
                        self.at(block.offset),
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
                self.span.len, self.span.offset
            ));
        }
        if self.whole != self.span.crc32c {
            return Err(format!(
                "the {} bytes at byte {} have checksum {:08x}, written was {:08x}",
                self.span.len, self.span.offset, self.whole, self.span.crc32c
            ));
        }
        Ok(())
    }
}
