//! `raw`: a line is the value of the table's one column.

use streamkeeper_protocol::types::DataType;

use super::record::Appended;
use crate::{
    ConnectorError,
    column_builder::Rows,
    column_reader::{ColumnReader, Value},
    options::Options,
    text::TimestampStyle,
};

/// Names of the format's options.
pub(super) const OPTIONS: &[&str] = &["raw.charset"];

pub(super) fn check(options: Options<'_>) -> Result<(), ConnectorError> {
    let fields = &options.table().schema.fields;
    let fits = |data: &DataType| data.is_string() || *data == DataType::Bytes;
    if fields.len() != 1 || !fits(&fields[0].ty.data) {
        return Err(options.unfit("format 'raw' needs exactly one column, of type STRING or BYTES"));
    }
    match options.text("raw.charset") {
        None | Some("UTF-8") => Ok(()),
        Some(other) => Err(options.wrong(
            "raw.charset",
            format_args!("'{other}' is not supported, only 'UTF-8'"),
        )),
    }
}

pub(super) fn append(record: &[u8], rows: &mut Rows) -> Result<Appended, String> {
    if let Some(column) = rows.columns.first_mut() {
        if column.is_text() {
            let text = str::from_utf8(record).map_err(|error| format!("not UTF-8: {error}"))?;
            column.push_text(text, TimestampStyle::Sql)?;
        } else {
            column.push_raw(record)?;
        }
    }
    Ok(Appended::Row)
}

pub(super) fn write(
    out: &mut Vec<u8>,
    views: &[ColumnReader<'_>],
    row: usize,
) -> Result<(), String> {
    match views.first().and_then(|view| view.get(row)) {
        Some(Value::Text(text)) => out.extend_from_slice(text.as_bytes()),
        Some(Value::Bytes(bytes)) => out.extend_from_slice(bytes),
        _ => return Err("NULL cannot be written in format 'raw'".to_owned()),
    }
    Ok(())
}
