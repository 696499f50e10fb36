//! What all formats share in writing.

use streamkeeper_protocol::plan::TableRef;

use super::{Format, csv, json, raw};
use crate::{
    ConnectorError,
    batch::{Batch, DELETE, INSERT, UPDATE_BEFORE},
    column_reader::ColumnReader,
};

#[derive(Debug)]
enum Lines {
    Json(json::RowEncoder),
    DebeziumJson(json::RowEncoder),
    Csv(csv::RowEncoder),
    Raw,
}

/// Encodes rows to lines.
#[derive(Debug)]
pub(crate) struct Encoder {
    lines: Lines,
    table: TableRef,
    out: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(format: &Format, table: &TableRef) -> Self {
        let lines = match format {
            Format::Json(options) => Lines::Json(json::RowEncoder::new(options, &table.schema)),
            Format::DebeziumJson(options) => {
                Lines::DebeziumJson(json::RowEncoder::new(options, &table.schema))
            }
            Format::Csv(options) => Lines::Csv(csv::RowEncoder::new(options.clone())),
            Format::Raw => Lines::Raw,
        };
        Self {
            lines,
            table: table.clone(),
            out: Vec::new(),
        }
    }

    /// Appends the rows of a batch.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let views = ColumnReader::all(batch, &self.table)?;
        for row in 0..batch.len() {
            let kind = batch.kind(row);
            if kind != INSERT && !matches!(self.lines, Lines::DebeziumJson(_)) {
                return Err(self.refused(
                    "an update or a deletion arrived, but the format can only hold inserts; use \
                     'format' = 'debezium-json'",
                ));
            }
            let written = match &self.lines {
                Lines::Json(encoder) => {
                    encoder.write(&mut self.out, &views, row);
                    Ok(())
                }
                Lines::DebeziumJson(encoder) => {
                    if matches!(kind, UPDATE_BEFORE | DELETE) {
                        self.out.extend_from_slice(b"{\"before\":");
                        encoder.write(&mut self.out, &views, row);
                        self.out.extend_from_slice(b",\"after\":null,\"op\":\"d\"}");
                    } else {
                        self.out.extend_from_slice(b"{\"before\":null,\"after\":");
                        encoder.write(&mut self.out, &views, row);
                        self.out.extend_from_slice(b",\"op\":\"c\"}");
                    }
                    Ok(())
                }
                Lines::Csv(encoder) => {
                    encoder.write(&mut self.out, &views, row);
                    Ok(())
                }
                Lines::Raw => raw::write(&mut self.out, &views, row),
            };
            written.map_err(|detail| self.refused(&detail))?;
            self.out.push(b'\n');
        }
        Ok(())
    }

    /// Bytes that were encoded since the last [`Self::take`].
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// What was encoded since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn refused(&self, detail: &str) -> ConnectorError {
        ConnectorError::Write {
            table: self.table.name.clone(),
            detail: detail.to_owned(),
        }
    }
}
