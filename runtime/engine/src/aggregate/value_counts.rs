//! Values with their counts, by group, and which of them changed since the last freeze.

use std::collections::BTreeMap;

use streamkeeper_state::PagedVec;

use super::{
    accumulator::corrupt,
    value_repr::{ValueRepr, take},
};

/// Values with their counts; a retraction may come before its insertion.
pub(super) type Multiset<V> = BTreeMap<V, i64>;

/// The values of every group.
#[derive(Debug)]
pub(super) struct ValueCounts<D: ValueRepr> {
    counts: PagedVec<Multiset<D::Value>>,
    /// What changed since the last freeze, with the counts of that time. Absent where the values
    /// are not stored.
    changed: Option<PagedVec<Multiset<D::Value>>>,
}

impl<D: ValueRepr> Default for ValueCounts<D> {
    fn default() -> Self {
        Self {
            counts: PagedVec::default(),
            changed: None,
        }
    }
}

impl<D: ValueRepr> ValueCounts<D> {
    /// Starts to track changes.
    pub(super) fn track(&mut self) {
        let mut changed = PagedVec::default();
        changed.grow(self.counts.len(), &Multiset::new());
        self.changed = Some(changed);
    }

    /// Makes room for groups.
    pub(super) fn grow(&mut self, groups: usize) {
        for sets in [Some(&mut self.counts), self.changed.as_mut()] {
            let Some(sets) = sets else { continue };
            sets.grow(groups, &Multiset::new());
        }
    }

    /// Empties a group. This records no change: a group that is forgotten takes its values with it.
    pub(super) fn clear(&mut self, group: usize) {
        self.counts[group] = Multiset::new();
        if let Some(changed) = &mut self.changed {
            changed[group] = Multiset::new();
        }
    }

    /// Removes all groups.
    pub(super) fn reset(&mut self) {
        self.counts.clear();
        if let Some(changed) = &mut self.changed {
            changed.clear();
        }
    }

    /// Values of a group.
    pub(super) fn of(&self, group: usize) -> &Multiset<D::Value> {
        &self.counts[group]
    }

    /// Changes the count of a value; returns the count before and after.
    pub(super) fn change(&mut self, group: usize, value: D::Value, by: i64) -> (i64, i64) {
        let Some(changed) = &mut self.changed else {
            return change(&mut self.counts[group], value, by);
        };
        let (before, after) = change(&mut self.counts[group], value.clone(), by);
        changed[group].entry(value).or_insert(before);
        (before, after)
    }

    /// Calls `each` for the changes since the last freeze, or with `full` for everything: the
    /// stored form of a value and its count, none for a removed value. A value whose count is again
    /// that of the last freeze is not a change.
    pub(super) fn freeze(
        &mut self,
        group: usize,
        full: bool,
        each: &mut dyn FnMut(&[u8], Option<i64>),
    ) {
        let changed = self
            .changed
            .as_mut()
            .map(|all| std::mem::take(&mut all[group]));
        let counts = &self.counts[group];
        let mut bytes = Vec::new();
        let mut hand = |value: &D::Value, count: Option<i64>| {
            bytes.clear();
            D::write(value, &mut bytes);
            each(&bytes, count);
        };
        if full {
            for (value, count) in counts {
                hand(value, Some(*count));
            }
            return;
        }
        for (value, before) in changed.into_iter().flatten() {
            let now = counts.get(&value).copied();
            if now.unwrap_or(0) != before {
                hand(&value, now);
            }
        }
    }

    /// Restores a stored value, which does not count as a change; returns the value.
    pub(super) fn load(
        &mut self,
        group: usize,
        mut bytes: &[u8],
        count: i64,
    ) -> Result<D::Value, String> {
        let value = D::read(&mut bytes).ok_or_else(corrupt)?;
        if !bytes.is_empty() || count == 0 {
            return Err(corrupt());
        }
        if self.counts[group].insert(value.clone(), count).is_some() {
            return Err("a value of a set comes twice".to_owned());
        }
        Ok(value)
    }

    /// Restores all values of a group, as state of version 1 holds them: their number, and each
    /// with its count.
    pub(super) fn load_all(&mut self, group: usize, mut bytes: &[u8]) -> Result<(), String> {
        let count = take(&mut bytes)
            .map(u32::from_le_bytes)
            .ok_or_else(corrupt)?;
        let mut values = Multiset::new();
        for _ in 0..count {
            let value = D::read(&mut bytes).ok_or_else(corrupt)?;
            let count = take(&mut bytes).map(i64::from_le_bytes);
            values.insert(value, count.ok_or_else(corrupt)?);
        }
        if !bytes.is_empty() {
            return Err(corrupt());
        }
        self.counts[group] = values;
        Ok(())
    }
}

/// Changes the count of a value; returns the count before and after.
fn change<V: Ord>(values: &mut Multiset<V>, value: V, by: i64) -> (i64, i64) {
    use std::collections::btree_map::Entry;
    match values.entry(value) {
        Entry::Vacant(entry) => {
            if by != 0 {
                entry.insert(by);
            }
            (0, by)
        }
        Entry::Occupied(mut entry) => {
            let before = *entry.get();
            let after = before + by;
            if after == 0 {
                entry.remove();
            } else {
                *entry.get_mut() = after;
            }
            (before, after)
        }
    }
}
