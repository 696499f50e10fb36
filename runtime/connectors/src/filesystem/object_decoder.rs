//! Decodes the bytes of an object to rows, in one thread.

use std::io;

use bytes::{Buf as _, Bytes};
use streamkeeper_protocol::plan::TableRef;

use super::compression::Inflater;
use crate::{
    ConnectorError,
    format::{BadRecord, Decoded, Decoder, Format, Mark},
};

/// Number of compressed bytes that are decompressed at once: at most 64 MiB with the best ratio.
const INFLATE: usize = 64 << 10;

/// Why the rest of an object cannot be read.
#[derive(Debug)]
pub(super) enum DecodeError {
    Record(BadRecord),
    Compression(io::Error),
}

/// Result of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// Rows; there may be more in the input.
    Rows(Decoded),
    /// The input is used up.
    More,
}

/// An object being decoded. Input comes in chunks ([`ObjectDecoder::push`]); the last one is
/// announced.
#[derive(Debug)]
pub(super) struct ObjectDecoder {
    decoder: Decoder,
    inflater: Option<Inflater>,
    /// Uncompressed bytes to leave out before the first record.
    leave_out: u64,
    input: Bytes,
    last: bool,
    /// Uncompressed bytes not yet decoded, from `start`.
    buffer: Vec<u8>,
    start: usize,
}

impl ObjectDecoder {
    /// Makes a decoder that starts at `from`. The input of a compressed object starts at its
    /// beginning, that of another one at `from`.
    pub(super) fn new(
        format: &Format,
        table: &TableRef,
        from: Mark,
        compressed: bool,
    ) -> Result<Self, ConnectorError> {
        Ok(Self {
            decoder: Decoder::new(format, table, from)?,
            inflater: compressed.then(Inflater::new),
            leave_out: if compressed { from.offset } else { 0 },
            input: Bytes::new(),
            last: false,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// Adds input, after the input before it was used up.
    pub(super) fn push(&mut self, chunk: Bytes, last: bool) {
        self.input = chunk;
        self.last = last;
    }

    /// Decodes on until a batch is full or the input is used up.
    pub(super) fn step(&mut self) -> Result<Step, DecodeError> {
        loop {
            let at_end = self.last && self.input.is_empty() && self.inflater.is_none();
            let used = self.decoder.decode(&self.buffer[self.start..], at_end);
            // What came before a bad record is handed out before the error.
            let used = match used {
                Ok(used) => used,
                Err(bad) => return Err(DecodeError::Record(bad)),
            };
            self.start += used;
            if self.decoder.is_full() {
                return self
                    .decoder
                    .take()
                    .map(Step::Rows)
                    .map_err(DecodeError::Record);
            }
            if self.input.is_empty() && !(self.last && self.inflater.is_some()) {
                return Ok(Step::More);
            }
            self.refill().map_err(DecodeError::Compression)?;
        }
    }

    /// The rows since the last full batch.
    pub(super) fn rest(&mut self) -> Result<Decoded, DecodeError> {
        self.decoder.take().map_err(DecodeError::Record)
    }

    /// Moves input to the buffer.
    fn refill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let Some(inflater) = &mut self.inflater else {
            self.buffer.extend_from_slice(&self.input);
            self.input.clear();
            return Ok(());
        };
        let some = self.input.len().min(INFLATE);
        let mut inflated = Vec::new();
        inflater.inflate(&self.input[..some], &mut inflated)?;
        self.input.advance(some);
        if self.input.is_empty() && self.last {
            inflater.finish(&mut inflated)?;
        }
        let left_out = usize::try_from(self.leave_out)
            .unwrap_or(usize::MAX)
            .min(inflated.len());
        self.leave_out -= left_out as u64;
        self.buffer.extend_from_slice(&inflated[left_out..]);
        if self.input.is_empty() && self.last {
            self.inflater = None;
        }
        Ok(())
    }
}
