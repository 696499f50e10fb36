//! All runs and staged rows of a worker in one object, so that a checkpoint costs one write per
//! worker.

use bytes::Bytes;
use streamkeeper_protocol::manifest::{ObjectRange, RunRef};
use streamkeeper_storage::{Condition, ObjectStore};

use crate::{EncodedRun, StateError};

/// An object being packed.
#[derive(Debug, Clone)]
pub struct ObjectWriter {
    key: String,
    bytes: Vec<u8>,
}

impl ObjectWriter {
    /// Starts an object that will have this key
    /// ([`streamkeeper_protocol::paths::StatePaths::data`]).
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            bytes: Vec::new(),
        }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a run that `subtask` wrote for `checkpoint`.
    pub fn push_run(&mut self, run: EncodedRun, checkpoint: u64, subtask: u32) -> RunRef {
        let at = self.push(&run.bytes, run.crc32c);
        RunRef {
            at,
            kind: run.kind,
            key_groups: run.key_groups,
            rows: run.rows,
            tombstones: run.tombstones,
            blocks: run.blocks,
            checkpoint,
            subtask,
        }
    }

    /// Adds anything else, like the staged rows of a sink.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> ObjectRange {
        self.push(bytes, crc32c::crc32c(bytes))
    }

    fn push(&mut self, bytes: &[u8], crc32c: u32) -> ObjectRange {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        ObjectRange {
            object: self.key.clone(),
            offset,
            len: bytes.len() as u64,
            crc32c,
        }
    }

    /// Writes the object, unless it is empty, and returns its size. Nothing names it before the
    /// checkpoint's manifest does.
    pub async fn upload(self, store: &dyn ObjectStore) -> Result<u64, StateError> {
        let (key, bytes) = self.into_parts();
        let size = bytes.len() as u64;
        if size > 0 {
            store.put(&key, bytes, Condition::Always).await?;
        }
        Ok(size)
    }

    /// Key and content, for a caller that may have to write the object more than once.
    pub fn into_parts(self) -> (String, Bytes) {
        (self.key, Bytes::from(self.bytes))
    }
}

/// Reads a range and checks it: the staged rows of a sink, for instance.
pub async fn read_range(store: &dyn ObjectStore, range: &ObjectRange) -> Result<Bytes, StateError> {
    let bytes = store
        .get_range(&range.object, range.offset..range.offset + range.len)
        .await?;
    let crc = crc32c::crc32c(&bytes);
    if crc != range.crc32c {
        let detail = format!(
            "{} bytes have checksum {crc:08x}, written was {:08x}",
            bytes.len(),
            range.crc32c
        );
        return Err(StateError::Corrupt {
            object: range.object.clone(),
            offset: range.offset,
            detail,
        });
    }
    Ok(bytes)
}
