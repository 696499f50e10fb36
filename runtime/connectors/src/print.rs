//! `print`: rows as lines on standard output, as Flink shows them. For inspection only: after a
//! failure, rows since the last checkpoint appear again.

use std::io::Write as _;

use crate::{
    ConnectorError,
    batch::{Batch, DELETE, UPDATE_AFTER, UPDATE_BEFORE},
    column_reader::{ColumnReader, Value},
    options::Options,
    sink::{Committable, Sink, SinkContext},
    text::{number, time},
};

const OPTIONS: &[&str] = &["print-identifier", "standard-error"];

/// Checks the options of a table.
pub(crate) fn check(options: Options<'_>) -> Result<(), ConnectorError> {
    options.refuse_sink_parallelism()?;
    options.boolean("standard-error", false)?;
    options.refuse_unknown(OPTIONS, |_| false)
}

/// Opens the sink of one subtask.
pub(crate) fn open(context: SinkContext) -> Result<Box<dyn Sink>, ConnectorError> {
    let options = Options::new(&context.table);
    check(options)?;
    let identifier = options.text("print-identifier").unwrap_or("");
    let task = context.subtask + 1;
    let prefix = match (identifier, context.parallelism > 1) {
        ("", false) => String::new(),
        ("", true) => format!("{task}> "),
        (identifier, false) => format!("{identifier}> "),
        (identifier, true) => format!("{identifier}:{task}> "),
    };
    let standard_error = options.boolean("standard-error", false)?;
    Ok(Box::new(Print {
        context,
        prefix,
        standard_error,
        lines: Vec::new(),
    }))
}

struct Print {
    context: SinkContext,
    prefix: String,
    standard_error: bool,
    lines: Vec<u8>,
}

impl Sink for Print {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        write_lines(&mut self.lines, batch, &self.context, &self.prefix)?;
        let written = if self.standard_error {
            std::io::stderr().lock().write_all(&self.lines)
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(&self.lines).and_then(|()| out.flush())
        };
        self.lines.clear();
        written.map_err(|error| ConnectorError::Write {
            table: self.context.table.name.clone(),
            detail: format!("cannot print: {error}"),
        })
    }

    fn prepare(&mut self, _checkpoint: u64) -> Result<Option<Committable>, ConnectorError> {
        Ok(None)
    }
}

fn write_lines(
    out: &mut Vec<u8>,
    batch: &Batch,
    context: &SinkContext,
    prefix: &str,
) -> Result<(), ConnectorError> {
    let views = ColumnReader::all(batch, &context.table)?;
    for row in 0..batch.len() {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(match batch.kind(row) {
            UPDATE_BEFORE => b"-U[",
            UPDATE_AFTER => b"+U[",
            DELETE => b"-D[",
            _ => b"+I[",
        });
        for (position, view) in views.iter().enumerate() {
            if position > 0 {
                out.extend_from_slice(b", ");
            }
            match view.get(row) {
                None => out.extend_from_slice(b"null"),
                Some(value) => write_value(out, value),
            }
        }
        out.extend_from_slice(b"]\n");
    }
    Ok(())
}

/// A value as Java's `toString` shows it.
fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Integer(value) => number::write_integer(out, value),
        Value::Float(value) => number::write_float(out, value),
        Value::Double(value) => number::write_double(out, value),
        Value::Decimal { value, scale } => number::write_decimal(out, value, scale),
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Bytes(bytes) => {
            out.push(b'[');
            for (position, byte) in bytes.iter().enumerate() {
                if position > 0 {
                    out.extend_from_slice(b", ");
                }
                number::write_integer(out, i64::from(byte.cast_signed()));
            }
            out.push(b']');
        }
        Value::Date(days) => time::write_date(out, i64::from(days)),
        Value::Time(millis) => time::print_time(out, millis),
        Value::Timestamp { moment, zoned } => time::print_timestamp(out, moment, zoned),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BinaryArray, Decimal128Array, Float64Array, RecordBatch, StringArray,
        TimestampMillisecondArray,
    };
    use streamkeeper_protocol::types::DataType;
    use streamkeeper_storage::{MemoryStore, ObjectStore};

    use super::*;
    use crate::{
        batch::{INSERT, arrow_schema},
        testing::{sink_context, table},
    };

    #[test]
    fn rows_look_as_in_flink() {
        let columns = [
            ("a", DataType::STRING),
            ("b", DataType::Double),
            (
                "c",
                DataType::Decimal {
                    precision: 5,
                    scale: 2,
                },
            ),
            ("d", DataType::Timestamp { precision: 3 }),
            ("e", DataType::Bytes),
        ];
        let table = table("print", &columns, &[]);
        let decimals = Decimal128Array::from(vec![Some(150), None]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("x"), None])),
            Arc::new(Float64Array::from(vec![1e10, 1.0])),
            Arc::new(decimals.with_precision_and_scale(5, 2).unwrap()),
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None])),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x01\xff"), None])),
        ];
        let rows = RecordBatch::try_new(arrow_schema(&table.schema), columns).unwrap();
        let batch = Batch {
            rows,
            kinds: Some(vec![INSERT, UPDATE_BEFORE].into()),
        };
        let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
        let mut out = Vec::new();
        write_lines(&mut out, &batch, &sink_context(&table, &store), "p> ").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "p> +I[x, 1.0E10, 1.50, 1970-01-01T00:00, [1, -1]]\np> -U[null, 1.0, null, null, null]\n"
        );
    }
}
