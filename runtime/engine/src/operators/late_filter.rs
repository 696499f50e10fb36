//! Drops late rows, row by row and before any exchange.
//!
//! A row is late if all its windows end before the watermark that the rows ahead of it gave. Rows
//! ahead of it are those of the same subtask, in the order of its sources. So the decision depends
//! neither on where batches are cut, nor on how fast other subtasks are.

use arrow_array::{BooleanArray, cast::AsArray, types::Int64Type};
use arrow_select::filter::filter_record_batch;
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::plan::{
    Operator as Planned, Phase, PlanNode, StreamPlan, WindowAggregate,
};
use streamkeeper_protocol::types::DataType;

use super::{
    OperatorContext,
    context::{context_of, input_of},
    event_time::times,
    slices::Slicing,
};
use crate::EngineError;

/// Drops late rows of one window aggregation.
#[derive(Debug)]
pub(crate) struct LateFilter {
    context: OperatorContext,
    slicing: Slicing,
    time: usize,
    watermark: i64,
    late: u64,
}

impl LateFilter {
    pub(super) fn new(
        context: &OperatorContext,
        node: &PlanNode,
        plan: &StreamPlan,
        window: &WindowAggregate,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            slicing: slicing(context, node, plan, window)?,
            time: window.time,
            watermark: i64::MIN,
            late: 0,
            context: context.clone(),
        })
    }

    pub(super) fn slicing(&self) -> Slicing {
        self.slicing
    }

    /// Advances to the watermark of the rows ahead.
    pub(crate) fn reached(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Rows dropped so far.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    /// The rows that are in time.
    pub(crate) fn keep(&mut self, batch: Batch) -> Result<Batch, EngineError> {
        let times = times(&self.context, &batch, self.time)?;
        let ends: Vec<i64> = self
            .slicing
            .slice_ends(times.as_primitive::<Int64Type>().values())
            .collect();
        Ok(self.in_time(&batch, &ends)?.map_or(batch, |(kept, _)| kept))
    }

    /// The rows that are in time and the ends of their slices, unless all are.
    pub(super) fn in_time(
        &mut self,
        batch: &Batch,
        ends: &[i64],
    ) -> Result<Option<(Batch, Vec<i64>)>, EngineError> {
        let is_late = |end: i64| self.slicing.is_late(end, self.watermark);
        if !ends.iter().any(|&end| is_late(end)) {
            return Ok(None);
        }
        let kept: BooleanArray = ends.iter().map(|&end| Some(!is_late(end))).collect();
        let rows =
            filter_record_batch(&batch.rows, &kept).map_err(|error| self.context.refused(error))?;
        let ends: Vec<i64> = ends.iter().copied().filter(|&end| !is_late(end)).collect();
        self.late += (batch.len() - ends.len()) as u64;
        // Windows take inserts only.
        Ok(Some((Batch::inserts(rows), ends)))
    }
}

/// Slices of a window aggregation over rows.
fn slicing(
    context: &OperatorContext,
    node: &PlanNode,
    plan: &StreamPlan,
    window: &WindowAggregate,
) -> Result<Slicing, EngineError> {
    let input = input_of(context, node, plan)?;
    let field =
        input.schema.fields.get(window.time).ok_or_else(|| {
            context.refused(format!("column {} is not in its input", window.time))
        })?;
    let zoned = matches!(field.ty.data, DataType::TimestampLtz { .. });
    Slicing::new(
        window.window,
        if zoned { context.zone.offset_ms() } else { 0 },
    )
    .map_err(|detail| context.refused(detail))
}

/// Slices of all windows of the plan, each shape once.
pub(super) fn slicings(
    context: &OperatorContext,
    plan: &StreamPlan,
) -> Result<Vec<Slicing>, EngineError> {
    let mut found = Vec::new();
    for node in &plan.nodes {
        if let Planned::WindowAggregate(window) = &node.operator
            && window.phase != Phase::Global
        {
            let slicing = slicing(context, node, plan, window)?;
            if !found.contains(&slicing) {
                found.push(slicing);
            }
        }
    }
    Ok(found)
}

/// What drops late rows before they are exchanged: for windows that do not aggregate before the
/// exchange.
pub(crate) fn late_filter(
    node: &PlanNode,
    plan: &StreamPlan,
) -> Result<Option<LateFilter>, EngineError> {
    match &node.operator {
        Planned::WindowAggregate(window) if window.phase == Phase::Single => {
            LateFilter::new(&context_of(node, plan)?, node, plan, window).map(Some)
        }
        _ => Ok(None),
    }
}
