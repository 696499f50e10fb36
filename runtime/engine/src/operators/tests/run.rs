//! Subtasks of one node, their checkpoints, and what they emit, as texts.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_cast::display::array_value_to_string;
use arrow_select::take::{take, take_record_batch};
use streamkeeper_connectors::batch::{BATCH_ROWS, Batch};
use streamkeeper_protocol::{
    compatibility::catalog,
    key_group::Assignment,
    manifest::{RunKind, StateDescriptor},
    plan::{Exchange, StreamPlan},
    types::DataType,
};
use streamkeeper_state::{Entry, KeyEncoder};

use crate::{
    operator::{Operator, Place},
    operators::build,
};

pub(super) const GROUPS: u16 = 16;

/// An output row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Emitted {
    pub(super) kind: i8,
    pub(super) columns: Vec<String>,
}

fn cell(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        "NULL".to_owned()
    } else {
        array_value_to_string(array, row).unwrap()
    }
}

/// A TIMESTAMP(3) as it prints.
pub(super) fn show_time(ms: i64) -> String {
    let array: ArrayRef = Arc::new(arrow_array::TimestampMillisecondArray::from(vec![ms]));
    cell(&array, 0)
}

pub(super) fn emitted(batches: &[Batch]) -> Vec<Emitted> {
    let rows = batches.iter().flat_map(|batch| {
        assert!(!batch.is_empty() && batch.len() <= BATCH_ROWS);
        (0..batch.len()).map(move |row| Emitted {
            kind: batch.kind(row),
            columns: batch
                .rows
                .columns()
                .iter()
                .map(|column| cell(column, row))
                .collect(),
        })
    });
    rows.collect()
}

/// Checkpointed entries of a state.
#[derive(Debug, Default, Clone)]
pub(super) struct Store {
    pub(super) written: Option<StateDescriptor>,
    pub(super) entries: BTreeMap<Vec<u8>, Entry>,
}

/// All subtasks of a node.
pub(super) struct Machine {
    plan: StreamPlan,
    node: usize,
    pub(super) subtasks: Vec<Box<dyn Operator>>,
    assignment: Arc<Assignment>,
    pub(super) store: Store,
    /// What a checkpoint keeps.
    pub(super) watermark: Option<i64>,
}

impl Machine {
    pub(super) fn new(plan: &StreamPlan, node: usize, parallelism: u32) -> Self {
        let assignment = Arc::new(Assignment::even(GROUPS, parallelism));
        let mut machine = Self {
            plan: plan.clone(),
            node,
            subtasks: Vec::new(),
            assignment,
            store: Store::default(),
            watermark: None,
        };
        machine.build(parallelism);
        machine
    }

    fn build(&mut self, parallelism: u32) {
        let node = &self.plan.nodes[self.node];
        self.subtasks = (0..parallelism)
            .map(|subtask| {
                build(
                    node,
                    &self.plan,
                    &Place {
                        subtask,
                        assignment: Arc::clone(&self.assignment),
                    },
                )
                .unwrap()
            })
            .collect();
        let catalog = catalog(&self.plan);
        let states: Vec<StateDescriptor> = catalog
            .into_iter()
            .filter(|entry| entry.state_uid == node.state_uid)
            .map(|entry| entry.descriptor)
            .collect();
        for subtask in &self.subtasks {
            assert_eq!(
                subtask.states(),
                states,
                "the descriptors are those of the catalog"
            );
        }
    }

    /// Rows of `batch` for each subtask.
    fn shuffle(&self, batch: &Batch) -> Vec<Batch> {
        let Exchange::Hash { keys } = &self.plan.nodes[self.node].inputs[0].exchange else {
            return vec![batch.clone()];
        };
        let input = &self.plan.nodes[self.plan.nodes[self.node].inputs[0].node].schema;
        let types: Vec<DataType> = keys
            .iter()
            .map(|&key| input.fields[key].ty.data.clone())
            .collect();
        let columns: Vec<ArrayRef> = keys
            .iter()
            .map(|&key| ArrayRef::clone(batch.rows.column(key)))
            .collect();
        let encoded = KeyEncoder::new(&types)
            .encode(&columns, batch.len())
            .unwrap();
        let owner =
            |row: usize| self.assignment.owner[usize::from(encoded.key(row).key_group(GROUPS))];
        (0..u32::try_from(self.subtasks.len()).unwrap())
            .map(|subtask| {
                let rows: UInt32Array = (0..batch.len())
                    .filter(|row| owner(*row) == subtask)
                    .map(|row| u32::try_from(row).ok())
                    .collect();
                let kinds = batch
                    .kinds
                    .as_ref()
                    .map(|kinds| take(kinds, &rows, None).unwrap().to_data().into());
                Batch {
                    rows: take_record_batch(&batch.rows, &rows).unwrap(),
                    kinds,
                }
            })
            .collect()
    }

    pub(super) fn process(&mut self, batch: &Batch) -> Vec<Batch> {
        let mut out = Vec::new();
        for (part, subtask) in self.shuffle(batch).iter().zip(&mut self.subtasks) {
            subtask.process(0, part, &mut out).unwrap();
        }
        out
    }

    pub(super) fn watermark(&mut self, watermark: i64) -> Vec<Batch> {
        self.watermark = Some(watermark);
        let mut out = Vec::new();
        for subtask in &mut self.subtasks {
            subtask.watermark(watermark, &mut out).unwrap();
        }
        out
    }

    pub(super) fn flush(&mut self) -> Vec<Batch> {
        let mut out = Vec::new();
        for subtask in &mut self.subtasks {
            subtask.flush(&mut out).unwrap();
        }
        out
    }

    pub(super) fn late(&self) -> u64 {
        self.subtasks
            .iter()
            .map(|subtask| subtask.late_records())
            .sum()
    }

    /// Takes a checkpoint into the store; returns how many entries were written.
    pub(super) fn checkpoint(&mut self, full: bool) -> usize {
        let mut written = 0;
        if full {
            self.store.entries.clear();
        }
        for (subtask, number) in self.subtasks.iter_mut().zip(0_u32..) {
            for frozen in subtask.freeze(full).unwrap() {
                assert_eq!(
                    frozen.kind,
                    if full { RunKind::Base } else { RunKind::Delta }
                );
                self.store.written = Some(frozen.descriptor.clone());
                for entry in frozen.into_entries() {
                    written += 1;
                    assert_eq!(
                        self.assignment.owner[usize::from(entry.key_group)],
                        number,
                        "an entry belongs to its writer's groups"
                    );
                    if entry.value.is_some() {
                        self.store.entries.insert(entry.key.to_vec(), entry);
                    } else {
                        assert!(!full);
                        self.store.entries.remove(entry.key.as_ref());
                    }
                }
            }
        }
        written
    }

    /// Starts anew from the store with another number of subtasks, and perhaps another plan.
    pub(super) fn restore(&mut self, plan: &StreamPlan, parallelism: u32) {
        self.plan = plan.clone();
        self.assignment = Arc::new(self.assignment.rescaled(parallelism));
        self.build(parallelism);
        for (subtask, number) in self.subtasks.iter_mut().zip(0_u32..) {
            if let Some(written) = &self.store.written {
                let own = self
                    .store
                    .entries
                    .values()
                    .filter(|entry| self.assignment.owner[usize::from(entry.key_group)] == number)
                    .cloned()
                    .collect();
                subtask.restore(&written.name, written, own).unwrap();
            }
            if let Some(watermark) = self.watermark {
                subtask.restore_watermark(watermark);
            }
        }
    }
}

/// All rows of several batches in one.
pub(super) fn concat(batches: &[Batch]) -> Option<RecordBatch> {
    let first = batches.first()?;
    Some(
        arrow_select::concat::concat_batches(
            &first.rows.schema(),
            batches.iter().map(|batch| &batch.rows),
        )
        .unwrap(),
    )
}
