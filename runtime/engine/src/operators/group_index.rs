//! Groups of a local aggregation: (slice, key) to a dense number, in memory only.

use arrow_array::{Array, ArrayRef, Int64Array, StringArray, cast::AsArray, types::Int64Type};
use hashbrown::HashTable;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::types::DataType;
use streamkeeper_state::{KeyBatch, KeyEncoder};
use xxhash_rust::xxh3::xxh3_64;

use crate::expr::conversion;

/// How keys are looked up.
#[derive(Debug)]
enum Form {
    /// One integer, date, time or timestamp column: its 8 bytes.
    Whole(DataType),
    /// One text column: itself.
    Text,
    /// Anything else: the encoded key.
    Encoded {
        encoder: KeyEncoder,
        batch: KeyBatch,
    },
}

/// Numbers of groups by slice and key.
#[derive(Debug)]
pub(super) struct GroupIndex {
    form: Form,
    table: HashTable<u32>,
    groups: Vec<Group>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    slice: i64,
    hash: u64,
    key: Key,
}

/// The key of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// A single NULL.
    Null,
    Whole(i64),
    /// Where it lies among the index's bytes.
    Bytes(usize, usize),
}

/// Hash of the NULL key; any number works.
const NULL_HASH: u64 = 0;

/// Spreads a number over all bits.
fn mix(value: u64) -> u64 {
    let mixed = (value ^ (value >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl GroupIndex {
    pub(super) fn new(keys: &[DataType]) -> Self {
        let form = match keys {
            [data]
                if data.is_integer()
                    || data.is_timestamp()
                    || matches!(data, DataType::Date | DataType::Time) =>
            {
                Form::Whole(data.clone())
            }
            [data] if data.is_string() => Form::Text,
            _ => Form::Encoded {
                encoder: KeyEncoder::new(keys),
                batch: KeyBatch::default(),
            },
        };
        Self {
            form,
            table: HashTable::new(),
            groups: Vec::new(),
            bytes: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of a group's key, where keys differ in length.
    pub(super) fn key_bytes(&self, group: usize) -> usize {
        match self.groups.get(group).map(|group| group.key) {
            Some(Key::Bytes(start, end)) => end - start,
            Some(Key::Null | Key::Whole(_)) | None => 0,
        }
    }

    /// Bytes of all keys that differ in length.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the group of every row to `into`; new groups get the next numbers.
    pub(super) fn find(
        &mut self,
        slices: &[i64],
        keys: &[ArrayRef],
        into: &mut Vec<u32>,
    ) -> Result<(), String> {
        let rows = slices.len();
        let mut store = Store {
            table: &mut self.table,
            groups: &mut self.groups,
            bytes: &mut self.bytes,
        };
        let column = || {
            keys.first()
                .ok_or_else(|| "a key column is missing".to_owned())
        };
        match &mut self.form {
            Form::Whole(_) => {
                let wide =
                    conversion::array_as_i64(column()?).map_err(|error| error.to_string())?;
                let wide = wide.as_primitive::<Int64Type>();
                let nulls = wide.nulls().filter(|nulls| nulls.null_count() > 0);
                for (row, (&slice, &key)) in slices.iter().zip(wide.values()).enumerate() {
                    into.push(if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                        store.null(slice)
                    } else {
                        store.whole(slice, key)
                    });
                }
            }
            Form::Text => {
                let texts: &StringArray =
                    column()?.as_string_opt().ok_or("a text key is no text")?;
                for (row, &slice) in slices.iter().enumerate() {
                    into.push(if texts.is_null(row) {
                        store.null(slice)
                    } else {
                        let key = texts.value(row).as_bytes();
                        store.bytes(slice, key, xxh3_64(key))
                    });
                }
            }
            Form::Encoded { encoder, batch } => {
                encoder
                    .encode_into(keys, rows, batch)
                    .map_err(|error| error.to_string())?;
                for (row, &slice) in slices.iter().enumerate() {
                    let key = batch.key(row);
                    into.push(store.bytes(slice, key.bytes, key.hash));
                }
            }
        }
        Ok(())
    }

    /// Key columns and slices of the groups `from..to`.
    pub(super) fn columns(
        &self,
        from: usize,
        to: usize,
    ) -> Result<(Vec<ArrayRef>, Vec<i64>), String> {
        let groups = &self.groups[from..to];
        let bytes = |group: &Group| match group.key {
            Key::Bytes(start, end) => self.bytes.get(start..end),
            Key::Null | Key::Whole(_) => None,
        };
        let keys: Vec<ArrayRef> = match &self.form {
            Form::Whole(data) => {
                let key = |group: &Group| match group.key {
                    Key::Whole(key) => Some(key),
                    Key::Null | Key::Bytes(..) => None,
                };
                let wide: Int64Array = groups.iter().map(key).collect();
                vec![
                    conversion::from_i64(std::sync::Arc::new(wide), &arrow_type(data))
                        .map_err(|error| error.to_string())?,
                ]
            }
            Form::Text => {
                let key = |group: &Group| bytes(group).map(std::str::from_utf8).transpose();
                let texts = groups
                    .iter()
                    .map(key)
                    .collect::<Result<StringArray, _>>()
                    .map_err(|error| error.to_string())?;
                vec![std::sync::Arc::new(texts)]
            }
            Form::Encoded { encoder, .. } => encoder
                .decode(groups.iter().map(|group| bytes(group).unwrap_or_default()))
                .map_err(|error| error.to_string())?,
        };
        Ok((keys, groups.iter().map(|group| group.slice).collect()))
    }

    /// Removes all groups and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.groups.clear();
        self.bytes.clear();
    }
}

/// The parts of an index that a lookup changes.
struct Store<'a> {
    table: &'a mut HashTable<u32>,
    groups: &'a mut Vec<Group>,
    bytes: &'a mut Vec<u8>,
}

impl Store<'_> {
    #[inline]
    fn null(&mut self, slice: i64) -> u32 {
        self.group(slice, NULL_HASH, |_, key| key == Key::Null, |_| Key::Null)
    }

    #[inline]
    fn whole(&mut self, slice: i64, key: i64) -> u32 {
        let own = Key::Whole(key);
        self.group(
            slice,
            mix(key.cast_unsigned()),
            |_, key| key == own,
            |_| own,
        )
    }

    #[inline]
    fn bytes(&mut self, slice: i64, key: &[u8], hash: u64) -> u32 {
        let same = |bytes: &[u8], other| match other {
            Key::Bytes(start, end) => bytes[start..end] == *key,
            Key::Null | Key::Whole(_) => false,
        };
        let write = |bytes: &mut Vec<u8>| {
            let start = bytes.len();
            bytes.extend_from_slice(key);
            Key::Bytes(start, bytes.len())
        };
        self.group(slice, hash, same, write)
    }

    /// The group of a slice whose key is equal by `same`, or a new one whose key `write` stores.
    #[inline]
    fn group(
        &mut self,
        slice: i64,
        hash: u64,
        same: impl Fn(&[u8], Key) -> bool,
        write: impl FnOnce(&mut Vec<u8>) -> Key,
    ) -> u32 {
        let hash = mix(hash ^ slice.cast_unsigned().wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (groups, bytes) = (&*self.groups, &*self.bytes);
        let found = self.table.find(hash, |number| {
            let group = &groups[*number as usize];
            group.hash == hash && group.slice == slice && same(bytes, group.key)
        });
        if let Some(number) = found {
            return *number;
        }
        let key = write(self.bytes);
        // The operator flushes long before there are four billion groups.
        let number = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.groups.push(Group { slice, hash, key });
        let groups = &*self.groups;
        self.table
            .insert_unique(hash, number, |number| groups[*number as usize].hash);
        number
    }
}
