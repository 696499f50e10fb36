//! Unbounded `GROUP BY`.

use arrow_array::{ArrayRef, BooleanArray, Int8Array, UInt32Array};
use arrow_select::{interleave::interleave, take::take};
use streamkeeper_connectors::batch::{Batch, DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};
use streamkeeper_protocol::{
    aggregate::AggregateCall,
    manifest::StateDescriptor,
    plan::{ChangelogMode, PlanNode, StreamPlan},
};
use streamkeeper_state::{
    Entry, FrozenState, KeyBatch, KeyEncoder, KeyRef, PagedVec, Part, StateTable,
};

use super::{
    OperatorContext, input_of,
    output::{Output, halves},
    state_descriptors::{self, GROUPS},
};
use crate::{
    EngineError,
    aggregate::{Accumulators, Input, is_value_entry},
    expr::conversion,
    operator::{Operator, Place},
};

/// Bytes of text, in a batch and the results that it may change, above which the batch is processed
/// in two parts. Old and new rows together have at most twice as much, and offsets of Arrow end at
/// 2 GiB.
const CROWDED_BYTES: usize = if cfg!(test) { 4 << 20 } else { 512 << 20 };

/// Keeps accumulators and the number of rows by key. A batch is a mini-batch: it changes the result
/// of a key once.
///
/// A retraction of a key that has no rows is ignored, as in Flink: it retracts a row from before
/// the operator was added to the query.
#[derive(Debug)]
pub(super) struct GroupAggregate {
    context: OperatorContext,
    output: Output,
    keys: Vec<usize>,
    encoder: KeyEncoder,
    upsert: bool,
    table: StateTable<u32>,
    accumulators: Accumulators,
    /// Rows of every group.
    rows: PagedVec<i64>,
    /// Number of the newest batch that has rows of a group.
    batch_of: PagedVec<u64>,
    batch: u64,
    /// Kept for its memory.
    encoded: KeyBatch,
}

/// The groups of a batch.
struct Touched {
    /// Group of every row.
    of_rows: Vec<u32>,
    /// What every row counts; absent if all rows are inserts.
    weights: Option<Vec<i8>>,
    /// Each group once, and the first row with it.
    groups: Vec<u32>,
    first: Vec<usize>,
}

/// A row of the output: kind, old results (0) or new ones (1), position of its group.
type Change = (i8, usize, usize);

impl GroupAggregate {
    pub(super) fn new(
        context: OperatorContext,
        node: &PlanNode,
        plan: &StreamPlan,
        place: &Place,
        keys: &[usize],
        calls: &[AggregateCall],
    ) -> Result<Self, EngineError> {
        if let Some(ttl) = plan.settings.state_ttl_ms.filter(|ttl| *ttl > 0) {
            return Err(context.refused(format!("table.exec.state.ttl = {ttl} ms is not implemented: state of an unbounded GROUP BY is kept for ever; remove the setting, or group by a window")));
        }
        let input = match input_of(&context, node, plan)?.changelog {
            ChangelogMode::InsertOnly => Input::InsertOnly,
            ChangelogMode::Retract => Input::Changes,
            ChangelogMode::Upsert => {
                return Err(context.refused("its input has updates without the rows they replace"));
            }
        };
        if node.changelog == ChangelogMode::InsertOnly {
            return Err(context.refused("its output has updates, and the plan says inserts only"));
        }
        let descriptor = state_descriptors::descriptor(&context, node, plan, GROUPS)?;
        let key_groups = u16::try_from(place.assignment.owner.len())
            .map_err(|_| context.refused("there are more than 65,535 key groups"))?;
        Ok(Self {
            output: Output::new(node),
            keys: keys.to_vec(),
            encoder: KeyEncoder::new(&state_descriptors::key_types(&descriptor)),
            upsert: node.changelog == ChangelogMode::Upsert,
            table: StateTable::new(descriptor, key_groups),
            accumulators: Accumulators::stored(calls, input)
                .map_err(|detail| context.refused(detail))?,
            rows: PagedVec::default(),
            batch_of: PagedVec::default(),
            batch: 0,
            encoded: KeyBatch::default(),
            context,
        })
    }

    fn touch(&mut self, batch: &Batch, keys: &[ArrayRef]) -> Result<Touched, EngineError> {
        self.encoder
            .encode_into(keys, batch.len(), &mut self.encoded)
            .map_err(|error| self.context.refused(error))?;
        self.batch += 1;
        let mut touched = Touched {
            of_rows: Vec::with_capacity(batch.len()),
            weights: None,
            groups: Vec::new(),
            first: Vec::new(),
        };
        let mut weights = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let key = self.encoded.key(row);
            if self.table.is_freezing() {
                let (accumulators, rows) = (&mut self.accumulators, &self.rows);
                self.table.preserve(key, |part, out, parts| {
                    encode(&part, rows, accumulators, out, parts);
                });
            }
            let retracts = matches!(batch.kind(row), UPDATE_BEFORE | DELETE);
            let group = match self.table.get_mut(key) {
                Some(group) => *group,
                None if retracts => {
                    touched.of_rows.push(0);
                    weights.push(0);
                    continue;
                }
                None => {
                    let group = self.accumulators.add();
                    self.table.insert(key, group);
                    self.rows.grow(self.accumulators.len(), &0);
                    self.batch_of.grow(self.accumulators.len(), &0);
                    group
                }
            };
            if self.batch_of[group as usize] != self.batch {
                self.batch_of[group as usize] = self.batch;
                touched.groups.push(group);
                touched.first.push(row);
            }
            touched.of_rows.push(group);
            weights.push(if retracts { -1 } else { 1 });
        }
        self.accumulators.settle();
        touched.weights = weights.iter().any(|weight| *weight != 1).then_some(weights);
        Ok(touched)
    }

    /// Takes the rows, and returns the results and numbers of rows from before.
    fn apply(
        &mut self,
        batch: &Batch,
        touched: &Touched,
    ) -> Result<(Vec<ArrayRef>, Vec<i64>), EngineError> {
        let refused = |detail: String| self.context.refused(detail);
        let results = self
            .accumulators
            .results(&touched.groups)
            .map_err(refused)?;
        let rows: Vec<i64> = touched
            .groups
            .iter()
            .map(|&group| self.rows[group as usize])
            .collect();
        self.accumulators
            .update(&touched.of_rows, &batch.rows, touched.weights.as_deref())
            .map_err(refused)?;
        match &touched.weights {
            None => touched
                .of_rows
                .iter()
                .for_each(|&group| self.rows[group as usize] += 1),
            Some(weights) => touched
                .of_rows
                .iter()
                .zip(weights)
                .filter(|(_, weight)| **weight != 0)
                .for_each(|(&group, &weight)| self.rows[group as usize] += i64::from(weight)),
        }
        Ok((results, rows))
    }

    /// Whether old and new rows of a batch's groups may have more text than one batch holds.
    fn is_crowded(&self, batch: &Batch, touched: &Touched) -> bool {
        let taken: usize = batch
            .rows
            .columns()
            .iter()
            .filter(|column| !column.data_type().is_primitive())
            .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
            .sum();
        let kept: usize = if self.accumulators.has_texts() {
            let groups = touched.groups.iter();
            groups
                .map(|&group| self.accumulators.text_bytes(group))
                .sum()
        } else {
            0
        };
        taken.saturating_add(kept) > CROWDED_BYTES
    }

    fn changes(&self, touched: &Touched, before: &[i64], changed: &[bool]) -> Vec<Change> {
        let mut changes = Vec::with_capacity(touched.groups.len() * 2);
        for (position, &group) in touched.groups.iter().enumerate() {
            match (before[position] > 0, self.rows[group as usize] > 0) {
                (false, true) => changes.push((INSERT, 1, position)),
                (true, true) if changed[position] => {
                    if !self.upsert {
                        changes.push((UPDATE_BEFORE, 0, position));
                    }
                    changes.push((UPDATE_AFTER, 1, position));
                }
                (true, false) => changes.push((DELETE, 0, position)),
                (true, true) | (false, false) => {}
            }
        }
        changes
    }

    fn emit(
        &self,
        touched: &Touched,
        keys: &[ArrayRef],
        old: &[ArrayRef],
        new: &[ArrayRef],
        changes: &[Change],
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        if changes.is_empty() {
            return Ok(());
        }
        let refused = |error: arrow_schema::ArrowError| self.context.refused(error);
        // A row number fits 32 bits: batches are small.
        let first: UInt32Array = changes
            .iter()
            .map(|(_, _, position)| u32::try_from(touched.first[*position]).ok())
            .collect();
        let mut columns = keys
            .iter()
            .map(|key| take(key, &first, None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused)?;
        let picks: Vec<(usize, usize)> = changes
            .iter()
            .map(|(_, side, position)| (*side, *position))
            .collect();
        for (old, new) in old.iter().zip(new) {
            columns.push(interleave(&[old.as_ref(), new.as_ref()], &picks).map_err(refused)?);
        }
        let kinds: Int8Array = changes.iter().map(|(kind, ..)| Some(*kind)).collect();
        let starts_pair = |row: usize| self.upsert || changes[row].0 != UPDATE_AFTER;
        self.output.emit(
            &self.context,
            columns,
            Some(&kinds),
            changes.len(),
            starts_pair,
            out,
        )
    }

    /// Removes the groups that have no rows left.
    fn forget(&mut self, touched: &Touched) {
        for (&group, &row) in touched.groups.iter().zip(&touched.first) {
            if self.rows[group as usize] <= 0 {
                self.table.remove(self.encoded.key(row));
                self.accumulators.release(group);
                self.rows[group as usize] = 0;
            }
        }
    }
}

/// Appends the value of a group, and its values that are entries of their own.
fn encode(
    part: &Part<'_, u32>,
    rows: &PagedVec<i64>,
    accumulators: &mut Accumulators,
    out: &mut Vec<u8>,
    parts: &mut Vec<Entry>,
) {
    let group = *part.value;
    out.extend_from_slice(&rows[group as usize].to_le_bytes());
    accumulators.encode(group, out);
    accumulators.freeze_values(group, part.full, part.key, part.key_group, parts);
}

/// Positions where any column differs.
fn differences(old: &[ArrayRef], new: &[ArrayRef], count: usize) -> Result<Vec<bool>, String> {
    let mut changed = vec![false; count];
    for (old, new) in old.iter().zip(new) {
        let differ: BooleanArray =
            conversion::differ(old, new).map_err(|error| error.to_string())?;
        for row in differ.values().set_indices() {
            changed[row] = true;
        }
    }
    Ok(changed)
}

impl Operator for GroupAggregate {
    fn process(
        &mut self,
        _: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let columns = self
            .keys
            .iter()
            .map(|&key| batch.rows.columns().get(key).cloned());
        let keys: Vec<ArrayRef> = columns
            .collect::<Option<_>>()
            .ok_or_else(|| self.context.refused("a key column is not in its input"))?;
        let touched = self.touch(batch, &keys)?;
        if self.is_crowded(batch, &touched)
            && let Some((first, second)) = halves(batch)
        {
            // A group that was added just now has no rows yet: the halves find it as if it were
            // new.
            self.process(0, &first, out)?;
            return self.process(0, &second, out);
        }
        let (old, before) = self.apply(batch, &touched)?;
        let new = self
            .accumulators
            .results(&touched.groups)
            .map_err(|detail| self.context.refused(detail))?;
        let changed = differences(&old, &new, touched.groups.len())
            .map_err(|detail| self.context.refused(detail))?;
        let changes = self.changes(&touched, &before, &changed);
        self.emit(&touched, &keys, &old, &new, &changes, out)?;
        self.forget(&touched);
        Ok(())
    }

    fn watermark(&mut self, _: i64, _: &mut Vec<Batch>) -> Result<(), EngineError> {
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
        if name != GROUPS {
            return Err(self
                .context
                .unreadable(name, "a GROUP BY keeps no such state"));
        }
        let (values, entries): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(is_value_entry);
        let (mapping, count) = (
            self.accumulators.mapping(&written.accumulators),
            written.accumulators.len(),
        );
        let (accumulators, rows) = (&mut self.accumulators, &mut self.rows);
        let load = |bytes: &[u8]| {
            let (number, stored) = bytes
                .split_first_chunk()
                .ok_or("the number of rows is cut short")?;
            let group = accumulators.add();
            accumulators.settle();
            accumulators.decode(group, stored, &mapping, count)?;
            rows.grow(accumulators.len(), &0);
            rows[group as usize] = i64::from_le_bytes(*number);
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
        self.batch_of.grow(self.accumulators.len(), &0);
        Ok(())
    }

    fn begin_freeze(&mut self, full: bool) {
        self.table.begin_freeze(full);
    }

    fn advance_freeze(&mut self, slice: usize) -> Result<Option<Vec<FrozenState>>, EngineError> {
        let (accumulators, rows) = (&mut self.accumulators, &self.rows);
        let encode = |part: Part<'_, u32>, out: &mut Vec<u8>, parts: &mut Vec<Entry>| {
            encode(&part, rows, accumulators, out, parts);
        };
        let frozen = self.table.advance_freeze(slice, encode);
        Ok(frozen.map(|frozen| vec![frozen]))
    }
}
