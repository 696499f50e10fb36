//! What the author of a table should know, said once in a process.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Notices that were told. A job restarts and has many subtasks; the log says each of them once.
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// No more are remembered, and told.
const MOST: usize = 1_000;

/// Logs a warning about a table, unless the process did so before.
pub(super) fn warn_once(table: &str, warning: &str) {
    let text = format!("table '{table}': {warning}");
    if is_new(&TOLD, &text) {
        tracing::warn!(target: "streamkeeper::notice", "{text}");
    }
}

fn is_new(told: &Mutex<BTreeSet<String>>, text: &str) -> bool {
    // A set of texts is whole between any two statements.
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.len() < MOST && told.insert(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_told_once() {
        let told = Mutex::default();
        assert!(is_new(&told, "a"));
        assert!(!is_new(&told, "a"));
        assert!(is_new(&told, "b"));
    }
}
