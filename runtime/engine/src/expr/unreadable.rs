//! The first text of the newest batch that has one that is no time, for the message about the NULL that
//! it became.

use std::cell::RefCell;

/// Longest part of a text that is kept, in characters.
const LONGEST: usize = 60;

thread_local! {
    /// Operators of one subtask run in one thread, and a watermark follows what computes its time.
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps a text that cannot be read.
pub(super) fn note(text: &str) {
    let excerpt = match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    };
    FIRST.set(Some(excerpt));
}

/// Takes the text that was kept.
pub(crate) fn take() -> Option<String> {
    FIRST.with_borrow_mut(Option::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_text_is_kept_until_it_is_taken() {
        note("a");
        note("b");
        assert_eq!(take().as_deref(), Some("b"));
        assert_eq!(take(), None);
        note(&"x".repeat(100));
        assert_eq!(take().map(|text| text.chars().count()), Some(61));
    }
}
