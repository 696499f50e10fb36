//! A text that `TO_TIMESTAMP` could not parse, with its row, of the newest evaluation that had one.
//! The error about a NULL event time quotes it.

use std::cell::RefCell;

/// Longest part of a text that is kept, in characters.
const LONGEST: usize = 60;

thread_local! {
    /// Operators of one subtask run in one thread, and a watermark follows what computes its time.
    static FIRST: RefCell<Option<(usize, String)>> = const { RefCell::new(None) };
}

/// Keeps a text that cannot be parsed, with its row in the batch under evaluation.
pub(super) fn note(row: usize, text: &str) {
    let excerpt = match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    };
    FIRST.set(Some((row, excerpt)));
}

/// Forgets the kept text: it belongs to other rows than those that follow.
pub(crate) fn forget() {
    FIRST.set(None);
}

/// Takes the kept text, with its row.
pub(crate) fn take() -> Option<(usize, String)> {
    FIRST.with_borrow_mut(Option::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_text_is_kept_until_it_is_taken_or_forgotten() {
        note(1, "a");
        note(2, "b");
        assert_eq!(take(), Some((2, "b".to_owned())));
        assert_eq!(take(), None);
        note(0, &"x".repeat(100));
        assert_eq!(take().map(|(_, text)| text.chars().count()), Some(61));
        note(3, "c");
        forget();
        assert_eq!(take(), None);
    }
}
