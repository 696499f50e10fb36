//! A state in memory that knows what changed since it was last frozen.

use hashbrown::{HashTable, hash_table};
use streamkeeper_protocol::manifest::{RunKind, StateDescriptor};

use crate::{
    Entry, FrozenState, StateError,
    key::{KeyRef, group_of, hex},
};

/// A value with an encoding that needs nothing but itself.
pub trait StateValue: Sized {
    /// Appends the encoded value.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads it back; the error says what is wrong with the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// Values by encoded key, with the set of keys that changed.
///
/// A key lives in one slot until a freeze has written its removal. Keys that no freeze ever saw
/// vanish without a tombstone.
#[derive(Debug, Clone)]
pub struct StateTable<V> {
    descriptor: StateDescriptor,
    max_parallelism: u16,
    index: HashTable<u32>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    live: usize,
}

/// A value that is about to be frozen.
#[derive(Debug)]
pub struct Part<'a, V> {
    /// Encoded key.
    pub key: &'a [u8],
    /// Its key group.
    pub key_group: u16,
    /// The value.
    pub value: &'a V,
}

#[derive(Debug, Clone)]
struct Slot<V> {
    key: Box<[u8]>,
    hash: u64,
    value: Option<V>,
    /// Changed since the last freeze; then it is in `dirty`, perhaps more than once.
    dirty: bool,
    /// Some run holds this key.
    persisted: bool,
}

/// Spreads a key's hash for the index: keys of one subtask share their remainder by the number of
/// key groups, which would crowd a table that looks at the lowest bits.
fn spread(hash: u64) -> u64 {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl<V> StateTable<V> {
    /// An empty state.
    pub fn new(descriptor: StateDescriptor, max_parallelism: u16) -> Self {
        Self {
            descriptor,
            max_parallelism,
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            live: 0,
        }
    }

    /// Shape of its entries.
    pub fn descriptor(&self) -> &StateDescriptor {
        &self.descriptor
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Number of keys that changed since the last freeze, at most.
    pub fn changed(&self) -> usize {
        self.dirty.len()
    }

    fn find(&self, key: KeyRef<'_>) -> Option<usize> {
        let slots = &self.slots;
        let same = |slot: &u32| {
            let slot = &slots[*slot as usize];
            slot.hash == key.hash && *slot.key == *key.bytes
        };
        self.index
            .find(spread(key.hash), same)
            .map(|slot| *slot as usize)
    }

    fn mark(&mut self, slot: usize) {
        if !self.slots[slot].dirty {
            self.slots[slot].dirty = true;
            // Keys that come and go between two freezes leave their slots' numbers behind.
            if self.dirty.len() > 2 * self.slots.len() + 1024 {
                let marked = (0..).zip(&self.slots).filter(|(_, slot)| slot.dirty);
                self.dirty = marked.map(|(number, _)| number).collect();
            } else {
                self.dirty.push(index_of(slot));
            }
        }
    }

    /// The value of a key.
    pub fn get(&self, key: KeyRef<'_>) -> Option<&V> {
        self.find(key)
            .and_then(|slot| self.slots[slot].value.as_ref())
    }

    /// The value of a key, to be changed: the key counts as changed.
    pub fn get_mut(&mut self, key: KeyRef<'_>) -> Option<&mut V> {
        let slot = self
            .find(key)
            .filter(|slot| self.slots[*slot].value.is_some())?;
        self.mark(slot);
        self.slots[slot].value.as_mut()
    }

    /// The value of a key, made by `make` if there is none, to be changed.
    pub fn upsert(&mut self, key: KeyRef<'_>, make: impl FnOnce() -> V) -> &mut V {
        let slot = match self.find(key) {
            Some(slot) => slot,
            None => self.occupy(key.bytes.into(), key.hash, None),
        };
        self.mark(slot);
        let value = &mut self.slots[slot].value;
        if value.is_none() {
            self.live += 1;
        }
        value.get_or_insert_with(make)
    }

    /// Sets the value of a key and answers the one before.
    pub fn insert(&mut self, key: KeyRef<'_>, value: V) -> Option<V> {
        let slot = match self.find(key) {
            Some(slot) => slot,
            None => self.occupy(key.bytes.into(), key.hash, None),
        };
        self.mark(slot);
        let before = self.slots[slot].value.replace(value);
        self.live += usize::from(before.is_none());
        before
    }

    /// Removes a key and answers its value.
    pub fn remove(&mut self, key: KeyRef<'_>) -> Option<V> {
        let slot = self.find(key)?;
        let value = self.slots[slot].value.take()?;
        self.live -= 1;
        if self.slots[slot].persisted {
            self.mark(slot);
        } else {
            self.vacate(slot);
        }
        Some(value)
    }

    /// All keys with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((&*slot.key, slot.value.as_ref()?)))
    }

    /// Forgets the keys of all key groups that `keep` is false for, without a trace: another subtask
    /// has them now.
    pub fn retain_groups(&mut self, keep: impl Fn(u16) -> bool) {
        for slot in 0..self.slots.len() {
            let Slot {
                hash,
                ref value,
                persisted,
                ..
            } = self.slots[slot];
            let used = value.is_some() || persisted;
            if used && !keep(group_of(hash, self.max_parallelism)) {
                self.live -= usize::from(value.is_some());
                self.vacate(slot);
            }
        }
    }

    /// The changes since the last freeze, or with `full` everything; `encode` appends a value's bytes.
    pub fn freeze_with(
        &mut self,
        full: bool,
        mut encode: impl FnMut(&V, &mut Vec<u8>),
    ) -> FrozenState {
        self.freeze_parts(full, |part, out, _| encode(part.value, out))
    }

    /// The same, where parts of a value are entries of their own: `encode` appends the bytes of the
    /// rest, and adds the parts that changed, or with `full` all of them. What becomes of the parts
    /// of a key that was removed is for whoever makes them to say.
    pub fn freeze_parts(
        &mut self,
        full: bool,
        mut encode: impl FnMut(Part<'_, V>, &mut Vec<u8>, &mut Vec<Entry>),
    ) -> FrozenState {
        let changed = std::mem::take(&mut self.dirty);
        let mut entries = Vec::new();
        let mut scratch = Vec::new();
        let mut freeze = |slot: &Slot<V>, key_group: u16, entries: &mut Vec<Entry>| {
            let value = slot.value.as_ref().map(|value| {
                scratch.clear();
                let key = &*slot.key;
                let part = Part {
                    key,
                    key_group,
                    value,
                };
                encode(part, &mut scratch, entries);
                scratch.as_slice().into()
            });
            entries.push(Entry {
                key_group,
                key: slot.key.clone(),
                value,
            });
        };
        for slot in changed {
            let slot = slot as usize;
            // Freed, or met already: a slot is used again after its key is gone.
            if !std::mem::take(&mut self.slots[slot].dirty) {
                continue;
            }
            if !full {
                let group = group_of(self.slots[slot].hash, self.max_parallelism);
                freeze(&self.slots[slot], group, &mut entries);
            }
            if self.slots[slot].value.is_some() {
                self.slots[slot].persisted = true;
            } else {
                self.vacate(slot);
            }
        }
        if full {
            entries.reserve(self.live);
            for slot in self.slots.iter_mut().filter(|slot| slot.value.is_some()) {
                slot.persisted = true;
                let group = group_of(slot.hash, self.max_parallelism);
                freeze(slot, group, &mut entries);
            }
        }
        let kind = if full { RunKind::Base } else { RunKind::Delta };
        FrozenState {
            descriptor: self.descriptor.clone(),
            kind,
            entries,
        }
    }

    /// Takes entries of a checkpoint back, before anything else happens; `decode` reads a value. They
    /// do not count as changed.
    pub fn load_with(
        &mut self,
        entries: Vec<Entry>,
        mut decode: impl FnMut(&[u8]) -> Result<V, String>,
    ) -> Result<(), StateError> {
        self.index.reserve(entries.len(), |slot| {
            spread(self.slots[*slot as usize].hash)
        });
        self.slots.reserve(entries.len());
        for entry in entries {
            let Some(bytes) = entry.value else { continue };
            let value = decode(&bytes).map_err(|detail| self.unreadable(&entry.key, &detail))?;
            let hash = KeyRef::new(&entry.key).hash;
            if self
                .find(KeyRef {
                    bytes: &entry.key,
                    hash,
                })
                .is_some()
            {
                return Err(self.unreadable(&entry.key, "the key comes twice"));
            }
            let slot = self.occupy(entry.key, hash, Some(value));
            self.slots[slot].persisted = true;
            self.live += 1;
        }
        Ok(())
    }

    fn unreadable(&self, key: &[u8], detail: &str) -> StateError {
        StateError::Encoding(format!(
            "state '{}', key 0x{}: {detail}",
            self.descriptor.name,
            hex(key)
        ))
    }

    fn occupy(&mut self, key: Box<[u8]>, hash: u64, value: Option<V>) -> usize {
        let new = Slot {
            key,
            hash,
            value,
            dirty: false,
            persisted: false,
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = new;
            slot as usize
        } else {
            self.slots.push(new);
            self.slots.len() - 1
        };
        let slots = &self.slots;
        self.index
            .insert_unique(spread(hash), index_of(slot), |slot| {
                spread(slots[*slot as usize].hash)
            });
        slot
    }

    fn vacate(&mut self, slot: usize) {
        let hash = self.slots[slot].hash;
        if let Ok(entry) = self
            .index
            .find_entry(spread(hash), |other| *other as usize == slot)
        {
            hash_table::OccupiedEntry::remove(entry);
        }
        self.slots[slot] = Slot {
            key: Box::default(),
            hash: 0,
            value: None,
            dirty: false,
            persisted: false,
        };
        self.free.push(index_of(slot));
    }
}

impl<V: StateValue> StateTable<V> {
    /// The changes since the last freeze, or with `full` everything.
    pub fn freeze(&mut self, full: bool) -> FrozenState {
        self.freeze_with(full, V::encode)
    }

    /// Takes entries of a checkpoint back, before anything else happens.
    pub fn load(&mut self, entries: Vec<Entry>) -> Result<(), StateError> {
        self.load_with(entries, V::decode)
    }
}

/// Slots are numbered in 32 bits: four billion keys do not fit into a worker's memory.
fn index_of(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
