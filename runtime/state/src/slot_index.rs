//! Slots by the hash of their key.

use hashbrown::HashTable;

/// Tables of a large index; a power of two.
const SHARDS: usize = 256;
/// Bits of a hash that choose the table. A table itself uses the lowest and the seven highest.
const SHARD_SHIFT: u32 = 40;
/// Slots in one table until there are `SHARDS`: to visit as many takes milliseconds.
const SPLIT: usize = if cfg!(test) { 8192 } else { 1 << 18 };

/// Slot numbers by hash. A hash table of millions of keys visits all of them when it grows, which
/// stops every pipeline of the slot meanwhile. Here each growth visits one table of 256, as in the
/// segments of a concurrent hash map.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotIndex {
    /// All slots, while they are few.
    single: HashTable<u32>,
    /// `SHARDS` tables, or none.
    shards: Vec<HashTable<u32>>,
    len: usize,
}

fn shard_of(hash: u64) -> usize {
    (hash >> SHARD_SHIFT) as usize & (SHARDS - 1)
}

impl SlotIndex {
    /// The slot with this hash that `is_wanted`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_wanted: impl FnMut(&u32) -> bool) -> Option<u32> {
        let table = self.shards.get(shard_of(hash)).unwrap_or(&self.single);
        table.find(hash, is_wanted).copied()
    }

    /// Adds a slot; `hash_of` returns the hash of any slot in the index.
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len == SPLIT {
            self.split(0, &hash_of);
        }
        self.table_mut(hash)
            .insert_unique(hash, slot, |slot| hash_of(*slot));
        self.len += 1;
    }

    /// Removes a slot, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        let entry = self
            .table_mut(hash)
            .find_entry(hash, |other| *other == slot);
        if let Ok(entry) = entry {
            entry.remove();
            self.len -= 1;
        }
    }

    /// Makes room for `more` slots.
    pub(crate) fn reserve(&mut self, more: usize, hash_of: impl Fn(u32) -> u64) {
        if self.len + more > SPLIT {
            self.split(more, &hash_of);
        } else {
            self.single.reserve(more, |slot| hash_of(*slot));
        }
    }

    fn table_mut(&mut self, hash: u64) -> &mut HashTable<u32> {
        let shard = self.shards.get_mut(shard_of(hash));
        shard.unwrap_or(&mut self.single)
    }

    /// Makes a large index, with room for `more` slots.
    fn split(&mut self, more: usize, hash_of: &impl Fn(u32) -> u64) {
        self.shards.resize_with(SHARDS, HashTable::new);
        // Hashes are not spread quite evenly over the tables.
        let room = (self.single.len() + more) / SHARDS * 17 / 16 + 1;
        for shard in &mut self.shards {
            shard.reserve(room, |slot| hash_of(*slot));
        }
        for slot in std::mem::take(&mut self.single) {
            let hash = hash_of(slot);
            self.table_mut(hash)
                .insert_unique(hash, slot, |slot| hash_of(*slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(slot: u32) -> u64 {
        u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn index_with(slots: u32) -> SlotIndex {
        let mut index = SlotIndex::default();
        for slot in 0..slots {
            index.insert(hash_of(slot), slot, hash_of);
        }
        index
    }

    #[test]
    fn slots_are_found_before_and_after_the_index_is_split() {
        let slots = 3 * u32::try_from(SPLIT).unwrap();
        let mut index = index_with(slots);
        assert_eq!(index.shards.len(), SHARDS);
        for slot in (0..slots).step_by(2) {
            index.remove(hash_of(slot), slot);
        }
        for slot in 0..slots {
            let found = index.find(hash_of(slot), |found| *found == slot);
            assert_eq!(found, (slot % 2 == 1).then_some(slot));
        }
        assert_eq!(index.len, SPLIT * 3 / 2);
    }

    #[test]
    fn no_growth_visits_more_than_a_small_part_of_the_slots() {
        let slots = 1 << 20;
        let mut index = index_with(slots / 4);
        for slot in slots / 4..slots {
            let visited = std::cell::Cell::new(0);
            index.insert(hash_of(slot), slot, |slot| {
                visited.set(visited.get() + 1);
                hash_of(slot)
            });
            assert!(visited.get() < index.len / 64, "{visited:?} of {slot}");
        }
    }

    #[test]
    fn reserved_room_takes_slots_without_growth() {
        let mut index = SlotIndex::default();
        index.reserve(100_000, hash_of);
        let before: usize = index.shards.iter().map(HashTable::capacity).sum();
        for slot in 0..100_000 {
            index.insert(hash_of(slot), slot, hash_of);
        }
        let after: usize = index.shards.iter().map(HashTable::capacity).sum();
        assert_eq!(before, after);
    }
}
