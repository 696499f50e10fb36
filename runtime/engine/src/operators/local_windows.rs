//! Partial aggregates before the shuffle.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::plan::{ChangelogMode, PlanNode, StreamPlan, WindowAggregate};

use super::{
    OperatorContext, event_time,
    group_index::GroupIndex,
    input_of,
    late_filter::LateFilter,
    output::{BATCH_TEXT_BYTES, Output, batch_end},
};
use crate::{
    EngineError,
    aggregate::{Accumulators, Input},
    operator::Operator,
};

/// Groups held at most before they are sent on.
const HELD_GROUPS: usize = 32 * 1024;

/// Accumulates rows by slice and key, and sends accumulators on when a slice closes, when there are
/// too many or too large ones, before a barrier and when the input falls idle.
///
/// Holding a slice that the watermark has not reached changes no result: none of its windows fires
/// before, so none of its rows can become late meanwhile. Windows wait for no input that is idle;
/// so nothing is held then.
#[derive(Debug)]
pub(super) struct LocalWindows {
    context: OperatorContext,
    output: Output,
    filter: LateFilter,
    time: usize,
    keys: Vec<usize>,
    index: GroupIndex,
    accumulators: Accumulators,
    /// Rows of every group.
    records: Vec<i64>,
    /// Smallest end of a slice that is held.
    earliest: i64,
    /// Kept for its memory.
    slices: Vec<i64>,
    groups: Vec<u32>,
}

impl LocalWindows {
    pub(super) fn new(
        context: OperatorContext,
        node: &PlanNode,
        plan: &StreamPlan,
        window: &WindowAggregate,
    ) -> Result<Self, EngineError> {
        let input = input_of(&context, node, plan)?;
        if input.changelog != ChangelogMode::InsertOnly {
            return Err(context.refused(
                "a window aggregation takes inserts only, and its input may update or delete",
            ));
        }
        if let Some(call) = window.aggregates.iter().find(|call| !call.is_splittable()) {
            return Err(context.refused(format!(
                "{:?} DISTINCT cannot be split around a shuffle",
                call.function
            )));
        }
        let field = |&column: &usize| {
            input
                .schema
                .fields
                .get(column)
                .ok_or_else(|| context.refused(format!("column {column} is not in its input")))
        };
        let filter = LateFilter::new(&context, node, plan, window)?;
        let types = window
            .keys
            .iter()
            .map(|column| field(column).map(|field| field.ty.data.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let accumulators = Accumulators::new(&window.aggregates, Input::InsertOnly)
            .map_err(|detail| context.refused(detail))?;
        Ok(Self {
            output: Output::new(node),
            filter,
            time: window.time,
            keys: window.keys.clone(),
            index: GroupIndex::new(&types),
            accumulators,
            records: Vec::new(),
            earliest: i64::MAX,
            slices: Vec::new(),
            groups: Vec::new(),
            context,
        })
    }

    fn send(&mut self, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        let count = self.index.len();
        let refused = |detail: String| self.context.refused(detail);
        // Groups are numbered by 32 bits.
        let size = |group: usize| {
            let number = u32::try_from(group).unwrap_or(u32::MAX);
            self.index.key_bytes(group) + self.accumulators.text_bytes(number)
        };
        let mut from = 0;
        while from < count {
            let to = batch_end(from, count, size);
            let groups: Vec<u32> = (from..to)
                .filter_map(|group| u32::try_from(group).ok())
                .collect();
            let (mut columns, slices) = self.index.columns(from, to).map_err(refused)?;
            columns.extend(self.accumulators.partials(&groups).map_err(refused)?);
            let records = self.records.iter().skip(from).take(to - from);
            columns.push(Arc::new(Int64Array::from_iter_values(records.copied())));
            columns.push(Arc::new(Int64Array::from(slices)));
            out.push(Batch::inserts(self.output.rows(
                &self.context,
                columns,
                to - from,
            )?));
            from = to;
        }
        self.index.clear();
        self.accumulators.reset();
        self.records.clear();
        self.earliest = i64::MAX;
        Ok(())
    }
}

impl Operator for LocalWindows {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let millis = event_time::times(&self.context, batch, self.time)?;
        self.slices.clear();
        self.slices.extend(
            self.filter
                .slicing()
                .slice_ends(millis.as_primitive::<Int64Type>().values()),
        );
        // The operator that merges partial accumulators could not separate a late row from rows
        // that are in time.
        let kept = self.filter.in_time(batch, &self.slices)?;
        let batch = if let Some((kept, slices)) = &kept {
            self.slices.clone_from(slices);
            kept
        } else {
            batch
        };
        if batch.is_empty() {
            return Ok(());
        }
        self.earliest = self
            .slices
            .iter()
            .fold(self.earliest, |earliest, slice| earliest.min(*slice));
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&key| ArrayRef::clone(batch.rows.column(key)))
            .collect();
        self.groups.clear();
        let refused = |detail: String| self.context.refused(detail);
        self.index
            .find(&self.slices, &keys, &mut self.groups)
            .map_err(refused)?;
        self.accumulators.settle_at(self.index.len());
        self.records.resize(self.index.len(), 0);
        for &group in &self.groups {
            self.records[group as usize] += 1;
        }
        self.accumulators
            .update(&self.groups, &batch.rows, None)
            .map_err(refused)?;
        let texts = self.index.held_bytes() + self.accumulators.held_text_bytes();
        if self.index.len() >= HELD_GROUPS || texts >= BATCH_TEXT_BYTES {
            self.send(out)
        } else {
            Ok(())
        }
    }

    fn watermark(&mut self, watermark: i64, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        if self.earliest.saturating_sub(1) <= watermark {
            self.send(out)?;
        }
        self.filter.reached(watermark);
        Ok(())
    }

    fn restore_watermark(&mut self, watermark: i64) {
        self.filter.reached(watermark);
    }

    fn late_records(&self) -> u64 {
        self.filter.late()
    }

    fn flush(&mut self, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        self.send(out)
    }
}
