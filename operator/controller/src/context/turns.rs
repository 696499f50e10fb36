//! Turns of namespaces and of what is slow: jobs that wait for something that does not answer leave
//! room for the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Objects that are looked at at once. They wait for answers, so there may be many.
pub(crate) const ALL: u16 = 256;
/// Those of one namespace at most; never more than it leaves to others.
const SHARE: usize = 64;
/// Those whose store or coordinator did not answer soon when they were looked at last: altogether,
/// and of one namespace.
const SLOW: (usize, usize) = (96, 32);
/// How long an answer may take until who waits for it counts as slow.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// Turns that are taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    taken: Arc<Mutex<Taken>>,
    /// Only a negative control says so.
    without_shares: bool,
}

#[derive(Debug, Default)]
struct Taken {
    all: Count,
    of: HashMap<String, Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    turns: usize,
    slow: usize,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    namespace: String,
    slow: bool,
}

impl Turns {
    /// Turns without limits: for the test that shows what that does.
    pub(crate) fn without_shares() -> Self {
        Self {
            without_shares: true,
            ..Self::default()
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn, or returns when to ask again because the namespace, or what is slow, has as
    /// many as it may have.
    pub(crate) fn take(&self, namespace: &str, slow: bool) -> Result<Turn, Duration> {
        let mut taken = self.taken();
        let (all, own) = (taken.all, taken.of.get(namespace).copied());
        let own = own.unwrap_or_default();
        if !self.without_shares {
            let free = usize::from(ALL).saturating_sub(all.turns);
            if own.turns >= SHARE || own.turns >= free {
                return Err(Duration::from_secs(1));
            }
            if slow && (all.slow >= SLOW.0 || own.slow >= SLOW.1) {
                return Err(Duration::from_secs(5));
            }
        }
        let one = usize::from(slow);
        taken.all.turns += 1;
        taken.all.slow += one;
        let count = taken.of.entry(namespace.to_owned()).or_default();
        count.turns += 1;
        count.slow += one;
        Ok(Turn {
            turns: self.clone(),
            namespace: namespace.to_owned(),
            slow,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let one = usize::from(self.slow);
        let mut taken = self.turns.taken();
        taken.all.turns -= 1;
        taken.all.slow -= one;
        if let Some(count) = taken.of.get_mut(&self.namespace) {
            count.turns -= 1;
            count.slow -= one;
            if count.turns == 0 {
                taken.of.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many turns as a namespace gets.
    fn all_of(turns: &Turns, namespace: &str, slow: bool) -> Vec<Turn> {
        std::iter::from_fn(|| turns.take(namespace, slow).ok()).collect()
    }

    #[test]
    fn a_namespace_that_takes_all_its_turns_leaves_those_of_others() {
        let turns = Turns::default();
        let mut taken = all_of(&turns, "deaf", false);
        assert_eq!(taken.len(), SHARE);
        turns.take("other", false).unwrap();
        taken.pop();
        turns.take("deaf", false).unwrap();
        drop(taken);
        assert!(turns.taken().of.is_empty());
        assert_eq!(turns.taken().all.turns, 0);
    }

    #[test]
    fn no_namespace_takes_more_turns_than_it_leaves_however_many_there_are_before() {
        let turns = Turns::default();
        let taken: Vec<_> = (0..7)
            .map(|n| all_of(&turns, &format!("tenant-{n}"), false))
            .collect();
        let counts: Vec<_> = taken.iter().map(Vec::len).collect();
        assert_eq!(counts, [64, 64, 64, 32, 16, 8, 4]);
        turns.take("other", false).unwrap();
        // The control: without shares nothing keeps one from taking all.
        let endless = Turns::without_shares();
        let taken: Vec<_> = (0..=ALL).map(|_| endless.take("deaf", true)).collect();
        assert!(taken.iter().all(Result::is_ok));
    }

    #[test]
    fn what_is_slow_has_few_turns_and_what_is_not_has_the_rest() {
        let turns = Turns::default();
        let slow: Vec<_> = (0..8)
            .map(|n| all_of(&turns, &format!("tenant-{n}"), true))
            .collect();
        let counts: Vec<_> = slow.iter().map(Vec::len).collect();
        assert_eq!(counts, [32, 32, 32, 0, 0, 0, 0, 0]);
        // Also in the same namespace.
        assert_eq!(all_of(&turns, "tenant-0", false).len(), SHARE - SLOW.1);
        assert_eq!(all_of(&turns, "other", false).len(), SHARE);
        drop(slow);
        turns.take("tenant-5", true).unwrap();
    }
}
