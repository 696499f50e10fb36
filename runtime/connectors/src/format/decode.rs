//! What all formats share in reading.

use arrow_array::RecordBatch;
use streamkeeper_protocol::plan::TableRef;

use super::{Format, csv, json, raw};
use crate::{ConnectorError, batch::BATCH_ROWS, column::Rows};

/// A batch is cut when it has consumed so many bytes.
const BATCH_BYTES: u64 = 1 << 20;
/// A record longer than this is not a record: the object has another format, or none.
const LONGEST_RECORD: usize = 64 << 20;

/// A place between two records of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Bytes before it, uncompressed.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) line: u64,
}

/// Some decoded rows.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    /// The place after each row.
    pub(crate) marks: Vec<Mark>,
    /// Records skipped among or after them.
    pub(crate) skipped: u64,
}

/// A record that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Line where it starts, from 1.
    pub(crate) line: u64,
    pub(crate) detail: String,
}

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

#[derive(Debug)]
enum Records {
    Json(json::RowDecoder),
    Csv(csv::RowDecoder),
    Raw,
}

/// Decodes an object, or what is left of it after a position.
#[derive(Debug)]
pub(crate) struct Decoder {
    records: Records,
    ignore_errors: bool,
    rows: Rows,
    marks: Vec<Mark>,
    at: Mark,
    batch_start: u64,
    skipped: u64,
}

impl Decoder {
    /// A decoder that starts at `from`.
    pub(crate) fn new(
        format: &Format,
        table: &TableRef,
        from: Mark,
    ) -> Result<Self, ConnectorError> {
        let unreadable = || ConnectorError::Option {
            table: table.name.clone(),
            option: None,
            detail: "a column's type cannot be read from a format".to_owned(),
        };
        let (records, ignore_errors) = match format {
            Format::Json(options) => (
                Records::Json(json::RowDecoder::new(options, &table.schema)),
                options.ignore_errors,
            ),
            Format::Csv(options) => (
                Records::Csv(csv::RowDecoder::new(options.clone())),
                options.ignore_errors,
            ),
            Format::Raw => (Records::Raw, false),
            Format::DebeziumJson(_) => return Err(unreadable()),
        };
        Ok(Self {
            records,
            ignore_errors,
            rows: Rows::new(&table.schema).ok_or_else(unreadable)?,
            marks: Vec::new(),
            at: from,
            batch_start: from.offset,
            skipped: 0,
        })
    }

    /// Whether enough rows for a batch are decoded.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.at.offset - self.batch_start >= BATCH_BYTES
    }

    /// Decodes whole records from the start of `input` until the batch is full; `last` says that
    /// nothing follows. Answers the bytes used.
    pub(crate) fn decode(&mut self, input: &[u8], last: bool) -> Result<usize, BadRecord> {
        let mut used = 0;
        while !self.is_full() {
            let rest = &input[used..];
            let frame = match &self.records {
                Records::Json(_) | Records::Raw => frame_line(rest, last),
                Records::Csv(decoder) => decoder.frame(rest, last),
            };
            let line = self.at.line + 1;
            let Some(frame) = frame else {
                if rest.len() > LONGEST_RECORD {
                    let detail =
                        format!("no end of the record within {} MiB", LONGEST_RECORD >> 20);
                    return Err(BadRecord { line, detail });
                }
                break;
            };
            let mut record = without_line_end(&rest[..frame.length]);
            if self.at.offset == 0 {
                record = record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record);
            }
            let appended = match &mut self.records {
                Records::Json(decoder) => decoder.append(record, &mut self.rows),
                Records::Csv(decoder) => decoder.append(record, &mut self.rows),
                Records::Raw => raw::append(record, &mut self.rows),
            };
            if let (Err(detail), false) = (&appended, self.ignore_errors) {
                self.rows.abandon_row();
                return Err(BadRecord {
                    line,
                    detail: detail.clone(),
                });
            }
            used += frame.length;
            self.at.offset += frame.length as u64;
            self.at.line += frame.lines;
            match appended {
                Ok(Appended::Row) => {
                    self.rows.commit_row();
                    self.marks.push(self.at);
                }
                Ok(Appended::Nothing) => {}
                Err(_) => {
                    self.rows.abandon_row();
                    self.skipped += 1;
                }
            }
        }
        Ok(used)
    }

    /// The rows so far; none are left.
    pub(crate) fn take(&mut self) -> Result<Decoded, BadRecord> {
        self.batch_start = self.at.offset;
        let rows = self.rows.take().map_err(|detail| BadRecord {
            line: self.at.line,
            detail,
        })?;
        Ok(Decoded {
            rows,
            marks: std::mem::take(&mut self.marks),
            skipped: std::mem::take(&mut self.skipped),
        })
    }
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

fn without_line_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
