//! Encodes a row to a line.

use streamkeeper_protocol::types::Schema;

use super::JsonOptions;
use crate::{
    column_reader::{ColumnReader, Value},
    text::{TimestampStyle, bytes, number, time},
};

/// Encodes rows of one table.
#[derive(Debug)]
pub(in crate::format) struct RowEncoder {
    /// `"name":` of every column.
    keys: Vec<Vec<u8>>,
    style: TimestampStyle,
    omit_nulls: bool,
}

impl RowEncoder {
    pub(in crate::format) fn new(options: &JsonOptions, schema: &Schema) -> Self {
        let key = |name: &str| {
            let mut key = Vec::new();
            write_string(&mut key, name);
            key.push(b':');
            key
        };
        Self {
            keys: schema.fields.iter().map(|field| key(&field.name)).collect(),
            style: options.style,
            omit_nulls: options.omit_nulls,
        }
    }

    /// Writes the object of a row, without a line end.
    pub(in crate::format) fn write(
        &self,
        out: &mut Vec<u8>,
        views: &[ColumnReader<'_>],
        row: usize,
    ) {
        out.push(b'{');
        let mut first = true;
        for (key, view) in self.keys.iter().zip(views) {
            let value = view.get(row);
            if value.is_none() && self.omit_nulls {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(key);
            match value {
                None => out.extend_from_slice(b"null"),
                Some(value) => self.write_value(out, value),
            }
        }
        out.push(b'}');
    }

    fn write_value(&self, out: &mut Vec<u8>, value: Value<'_>) {
        let mut quoted = |write: &dyn Fn(&mut Vec<u8>)| {
            out.push(b'"');
            write(out);
            out.push(b'"');
        };
        match value {
            Value::Boolean(value) => {
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Value::Integer(value) => number::write_integer(out, value),
            // JSON has no number for NaN and the infinities.
            Value::Float(value) if !value.is_finite() => {
                quoted(&|out| number::write_float(out, value));
            }
            Value::Float(value) => number::write_float(out, value),
            Value::Double(value) if !value.is_finite() => {
                quoted(&|out| number::write_double(out, value));
            }
            Value::Double(value) => number::write_double(out, value),
            Value::Decimal { value, scale } => number::write_decimal(out, value, scale),
            Value::Text(text) => write_string(out, text),
            Value::Bytes(value) => quoted(&|out| bytes::write(out, value)),
            Value::Date(days) => quoted(&|out| time::write_date(out, i64::from(days))),
            Value::Time(millis) => quoted(&|out| time::write_time(out, millis)),
            Value::Timestamp { moment, zoned } => {
                quoted(&|out| time::write_timestamp(out, moment, self.style, zoned));
            }
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut run = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0x00..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[run..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'0', b'0', HEX[high], HEX[low]]);
        }
        run = at + 1;
    }
    out.extend_from_slice(&bytes[run..]);
    out.push(b'"');
}
