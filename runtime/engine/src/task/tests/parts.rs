//! A source, operators and a sink made for checking.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use arrow_array::{Array, Int64Array, RecordBatch};
use streamkeeper_connectors::{
    ConnectorError,
    batch::{Batch, arrow_schema},
    sink::{Committable, Sink},
    source::{Polled, Source, SplitState},
};
use streamkeeper_protocol::{
    key_group::key_group,
    manifest::{RunKind, StateDescriptor, StateKind},
    plan::{
        ChangelogMode, Exchange, Input, Operator as PlanOperator, PlanNode, Settings, StreamPlan,
        TableRef,
    },
    types::{DataType, Field, LogicalType, Schema},
};
use streamkeeper_state::{Entry, FrozenState};

use crate::{EngineError, operator::Operator};

/// Rows of all test edges: time, key, value.
pub(super) type Row = (i64, i64, i64);

pub(super) fn schema() -> Schema {
    let column = |name: &str| Field::new(name, LogicalType::not_null(DataType::BigInt));
    Schema::new(vec![column("time"), column("key"), column("value")])
}

pub(super) fn batch(rows: &[Row]) -> Batch {
    let column = |pick: fn(&Row) -> i64| {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(pick))) as Arc<dyn Array>
    };
    Batch::inserts(
        RecordBatch::try_new(
            arrow_schema(&schema()),
            vec![
                column(|row| row.0),
                column(|row| row.1),
                column(|row| row.2),
            ],
        )
        .unwrap(),
    )
}

pub(super) fn rows(batch: &Batch) -> Vec<Row> {
    let column = |index: usize| {
        batch
            .rows
            .column(index)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap()
            .values()
            .to_vec()
    };
    let (times, keys, values) = (column(0), column(1), column(2));
    (0..batch.len())
        .map(|row| (times[row], keys[row], values[row]))
        .collect()
}

/// An operator and its inputs: nodes with the key columns, or none to forward.
pub(super) type Planned = (PlanOperator, Vec<(usize, Option<Vec<usize>>)>);

/// A plan of nodes.
pub(super) fn plan(nodes: Vec<Planned>) -> StreamPlan {
    let nodes = nodes
        .into_iter()
        .enumerate()
        .map(|(id, (operator, inputs))| PlanNode {
            id,
            state_uid: format!("{id:016x}"),
            label: format!("node {id}"),
            operator,
            inputs: inputs
                .into_iter()
                .map(|(node, keys)| Input {
                    node,
                    exchange: keys.map_or(Exchange::Forward, |keys| Exchange::Hash { keys }),
                })
                .collect(),
            schema: schema(),
            changelog: ChangelogMode::InsertOnly,
        })
        .collect();
    StreamPlan {
        format: 1,
        nodes,
        settings: Settings::default(),
    }
}

pub(super) fn table(name: &str) -> TableRef {
    TableRef {
        name: name.to_owned(),
        connector: "test".to_owned(),
        options: BTreeMap::new(),
        schema: schema(),
        primary_key: Vec::new(),
    }
}

/// A repeatable source of chance.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    pub(super) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Reads splits merged by time; small batches, sometimes nothing yet.
pub(super) struct TestSource {
    splits: Vec<(String, u16, Vec<Row>, usize)>,
    changed: BTreeSet<usize>,
    dice: Dice,
    bounded: bool,
    naps: bool,
    /// Polls that it will still sleep through.
    asleep: u64,
}

impl TestSource {
    /// The splits that belong to this subtask, at the positions that were restored.
    pub(super) fn open(
        splits: &[Vec<Row>],
        owns: impl Fn(u16) -> bool,
        groups: u16,
        restored: &[SplitState],
        seed: u64,
        bounded: bool,
    ) -> Self {
        let splits = splits
            .iter()
            .enumerate()
            .map(|(number, rows)| (format!("split-{number}"), rows))
            .map(|(name, rows)| (key_group(name.as_bytes(), groups), name, rows))
            .filter(|(group, ..)| owns(*group))
            .map(|(group, name, rows)| {
                let known = restored.iter().find(|split| split.split == name);
                let position = known.map_or(0, |split| {
                    usize::from_le_bytes(split.position.clone().try_into().unwrap())
                });
                (name, group, rows.clone(), position)
            })
            .collect();
        Self {
            splits,
            changed: BTreeSet::new(),
            dice: Dice(seed),
            bounded,
            naps: false,
            asleep: 0,
        }
    }

    /// Falls idle now and then, as if its next input did not exist yet.
    pub(super) fn napping(mut self) -> Self {
        self.naps = true;
        self
    }
}

impl Source for TestSource {
    fn poll(&mut self, max_rows: usize) -> Result<Polled, ConnectorError> {
        if self.dice.one_in(4) {
            return Ok(Polled::Pending);
        }
        if self.asleep > 0 {
            self.asleep -= 1;
            return Ok(Polled::Idle);
        }
        if self.naps && self.dice.one_in(4) {
            self.asleep = self.dice.below(12);
        }
        let mut out = Vec::new();
        let wanted = 1 + usize::try_from(self.dice.below(7)).unwrap();
        while out.len() < wanted.min(max_rows) {
            let next = (0..self.splits.len())
                .filter(|&split| self.splits[split].3 < self.splits[split].2.len())
                .min_by_key(|&split| {
                    let (_, _, rows, position) = &self.splits[split];
                    rows[*position].0
                });
            let Some(split) = next else { break };
            let (_, _, rows, position) = &mut self.splits[split];
            out.push(rows[*position]);
            *position += 1;
            self.changed.insert(split);
        }
        if !out.is_empty() {
            return Ok(Polled::Rows(batch(&out)));
        }
        Ok(if self.bounded {
            Polled::End
        } else {
            Polled::Idle
        })
    }

    fn changed_splits(&mut self) -> Vec<SplitState> {
        let splits = &self.splits;
        std::mem::take(&mut self.changed)
            .into_iter()
            .map(|split| {
                let (name, group, _, position) = &splits[split];
                SplitState {
                    split: name.clone(),
                    key_group: *group,
                    position: position.to_le_bytes().to_vec(),
                }
            })
            .collect()
    }
}

/// What a row counts in a sink.
pub(super) const ROW_BYTES: usize = 24;

/// Collects rows; its committable holds the rows of the epoch.
#[derive(Default)]
pub(super) struct TestSink {
    rows: Vec<Row>,
}

impl Sink for TestSink {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.rows.extend(rows(batch));
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.rows.len() * ROW_BYTES
    }

    fn prepare(&mut self, _checkpoint: u64) -> Result<Option<Committable>, ConnectorError> {
        let rows = std::mem::take(&mut self.rows);
        Ok((!rows.is_empty()).then(|| Committable {
            staged: Some(vec![0; rows.len() * ROW_BYTES].into()),
            meta: serde_json::to_value(rows).unwrap(),
        }))
    }
}

/// Watermark: the largest time so far, minus one (equal times may follow).
#[derive(Default)]
pub(super) struct Assigner {
    largest: Option<i64>,
}

impl Operator for Assigner {
    fn process(
        &mut self,
        _input: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        self.largest = self
            .largest
            .max(rows(batch).iter().map(|row| row.0 - 1).max());
        out.push(batch.clone());
        Ok(())
    }

    fn watermark(&mut self, watermark: i64, _out: &mut Vec<Batch>) -> Result<(), EngineError> {
        assert_eq!(
            watermark,
            i64::MAX,
            "upstream watermarks stop at an assigner"
        );
        Ok(())
    }

    fn own_watermark(&self) -> Option<Option<i64>> {
        Some(self.largest)
    }

    fn restore_watermark(&mut self, watermark: i64) {
        self.largest = Some(watermark);
    }
}

/// State of the test operators: two numbers by key.
struct Keyed {
    groups: u16,
    owned: Box<dyn Fn(u16) -> bool + Send>,
    values: BTreeMap<i64, i64>,
    changed: BTreeSet<i64>,
    /// What is frozen and not handed out.
    frozen: VecDeque<Entry>,
    kind: RunKind,
    chunks: Vec<Vec<Entry>>,
}

impl Keyed {
    fn new(groups: u16, owned: impl Fn(u16) -> bool + Send + 'static) -> Self {
        Self {
            groups,
            owned: Box::new(owned),
            values: BTreeMap::new(),
            changed: BTreeSet::new(),
            frozen: VecDeque::new(),
            kind: RunKind::Base,
            chunks: Vec::new(),
        }
    }

    fn group(&self, key: i64) -> u16 {
        key_group(
            &super::super::super::exchange::encoded_key(key),
            self.groups,
        )
    }

    fn descriptor() -> StateDescriptor {
        let number = LogicalType::not_null(DataType::BigInt);
        StateDescriptor {
            name: "values".to_owned(),
            kind: StateKind::Groups,
            key: vec![number.clone()],
            value: vec![Field::new("value", number)],
            accumulators: Vec::new(),
            version: 1,
        }
    }

    fn begin_freeze(&mut self, full: bool) {
        let keys: Vec<i64> = if full {
            self.values.keys().copied().collect()
        } else {
            self.changed.iter().copied().collect()
        };
        self.changed.clear();
        let entries = keys.into_iter().map(|key| Entry {
            key_group: self.group(key / 1000),
            key: key.to_le_bytes().into(),
            value: self
                .values
                .get(&key)
                .map(|value| value.to_le_bytes().into()),
        });
        assert!(self.frozen.is_empty(), "one freeze after the other");
        self.frozen = entries.collect();
        self.kind = if full { RunKind::Base } else { RunKind::Delta };
    }

    fn advance_freeze(&mut self, slice: usize) -> Option<Vec<FrozenState>> {
        let taken = slice.min(self.frozen.len());
        self.chunks.push(self.frozen.drain(..taken).collect());
        self.frozen.is_empty().then(|| {
            vec![FrozenState {
                descriptor: Self::descriptor(),
                kind: self.kind,
                chunks: std::mem::take(&mut self.chunks),
            }]
        })
    }

    fn restore(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            assert!(
                (self.owned)(entry.key_group),
                "state of a foreign key group"
            );
            let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
            self.values
                .insert(number(&entry.key), number(&entry.value.unwrap()));
        }
    }
}

/// Emits for every row how many rows of its key it has seen: a lost or repeated row shows.
pub(super) struct RunningCount(Keyed);

impl RunningCount {
    pub(super) fn new(groups: u16, owned: impl Fn(u16) -> bool + Send + 'static) -> Self {
        Self(Keyed::new(groups, owned))
    }
}

impl Operator for RunningCount {
    fn process(
        &mut self,
        _input: usize,
        input: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        let mut counted = Vec::new();
        for (time, key, _) in rows(input) {
            assert!(
                (self.0.owned)(self.0.group(key)),
                "a row of a foreign key group"
            );
            // Keys of the state are multiples of 1000, so that window keys (below) find their group
            // in that way too.
            let count = self.0.values.entry(key * 1000).or_default();
            *count += 1;
            self.0.changed.insert(key * 1000);
            counted.push((time, key, *count));
        }
        // Times differ between runs; the count per key does not.
        out.push(batch(
            &counted
                .iter()
                .map(|row| (0, row.1, row.2))
                .collect::<Vec<_>>(),
        ));
        Ok(())
    }

    fn watermark(&mut self, _watermark: i64, _out: &mut Vec<Batch>) -> Result<(), EngineError> {
        Ok(())
    }

    fn states(&self) -> Vec<StateDescriptor> {
        vec![Keyed::descriptor()]
    }

    fn restore(
        &mut self,
        _name: &str,
        _written: &StateDescriptor,
        entries: Vec<Entry>,
    ) -> Result<(), EngineError> {
        self.0.restore(entries);
        Ok(())
    }

    fn begin_freeze(&mut self, full: bool) {
        self.0.begin_freeze(full);
    }

    fn advance_freeze(&mut self, slice: usize) -> Result<Option<Vec<FrozenState>>, EngineError> {
        Ok(self.0.advance_freeze(slice))
    }
}

/// Length of the test windows; fewer than 1000 of them.
pub(super) const WINDOW: i64 = 10;

/// Counts rows per key and window, and emits (window, key, count) when the watermark closes it.
pub(super) struct WindowCount {
    state: Keyed,
    watermark: i64,
    late: u64,
}

impl WindowCount {
    pub(super) fn new(groups: u16, owned: impl Fn(u16) -> bool + Send + 'static) -> Self {
        Self {
            state: Keyed::new(groups, owned),
            watermark: i64::MIN,
            late: 0,
        }
    }
}

impl Operator for WindowCount {
    fn process(
        &mut self,
        _input: usize,
        input: &Batch,
        _out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        for (time, key, _) in rows(input) {
            let window = time / WINDOW;
            if (window + 1) * WINDOW - 1 <= self.watermark {
                self.late += 1;
                continue;
            }
            *self.state.values.entry(key * 1000 + window).or_default() += 1;
            self.state.changed.insert(key * 1000 + window);
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: i64, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        assert!(watermark > self.watermark, "watermarks grow");
        self.watermark = watermark;
        let closed: Vec<i64> = self
            .state
            .values
            .keys()
            .copied()
            .filter(|key| (key % 1000 + 1) * WINDOW - 1 <= watermark)
            .collect();
        let mut fired = Vec::new();
        for key in closed {
            let count = self.state.values.remove(&key).unwrap();
            self.state.changed.insert(key);
            fired.push((key % 1000, key / 1000, count));
        }
        out.push(batch(&fired));
        Ok(())
    }

    fn restore(
        &mut self,
        _name: &str,
        _written: &StateDescriptor,
        entries: Vec<Entry>,
    ) -> Result<(), EngineError> {
        self.state.restore(entries);
        Ok(())
    }

    fn restore_watermark(&mut self, watermark: i64) {
        self.watermark = watermark;
    }

    fn begin_freeze(&mut self, full: bool) {
        self.state.begin_freeze(full);
    }

    fn advance_freeze(&mut self, slice: usize) -> Result<Option<Vec<FrozenState>>, EngineError> {
        Ok(self.state.advance_freeze(slice))
    }

    fn late_records(&self) -> u64 {
        self.late
    }
}

/// Passes rows on, but holds them back until a flush, as a local aggregation does.
#[derive(Default)]
pub(super) struct HoldBack(Vec<Batch>);

impl Operator for HoldBack {
    fn process(
        &mut self,
        _input: usize,
        batch: &Batch,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        self.0.push(batch.clone());
        if self.0.len() > 2 {
            out.append(&mut self.0);
        }
        Ok(())
    }

    fn watermark(&mut self, _watermark: i64, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        out.append(&mut self.0);
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        out.append(&mut self.0);
        Ok(())
    }
}
