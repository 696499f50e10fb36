//! Watermarks from rows.

use arrow_array::{Array, RecordBatch, cast::AsArray, types::Int64Type};
use arrow_cast::display::array_value_to_string;
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::expr::Expr;

use super::{Site, slices};
use crate::{
    EngineError,
    expr::{CompiledExpr, unreadable},
    operator::Operator,
};

/// Passes rows on, and remembers the largest watermark they gave.
#[derive(Debug)]
pub(super) struct WatermarkAssigner {
    site: Site,
    column: usize,
    expr: CompiledExpr,
    watermark: Option<i64>,
}

impl WatermarkAssigner {
    pub(super) fn new(site: Site, column: usize, expr: &Expr) -> Result<Self, EngineError> {
        if !expr.ty.data.is_timestamp() {
            return Err(site.refused(format!(
                "the watermark is of type {}, not a timestamp",
                expr.ty
            )));
        }
        let expr = CompiledExpr::in_zone(expr, site.zone).map_err(|error| site.refused(error))?;
        Ok(Self {
            site,
            column,
            expr,
            watermark: None,
        })
    }
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

impl Operator for WatermarkAssigner {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        // Of this batch: what computed the time ran just before, in this thread.
        let unread = unreadable::take();
        if batch.is_empty() {
            return Ok(());
        }
        let time = batch.rows.columns().get(self.column).ok_or_else(|| {
            self.site.refused(format!(
                "the time column {} is not in its input",
                self.column
            ))
        })?;
        if let Some(row) = (time.null_count() > 0)
            .then(|| (0..batch.len()).find(|&row| time.is_null(row)))
            .flatten()
        {
            let name = batch.rows.schema_ref().field(self.column).name();
            let unread = unread
                .map(|text| format!("; TO_TIMESTAMP cannot read '{text}'"))
                .unwrap_or_default();
            let detail = format!(
                "the time column '{name}' is NULL in row ({}){unread}; filter such rows out before the watermark, or give it a value",
                describe(&batch.rows, row)
            );
            return Err(EngineError::Expression {
                operator: self.site.label.clone(),
                detail,
            });
        }
        let watermarks = self
            .expr
            .evaluate(&batch.rows)
            .map_err(|error| self.site.failed(&error))?;
        let millis =
            slices::epoch_millis(&watermarks).map_err(|detail| self.site.refused(detail))?;
        self.watermark = self.watermark.max(arrow_arith::aggregate::max::<Int64Type>(
            millis.as_primitive(),
        ));
        out.push(batch.clone());
        Ok(())
    }

    fn watermark(&mut self, _: i64, _: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }

    fn own_watermark(&self) -> Option<Option<i64>> {
        Some(self.watermark)
    }

    fn restore_watermark(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(Some(watermark));
    }
}
