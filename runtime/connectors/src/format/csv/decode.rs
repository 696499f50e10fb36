//! Decodes a record to a row.

use super::CsvOptions;
use crate::{
    column_builder::Rows,
    format::record::{Appended, Frame, frame_line},
    text::{TimestampStyle, timestamp_hint::timestamp_hint},
};

/// Decodes records of one table.
#[derive(Debug)]
pub(in crate::format) struct RowDecoder {
    options: CsvOptions,
    /// Text of the field being read, without quotes and escapes.
    field: Vec<u8>,
}

impl RowDecoder {
    pub(in crate::format) fn new(options: CsvOptions) -> Self {
        Self {
            options,
            field: Vec::new(),
        }
    }

    /// Whether a record is a comment.
    pub(in crate::format) fn is_comment(&self, record: &[u8]) -> bool {
        self.options.comments && record.first() == Some(&b'#')
    }

    /// The next record: up to the line end that no quotes enclose.
    pub(in crate::format) fn frame(&self, input: &[u8], last: bool) -> Option<Frame> {
        if self.is_comment(input) {
            return frame_line(input, last);
        }
        let (mut at, mut lines, mut in_quotes, mut field_start) = (0, 0, false, true);
        while let Some(&byte) = input.get(at) {
            at += 1;
            let opens = field_start && Some(byte) == self.options.quote;
            field_start = false;
            if Some(byte) == self.options.escape {
                lines += u64::from(input.get(at) == Some(&b'\n'));
                at += 1;
            } else if in_quotes || opens {
                // A doubled quote closes and opens again.
                if Some(byte) == self.options.quote {
                    in_quotes = !in_quotes;
                    field_start = !in_quotes;
                }
                lines += u64::from(byte == b'\n');
            } else if byte == b'\n' {
                return Some(Frame {
                    length: at,
                    lines: lines + 1,
                });
            } else {
                field_start = byte == self.options.delimiter;
            }
        }
        (last && !input.is_empty()).then_some(Frame {
            length: input.len(),
            lines: lines + 1,
        })
    }

    /// Appends a record to every column; on an error some columns may have a value too many.
    pub(in crate::format) fn append(
        &mut self,
        record: &[u8],
        rows: &mut Rows,
    ) -> Result<Appended, String> {
        if self.is_comment(record) {
            return Ok(Appended::Nothing);
        }
        let columns = rows.columns.len();
        if record.is_empty() && columns > 1 && !self.options.ignore_errors {
            return Err(format!(
                "an empty line is one empty field, and the table has {columns} columns; remove \
                 it, or set 'csv.ignore-parse-errors' = 'true', which makes a row of NULLs of it"
            ));
        }
        let (mut at, mut fields) = (0, 0);
        loop {
            let more = self.read_field(record, &mut at)?;
            if fields < rows.columns.len() {
                self.push(rows, fields)?;
            }
            fields += 1;
            if !more {
                break;
            }
        }
        if fields > columns || (fields < columns && !self.options.ignore_errors) {
            return Err(format!("{fields} fields for the table's {columns} columns"));
        }
        for column in &mut rows.columns[fields..] {
            let missing = column.push_null();
            missing.map_err(|detail| format!("field '{}': {detail}", column.name()))?;
        }
        Ok(Appended::Row)
    }

    /// Reads the field at `at`; returns whether another one follows.
    fn read_field(&mut self, record: &[u8], at: &mut usize) -> Result<bool, String> {
        self.field.clear();
        let quoted = record
            .get(*at)
            .is_some_and(|byte| Some(*byte) == self.options.quote);
        *at += usize::from(quoted);
        let mut open = quoted;
        while let Some(&byte) = record.get(*at) {
            *at += 1;
            if Some(byte) == self.options.escape {
                let escaped = record
                    .get(*at)
                    .ok_or("an escape character at the end of the record")?;
                self.field.push(*escaped);
                *at += 1;
            } else if open && Some(byte) == self.options.quote {
                if record.get(*at) == Some(&byte) {
                    self.field.push(byte);
                    *at += 1;
                } else {
                    open = false;
                }
            } else if !open && byte == self.options.delimiter {
                return Ok(true);
            } else if quoted && !open {
                return Err("text after the closing quote of a field".to_owned());
            } else {
                self.field.push(byte);
            }
        }
        if open {
            Err("a field without its closing quote".to_owned())
        } else {
            Ok(false)
        }
    }

    fn push(&self, rows: &mut Rows, position: usize) -> Result<(), String> {
        let column = &mut rows.columns[position];
        let text = str::from_utf8(&self.field).map_err(|error| format!("not UTF-8: {error}"))?;
        let pushed = if self.options.null.as_deref() == Some(text) {
            column.push_null()
        } else {
            match column.push_text(text, TimestampStyle::Sql) {
                Err(_) if self.options.ignore_errors => column.push_misfit(),
                Err(_) if text.is_empty() && !column.is_text() => Err(
                    "the field is empty; if that means NULL, set 'csv.null-literal' = ''"
                        .to_owned(),
                ),
                Err(detail) => {
                    let hint = timestamp_hint(text, TimestampStyle::Sql, column.data(), None);
                    Err(hint.map_or(detail.clone(), |hint| format!("{detail}: {hint}")))
                }
                Ok(()) => Ok(()),
            }
        };
        pushed.map_err(|detail| format!("field '{}': {detail}", column.name()))
    }
}
