//! BYTES as text: base64 with padding, as Flink's JSON and CSV formats do.

use base64::{Engine as _, engine::general_purpose::STANDARD};

pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text)
        .map_err(|error| format!("'{}' is not base64: {error}", excerpt(text)))
}

pub(crate) fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
}

/// A value for a message, cut where it would be too long to read.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}
