//! Columns to batches of the node's schema.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions};
use streamkeeper_connectors::batch::{BATCH_ROWS, Batch, UPDATE_BEFORE, arrow_schema};
use streamkeeper_protocol::plan::PlanNode;

use super::OperatorContext;
use crate::EngineError;

/// A batch in two, cut near its middle, unless it is one row. An update stays in one part, unless
/// it is all there is.
pub(super) fn halves(batch: &Batch) -> Option<(Batch, Batch)> {
    let rows = batch.len();
    if rows < 2 {
        return None;
    }
    let mut middle = rows / 2;
    if batch.kind(middle - 1) == UPDATE_BEFORE && middle + 1 < rows {
        middle += 1;
    }
    Some((batch.slice(0, middle), batch.slice(middle, rows - middle)))
}

/// Bytes of the texts of one batch that is made from groups, but for a batch of one row. Offsets of
/// Arrow end at 2 GiB, and memory much earlier.
pub(super) const BATCH_TEXT_BYTES: usize = 64 << 20;

/// Where the batch ends that starts at `from`, of `count` rows in all: after [`BATCH_ROWS`] rows,
/// or before its texts, of `size(row)` bytes, take more than [`BATCH_TEXT_BYTES`].
pub(super) fn batch_end(from: usize, count: usize, size: impl Fn(usize) -> usize) -> usize {
    let most = from.saturating_add(BATCH_ROWS).min(count);
    let mut bytes = 0_usize;
    for row in from..most {
        bytes = bytes.saturating_add(size(row));
        if bytes > BATCH_TEXT_BYTES && row > from {
            return row;
        }
    }
    most
}

/// Makes the batches of a node.
#[derive(Debug)]
pub(super) struct Output {
    schema: Arc<arrow_schema::Schema>,
}

impl Output {
    pub(super) fn new(node: &PlanNode) -> Self {
        Self {
            schema: arrow_schema(&node.schema),
        }
    }

    /// Arrow types of the columns.
    pub(super) fn types(&self) -> Vec<arrow_schema::DataType> {
        self.schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect()
    }

    /// Rows of these columns, which must have the schema's types.
    pub(super) fn rows(
        &self,
        context: &OperatorContext,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, EngineError> {
        for (field, column) in self.schema.fields().iter().zip(&columns) {
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(EngineError::Expression {
                    operator: context.label.clone(),
                    detail: format!("column '{}' is NOT NULL but got a NULL", field.name()),
                });
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| context.refused(error))
    }

    /// Appends these rows in batches of at most [`BATCH_ROWS`]. `whole(row)` tells whether a batch
    /// may start at a row.
    pub(super) fn emit(
        &self,
        context: &OperatorContext,
        columns: Vec<ArrayRef>,
        kinds: Option<&Int8Array>,
        rows: usize,
        whole: impl Fn(usize) -> bool,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        if rows == 0 {
            return Ok(());
        }
        let all = self.rows(context, columns, rows)?;
        let mut start = 0;
        while start < rows {
            let mut end = (start + BATCH_ROWS).min(rows);
            while end < rows && end > start + 1 && !whole(end) {
                end -= 1;
            }
            let part = |array: &Int8Array| array.slice(start, end - start);
            out.push(Batch {
                rows: all.slice(start, end - start),
                kinds: kinds.map(part),
            });
            start = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_by_rows_or_by_bytes() {
        assert_eq!(batch_end(0, 10, |_| 0), 10);
        assert_eq!(batch_end(3, 3, |_| 0), 3);
        assert_eq!(batch_end(5, BATCH_ROWS * 2, |_| 1), BATCH_ROWS + 5);
        let size = |row: usize| if row == 4 { 1 } else { BATCH_TEXT_BYTES / 2 };
        assert_eq!(batch_end(0, 10, size), 2);
        assert_eq!(batch_end(2, 10, size), 4);
        assert_eq!(batch_end(4, 10, size), 6);
        assert_eq!(
            batch_end(0, 10, |_| usize::MAX),
            1,
            "a row is never cut in two"
        );
    }
}
