//! The operator's master keys, and who it is towards the pods of each job. Everything follows from
//! a key and the time (`docs/adr/0007-keys-are-derived.md`): every replica, and the next one after
//! a restart, comes to the same.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use streamkeeper_security::{JobKey, MasterKey, OperatorIdentity, Rotation, identity::Clock};

/// Identities that are kept; more are made anew when they are needed.
const KEPT: usize = 1024;

/// Master keys, the current one first. Without any, everything is said without TLS.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<MasterKey>,
    clock: Option<Clock>,
    kept: Mutex<HashMap<(String, String), Arc<OperatorIdentity>>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// These keys, by this clock.
    pub fn new(keys: Vec<MasterKey>, clock: Clock) -> Self {
        Self {
            keys,
            clock: Some(clock),
            kept: Mutex::default(),
        }
    }

    /// Fingerprint of the key that new revisions are started under, if there is one.
    pub fn current(&self) -> Option<String> {
        self.keys.first().map(MasterKey::fingerprint)
    }

    /// The key of a job under the master key with this fingerprint, if it is here.
    pub fn job(&self, uid: &str, master_key: &str) -> Option<JobKey> {
        let master = self
            .keys
            .iter()
            .find(|key| key.fingerprint() == master_key)?;
        Some(master.job(uid))
    }

    /// Who the operator is towards pods of a job that were started under this master key.
    pub fn identity(&self, uid: &str, master_key: &str) -> Option<Arc<OperatorIdentity>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (uid.to_owned(), master_key.to_owned());
        if let Some(identity) = kept.get(&name) {
            return Some(identity.clone());
        }
        let (job, clock) = (self.job(uid, master_key)?, self.clock.clone()?);
        let identity = Arc::new(OperatorIdentity::new(job, Rotation::default(), clock));
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(name, identity.clone());
        Some(identity)
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_security::rustls::time_provider::DefaultTimeProvider;

    use super::*;

    #[test]
    fn new_revisions_use_the_current_key_and_old_ones_are_still_talked_to() {
        let [old, new] = [[1; 32], [2; 32]].map(|bytes| MasterKey::new(&bytes).unwrap());
        let (before, after) = (old.fingerprint(), new.fingerprint());
        let ring = Keyring::new(vec![new, old], Arc::new(DefaultTimeProvider));
        assert_eq!(ring.current(), Some(after.clone()));
        let kept = ring.identity("a", &before).unwrap();
        assert!(Arc::ptr_eq(&kept, &ring.identity("a", &before).unwrap()));
        assert!(ring.identity("a", &after).is_some());
        assert!(ring.identity("a", "0000000000000000").is_none());
        assert!(Keyring::default().identity("a", &after).is_none());
        assert_eq!(Keyring::default().current(), None);
    }
}
