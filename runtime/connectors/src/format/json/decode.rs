//! A line to a row.

use std::collections::HashMap;

use streamkeeper_protocol::types::Schema;

use super::{
    JsonOptions,
    reader::{Reader, Value, compact},
};
use crate::{
    column::{Column, Rows},
    format::decode::Appended,
    text::TimestampStyle,
};

/// Decodes lines of one table.
#[derive(Debug)]
pub(in crate::format) struct RowDecoder {
    by_name: HashMap<String, usize>,
    options: JsonOptions,
}

impl RowDecoder {
    pub(in crate::format) fn new(options: &JsonOptions, schema: &Schema) -> Self {
        let by_name = schema
            .fields
            .iter()
            .enumerate()
            .map(|(position, field)| (field.name.clone(), position))
            .collect();
        Self {
            by_name,
            options: options.clone(),
        }
    }

    /// Appends a line to every column; on an error some columns may have a value too many.
    pub(in crate::format) fn append(
        &mut self,
        line: &[u8],
        rows: &mut Rows,
    ) -> Result<Appended, String> {
        let text = str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
        let mut reader = Reader::new(text);
        if reader.at_end() {
            return Ok(Appended::Nothing);
        }
        reader.begin_object().map_err(|error| error.to_string())?;
        let row = rows.len();
        // Fields mostly come in the order of the columns.
        let (mut expected, mut first) = (0, true);
        while let Some(key) = reader.next_key(first).map_err(|error| error.to_string())? {
            first = false;
            let value = reader.value().map_err(|error| error.to_string())?;
            let position = match rows.columns.get(expected) {
                Some(column) if column.name() == key => Some(expected),
                _ => self.by_name.get(key.as_ref()).copied(),
            };
            if let Some(position) = position {
                expected = position + 1;
                let column = &mut rows.columns[position];
                // The last of several fields of one name counts.
                column.truncate(row);
                self.push(column, &value)?;
            }
        }
        reader.finish().map_err(|error| error.to_string())?;
        for column in &mut rows.columns {
            if column.len() == row {
                if self.options.fail_on_missing {
                    return Err(format!("field '{}' is missing", column.name()));
                }
                let missing = column.push_null();
                missing.map_err(|_| {
                    format!(
                        "field '{}' is missing, but its column is NOT NULL",
                        column.name()
                    )
                })?;
            }
        }
        Ok(Appended::Row)
    }

    fn push(&self, column: &mut Column, value: &Value<'_>) -> Result<(), String> {
        let pushed = match value {
            Value::Null => column.push_null(),
            Value::Boolean(value) => column.push_boolean(*value),
            Value::Number(text) => column.push_number(text),
            Value::String(text) => column.push_text(text, self.options.style),
            Value::Nested(text) if column.is_text() => {
                column.push_text(&compact(text), TimestampStyle::Sql)
            }
            Value::Nested(_) => Err("an object or array where a single value should be".to_owned()),
        };
        let pushed = match pushed {
            Err(_) if self.options.ignore_errors => column.push_null(),
            other => other,
        };
        pushed.map_err(|detail| format!("field '{}': {detail}", column.name()))
    }
}
