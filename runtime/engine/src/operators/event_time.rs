//! The time column of a batch.

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::array_value_to_string;
use streamkeeper_connectors::batch::Batch;

use super::{OperatorContext, slices};
use crate::EngineError;

/// Times of a batch as epoch milliseconds; a NULL fails.
pub(super) fn times(
    context: &OperatorContext,
    batch: &Batch,
    column: usize,
) -> Result<ArrayRef, EngineError> {
    let time =
        batch.rows.columns().get(column).ok_or_else(|| {
            context.refused(format!("the time column {column} is not in its input"))
        })?;
    if let Some(row) = (time.null_count() > 0)
        .then(|| (0..batch.len()).find(|&row| time.is_null(row)))
        .flatten()
    {
        let detail = format!(
            "the time of row ({}) is NULL, so it belongs to no window",
            describe(&batch.rows, row)
        );
        return Err(EngineError::Expression {
            operator: context.label.clone(),
            detail,
        });
    }
    slices::epoch_millis(time).map_err(|detail| context.refused(detail))
}

/// `name=value, …` of a row, for messages.
pub(super) fn describe(batch: &RecordBatch, row: usize) -> String {
    let value = |index: usize| {
        array_value_to_string(batch.column(index), row).unwrap_or_else(|error| error.to_string())
    };
    let columns = batch.schema_ref().fields().iter().enumerate();
    let parts: Vec<String> = columns
        .map(|(index, field)| {
            if batch.column(index).is_null(row) {
                format!("{}=NULL", field.name())
            } else {
                format!("{}={}", field.name(), value(index))
            }
        })
        .collect();
    parts.join(", ")
}
