//! Compression of objects: detects it by name and first bytes, and reads gzip member by member.

use std::io::{self, Write as _};

use flate2::write::GzDecoder;

/// Number of first bytes of an object that show how it is compressed.
pub(super) const MAGIC: usize = 6;

/// Compressions that are known and not read, by the ends of names.
const UNSUPPORTED: [&str; 7] = ["bz2", "xz", "zst", "zip", "deflate", "snappy", "lz4"];

/// Whether an object is compressed with gzip, by its name. The error names a compression that is
/// not supported.
pub(super) fn by_name(key: &str) -> Result<bool, String> {
    match key.rsplit_once('.').map(|(_, extension)| extension) {
        Some("gz" | "gzip") => Ok(true),
        Some(other) if UNSUPPORTED.contains(&other) => Err(format!(
            "'.{other}' is not a supported compression, only '.gz' is"
        )),
        _ => Ok(false),
    }
}

/// Like [`by_name`], by the first bytes of an object whose name does not show it. No text starts
/// with these bytes.
pub(super) fn by_content(start: &[u8]) -> Result<bool, String> {
    let kinds: [(&[u8], &str); 4] = [
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"PK\x03\x04", "zip"),
        (b"\x04\x22\x4d\x18", "lz4"),
    ];
    match kinds.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, kind)) => Err(format!(
            "the content is compressed with {kind}, which is not supported, only gzip is"
        )),
        None => Ok(start.starts_with(b"\x1f\x8b\x08")),
    }
}

/// Decompresses gzip members, one after another. Like gzip itself, it skips zeros after the last
/// one, which tapes and block devices add as padding; anything else there is an error.
#[derive(Debug)]
pub(super) struct Inflater {
    member: GzDecoder<Vec<u8>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within the first member.
    First,
    /// Within a later one.
    Later,
    /// Among the zeros after the last one.
    Padding,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            member: GzDecoder::new(Vec::new()),
            state: State::First,
        }
    }

    /// Decompresses some input, appending to `out`.
    pub(super) fn inflate(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            if self.state == State::Padding {
                let zeros = input.iter().all(|byte| *byte == 0);
                return if zeros { Ok(()) } else { Err(trailing()) };
            }
            let taken = self.member.write(input);
            let taken = taken.map_err(|error| self.explained(error))?;
            if taken == 0 {
                self.next_member(input, out)?;
            }
            input = &input[taken..];
        }
        self.member.flush()?;
        out.append(self.member.get_mut());
        Ok(())
    }

    /// Checks the member that ended; the next one starts with `input`.
    fn next_member(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.member.try_finish()?;
        out.append(self.member.get_mut());
        self.member = GzDecoder::new(Vec::new());
        self.state = match input.first() {
            Some(0) => State::Padding,
            _ => State::Later,
        };
        Ok(())
    }

    /// Checks that the last member is whole.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.state != State::Padding {
            let done = self.member.try_finish();
            done.map_err(|error| self.explained(error))?;
            out.append(self.member.get_mut());
        }
        Ok(())
    }

    /// The error of a damaged member, or of bytes after a member that do not begin another one.
    fn explained(&self, error: io::Error) -> io::Error {
        match self.state {
            State::Later if self.member.header().is_none() => trailing(),
            _ => error,
        }
    }
}

fn trailing() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "after the last gzip member follow bytes that are neither another member nor zeros",
    )
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Decompresses in pieces of every size, which must not matter.
    fn inflated(input: &[u8]) -> Result<Vec<u8>, String> {
        let in_pieces = |size: usize| {
            let (mut inflater, mut out) = (Inflater::new(), Vec::new());
            let inflated = input
                .chunks(size)
                .try_for_each(|piece| inflater.inflate(piece, &mut out));
            let done = inflated.and_then(|()| inflater.finish(&mut out));
            done.map(|()| out).map_err(|error| error.to_string())
        };
        let whole = in_pieces(input.len().max(1));
        for size in 1..input.len() {
            let pieces = in_pieces(size);
            assert_eq!(
                pieces.is_ok(),
                whole.is_ok(),
                "{size}: {pieces:?} {whole:?}"
            );
            if whole.is_ok() {
                assert_eq!(pieces, whole, "{size}");
            }
        }
        whole
    }

    #[test]
    fn members_follow_each_other_and_zeros_the_last() {
        let (one, two) = (gzip(b"one\n"), gzip(b"two\n"));
        let none = gzip(b"");
        for (parts, text) in [
            (vec![&one[..]], "one\n"),
            (vec![&one, &two], "one\ntwo\n"),
            (vec![&none, &one, &none, &two], "one\ntwo\n"),
            (vec![&one, &[0; 1]], "one\n"),
            (vec![&one, &two, &[0; 700]], "one\ntwo\n"),
        ] {
            assert_eq!(inflated(&parts.concat()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn anything_else_after_the_last_member_is_an_error() {
        let one = gzip(b"one\n");
        for rest in [
            &b"text\n"[..],
            b"x",
            b"\0\0x",
            b"\x1f\x8b",
            b"\x1f",
            &one[..one.len() - 1],
        ] {
            let found = inflated(&[&one[..], rest].concat());
            assert!(found.is_err(), "{rest:?}: {found:?}");
        }
        // Zeros end the stream: what follows them is no member.
        assert!(inflated(&[&one[..], &[0], &one].concat()).is_err());
        let error = inflated(&[&one[..], b"text\n"].concat()).unwrap_err();
        assert!(error.contains("after the last gzip member"), "{error}");
    }

    #[test]
    fn a_truncated_or_damaged_gzip_member_is_an_error() {
        let one = gzip(b"one\n");
        for cut in 1..one.len() {
            assert!(inflated(&one[..cut]).is_err(), "{cut}");
        }
        let mut damaged = one.clone();
        let sum = damaged.len() - 8;
        damaged[sum] ^= 1;
        assert!(inflated(&damaged).is_err());
    }

    #[test]
    fn compression_is_seen_by_name_and_by_content() {
        assert_eq!(by_name("in/a.json.gz"), Ok(true));
        assert_eq!(by_name("in/a.json"), Ok(false));
        assert!(by_name("in/a.json.zst").unwrap_err().contains("'.zst'"));
        assert_eq!(by_content(&gzip(b"x")), Ok(true));
        assert_eq!(by_content(b"{\"a\":1}"), Ok(false));
        assert_eq!(by_content(b""), Ok(false));
        assert!(by_content(b"PK\x03\x04..").unwrap_err().contains("zip"));
    }
}
