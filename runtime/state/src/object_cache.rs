//! Parts of immutable objects that were read once and will be read again: by a standby that takes
//! over, or by a restart from that checkpoint.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// A bounded cache of object ranges; the ones used longest ago leave first.
#[derive(Debug)]
pub struct ObjectCache {
    limit: usize,
    parts: Mutex<Parts>,
}

/// Object, first byte, bytes.
type Place = (String, u64, u64);

#[derive(Debug, Default)]
struct Parts {
    by_place: HashMap<Place, (Bytes, u64)>,
    /// Places by the time of their last use.
    by_use: BTreeMap<u64, Place>,
    bytes: usize,
    uses: u64,
}

impl ObjectCache {
    /// Keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            parts: Mutex::default(),
        }
    }

    /// Bytes kept now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The part, if it is kept.
    pub fn get(&self, object: &str, offset: u64, len: u64) -> Option<Bytes> {
        let mut parts = self.lock();
        let parts = &mut *parts;
        let place = (object.to_owned(), offset, len);
        let (bytes, used) = parts.by_place.get_mut(&place)?;
        parts.uses += 1;
        parts.by_use.remove(used);
        *used = parts.uses;
        parts.by_use.insert(parts.uses, place);
        Some(bytes.clone())
    }

    /// Keeps a part, unless it alone is over the limit.
    pub fn put(&self, object: &str, offset: u64, bytes: Bytes) {
        if bytes.len() > self.limit {
            return;
        }
        let mut parts = self.lock();
        let parts = &mut *parts;
        let place = (object.to_owned(), offset, bytes.len() as u64);
        parts.uses += 1;
        parts.bytes += bytes.len();
        parts.by_use.insert(parts.uses, place.clone());
        if let Some((before, used)) = parts.by_place.insert(place, (bytes, parts.uses)) {
            parts.bytes -= before.len();
            parts.by_use.remove(&used);
        }
        while parts.bytes > self.limit {
            let Some((_, oldest)) = parts.by_use.pop_first() else {
                break;
            };
            if let Some((bytes, _)) = parts.by_place.remove(&oldest) {
                parts.bytes -= bytes.len();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // At worst a panic elsewhere left a part uncounted.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        let cache = ObjectCache::new(10);
        let part = |byte: u8| Bytes::from(vec![byte; 4]);
        cache.put("a", 0, part(1));
        cache.put("a", 4, part(2));
        assert_eq!(cache.get("a", 0, 4), Some(part(1)));
        cache.put("b", 0, part(3));
        assert_eq!(cache.get("a", 4, 4), None);
        assert_eq!(
            (cache.get("a", 0, 4), cache.get("b", 0, 4)),
            (Some(part(1)), Some(part(3)))
        );
        cache.put("b", 0, part(3));
        assert_eq!(cache.bytes(), 8);
        cache.put("c", 0, Bytes::from(vec![0; 11]));
        assert_eq!((cache.get("c", 0, 11), cache.bytes()), (None, 8));
        assert_eq!(cache.get("a", 0, 5), None);
    }
}
