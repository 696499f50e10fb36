//! Sorted runs of entries in checksummed blocks.
//!
//! A run is sorted by (key group, key) and cut into blocks of at most [`BLOCK_BYTES`] of keys and
//! values. A block is an Arrow IPC stream of one batch, LZ4, with the columns `key_group` (UInt16),
//! `key` (Binary) and `value` (Binary, NULL for a tombstone). The index of blocks stands in the
//! manifest, so that a part of the key groups can be read without the rest.

use std::{io::Cursor, sync::Arc};

use arrow_array::{
    Array, RecordBatch,
    builder::{BinaryBuilder, UInt16Builder},
    cast::AsArray,
    types::UInt16Type,
};
use arrow_ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use streamkeeper_protocol::manifest::{BlockRef, RunKind};

use crate::{Entry, FrozenState, StateError};

/// Keys and values in a block, at most, uncompressed; a larger entry has a block to itself.
pub const BLOCK_BYTES: usize = 1 << 20;

/// A run, not yet at its place in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRun {
    /// Its blocks, back to back.
    pub bytes: Vec<u8>,
    /// CRC-32C of them.
    pub crc32c: u32,
    /// Base or delta.
    pub kind: RunKind,
    /// First and last key group inside.
    pub key_groups: (u16, u16),
    /// Entries.
    pub rows: u64,
    /// Deleted keys among them.
    pub tombstones: u64,
    /// Blocks in order.
    pub blocks: Vec<BlockRef>,
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("key_group", DataType::UInt16, false),
        Field::new("key", DataType::Binary, false),
        Field::new("value", DataType::Binary, true),
    ]))
}

/// Sorts and encodes a frozen state; none if it is empty. Slow: call it outside the thread of a
/// subtask.
pub fn encode_run(frozen: FrozenState) -> Result<Option<EncodedRun>, StateError> {
    let kind = frozen.kind;
    let mut entries = Vec::with_capacity(frozen.chunks.iter().map(Vec::len).sum());
    entries.extend(frozen.into_entries());
    let (Some(_), rows) = (entries.first(), entries.len() as u64) else {
        return Ok(None);
    };
    entries.sort_unstable();
    let tombstones = entries.iter().filter(|entry| entry.value.is_none()).count() as u64;
    let key_groups = (entries[0].key_group, entries[entries.len() - 1].key_group);
    let mut bytes = Vec::new();
    let mut blocks = Vec::new();
    let mut rest = entries.as_slice();
    while !rest.is_empty() {
        let (block, left) = rest.split_at(block_length(rest));
        rest = left;
        let encoded = encode_block(block)?;
        blocks.push(BlockRef {
            offset: bytes.len() as u64,
            len: encoded.len() as u64,
            key_groups: (block[0].key_group, block[block.len() - 1].key_group),
            crc32c: crc32c::crc32c(&encoded),
        });
        bytes.extend_from_slice(&encoded);
    }
    let crc32c = crc32c::crc32c(&bytes);
    Ok(Some(EncodedRun {
        bytes,
        crc32c,
        kind,
        key_groups,
        rows,
        tombstones,
        blocks,
    }))
}

/// How many of these entries make the next block; at least one.
fn block_length(entries: &[Entry]) -> usize {
    let mut size = 0;
    for (count, entry) in entries.iter().enumerate() {
        size += 2 + entry.key.len() + entry.value.as_ref().map_or(0, |value| value.len());
        if size > BLOCK_BYTES {
            return count.max(1);
        }
    }
    entries.len()
}

fn encode_block(entries: &[Entry]) -> Result<Vec<u8>, StateError> {
    let largest = entries
        .iter()
        .map(|entry| entry.key.len() + entry.value.as_ref().map_or(0, |value| value.len()))
        .max();
    if largest.is_some_and(|largest| i32::try_from(largest).is_err()) {
        return Err(StateError::Encoding(
            "one key has more than 2 GiB of state".to_owned(),
        ));
    }
    let mut groups = UInt16Builder::with_capacity(entries.len());
    let mut keys = BinaryBuilder::new();
    let mut values = BinaryBuilder::new();
    for entry in entries {
        groups.append_value(entry.key_group);
        keys.append_value(&entry.key);
        values.append_option(entry.value.as_deref());
    }
    let mut write = || -> Result<Vec<u8>, ArrowError> {
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(groups.finish()),
            Arc::new(keys.finish()),
            Arc::new(values.finish()),
        ];
        let batch = RecordBatch::try_new(schema(), columns)?;
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema(), options)?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map_err(|error| StateError::Encoding(format!("a block of state: {error}")))
}

/// Reads a block back. `object` and `offset` name its place in messages.
pub fn decode_block(
    bytes: &[u8],
    block: &BlockRef,
    object: &str,
    offset: u64,
) -> Result<Vec<Entry>, StateError> {
    let corrupt = |detail: String| StateError::Corrupt {
        object: object.to_owned(),
        offset,
        detail,
    };
    let crc = crc32c::crc32c(bytes);
    if bytes.len() as u64 != block.len || crc != block.crc32c {
        return Err(corrupt(format!(
            "a block of state is damaged: {} bytes with checksum {crc:08x}, written were {} with {:08x}",
            bytes.len(),
            block.len,
            block.crc32c
        )));
    }
    let arrow = |error: ArrowError| corrupt(format!("not a block of state: {error}"));
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(arrow)?;
    let mut entries = Vec::new();
    for batch in reader {
        let batch = batch.map_err(arrow)?;
        if batch.schema().fields() != schema().fields() {
            return Err(corrupt(format!(
                "a block of state with other columns: {}",
                batch.schema()
            )));
        }
        let groups = batch.column(0).as_primitive::<UInt16Type>();
        let (keys, values) = (
            batch.column(1).as_binary::<i32>(),
            batch.column(2).as_binary::<i32>(),
        );
        entries.reserve(batch.num_rows());
        for row in 0..batch.num_rows() {
            entries.push(Entry {
                key_group: groups.value(row),
                key: keys.value(row).into(),
                value: values.is_valid(row).then(|| values.value(row).into()),
            });
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use streamkeeper_protocol::manifest::{StateDescriptor, StateKind};

    use super::*;

    fn frozen(entries: Vec<Entry>) -> FrozenState {
        let descriptor = StateDescriptor {
            name: "groups".to_owned(),
            kind: StateKind::Groups,
            key: Vec::new(),
            value: Vec::new(),
            accumulators: Vec::new(),
            version: 1,
        };
        FrozenState {
            descriptor,
            kind: RunKind::Delta,
            chunks: vec![entries],
        }
    }

    fn entry(group: u16, key: &str, value: Option<&[u8]>) -> Entry {
        Entry {
            key_group: group,
            key: key.as_bytes().into(),
            value: value.map(Into::into),
        }
    }

    fn decoded(run: &EncodedRun) -> Vec<Entry> {
        let mut all = Vec::new();
        for block in &run.blocks {
            let range = usize::try_from(block.offset).unwrap()
                ..usize::try_from(block.offset + block.len).unwrap();
            all.extend(decode_block(&run.bytes[range], block, "object", block.offset).unwrap());
        }
        all
    }

    #[test]
    fn a_run_comes_back_sorted_with_its_tombstones() {
        let run = encode_run(frozen(vec![
            entry(7, "b", Some(b"2")),
            entry(3, "z", None),
            entry(7, "a", Some(b"")),
        ]));
        let run = run.unwrap().unwrap();
        assert_eq!((run.rows, run.tombstones, run.key_groups), (3, 1, (3, 7)));
        assert_eq!(
            decoded(&run),
            [
                entry(3, "z", None),
                entry(7, "a", Some(b"")),
                entry(7, "b", Some(b"2"))
            ]
        );
        assert_eq!(run.crc32c, crc32c::crc32c(&run.bytes));
        assert_eq!(encode_run(frozen(Vec::new())).unwrap(), None);
    }

    #[test]
    fn large_state_is_cut_into_blocks_by_key_group() {
        let value = vec![1; 300 * 1024];
        let entries: Vec<_> = (0..10)
            .map(|group| entry(group, "k", Some(&value)))
            .collect();
        let run = encode_run(frozen(entries.clone())).unwrap().unwrap();
        let groups: Vec<_> = run.blocks.iter().map(|block| block.key_groups).collect();
        assert_eq!(groups, [(0, 2), (3, 5), (6, 8), (9, 9)]);
        assert_eq!(decoded(&run), entries);
        let huge = vec![0; 3 * BLOCK_BYTES];
        let run = encode_run(frozen(vec![
            entry(0, "a", Some(&huge)),
            entry(1, "b", None),
        ]))
        .unwrap()
        .unwrap();
        assert_eq!(run.blocks.len(), 2);
    }

    #[test]
    fn a_damaged_block_is_an_error_that_names_object_and_offset() {
        let run = encode_run(frozen(vec![entry(7, "b", Some(b"2"))]))
            .unwrap()
            .unwrap();
        for at in 0..run.bytes.len() {
            let mut damaged = run.bytes.clone();
            damaged[at] ^= 0x10;
            let error = decode_block(&damaged, &run.blocks[0], "root/data/1", 42)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("root/data/1 at byte 42: "), "{error}");
        }
        assert!(decode_block(&run.bytes[1..], &run.blocks[0], "o", 0).is_err());
        // Whole, but something else.
        let other = b"not a block".to_vec();
        let block = BlockRef {
            offset: 0,
            len: 11,
            key_groups: (0, 0),
            crc32c: crc32c::crc32c(&other),
        };
        assert!(matches!(
            decode_block(&other, &block, "o", 0),
            Err(StateError::Corrupt { .. })
        ));
    }
}
