//! Windows after the shuffle: from rows (`Single`) or from partial accumulators (`Global`).

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, cast::AsArray, types::Int64Type,
};
use hashbrown::HashTable;
use streamkeeper_connectors::batch::{BATCH_ROWS, Batch};
use streamkeeper_protocol::{
    key_group::key_group,
    manifest::StateDescriptor,
    plan::{ChangelogMode, Phase, PlanNode, StreamPlan, WindowAggregate},
    types::DataType,
};
use streamkeeper_state::{Entry, FrozenState, KeyEncoder, KeyRef, StateTable};

use super::{
    Site, input_of,
    output::Output,
    shape::{self, SLICES},
    slices::{self, Slicing},
    watermarks::describe,
};
use crate::{
    EngineError,
    aggregate::{Accumulators, Input},
    operator::{Operator, Place},
};

/// Bytes of the slice's end in front of an encoded key: a BIGINT NOT NULL.
const SLICE_BYTES: usize = 9;

/// Times of a batch as epoch milliseconds; a NULL fails.
pub(super) fn times(site: &Site, batch: &Batch, column: usize) -> Result<ArrayRef, EngineError> {
    let time = batch
        .rows
        .columns()
        .get(column)
        .ok_or_else(|| site.refused(format!("the time column {column} is not in its input")))?;
    if let Some(row) = (time.null_count() > 0)
        .then(|| (0..batch.len()).find(|&row| time.is_null(row)))
        .flatten()
    {
        let detail = format!(
            "the time of row ({}) is NULL, so it belongs to no window",
            describe(&batch.rows, row)
        );
        return Err(EngineError::Expression {
            operator: site.label.clone(),
            detail,
        });
    }
    slices::epoch_millis(time).map_err(|detail| site.refused(detail))
}

/// A group of a slice.
#[derive(Debug)]
struct Member {
    group: u32,
    /// Encoded end of the slice and key.
    key: Box<[u8]>,
}

/// Keeps accumulators by slice and key, fires windows in order as the watermark passes them, and forgets a slice with its last window.
#[derive(Debug)]
pub(super) struct Windows {
    site: Site,
    output: Output,
    slicing: Slicing,
    merges: bool,
    time: usize,
    keys: Vec<usize>,
    aggregates: WindowAggregate,
    slice_encoder: KeyEncoder,
    key_encoder: KeyEncoder,
    /// Milliseconds to add for `window_start`, `window_end` and `window_time`: local clocks where the column has no zone but the input's time has.
    shifts: [i64; 3],
    key_groups: u16,
    table: StateTable<u32>,
    accumulators: Accumulators,
    slices: BTreeMap<i64, Vec<Member>>,
    watermark: i64,
    late: u64,
}

impl Windows {
    pub(super) fn new(
        site: Site,
        node: &PlanNode,
        plan: &StreamPlan,
        place: &Place,
        window: &WindowAggregate,
    ) -> Result<Self, EngineError> {
        let input = input_of(&site, node, plan)?;
        if input.changelog != ChangelogMode::InsertOnly {
            return Err(site.refused(
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
            return Err(site.refused("its output lacks window_start, window_end and window_time"));
        };
        let zoned = matches!(time.ty.data, DataType::TimestampLtz { .. });
        let zone = if zoned { site.zone.offset_ms() } else { 0 };
        let shift = |data: &DataType| {
            if matches!(data, DataType::TimestampLtz { .. }) {
                0
            } else {
                zone
            }
        };
        let descriptor = shape::descriptor(&site, node, plan, SLICES)?;
        let types = shape::key_types(&descriptor);
        let key_groups = u16::try_from(place.assignment.owner.len())
            .map_err(|_| site.refused("there are more than 65,535 key groups"))?;
        Ok(Self {
            slicing: Slicing::new(window.window, zone).map_err(|detail| site.refused(detail))?,
            accumulators: Accumulators::new(&window.aggregates, Input::InsertOnly)
                .map_err(|detail| site.refused(detail))?,
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
            table: StateTable::new(descriptor, key_groups),
            slices: BTreeMap::new(),
            watermark: i64::MIN,
            late: 0,
            site,
        })
    }

    /// The rows that are not late, with the ends of their slices.
    fn in_time(&mut self, batch: &Batch) -> Result<(RecordBatch, Int64Array), EngineError> {
        let times = times(&self.site, batch, self.time)?;
        let times = times.as_primitive::<Int64Type>();
        let ends: Int64Array = if self.merges {
            times.clone()
        } else {
            times.unary(|time| self.slicing.slice_end(time))
        };
        let (mut seen, mut seen_late) = (i64::MIN, true);
        let mut is_late = |end: i64| {
            // Neighbours are mostly of one slice.
            if end != seen {
                (seen, seen_late) = (end, self.slicing.is_late(end, self.watermark));
            }
            seen_late
        };
        let late = ends.values().iter().filter(|end| is_late(**end)).count();
        if late == 0 {
            return Ok((batch.rows.clone(), ends));
        }
        self.late += late as u64;
        let kept: BooleanArray = ends
            .values()
            .iter()
            .map(|end| Some(!self.slicing.is_late(*end, self.watermark)))
            .collect();
        let rows = arrow_select::filter::filter_record_batch(&batch.rows, &kept)
            .map_err(|error| self.site.refused(error))?;
        let ends =
            arrow_select::filter::filter(&ends, &kept).map_err(|error| self.site.refused(error))?;
        Ok((rows, ends.as_primitive::<Int64Type>().clone()))
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
            .map_err(|error| self.site.refused(error))?;
        let mut groups = Vec::with_capacity(rows.num_rows());
        for (row, &end) in ends.values().iter().enumerate() {
            let key = keys.key(row);
            let group = match self.table.get_mut(key) {
                Some(group) => *group,
                None => {
                    let group = self.accumulators.add();
                    self.table.insert(key, group);
                    self.slices.entry(end).or_default().push(Member {
                        group,
                        key: key.bytes.into(),
                    });
                    group
                }
            };
            groups.push(group);
        }
        self.accumulators.settle();
        Ok(groups)
    }

    /// Emits the window with this end.
    fn fire(&self, end: i64, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        let slices = || {
            self.slices
                .range(self.slicing.start(end).wrapping_add(1)..=end)
        };
        if self.slicing.is_tumbling() || slices().nth(1).is_none() {
            for (_, members) in slices() {
                let keys: Vec<&[u8]> = members
                    .iter()
                    .map(|member| &member.key[SLICE_BYTES..])
                    .collect();
                let groups: Vec<u32> = members.iter().map(|member| member.group).collect();
                self.emit(end, &keys, &groups, &self.accumulators, out)?;
            }
            return Ok(());
        }
        let mut merged = Accumulators::new(&self.aggregates.aggregates, Input::InsertOnly)
            .map_err(|detail| self.site.refused(detail))?;
        let mut index: HashTable<u32> = HashTable::new();
        let mut keys: Vec<KeyRef<'_>> = Vec::new();
        for (_, members) in slices() {
            let (mut own, mut theirs) = (
                Vec::with_capacity(members.len()),
                Vec::with_capacity(members.len()),
            );
            for member in members {
                let key = KeyRef::new(&member.key[SLICE_BYTES..]);
                let found = index
                    .find(key.hash, |group| keys[*group as usize] == key)
                    .copied();
                let group = found.unwrap_or_else(|| {
                    let group = merged.add();
                    keys.push(key);
                    index.insert_unique(key.hash, group, |group| keys[*group as usize].hash);
                    group
                });
                own.push(group);
                theirs.push(member.group);
            }
            merged.settle();
            merged
                .absorb(&own, &self.accumulators, &theirs)
                .map_err(|detail| self.site.refused(detail))?;
        }
        let groups: Vec<u32> = (0..keys.len())
            .filter_map(|group| u32::try_from(group).ok())
            .collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.bytes).collect();
        self.emit(end, &keys, &groups, &merged, out)
    }

    fn emit(
        &self,
        end: i64,
        keys: &[&[u8]],
        groups: &[u32],
        from: &Accumulators,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        let refused = |detail: String| self.site.refused(detail);
        for (keys, groups) in keys.chunks(BATCH_ROWS).zip(groups.chunks(BATCH_ROWS)) {
            let mut columns = self
                .key_encoder
                .decode(keys.iter().copied())
                .map_err(|error| self.site.unreadable(SLICES, error))?;
            columns.extend(from.results(groups).map_err(refused)?);
            let fields = self.output.types();
            let bounds = [self.slicing.start(end), end, end.wrapping_sub(1)];
            for ((bound, shift), to) in bounds
                .iter()
                .zip(self.shifts)
                .zip(&fields[fields.len().saturating_sub(3)..])
            {
                columns.push(
                    slices::timestamps(&vec![bound.wrapping_add(shift); keys.len()], to)
                        .map_err(refused)?,
                );
            }
            out.push(Batch::inserts(self.output.rows(
                &self.site,
                columns,
                keys.len(),
            )?));
        }
        Ok(())
    }

    /// Forgets the slices whose last window has this end or an earlier one.
    fn expire(&mut self, end: i64) {
        while let Some(first) = self
            .slices
            .first_entry()
            .filter(|first| self.slicing.last_window(*first.key()) <= end)
        {
            for member in first.remove() {
                self.table.remove(KeyRef::new(&member.key));
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
            let columns = self.keys.len()..rows.num_columns().saturating_sub(1);
            rows.columns().get(columns).map_or_else(
                || Err("its input has too few columns".to_owned()),
                |partials| self.accumulators.merge(&groups, partials),
            )
        } else {
            self.accumulators.update(&groups, &rows, None)
        };
        done.map_err(|detail| self.site.refused(detail))
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
                .site
                .unreadable(name, "a window aggregation keeps no such state"));
        }
        let live: Vec<Box<[u8]>> = entries
            .iter()
            .filter(|entry| entry.value.is_some())
            .map(|entry| entry.key.clone())
            .collect();
        if let Some(key) = live.iter().find(|key| key.len() < SLICE_BYTES) {
            return Err(self
                .site
                .unreadable(name, format!("a key of {} bytes has no slice", key.len())));
        }
        let ends = KeyEncoder::new(&[DataType::BigInt])
            .decode(live.iter().map(|key| &key[..SLICE_BYTES]))
            .map_err(|error| self.site.unreadable(name, error))?;
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
            .map_err(|error| self.site.unreadable(name, error))?;
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
    }

    fn freeze(&mut self, full: bool) -> Result<Vec<FrozenState>, EngineError> {
        let accumulators = &self.accumulators;
        let mut frozen = self
            .table
            .freeze_with(full, |group, out| accumulators.encode(*group, out));
        // Rows came here by their key alone, without the slice.
        for entry in &mut frozen.entries {
            entry.key_group = key_group(&entry.key[SLICE_BYTES..], self.key_groups);
        }
        Ok(vec![frozen])
    }

    fn late_records(&self) -> u64 {
        self.late
    }
}
