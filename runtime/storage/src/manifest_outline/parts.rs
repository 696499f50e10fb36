//! Parses an object part by part while it is read, with limits on its text.

use std::io;

use bytes::{Buf, Bytes};
use streamkeeper_guard::guard;
use tokio::sync::mpsc;

use crate::{ObjectStore, StorageError};

/// Bytes requested at once.
const PART: u64 = 256 << 10;
/// Longest name or text: a parser holds one as a whole.
const TEXT: usize = 512 << 10;
/// Longest number or word.
const WORD: usize = 1 << 10;
/// Deepest nesting: a parser remembers each level.
const DEPTH: usize = 128;

/// Why an object was not parsed.
#[derive(Debug)]
pub(super) enum ParseError {
    Storage(StorageError),
    /// What is wrong with its text.
    Text(String),
    /// It needs more than the memory limit.
    OverMemoryLimit,
}

/// Reads an object of at most `limit` bytes part by part and parses it meanwhile: only a few parts
/// are held at any time.
pub(super) async fn parse<T: Send + 'static>(
    store: &dyn ObjectStore,
    key: &str,
    limit: u64,
    parse: impl FnOnce(Reader) -> Result<T, ParseError> + Send + 'static,
) -> Result<T, ParseError> {
    let begin = store.begin(key, PART).await.map_err(ParseError::Storage)?;
    if begin.size > limit {
        return Err(ParseError::Storage(StorageError::TooLarge {
            at: format!("{}/{key}", store.describe()),
            limit,
        }));
    }
    let (parts, taken) = mpsc::channel(1);
    let parsing = tokio::task::spawn_blocking(move || parse(Reader::new(taken)));
    let feeding = async move {
        let (mut next, mut at) = (begin.bytes, 0);
        loop {
            at += next.len() as u64;
            // A parser that has ended returns the reason itself.
            if parts.send(next).await.is_err() || at >= begin.size {
                return Ok(());
            }
            let range = at..begin.size.min(at + PART);
            next = if begin.etag.is_empty() {
                store.get_range(key, range).await?
            } else {
                store.get_range_of(key, &begin.etag, range).await?
            };
        }
    };
    let fed = feeding.await;
    let parsed = match parsing.await {
        Ok(parsed) => parsed,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => Err(ParseError::Text("reading was given up".to_owned())),
    };
    // A failure of the store says nothing about the object.
    fed.map_err(ParseError::Storage)?;
    parsed
}

/// Parts as a parser reads them.
#[derive(Debug)]
pub(super) struct Reader {
    parts: mpsc::Receiver<Bytes>,
    now: Bytes,
    shape: Shape,
}

impl Reader {
    fn new(parts: mpsc::Receiver<Bytes>) -> Self {
        Self {
            parts,
            now: Bytes::new(),
            shape: Shape::default(),
        }
    }
}

impl io::Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => {
                    self.shape.look(&part).map_err(io::Error::other)?;
                    self.now = part;
                }
                None => return Ok(0),
            }
        }
        let len = self.now.len().min(into.len());
        self.now.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

/// Where in JSON text a reader is, as far as a parser's memory depends on it.
#[derive(Debug, Default)]
struct Shape {
    inside_text: bool,
    escaped: bool,
    depth: usize,
    /// Bytes of the text or word so far.
    len: usize,
}

impl Shape {
    fn look(&mut self, bytes: &[u8]) -> Result<(), String> {
        for byte in bytes {
            if self.inside_text {
                self.len += 1;
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => (self.inside_text, self.len) = (false, 0),
                    _ => {}
                }
                if guard!("a text is short": self.len > TEXT, else false) {
                    return Err(format!("a text in it is longer than {TEXT} bytes"));
                }
                continue;
            }
            match byte {
                b'"' => (self.inside_text, self.len) = (true, 0),
                b'[' | b'{' => {
                    self.depth += 1;
                    self.len = 0;
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.len = 0;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.len = 0,
                _ => self.len += 1,
            }
            if guard!("nesting is shallow": self.depth > DEPTH, else false) {
                return Err(format!("it is nested deeper than {DEPTH} levels"));
            }
            if guard!("a word is short": self.len > WORD, else false) {
                return Err(format!("a number in it is longer than {WORD} bytes"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn look(text: &str) -> Result<(), String> {
        let mut shape = Shape::default();
        // As parts come: cut anywhere.
        text.as_bytes()
            .chunks(7)
            .try_for_each(|part| shape.look(part))
    }

    #[test]
    pub(in super::super) fn text_that_a_parser_would_have_to_hold_or_to_remember_without_end_is_refused()
     {
        let (a, deep) = ("a".repeat(TEXT - 1), "[".repeat(DEPTH));
        for (fine, refused) in [
            (format!(r#"{{"{a}": 1}}"#), format!(r#"{{"{a}ab": 1}}"#)),
            (deep.clone(), format!("{deep}[")),
            ("1".repeat(WORD), "1".repeat(WORD + 1)),
        ] {
            look(&fine).unwrap();
            look(&refused).unwrap_err();
        }
        // Brackets in texts are no nesting, and an escaped quote ends none.
        let inside = format!(r#"["\"{deep}[\\", "{deep}["]"#);
        look(&inside).unwrap();
        let many = "[1, \"x\"], ".repeat(10_000);
        look(&many).unwrap();
    }
}
