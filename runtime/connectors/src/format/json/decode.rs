//! Decodes a line to a row.

use std::collections::HashMap;

use streamkeeper_protocol::types::Schema;

use super::{
    JsonOptions,
    reader::{Reader, Value, compact},
};
use crate::{
    column_builder::{ColumnBuilder, Rows},
    format::record::Appended,
    text::{TimestampStyle, timestamp_hint::timestamp_hint},
};

/// Levels of objects and arrays in a value that a column reads, as many as Flink's parser allows.
const DEEPEST: usize = 1_000;

/// Decodes lines of one table.
#[derive(Debug)]
pub(in crate::format) struct RowDecoder {
    by_name: HashMap<String, usize>,
    options: JsonOptions,
    /// Columns that no field has matched yet.
    unmet: Vec<usize>,
    /// Warnings for the author of the table.
    warnings: Vec<String>,
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
            unmet: (0..schema.fields.len()).collect(),
            warnings: Vec::new(),
        }
    }

    pub(in crate::format) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
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
        let mut alike: Vec<(usize, String)> = Vec::new();
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
            } else if let Some(position) = self.unmet_like(&key, &rows.columns) {
                alike.push((position, key.into_owned()));
            }
        }
        reader.finish().map_err(|error| error.to_string())?;
        if !self.unmet.is_empty() {
            self.unmet
                .retain(|position| rows.columns[*position].len() == row);
            self.warning(&alike, &rows.columns);
        }
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

    /// Finds a column that no field has matched yet and whose name differs from `key` only in
    /// letter case.
    fn unmet_like(&self, key: &str, columns: &[ColumnBuilder]) -> Option<usize> {
        let mut unmet = self.unmet.iter().copied();
        unmet.find(|position| columns[*position].name().eq_ignore_ascii_case(key))
    }

    /// Warns of columns that are still unmatched although the record has a field with a similar
    /// name.
    fn warning(&mut self, alike: &[(usize, String)], columns: &[ColumnBuilder]) {
        for (position, key) in alike {
            let met = self.unmet.len();
            self.unmet.retain(|unmet| unmet != position);
            if self.unmet.len() < met {
                let name = columns[*position].name();
                self.warnings.push(format!(
                    "column '{name}' reads as NULL: the data has no field '{name}', but one named \
                     '{key}', and letter case counts; name the column `{key}`"
                ));
            }
        }
    }

    fn push(&self, column: &mut ColumnBuilder, value: &Value<'_>) -> Result<(), String> {
        let pushed = match value {
            Value::Null => column.push_null(),
            Value::Boolean(value) => column.push_boolean(*value),
            Value::Number(text) => column.push_number(text),
            Value::String(text) => column.push_text(text, self.options.style),
            Value::Nested { depth, .. } if *depth > DEEPEST => Err(format!(
                "objects and arrays nested more than {DEEPEST} levels deep"
            )),
            Value::Nested { text, .. } if column.is_text() => {
                column.push_text(&compact(text), TimestampStyle::Sql)
            }
            Value::Nested { .. } => {
                Err("an object or array where a single value should be".to_owned())
            }
        };
        let pushed = match pushed {
            Err(_) if self.options.ignore_errors => column.push_misfit(),
            other => other,
        };
        pushed.map_err(|detail| {
            let hint = match value {
                Value::Number(text) => self.hint(text, column),
                Value::String(text) => self.hint(text, column),
                _ => None,
            };
            let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
            format!("field '{}': {detail}{hint}", column.name())
        })
    }

    fn hint(&self, text: &str, column: &ColumnBuilder) -> Option<String> {
        let option = Some(self.options.style_option.as_str());
        timestamp_hint(text, self.options.style, column.data(), option)
    }
}
