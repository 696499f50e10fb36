//! Drops late rows before they enter their slices.

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, cast::AsArray, types::Int64Type,
};
use arrow_buffer::BooleanBuffer;
use streamkeeper_connectors::batch::Batch;

use super::{super::event_time::times, Windows};
use crate::EngineError;

impl Windows {
    /// The rows that are not late, with the ends of their slices.
    pub(super) fn in_time(
        &mut self,
        batch: &Batch,
    ) -> Result<(RecordBatch, Int64Array), EngineError> {
        let times = times(&self.context, batch, self.time)?;
        let times = times.as_primitive::<Int64Type>();
        let ends: Int64Array = if self.merges {
            times.clone()
        } else {
            Int64Array::from_iter_values(self.slicing.slice_ends(times.values()))
        };
        let kept = if self.fired.is_empty() {
            self.kept(&ends)
        } else {
            self.kept_by_group(&batch.rows, &ends)?
        };
        if kept.count_set_bits() == kept.len() {
            return Ok((batch.rows.clone(), ends));
        }
        self.late += self.records_without(&batch.rows, &kept)?;
        let kept = BooleanArray::new(kept, None);
        let rows = arrow_select::filter::filter_record_batch(&batch.rows, &kept)
            .map_err(|error| self.context.refused(error))?;
        let ends = arrow_select::filter::filter(&ends, &kept)
            .map_err(|error| self.context.refused(error))?;
        Ok((rows, ends.as_primitive::<Int64Type>().clone()))
    }

    /// Records behind the rows that are not kept.
    fn records_without(
        &self,
        rows: &RecordBatch,
        kept: &BooleanBuffer,
    ) -> Result<u64, EngineError> {
        if !self.merges {
            return Ok((kept.len() - kept.count_set_bits()) as u64);
        }
        let records = self
            .time
            .checked_sub(1)
            .and_then(|column| rows.columns().get(column))
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| {
                self.context
                    .refused("its input has no count of records before its time column")
            })?;
        let late = records.values().iter().zip(kept).filter(|(_, kept)| !kept);
        Ok(late
            .map(|(records, _)| u64::try_from(*records).unwrap_or(0))
            .sum())
    }

    /// Which slices are not late.
    fn kept(&self, ends: &Int64Array) -> BooleanBuffer {
        let (mut seen, mut seen_late) = (i64::MIN, true);
        ends.values()
            .iter()
            .map(|&end| {
                // Neighbours are mostly of one slice.
                if end != seen {
                    (seen, seen_late) = (end, self.slicing.is_late(end, self.watermark));
                }
                !seen_late
            })
            .collect()
    }

    /// Like `kept`, where windows of some key groups have fired further than those of others.
    fn kept_by_group(
        &self,
        rows: &RecordBatch,
        ends: &Int64Array,
    ) -> Result<BooleanBuffer, EngineError> {
        let columns: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&key| ArrayRef::clone(rows.column(key)))
            .collect();
        let keys = self
            .key_encoder
            .encode(&columns, rows.num_rows())
            .map_err(|error| self.context.refused(error))?;
        let kept = ends.values().iter().enumerate().map(|(row, &end)| {
            let group = keys.key(row).key_group(self.key_groups);
            !self
                .slicing
                .is_late(end, self.fired.watermark(group, self.watermark))
        });
        Ok(kept.collect())
    }
}
