//! Values of a group as entries of their own in the state, so that a checkpoint writes the values
//! that changed and not the whole set.
//!
//! The key of such an entry is the byte 2, the key of the group, the position of the aggregate call
//! among those of the state (16 bits, big-endian) and the stored form of the value. The key of a
//! group begins with the marker of a column, 0 or 1, or is empty, so a value never has the key of a
//! group. No key of a group is a prefix of another, so no two values have one key. The entry lies
//! in the key group of its group.
//!
//! Its value is the length of the group's key (32 bits), the serial number of the group (64 bits)
//! and the count (64 bits), little-endian. The entry of the group holds that serial number too.
//! Where a group is gone, or a new group took its key, the values left of it find no group or
//! another serial number: a restore leaves them out, and the next base does not hold them. So a set
//! of any size is removed with one tombstone.

use streamkeeper_state::Entry;

use super::{accumulator::corrupt, value_repr::take};

/// First byte of the key of a value.
const MARK: u8 = 2;

/// An entry, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueEntry<'a> {
    /// Key of the group.
    pub(super) owner: &'a [u8],
    /// Position of the call.
    pub(super) position: u16,
    /// Stored form of the value.
    pub(super) value: &'a [u8],
    /// Serial number of the group.
    pub(super) serial: u64,
    /// How often the value is there.
    pub(super) count: i64,
}

/// Whether an entry of a state is a value of a group.
pub fn is_value_entry(entry: &Entry) -> bool {
    entry.key.first() == Some(&MARK)
}

impl<'a> ValueEntry<'a> {
    /// The entry's key.
    pub(super) fn key(owner: &[u8], position: u16, value: &[u8]) -> Box<[u8]> {
        let parts = [&[MARK], owner, &position.to_be_bytes(), value];
        parts.concat().into()
    }

    /// The entry's value.
    pub(super) fn value(owner: &[u8], serial: u64, count: i64) -> Box<[u8]> {
        // A key of 4 GiB does not fit a batch.
        let length = u32::try_from(owner.len()).unwrap_or(u32::MAX).to_le_bytes();
        let parts: [&[u8]; 3] = [&length, &serial.to_le_bytes(), &count.to_le_bytes()];
        parts.concat().into()
    }

    /// Reads an entry; none for a tombstone.
    pub(super) fn read(entry: &'a Entry) -> Result<Option<Self>, String> {
        let Some(mut stored) = entry.value.as_deref() else {
            return Ok(None);
        };
        let mut read = || {
            let length = usize::try_from(u32::from_le_bytes(take(&mut stored)?)).ok()?;
            let (serial, count) = (take(&mut stored)?, take(&mut stored)?);
            let (owner, mut rest) = entry.key.get(1..)?.split_at_checked(length)?;
            let position = u16::from_be_bytes(take(&mut rest)?);
            stored.is_empty().then_some(Self {
                owner,
                position,
                value: rest,
                serial: u64::from_le_bytes(serial),
                count: i64::from_le_bytes(count),
            })
        };
        read().map(Some).ok_or_else(corrupt)
    }
}
