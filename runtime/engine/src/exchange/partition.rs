//! Which row goes to which subtask.

use std::{ops::Range, sync::Arc};

use arrow_array::{ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::{take, take_record_batch};
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::{
    key_group::{Assignment, key_group},
    types::DataType,
};
use streamkeeper_state::{KeyBatch, KeyEncoder};

/// Splits batches by the owner of each row's key group.
#[derive(Debug)]
pub struct Partition {
    keys: Vec<usize>,
    encoder: KeyEncoder,
    assignment: Arc<Assignment>,
    subtasks: usize,
    owners: Vec<u32>,
    /// Scratch memory.
    encoded: KeyBatch,
}

/// A batch sorted by receiving subtask.
#[derive(Debug)]
pub struct Parts {
    /// The rows, in their old order within each subtask.
    pub batch: Batch,
    /// Rows of each subtask.
    pub ranges: Vec<Range<usize>>,
}

impl Partition {
    /// By the columns `keys` (positions, with their types) among `subtasks`; no keys means that the
    /// owner of the empty key's group takes all.
    pub fn new(
        keys: Vec<usize>,
        types: &[DataType],
        assignment: Arc<Assignment>,
        subtasks: usize,
    ) -> Self {
        Self {
            keys,
            encoder: KeyEncoder::new(types),
            assignment,
            subtasks,
            owners: Vec::new(),
            encoded: KeyBatch::default(),
        }
    }

    /// Sorts a batch by receiver; copies rows at most once.
    pub fn split(&mut self, batch: Batch) -> Result<Parts, ArrowError> {
        self.find_owners(&batch.rows)?;
        let mut ends = vec![0_usize; self.subtasks];
        for &owner in &self.owners {
            ends[owner as usize] += 1;
        }
        let mut start = 0;
        let ranges: Vec<Range<usize>> = ends
            .iter_mut()
            .map(|count| {
                let range = start..start + *count;
                start += *count;
                *count = range.start;
                range
            })
            .collect();
        if ranges.iter().any(|range| range.len() == batch.len()) {
            return Ok(Parts { batch, ranges });
        }
        let mut order = vec![0_u32; batch.len()];
        for (row, &owner) in (0_u32..).zip(&self.owners) {
            let next = &mut ends[owner as usize];
            order[*next] = row;
            *next += 1;
        }
        let order = UInt32Array::from(order);
        let rows = take_record_batch(&batch.rows, &order)?;
        let kinds = batch
            .kinds
            .map(|kinds| take(&kinds, &order, None))
            .transpose()?
            .map(|kinds| Int8Array::from(kinds.to_data()));
        Ok(Parts {
            batch: Batch { rows, kinds },
            ranges,
        })
    }

    fn find_owners(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let groups = u16::try_from(self.assignment.owner.len()).unwrap_or(u16::MAX);
        self.owners.clear();
        let last = u32::try_from(self.subtasks.saturating_sub(1)).unwrap_or(0);
        if self.keys.is_empty() {
            let owner = self
                .assignment
                .owner
                .get(usize::from(key_group(&[], groups)))
                .copied()
                .unwrap_or(0)
                .min(last);
            self.owners.resize(rows.num_rows(), owner);
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&key| rows.columns().get(key).cloned())
            .collect::<Option<_>>()
            .ok_or_else(|| {
                ArrowError::SchemaError(format!(
                    "an exchange by columns {:?} over rows of {} columns",
                    self.keys,
                    rows.num_columns()
                ))
            })?;
        self.encoder
            .encode_into(&columns, rows.num_rows(), &mut self.encoded)
            .map_err(|error| ArrowError::ComputeError(error.to_string()))?;
        let owner_of = &self.assignment.owner;
        self.owners.extend((0..rows.num_rows()).map(|row| {
            let group = self.encoded.key(row).key_group(groups);
            owner_of
                .get(usize::from(group))
                .copied()
                .unwrap_or(0)
                .min(last)
        }));
        Ok(())
    }
}

/// The encoded key of one BIGINT, for tests of other modules.
#[cfg(test)]
pub(crate) fn encoded_key(key: i64) -> Vec<u8> {
    let column: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![key]));
    KeyEncoder::new(&[DataType::BigInt])
        .encode(&[column], 1)
        .unwrap()
        .bytes(0)
        .to_vec()
}
