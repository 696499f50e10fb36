//! How far windows have fired, where that is beyond the watermark of the checkpoint.
//!
//! The combined watermark depends on the order in which a subtask receives its inputs, if one of
//! them falls idle and becomes active again: a row that is late for one subtask is in time for
//! another. At one barrier their watermarks differ, and a checkpoint keeps the smaller one. So the
//! subtasks that went further record this in their state, by key group, because a rescale moves key
//! groups. Without it a window that was emitted before the checkpoint would open again after a
//! restore and be emitted twice.

use std::collections::BTreeMap;

use streamkeeper_state::Entry;

/// First byte of the key. It is not the marker of a value, so the key cannot be one of a slice,
/// whose end is never NULL.
const MARK: u8 = 0;
/// The mark and a key group: what makes the key unique among all.
const KEY_BYTES: usize = 3;

/// Key groups whose windows have fired beyond the operator's watermark.
#[derive(Debug, Default)]
pub(super) struct FiredWatermarks {
    /// Watermark by key group.
    through: BTreeMap<u16, i64>,
    /// What is in the state.
    stored: BTreeMap<u16, i64>,
}

fn key(group: u16) -> Box<[u8]> {
    let [high, low] = group.to_be_bytes();
    Box::new([MARK, high, low])
}

impl FiredWatermarks {
    /// Whether an entry of the state is such a record.
    pub(super) fn owns(entry: &Entry) -> bool {
        entry.key.len() == KEY_BYTES && entry.key[0] == MARK
    }

    /// Whether the operator's watermark holds for all key groups.
    pub(super) fn is_empty(&self) -> bool {
        self.through.is_empty()
    }

    /// The watermark of a key group in an operator with this one.
    pub(super) fn watermark(&self, group: u16, watermark: i64) -> i64 {
        self.through
            .get(&group)
            .map_or(watermark, |through| watermark.max(*through))
    }

    /// Removes the key groups that the operator's watermark has reached.
    pub(super) fn reached(&mut self, watermark: i64) {
        self.through.retain(|_, through| *through > watermark);
    }

    /// Restores an entry.
    pub(super) fn restore(&mut self, entry: &Entry) -> Result<(), String> {
        let Some(value) = &entry.value else {
            return Ok(());
        };
        let through = value
            .as_ref()
            .try_into()
            .map(i64::from_le_bytes)
            .map_err(|_| format!("a watermark of {} bytes", value.len()))?;
        self.through.insert(entry.key_group, through);
        self.stored.insert(entry.key_group, through);
        Ok(())
    }

    /// Changes of the state at a barrier, or with `full` all of it, if the key groups `ahead` have
    /// fired through `watermark`.
    pub(super) fn freeze(&mut self, full: bool, ahead: &[u16], watermark: i64) -> Vec<Entry> {
        let mut now = self.through.clone();
        for &group in ahead {
            let through = now.entry(group).or_insert(watermark);
            *through = watermark.max(*through);
        }
        let before = std::mem::replace(&mut self.stored, now);
        let entry = |group: u16, value: Option<i64>| Entry {
            key_group: group,
            key: key(group),
            value: value.map(|through| through.to_le_bytes().into()),
        };
        let mut entries: Vec<Entry> = self
            .stored
            .iter()
            .filter(|(group, through)| full || before.get(group) != Some(through))
            .map(|(group, through)| entry(*group, Some(*through)))
            .collect();
        if !full {
            let gone = before
                .keys()
                .filter(|group| !self.stored.contains_key(group));
            entries.extend(gone.map(|group| entry(*group, None)));
        }
        entries
    }
}
