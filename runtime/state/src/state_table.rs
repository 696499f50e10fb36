//! A state in memory that tracks what changed since it was last frozen.

use streamkeeper_protocol::manifest::{RunKind, StateDescriptor};

use crate::{
    Entry, FrozenState, StateError,
    key::{KeyRef, group_of, hex},
    paged_vec::PagedVec,
    slot_index::SlotIndex,
};

/// A value with an encoding that needs nothing but itself.
pub trait StateValue: Sized {
    /// Appends the encoded value.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the value back; the error describes what is wrong with the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// Values by encoded key, with the set of keys that changed.
///
/// A key lives in one slot until a freeze has written its removal. A key that no freeze has seen is
/// removed without a tombstone.
///
/// A freeze begins in constant time: the list of changed slots is swapped for an empty one. Then it
/// advances in slices of any size, and the operator takes rows between them. What it hands out is
/// the state of its beginning, because the caller calls [`StateTable::preserve`] before it changes
/// a key in the meantime, which writes the slot ahead of its turn. No value is copied otherwise.
#[derive(Debug, Clone)]
pub struct StateTable<V> {
    descriptor: StateDescriptor,
    max_parallelism: u16,
    /// Bytes at the front of a key that do not decide its key group.
    prefix: usize,
    index: SlotIndex,
    slots: PagedVec<Slot<V>>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    live: usize,
    /// Number of the freeze that began last.
    number: u32,
    freezing: Option<Freezing>,
    /// Bytes of the value at hand; kept for its memory.
    scratch: Vec<u8>,
}

/// A freeze that has begun.
#[derive(Debug, Clone)]
struct Freezing {
    kind: RunKind,
    /// Slots that had changed; a base looks at every slot.
    changed: Vec<u32>,
    /// What comes next, in `changed` or among all slots.
    next: usize,
    /// Where it ends.
    end: usize,
    /// One chunk a slice, because a vector of millions takes long to grow.
    chunks: Vec<Vec<Entry>>,
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
    /// Whether the freeze hands out everything.
    pub full: bool,
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
    /// Number of the freeze that has nothing more to write of it.
    seen: u32,
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
            prefix: 0,
            index: SlotIndex::default(),
            slots: PagedVec::default(),
            free: Vec::new(),
            dirty: Vec::new(),
            live: 0,
            number: 0,
            freezing: None,
            scratch: Vec::new(),
        }
    }

    /// Returns this state with the key group of a key taken from the key without its first `prefix`
    /// bytes: rows are spread by the rest.
    #[must_use]
    pub fn with_prefix(mut self, prefix: usize) -> Self {
        self.prefix = prefix;
        self
    }

    fn key_group(&self, slot: &Slot<V>) -> u16 {
        match slot.key.get(self.prefix..) {
            Some(rest) if self.prefix > 0 => KeyRef::new(rest).key_group(self.max_parallelism),
            _ => group_of(slot.hash, self.max_parallelism),
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
            .map(|slot| slot as usize)
    }

    fn mark(&mut self, slot: usize) {
        debug_assert!(
            !self.is_pending(slot),
            "a key changes before the freeze has written it"
        );
        self.slots[slot].seen = self.number;
        if !self.slots[slot].dirty {
            self.slots[slot].dirty = true;
            // Keys that appear and disappear between two freezes leave their slot numbers in the
            // list.
            if self.dirty.len() > 2 * self.slots.len() + 1024 {
                let marked = (0..).zip(self.slots.iter()).filter(|(_, slot)| slot.dirty);
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

    /// Sets the value of a key and returns the previous one.
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

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: KeyRef<'_>) -> Option<V> {
        let slot = self.find(key)?;
        debug_assert!(
            !self.is_pending(slot),
            "a key leaves before the freeze has written it"
        );
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

    /// Drops the keys of all key groups for which `keep` is false, without tombstones: another
    /// subtask owns them now.
    pub fn retain_groups(&mut self, keep: impl Fn(u16) -> bool) {
        debug_assert!(self.freezing.is_none(), "a freeze is under way");
        for number in 0..self.slots.len() {
            let slot = &self.slots[number];
            let (is_live, persisted) = (slot.value.is_some(), slot.persisted);
            if (is_live || persisted) && !keep(self.key_group(slot)) {
                self.live -= usize::from(is_live);
                self.vacate(number);
            }
        }
    }

    /// The changes since the last freeze, or with `full` everything; `encode` appends a value's
    /// bytes.
    pub fn freeze_with(
        &mut self,
        full: bool,
        mut encode: impl FnMut(&V, &mut Vec<u8>),
    ) -> FrozenState {
        self.freeze_parts(full, |part, out, _| encode(part.value, out))
    }

    /// Like [`Self::freeze`], where parts of a value are entries of their own: see
    /// [`Self::advance_freeze`].
    pub fn freeze_parts(
        &mut self,
        full: bool,
        mut encode: impl FnMut(Part<'_, V>, &mut Vec<u8>, &mut Vec<Entry>),
    ) -> FrozenState {
        self.begin_freeze(full);
        loop {
            if let Some(frozen) = self.advance_freeze(usize::MAX, &mut encode) {
                return frozen;
            }
        }
    }

    /// Begins to freeze the changes since the last time, or with `full` everything, as it is now.
    /// Takes constant time. One freeze ends before the next begins.
    pub fn begin_freeze(&mut self, full: bool) {
        debug_assert!(self.freezing.is_none(), "a freeze is under way");
        self.number = self.number.wrapping_add(1);
        let changed = std::mem::take(&mut self.dirty);
        let (kind, end) = if full {
            (RunKind::Base, self.slots.len())
        } else {
            (RunKind::Delta, changed.len())
        };
        self.freezing = Some(Freezing {
            kind,
            changed,
            next: 0,
            end,
            chunks: Vec::new(),
        });
    }

    /// Whether a freeze has begun and not ended.
    pub fn is_freezing(&self) -> bool {
        self.freezing.is_some()
    }

    /// Continues the freeze until it has visited `slice` slots or written as many entries; returns
    /// the whole result when nothing is left. `encode` appends the bytes of a value. Where parts of
    /// it are entries of their own, it adds those that changed, or all of them if the freeze is
    /// full; the caller decides what becomes of the parts of a removed key.
    pub fn advance_freeze(
        &mut self,
        slice: usize,
        mut encode: impl FnMut(Part<'_, V>, &mut Vec<u8>, &mut Vec<Entry>),
    ) -> Option<FrozenState> {
        let mut freezing = self.freezing.take()?;
        let left = freezing.end - freezing.next;
        let mut chunk = Vec::with_capacity(left.min(slice));
        let mut looked = 0;
        while freezing.next < freezing.end && looked.max(chunk.len()) < slice {
            let slot = match freezing.kind {
                RunKind::Delta => freezing.changed[freezing.next] as usize,
                RunKind::Base => freezing.next,
            };
            freezing.next += 1;
            looked += 1;
            if self.is_due(slot, freezing.kind) {
                self.write(slot, freezing.kind, &mut chunk, &mut encode);
            }
        }
        freezing.chunks.push(chunk);
        if freezing.next < freezing.end {
            self.freezing = Some(freezing);
            return None;
        }
        Some(FrozenState {
            descriptor: self.descriptor.clone(),
            kind: freezing.kind,
            chunks: freezing.chunks,
        })
    }

    /// Call this before a key is changed, removed or set: if the freeze under way has still to
    /// write the key, it does so now. `encode` as in [`Self::advance_freeze`].
    pub fn preserve(
        &mut self,
        key: KeyRef<'_>,
        mut encode: impl FnMut(Part<'_, V>, &mut Vec<u8>, &mut Vec<Entry>),
    ) {
        let Some(mut freezing) = self.freezing.take() else {
            return;
        };
        if let Some(slot) = self
            .find(key)
            .filter(|slot| self.is_due(*slot, freezing.kind))
        {
            if freezing.chunks.is_empty() {
                freezing.chunks.push(Vec::new());
            }
            if let Some(chunk) = freezing.chunks.last_mut() {
                self.write(slot, freezing.kind, chunk, &mut encode);
            }
        }
        self.freezing = Some(freezing);
    }

    /// Whether the freeze under way has still to write a slot.
    fn is_pending(&self, slot: usize) -> bool {
        let kind = self.freezing.as_ref().map(|freezing| freezing.kind);
        kind.is_some_and(|kind| self.is_due(slot, kind))
    }

    /// Whether a freeze of this kind, begun last, has still to write a slot. A slot that was taken
    /// or changed since then is seen.
    fn is_due(&self, slot: usize, kind: RunKind) -> bool {
        let slot = &self.slots[slot];
        let changed = slot.dirty || (kind == RunKind::Base && slot.value.is_some());
        slot.seen != self.number && changed
    }

    fn write(
        &mut self,
        number: usize,
        kind: RunKind,
        entries: &mut Vec<Entry>,
        encode: &mut impl FnMut(Part<'_, V>, &mut Vec<u8>, &mut Vec<Entry>),
    ) {
        let key_group = self.key_group(&self.slots[number]);
        let slot = &mut self.slots[number];
        (slot.dirty, slot.seen) = (false, self.number);
        let value: Option<Box<[u8]>> = slot.value.as_ref().map(|value| {
            let part = Part {
                key: &slot.key,
                key_group,
                value,
                full: kind == RunKind::Base,
            };
            self.scratch.clear();
            encode(part, &mut self.scratch, entries);
            self.scratch.as_slice().into()
        });
        let is_gone = value.is_none();
        // A base has no tombstones: what is not in it is gone.
        if !(is_gone && kind == RunKind::Base) {
            entries.push(Entry {
                key_group,
                key: slot.key.clone(),
                value,
            });
        }
        if is_gone {
            self.vacate(number);
        } else {
            slot.persisted = true;
        }
    }

    /// Restores entries of a checkpoint, before anything else happens; `decode` reads a value. They
    /// do not count as changed.
    pub fn load_with(
        &mut self,
        entries: Vec<Entry>,
        mut decode: impl FnMut(&[u8]) -> Result<V, String>,
    ) -> Result<(), StateError> {
        debug_assert!(self.freezing.is_none(), "a freeze is under way");
        self.index
            .reserve(entries.len(), |slot| spread(self.slots[slot as usize].hash));
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
            seen: self.number,
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = new;
            slot as usize
        } else {
            self.slots.push(new)
        };
        let slots = &self.slots;
        self.index.insert(spread(hash), index_of(slot), |slot| {
            spread(slots[slot as usize].hash)
        });
        slot
    }

    fn vacate(&mut self, slot: usize) {
        let hash = self.slots[slot].hash;
        self.index.remove(spread(hash), index_of(slot));
        self.slots[slot] = Slot {
            key: Box::default(),
            hash: 0,
            value: None,
            dirty: false,
            persisted: false,
            seen: self.number,
        };
        self.free.push(index_of(slot));
    }
}

impl<V: StateValue> StateTable<V> {
    /// The changes since the last freeze, or with `full` everything.
    pub fn freeze(&mut self, full: bool) -> FrozenState {
        self.freeze_with(full, V::encode)
    }

    /// Restores entries of a checkpoint, before anything else happens.
    pub fn load(&mut self, entries: Vec<Entry>) -> Result<(), StateError> {
        self.load_with(entries, V::decode)
    }
}

/// Slots are numbered in 32 bits: four billion keys do not fit into a worker's memory.
fn index_of(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
