//! Warnings for the author of a table, each logged once in a process.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Warnings that were logged. A job restarts and has many subtasks; each warning is logged once.
static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Largest number of warnings; later ones are not logged.
const MOST: usize = 1_000;

/// Logs a warning about a table, unless the process did so before.
pub(super) fn warn_once(table: &str, warning: &str) {
    let text = format!("table '{table}': {warning}");
    if is_new(&LOGGED, &text) {
        tracing::warn!(target: "streamkeeper::notice", "{text}");
    }
}

fn is_new(logged: &Mutex<BTreeSet<String>>, text: &str) -> bool {
    // A set of texts is whole between any two statements.
    let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
    logged.len() < MOST && logged.insert(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_logged_once() {
        let logged = Mutex::default();
        assert!(is_new(&logged, "a"));
        assert!(!is_new(&logged, "a"));
        assert!(is_new(&logged, "b"));
    }
}
