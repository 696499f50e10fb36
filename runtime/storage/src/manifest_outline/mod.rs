//! The outline of a manifest: the names of objects, ranges and checksums that it contains, read
//! without holding the manifest.
//!
//! * `parts`: parses an object part by part, with limits on its text.
//! * `fields`: which fields count.
//! * `read`: both together, over a store.
//! * [`span`]: a range of bytes that is needed.
//!
//! A program that reads manifests from untrusted writers limits the memory of an outline. Then
//! neither the size of the text nor the number of its elements decides how much memory is used.

mod fields;
mod parts;
mod read;
pub(crate) mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use streamkeeper_guard::guard;
use streamkeeper_protocol::manifest::{BlockRef, MANIFEST_FORMAT, ObjectRange};

use self::span::Span;

pub(crate) use self::read::{look_at_plan, read_outline};

/// Memory that an outline may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit(pub u64);

impl MemoryLimit {
    /// As much as it takes: for programs that work for one job only.
    pub const UNLIMITED: Self = Self(u64::MAX);
}

/// What one element takes at most while it is collected: lists grow by doubling.
const SPAN: u64 = 2 * size_of::<Part>() as u64;
const BLOCK: u64 = 2 * size_of::<BlockRef>() as u64;
/// What a name takes beside its bytes.
const NAME: u64 = 100;

/// What a manifest needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) job_uid: String,
    pub(crate) checkpoint: u64,
    pub(crate) plan_hash: String,
    /// Bytes that a restore reads.
    pub(crate) total_bytes: u64,
    /// Names of objects as the manifest has them, sorted, each once.
    names: Vec<Box<str>>,
    /// By object and offset.
    parts: Vec<Part>,
    blocks: Vec<BlockRef>,
}

/// A range that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: u32,
    crc32c: u32,
    offset: u64,
    len: u64,
    /// First and number of its blocks.
    blocks: (u32, u32),
}

impl Outline {
    /// The objects, as the manifest names them.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(|name| &**name)
    }

    pub(crate) const fn len(&self) -> usize {
        self.names.len()
    }

    /// Everything that is needed, by object.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span<'_>> + Send {
        self.parts.iter().map(|part| Span {
            object: &self.names[part.name as usize],
            offset: part.offset,
            len: part.len,
            crc32c: part.crc32c,
            blocks: self.blocks_of(part),
        })
    }

    fn blocks_of(&self, part: &Part) -> &[BlockRef] {
        let (first, count) = (part.blocks.0 as usize, part.blocks.1 as usize);
        self.blocks.get(first..first + count).unwrap_or_default()
    }
}

/// An outline that is being read.
#[derive(Debug, Default)]
struct OutlineBuilder {
    outline: Outline,
    /// Bytes that are left.
    room: u64,
    names: BTreeMap<Box<str>, u32>,
    with_blocks: bool,
    format: u32,
    min_reader: Option<u32>,
    /// Range of the run that is being read, once its field was read.
    range: Option<ObjectRange>,
    /// Its first block.
    first_block: usize,
    seen: Seen,
}

/// Fields of what is being read that must be there.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each field")]
struct Seen {
    job_uid: bool,
    checkpoint: bool,
    plan_hash: bool,
    operators: bool,
    committables: bool,
    states: bool,
    runs: bool,
}

/// Text that stands for the error of the parser when the memory limit is reached.
const NO_ROOM: &str = "no room";

impl OutlineBuilder {
    fn new(room: MemoryLimit, with_blocks: bool) -> Self {
        Self {
            room: room.0,
            with_blocks,
            ..Self::default()
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), &'static str> {
        if guard!("blocks go before names": bytes > self.room, else false) && self.with_blocks {
            self.with_blocks = false;
            let freed = std::mem::take(&mut self.outline.blocks).len() as u64;
            self.room = self.room.saturating_add(freed.saturating_mul(BLOCK));
        }
        let left = self.room.checked_sub(bytes);
        self.room = guard!("what is held has room": left, else Some(self.room)).ok_or(NO_ROOM)?;
        Ok(())
    }

    fn block(&mut self, block: BlockRef) -> Result<(), &'static str> {
        if self.with_blocks {
            self.take(BLOCK)?;
        }
        // That may have been the one too many.
        if self.with_blocks {
            self.outline.blocks.push(block);
        }
        Ok(())
    }

    fn begin_run(&mut self) {
        self.first_block = self.outline.blocks.len();
        self.range = None;
    }

    fn end_run(&mut self) -> Result<(), String> {
        let range = self.range.take().ok_or("missing field `at`")?;
        let blocks = (self.first_block, self.outline.blocks.len());
        let count = blocks.1.saturating_sub(blocks.0);
        self.push(range, (blocks.0, count))
    }

    fn push(&mut self, range: ObjectRange, blocks: (usize, usize)) -> Result<(), String> {
        let ObjectRange {
            object,
            offset,
            len,
            crc32c,
        } = range;
        let too_many = || "more bytes than a number can tell".to_owned();
        if !guard!("a range ends somewhere": offset.checked_add(len).is_some()) {
            return Err(format!(
                "the range of {len} bytes at byte {offset} of '{object}' ends nowhere"
            ));
        }
        let total = self.outline.total_bytes;
        let total =
            guard!("a sum is a number": total.checked_add(len), else Some(total.wrapping_add(len)));
        self.outline.total_bytes = total.ok_or_else(too_many)?;
        self.take(SPAN)?;
        let name = if let Some(known) = self.names.get(object.as_str()) {
            *known
        } else {
            self.take(NAME + object.len() as u64)?;
            let next = u32::try_from(self.names.len()).map_err(|_| too_many())?;
            self.names.insert(object.into_boxed_str(), next);
            next
        };
        let index = |at: usize| u32::try_from(at).map_err(|_| too_many());
        self.outline.parts.push(Part {
            name,
            crc32c,
            offset,
            len,
            blocks: (index(blocks.0)?, index(blocks.1)?),
        });
        Ok(())
    }

    /// Whether it is known to be written by a release that this one does not understand.
    fn too_new(&self) -> Option<String> {
        let min_reader = self.min_reader.filter(|least| *least > MANIFEST_FORMAT)?;
        let error = streamkeeper_protocol::manifest::ManifestError::TooNew {
            format: self.format,
            min_reader,
        };
        Some(error.to_string())
    }

    fn finish(mut self) -> Result<Outline, String> {
        let mut outline = self.outline;
        if !self.with_blocks {
            for part in &mut outline.parts {
                part.blocks = (0, 0);
            }
        }
        // Numbers were given as names came; now they follow their order.
        let mut sorted = vec![0; self.names.len()];
        for (place, given) in self.names.values().enumerate() {
            let place = u32::try_from(place).map_err(|error| error.to_string())?;
            sorted[*given as usize] = place;
        }
        outline.names = std::mem::take(&mut self.names).into_keys().collect();
        for part in &mut outline.parts {
            part.name = sorted[part.name as usize];
        }
        // Of equal ranges, the one with most blocks comes first.
        let order = |part: &Part| {
            (
                part.name,
                part.offset,
                part.len,
                std::cmp::Reverse(part.blocks.1),
            )
        };
        outline.parts.sort_unstable_by_key(order);
        outline.parts.shrink_to_fit();
        outline.blocks.shrink_to_fit();
        for two in outline.parts.windows(2) {
            let (one, next) = (&two[0], &two[1]);
            let same = (one.offset, one.len) == (next.offset, next.len);
            let overlap =
                one.name == next.name && !same && one.offset.saturating_add(one.len) > next.offset;
            if guard!("no byte is read twice": overlap, else false) {
                return Err(format!(
                    "two ranges of '{}' overlap at byte {}",
                    outline.names[one.name as usize], next.offset
                ));
            }
        }
        Ok(outline)
    }
}
