//! Turns of namespaces: one whose jobs all wait for something that does not answer leaves room for the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Objects of one namespace that are looked at at once.
const SHARE: usize = 64;
/// When to look again at an object whose namespace has no turn left.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// How many turns each namespace has taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, usize>>>);

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    namespace: String,
}

impl Turns {
    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn, unless the namespace has as many as it may have.
    pub(super) fn take(&self, namespace: &str) -> Option<Turn> {
        let mut taken = self.taken();
        let count = taken.entry(namespace.to_owned()).or_default();
        if *count >= SHARE {
            return None;
        }
        *count += 1;
        Some(Turn {
            turns: self.clone(),
            namespace: namespace.to_owned(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.taken();
        if let Some(count) = taken.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_takes_all_its_turns_leaves_those_of_others() {
        let turns = Turns::default();
        let mut taken: Vec<_> = (0..SHARE).map(|_| turns.take("deaf").unwrap()).collect();
        assert!(turns.take("deaf").is_none());
        assert!(turns.take("other").is_some());
        taken.pop();
        assert!(turns.take("deaf").is_some());
        drop(taken);
        assert!(turns.taken().is_empty());
    }
}
