//! The watermark assigner: watermarks from rows.

use arrow_array::{Array, cast::AsArray, types::Int64Type};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::expr::Expr;

use super::{
    OperatorContext,
    event_time::describe,
    output::halves,
    slices::{self, Slicing},
};
use crate::{
    EngineError,
    expr::{CompiledExpr, parse_failure},
    operator::Operator,
};

/// Passes rows on, and keeps the largest watermark that they yield.
///
/// For a row that may be late for some window, the watermark of all rows ahead of it counts, not
/// that of the batches ahead: the batch is cut before it. So lateness does not depend on how rows
/// are cut into batches. Most rows need no cut: they are in time by either watermark.
#[derive(Debug)]
pub(super) struct WatermarkAssigner {
    context: OperatorContext,
    column: usize,
    expr: CompiledExpr,
    /// Shapes of the plan's windows.
    slicings: Vec<Slicing>,
    watermark: Option<i64>,
    /// The watermark that was sent downstream.
    sent: Option<i64>,
    /// Watermarks to send before the batches of the last call.
    marks: Vec<(usize, i64)>,
}

impl WatermarkAssigner {
    pub(super) fn new(
        context: OperatorContext,
        column: usize,
        expr: &Expr,
        slicings: Vec<Slicing>,
    ) -> Result<Self, EngineError> {
        if !expr.ty.data.is_timestamp() {
            return Err(context.refused(format!(
                "the watermark is of type {}, not a timestamp",
                expr.ty
            )));
        }
        let expr =
            CompiledExpr::in_zone(expr, context.zone).map_err(|error| context.refused(error))?;
        Ok(Self {
            context,
            column,
            expr,
            slicings,
            watermark: None,
            sent: None,
            marks: Vec::new(),
        })
    }

    fn assign(
        &mut self,
        batch: &Batch,
        unread: Option<(usize, &str)>,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let time = batch.rows.columns().get(self.column).ok_or_else(|| {
            self.context.refused(format!(
                "the time column {} is not in its input",
                self.column
            ))
        })?;
        if let Some(row) = (time.null_count() > 0)
            .then(|| (0..batch.len()).find(|&row| time.is_null(row)))
            .flatten()
        {
            let name = batch.rows.schema_ref().field(self.column).name();
            // Another row's text does not explain this NULL.
            let unread = unread
                .filter(|(of, _)| *of == row)
                .map(|(_, text)| format!("; TO_TIMESTAMP cannot read '{text}'"))
                .unwrap_or_default();
            let detail = format!(
                "the time column '{name}' is NULL in row ({}){unread}; filter such rows out before the watermark, or give it a value",
                describe(&batch.rows, row)
            );
            return Err(EngineError::Expression {
                operator: self.context.label.clone(),
                detail,
            });
        }
        let watermarks = match self.expr.evaluate(&batch.rows) {
            Ok(watermarks) => watermarks,
            Err(error) => {
                return match halves(batch) {
                    Some((first, second)) if error.crowded => {
                        // A NULL in either half was found above.
                        self.assign(&first, None, out)?;
                        self.assign(&second, None, out)
                    }
                    _ => Err(self.context.failed(&error)),
                };
            }
        };
        let millis =
            slices::epoch_millis(&watermarks).map_err(|detail| self.context.refused(detail))?;
        let times = slices::epoch_millis(time).map_err(|detail| self.context.refused(detail))?;
        let (millis, times) = (
            millis.as_primitive::<Int64Type>(),
            times.as_primitive::<Int64Type>(),
        );
        let mut start = 0;
        for (row, (own, &time)) in millis.iter().zip(times.values()).enumerate() {
            if let Some(watermark) = self.watermark
                && self.sent < self.watermark
                && self.may_be_late(time, watermark)
            {
                if row > start {
                    out.push(batch.slice(start, row - start));
                    start = row;
                }
                self.marks.push((out.len(), watermark));
                self.sent = self.watermark;
            }
            self.watermark = self.watermark.max(own);
        }
        out.push(if start == 0 {
            batch.clone()
        } else {
            batch.slice(start, batch.len() - start)
        });
        Ok(())
    }

    /// Whether a window with the row of this time fires at `watermark` or earlier.
    fn may_be_late(&self, time: i64, watermark: i64) -> bool {
        time <= watermark
            && self
                .slicings
                .iter()
                .any(|slicing| slicing.slice_end(time).wrapping_sub(1) <= watermark)
    }
}

impl Operator for WatermarkAssigner {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        // The failure belongs to this batch: the operator that computed the time ran just before,
        // in this thread, for these rows.
        let unread = parse_failure::take();
        self.marks.clear();
        let unread = unread.as_ref().map(|(row, text)| (*row, text.as_str()));
        self.assign(batch, unread, out)?;
        self.sent = self.watermark;
        Ok(())
    }

    fn watermark(&mut self, _: i64, _: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }

    fn own_watermark(&self) -> Option<Option<i64>> {
        Some(self.watermark)
    }

    fn own_marks(&self) -> &[(usize, i64)] {
        &self.marks
    }

    fn restore_watermark(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(Some(watermark));
        self.sent = self.watermark;
    }
}
