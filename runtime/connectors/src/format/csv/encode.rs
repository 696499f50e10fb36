//! Encodes a row to a record.

use super::CsvOptions;
use crate::{
    column_reader::{ColumnReader, Value},
    text::{TimestampStyle, bytes, number, time},
};

/// Encodes rows of one table.
#[derive(Debug)]
pub(in crate::format) struct RowEncoder {
    options: CsvOptions,
}

impl RowEncoder {
    pub(in crate::format) fn new(options: CsvOptions) -> Self {
        Self { options }
    }

    /// Writes a record, without a line end.
    pub(in crate::format) fn write(
        &self,
        out: &mut Vec<u8>,
        views: &[ColumnReader<'_>],
        row: usize,
    ) {
        let start = out.len();
        for (position, view) in views.iter().enumerate() {
            if position > 0 {
                out.push(self.options.delimiter);
            }
            let Some(value) = view.get(row) else {
                out.extend_from_slice(self.options.null.as_deref().unwrap_or("").as_bytes());
                continue;
            };
            match value {
                Value::Boolean(value) => {
                    out.extend_from_slice(if value { b"true" } else { b"false" });
                }
                Value::Integer(value) => number::write_integer(out, value),
                Value::Float(value) => number::write_float(out, value),
                Value::Double(value) => number::write_double(out, value),
                Value::Decimal { value, scale } => number::write_decimal(out, value, scale),
                Value::Text(text) => self.write_text(out, text.as_bytes(), position == 0),
                Value::Bytes(value) => bytes::write(out, value),
                Value::Date(days) => time::write_date(out, i64::from(days)),
                Value::Time(millis) => time::write_time(out, millis),
                Value::Timestamp { moment, zoned } => {
                    time::write_timestamp(out, moment, TimestampStyle::Sql, zoned);
                }
            }
        }
        // An empty line would not be a record.
        if let (true, Some(quote)) = (out.len() == start, self.options.quote) {
            out.extend_from_slice(&[quote, quote]);
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, text: &[u8], first: bool) {
        let options = &self.options;
        let special = |byte: &u8| {
            *byte == options.delimiter
                || Some(*byte) == options.quote
                || Some(*byte) == options.escape
                || matches!(byte, b'\n' | b'\r')
        };
        let comment = first && options.comments && text.first() == Some(&b'#');
        let Some(quote) = options
            .quote
            .filter(|_| comment || text.iter().any(special))
        else {
            out.extend_from_slice(text);
            return;
        };
        out.push(quote);
        for &byte in text {
            if byte == quote {
                out.push(options.escape.unwrap_or(quote));
            } else if Some(byte) == options.escape {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(quote);
    }
}
