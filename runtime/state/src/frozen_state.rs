//! State that an operator hands over at a barrier, and receives at a restore.

use streamkeeper_protocol::manifest::{RunKind, StateDescriptor};

/// One key of a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Key group.
    pub key_group: u16,
    /// Encoded key, unique within the state.
    pub key: Box<[u8]>,
    /// Encoded value; none is a tombstone.
    pub value: Option<Box<[u8]>>,
}

/// The part of a state that a checkpoint must write: as it was at the barrier, sorted, encoded and
/// uploaded later on another thread.
#[derive(Debug, Clone, PartialEq)]
pub struct FrozenState {
    /// Shape of the entries.
    pub descriptor: StateDescriptor,
    /// Everything, or what changed since the last freeze.
    pub kind: RunKind,
    /// Entries in any order, no key twice; in chunks, so that they need not be copied together.
    pub chunks: Vec<Vec<Entry>>,
}

impl FrozenState {
    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten()
    }

    /// Like `entries`, by value.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.chunks.into_iter().flatten()
    }
}
