//! Records of a text: where one ends, and what became of it.

/// A whole record at the start of some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its bytes with its line end.
    pub(super) length: usize,
    /// Its lines.
    pub(super) lines: u64,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// A value in every column.
    Row,
    /// The record is empty or a comment.
    Nothing,
}

/// The next line.
pub(super) fn frame_line(input: &[u8], last: bool) -> Option<Frame> {
    match memchr::memchr(b'\n', input) {
        Some(end) => Some(Frame {
            length: end + 1,
            lines: 1,
        }),
        None if last && !input.is_empty() => Some(Frame {
            length: input.len(),
            lines: 1,
        }),
        None => None,
    }
}

/// The record without its line end.
pub(super) fn without_line_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
