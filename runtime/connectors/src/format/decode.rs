//! What all formats share in reading.

use arrow_array::RecordBatch;
use streamkeeper_protocol::plan::TableRef;

use super::{
    Format, csv, json, raw,
    record::{Appended, frame_line, without_line_end},
};
use crate::{ConnectorError, batch::BATCH_ROWS, column_builder::Rows};

/// A batch ends when it has consumed this many bytes.
const BATCH_BYTES: u64 = 1 << 20;
/// Longest record. A longer one means that the object has another format, or none.
const LONGEST_RECORD: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// May stand at the start of an object.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    /// Values of them that were cut, or are NULL because they do not fit their column.
    pub(crate) misfits: u64,
    /// Warnings for the author of the table.
    pub(crate) warnings: Vec<String>,
}

impl Decoded {
    /// Whether there are no rows, no skipped records and no warnings.
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.skipped == 0 && self.warnings.is_empty()
    }
}

/// A malformed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Line where it starts, from 1.
    pub(crate) line: u64,
    pub(crate) detail: String,
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
    /// The next record is the object's first, and left out.
    ignore_first: bool,
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
        let (records, ignore_errors, ignore_first) = match format {
            Format::Json(options) => (
                Records::Json(json::RowDecoder::new(options, &table.schema)),
                options.ignore_errors,
                false,
            ),
            Format::Csv(options) => (
                Records::Csv(csv::RowDecoder::new(options.clone())),
                options.ignore_errors,
                options.ignore_first && from.offset == 0,
            ),
            Format::Raw => (Records::Raw, false, false),
            Format::DebeziumJson(_) => return Err(unreadable()),
        };
        Ok(Self {
            records,
            ignore_errors,
            ignore_first,
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

    /// Decodes whole records from the start of `input` until the batch is full; `last` marks the
    /// end of the input. Returns the number of bytes used.
    pub(crate) fn decode(&mut self, input: &[u8], last: bool) -> Result<usize, BadRecord> {
        let mut used = 0;
        while !self.is_full() {
            let Some(mark) = self.byte_order_mark(&input[used..], last) else {
                break;
            };
            let rest = &input[used + mark..];
            let frame = match &self.records {
                Records::Json(_) | Records::Raw => frame_line(rest, last),
                Records::Csv(decoder) => decoder.frame(rest, last),
            };
            let line = self.at.line + 1;
            if frame.map_or(rest.len(), |frame| frame.length) > LONGEST_RECORD {
                let detail = format!(
                    "the record that starts at byte {} has no end within {} MiB, the longest that is \
                     read: does the object have another format or another line end?",
                    self.at.offset,
                    LONGEST_RECORD >> 20
                );
                return Err(BadRecord { line, detail });
            }
            let Some(frame) = frame else {
                break;
            };
            let record = without_line_end(&rest[..frame.length]);
            let appended = match &mut self.records {
                Records::Csv(decoder) if self.ignore_first => {
                    self.ignore_first = decoder.is_comment(record);
                    Ok(Appended::Nothing)
                }
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
            used += mark + frame.length;
            self.at.offset += (mark + frame.length) as u64;
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

    /// Length of the mark at the start of an object; none while that is not known yet.
    fn byte_order_mark(&self, input: &[u8], last: bool) -> Option<usize> {
        if self.at.offset > 0 {
            return Some(0);
        }
        if input.starts_with(BYTE_ORDER_MARK) {
            return Some(BYTE_ORDER_MARK.len());
        }
        (last || !BYTE_ORDER_MARK.starts_with(input)).then_some(0)
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
            misfits: self.rows.take_misfits(),
            warnings: match &mut self.records {
                Records::Json(decoder) => decoder.take_warnings(),
                Records::Csv(_) | Records::Raw => Vec::new(),
            },
        })
    }
}
