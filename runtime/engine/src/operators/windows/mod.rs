//! Windows after the shuffle: from rows (`Single`) or from partial accumulators (`Global`).
//!
//! * `late_rows`: drops late rows.
//! * `fire`: fires the windows that the watermark has passed.
//! * `fired_watermarks`: which have fired already, where the watermark does not show it.

mod fire;
mod fired_watermarks;
mod late_rows;

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{
    manifest::StateDescriptor,
    plan::{ChangelogMode, Phase, PlanNode, StreamPlan, WindowAggregate},
    types::DataType,
};
use streamkeeper_state::{Entry, FrozenState, KeyEncoder, KeyRef, Part, StateTable};

use self::fired_watermarks::FiredWatermarks;
use super::{
    OperatorContext, input_of,
    output::Output,
    slices::Slicing,
    state_descriptors::{self, SLICES},
};
use crate::{
    EngineError,
    aggregate::{Accumulators, Input, is_value_entry},
    operator::{Operator, Place},
};

/// Bytes of the slice's end in front of an encoded key: a BIGINT NOT NULL.
const SLICE_BYTES: usize = 9;

/// A group of a slice.
#[derive(Debug)]
struct Member {
    group: u32,
    /// Encoded end of the slice and key.
    key: Box<[u8]>,
}

/// Keeps accumulators by slice and key, fires windows in order as the watermark passes them, and
/// removes a slice with its last window.
#[derive(Debug)]
pub(super) struct Windows {
    context: OperatorContext,
    output: Output,
    slicing: Slicing,
    merges: bool,
    time: usize,
    keys: Vec<usize>,
    aggregates: WindowAggregate,
    slice_encoder: KeyEncoder,
    key_encoder: KeyEncoder,
    /// Milliseconds to add for `window_start`, `window_end` and `window_time`: local clocks where
    /// the column has no zone but the input's time has.
    shifts: [i64; 3],
    key_groups: u16,
    table: StateTable<u32>,
    accumulators: Accumulators,
    slices: BTreeMap<i64, Vec<Member>>,
    watermark: i64,
    /// Watermark that all subtasks agree upon at the current barrier.
    agreed: i64,
    /// Own key groups.
    owned: Vec<u16>,
    fired: FiredWatermarks,
    /// The entries of `fired` in the current freeze.
    marks: Vec<Entry>,
    late: u64,
}

/// Appends the value of a group, and its values that are entries of their own.
fn encode(
    part: &Part<'_, u32>,
    accumulators: &mut Accumulators,
    out: &mut Vec<u8>,
    parts: &mut Vec<Entry>,
) {
    accumulators.encode(*part.value, out);
    accumulators.freeze_values(*part.value, part.full, part.key, part.key_group, parts);
}

/// Call this before a group is changed or removed.
fn preserve(table: &mut StateTable<u32>, accumulators: &mut Accumulators, key: KeyRef<'_>) {
    if table.is_freezing() {
        table.preserve(key, |part, out, parts| {
            encode(&part, accumulators, out, parts);
        });
    }
}

impl Windows {
    pub(super) fn new(
        context: OperatorContext,
        node: &PlanNode,
        plan: &StreamPlan,
        place: &Place,
        window: &WindowAggregate,
    ) -> Result<Self, EngineError> {
        let input = input_of(&context, node, plan)?;
        if input.changelog != ChangelogMode::InsertOnly {
            return Err(context.refused(
                "a window aggregation takes inserts only, and its input may update or delete",
            ));
        }
        let merges = window.phase == Phase::Global;
        let bounds = node
            .schema
            .fields
            .len()
            .checked_sub(3)
            .map(|from| &node.schema.fields[from..]);
        let Some([start, end, time]) = bounds else {
            return Err(
                context.refused("its output lacks window_start, window_end and window_time")
            );
        };
        let zoned = matches!(time.ty.data, DataType::TimestampLtz { .. });
        let zone = if zoned { context.zone.offset_ms() } else { 0 };
        let shift = |data: &DataType| {
            if matches!(data, DataType::TimestampLtz { .. }) {
                0
            } else {
                zone
            }
        };
        let descriptor = state_descriptors::descriptor(&context, node, plan, SLICES)?;
        let types = state_descriptors::key_types(&descriptor);
        let key_groups = u16::try_from(place.assignment.owner.len())
            .map_err(|_| context.refused("there are more than 65,535 key groups"))?;
        Ok(Self {
            slicing: Slicing::new(window.window, zone).map_err(|detail| context.refused(detail))?,
            accumulators: Accumulators::stored(&window.aggregates, Input::InsertOnly)
                .map_err(|detail| context.refused(detail))?,
            output: Output::new(node),
            merges,
            time: window.time,
            keys: window.keys.clone(),
            aggregates: window.clone(),
            key_encoder: KeyEncoder::new(&types[1..]),
            slice_encoder: KeyEncoder::new(&types),
            shifts: [
                shift(&start.ty.data),
                shift(&end.ty.data),
                shift(&time.ty.data),
            ],
            key_groups,
            table: StateTable::new(descriptor, key_groups).with_prefix(SLICE_BYTES),
            slices: BTreeMap::new(),
            watermark: i64::MIN,
            agreed: i64::MAX,
            owned: place.assignment.groups_of(place.subtask).collect(),
            fired: FiredWatermarks::default(),
            marks: Vec::new(),
            late: 0,
            context,
        })
    }

    /// The group of every row.
    fn groups_of(
        &mut self,
        rows: &RecordBatch,
        ends: &Int64Array,
    ) -> Result<Vec<u32>, EngineError> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(ends.clone())];
        columns.extend(
            self.keys
                .iter()
                .map(|&key| ArrayRef::clone(rows.column(key))),
        );
        let keys = self
            .slice_encoder
            .encode(&columns, rows.num_rows())
            .map_err(|error| self.context.refused(error))?;
        let mut groups = Vec::with_capacity(rows.num_rows());
        for (row, &end) in ends.values().iter().enumerate() {
            let key = keys.key(row);
            preserve(&mut self.table, &mut self.accumulators, key);
            let group = if let Some(group) = self.table.get_mut(key) {
                *group
            } else {
                let group = self.accumulators.add();
                self.table.insert(key, group);
                self.slices.entry(end).or_default().push(Member {
                    group,
                    key: key.bytes.into(),
                });
                group
            };
            groups.push(group);
        }
        self.accumulators.settle();
        Ok(groups)
    }

    /// Drops the slices whose last window has this end or an earlier one.
    fn expire(&mut self, end: i64) {
        while let Some(first) = self
            .slices
            .first_entry()
            .filter(|first| self.slicing.last_window(*first.key()) <= end)
        {
            for member in first.remove() {
                let key = KeyRef::new(&member.key);
                preserve(&mut self.table, &mut self.accumulators, key);
                self.table.remove(key);
                self.accumulators.release(member.group);
            }
        }
    }
}

impl Operator for Windows {
    fn process(&mut self, _: usize, batch: &Batch, _: &mut Vec<Batch>) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (rows, ends) = self.in_time(batch)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let groups = self.groups_of(&rows, &ends)?;
        let done = if self.merges {
            // The last two columns are the number of records and the end of the slice.
            let columns = self.keys.len()..rows.num_columns().saturating_sub(2);
            rows.columns().get(columns).map_or_else(
                || Err("its input has too few columns".to_owned()),
                |partials| self.accumulators.merge(&groups, partials),
            )
        } else {
            self.accumulators.update(&groups, &rows, None)
        };
        done.map_err(|detail| self.context.refused(detail))
    }

    fn watermark(&mut self, watermark: i64, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        while let Some((&first, _)) = self.slices.first_key_value() {
            let end = self.slicing.next_window(first, self.watermark);
            if end.wrapping_sub(1) > watermark {
                break;
            }
            self.fire(end, out)?;
            self.watermark = end.wrapping_sub(1);
            self.expire(end);
        }
        self.watermark = self.watermark.max(watermark);
        self.fired.reached(self.watermark);
        Ok(())
    }

    fn states(&self) -> Vec<StateDescriptor> {
        vec![self.table.descriptor().clone()]
    }

    fn restore(
        &mut self,
        name: &str,
        written: &StateDescriptor,
        entries: Vec<Entry>,
    ) -> Result<(), EngineError> {
        if name != SLICES {
            return Err(self
                .context
                .unreadable(name, "a window aggregation keeps no such state"));
        }
        let (marks, entries): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(FiredWatermarks::owns);
        let (values, entries): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(is_value_entry);
        for mark in &marks {
            self.fired
                .restore(mark)
                .map_err(|detail| self.context.unreadable(name, detail))?;
        }
        let live: Vec<Box<[u8]>> = entries
            .iter()
            .filter(|entry| entry.value.is_some())
            .map(|entry| entry.key.clone())
            .collect();
        if let Some(key) = live.iter().find(|key| key.len() < SLICE_BYTES) {
            return Err(self
                .context
                .unreadable(name, format!("a key of {} bytes has no slice", key.len())));
        }
        let ends = KeyEncoder::new(&[DataType::BigInt])
            .decode(live.iter().map(|key| &key[..SLICE_BYTES]))
            .map_err(|error| self.context.unreadable(name, error))?;
        let (mapping, count) = (
            self.accumulators.mapping(&written.accumulators),
            written.accumulators.len(),
        );
        let accumulators = &mut self.accumulators;
        let mut groups = Vec::with_capacity(live.len());
        let load = |bytes: &[u8]| {
            let group = accumulators.add();
            accumulators.settle();
            accumulators.decode(group, bytes, &mapping, count)?;
            groups.push(group);
            Ok(group)
        };
        self.table
            .load_with(entries, load)
            .map_err(|error| self.context.unreadable(name, error))?;
        let table = &self.table;
        self.accumulators
            .load_values(&values, &mapping, |key| {
                table.get(KeyRef::new(key)).copied()
            })
            .map_err(|detail| self.context.unreadable(name, detail))?;
        let ends = ends
            .first()
            .map(|ends| ends.as_primitive::<Int64Type>().values().to_vec())
            .unwrap_or_default();
        for ((end, key), group) in ends.into_iter().zip(live).zip(groups) {
            self.slices
                .entry(end)
                .or_default()
                .push(Member { group, key });
        }
        Ok(())
    }

    fn restore_watermark(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
        self.fired.reached(self.watermark);
    }

    fn align_watermark(&mut self, watermark: Option<i64>) {
        self.agreed = watermark.unwrap_or(i64::MIN);
    }

    fn begin_freeze(&mut self, full: bool) {
        self.table.begin_freeze(full);
        let ahead: &[u16] = if self.watermark > self.agreed {
            &self.owned
        } else {
            &[]
        };
        self.marks = self.fired.freeze(full, ahead, self.watermark);
    }

    fn advance_freeze(&mut self, slice: usize) -> Result<Option<Vec<FrozenState>>, EngineError> {
        let accumulators = &mut self.accumulators;
        let encode = |part: Part<'_, u32>, out: &mut Vec<u8>, parts: &mut Vec<Entry>| {
            encode(&part, accumulators, out, parts);
        };
        let Some(mut frozen) = self.table.advance_freeze(slice, encode) else {
            return Ok(None);
        };
        frozen.chunks.push(std::mem::take(&mut self.marks));
        Ok(Some(vec![frozen]))
    }

    fn late_records(&self) -> u64 {
        self.late
    }
}
