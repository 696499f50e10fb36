//! Keys: Arrow columns to bytes that sort as the values do, and back. The bytes are stored, so the
//! encoding is frozen; only new types may be added.
//!
//! Every column is a marker, 0 for NULL and 1 for a value, and then
//! * booleans: 0 or 1;
//! * integers, dates, times, timestamps, intervals, decimals (their unscaled digits): big-endian,
//!   sign bit flipped;
//! * floats: IEEE bits, big-endian, all flipped when negative, else the sign bit; all NaNs are
//!   equal; -0 and 0 differ, as in Flink's keys;
//! * strings and bytes: themselves with every 0 followed by 255, then 0 0.
//!
//! So NULL sorts first, no key is the beginning of another of the same types, and `memcmp` order is
//! the order of the rows.

mod decode;
mod encode;

use streamkeeper_protocol::types::DataType;

use crate::StateError;

/// A key with its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a> {
    /// Encoded key.
    pub bytes: &'a [u8],
    /// xxh3-64 of it.
    pub hash: u64,
}

impl<'a> KeyRef<'a> {
    /// A key that was encoded elsewhere.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            hash: xxhash_rust::xxh3::xxh3_64(bytes),
        }
    }

    /// Its key group, as [`streamkeeper_protocol::key_group::key_group`] computes it.
    pub fn key_group(self, max_parallelism: u16) -> u16 {
        group_of(self.hash, max_parallelism)
    }
}

/// Key group of a key with this hash.
pub(crate) fn group_of(hash: u64, max_parallelism: u16) -> u16 {
    // The remainder is below a u16 by construction.
    u16::try_from(hash % u64::from(max_parallelism.max(1))).unwrap_or(0)
}

/// A key for people.
pub(crate) fn hex(key: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    key.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Keys of some rows, back to back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBatch {
    /// Where each key starts, and where the last one ends.
    pub offsets: Vec<u32>,
    /// The keys.
    pub bytes: Vec<u8>,
}

impl KeyBatch {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the key of a row; rows outside have an empty one.
    pub fn bytes(&self, row: usize) -> &[u8] {
        match self.offsets.get(row..row + 2) {
            Some(&[start, end]) => &self.bytes[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Key of a row, hashed.
    pub fn key(&self, row: usize) -> KeyRef<'_> {
        KeyRef::new(self.bytes(row))
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.bytes(row))
    }
}

/// How a column is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal { precision: u8, scale: u8 },
    Utf8,
    Binary,
    Date,
    Time,
    Timestamp { millis: bool, zoned: bool },
}

impl Form {
    fn of(data: &DataType) -> Self {
        match data {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            DataType::TinyInt => Self::Int8,
            DataType::SmallInt => Self::Int16,
            DataType::Int | DataType::IntervalYearMonth => Self::Int32,
            DataType::BigInt | DataType::IntervalDayTime => Self::Int64,
            DataType::Float => Self::Float32,
            DataType::Double => Self::Float64,
            DataType::Decimal { precision, scale } => Self::Decimal {
                precision: *precision,
                scale: *scale,
            },
            DataType::Char { .. } | DataType::Varchar { .. } => Self::Utf8,
            DataType::Bytes => Self::Binary,
            DataType::Date => Self::Date,
            DataType::Time => Self::Time,
            DataType::Timestamp { precision } => Self::Timestamp {
                millis: *precision <= 3,
                zoned: false,
            },
            DataType::TimestampLtz { precision } => Self::Timestamp {
                millis: *precision <= 3,
                zoned: true,
            },
        }
    }

    /// Bytes of a value after its marker, where that does not depend on the value.
    fn width(self) -> Option<usize> {
        match self {
            Self::Null => Some(0),
            Self::Boolean | Self::Int8 => Some(1),
            Self::Int16 => Some(2),
            Self::Int32 | Self::Float32 | Self::Date | Self::Time => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp { .. } => Some(8),
            Self::Decimal { .. } => Some(16),
            Self::Utf8 | Self::Binary => None,
        }
    }
}

/// Encodes and decodes keys of fixed types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEncoder {
    forms: Vec<Form>,
}

impl KeyEncoder {
    /// For key columns of these types, carried by the Arrow types that [`DataType`] names.
    pub fn new(types: &[DataType]) -> Self {
        Self {
            forms: types.iter().map(Form::of).collect(),
        }
    }
}

fn wrong(column: usize, detail: impl Into<String>) -> StateError {
    StateError::Key {
        column,
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests;
