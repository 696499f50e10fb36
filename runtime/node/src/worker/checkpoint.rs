//! Checkpoints of one worker: from the barriers of its subtasks to its share of the manifest.
//!
//! What was frozen for a checkpoint is stored even if the coordinator gives the checkpoint up: the
//! next share names it. Only when it cannot be stored is it lost, and the next checkpoint holds
//! everything.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use streamkeeper_engine::task::{NodeSnapshot, Snapshot};
use streamkeeper_protocol::{
    compatibility::{CatalogEntry, catalog},
    manifest::OperatorState,
    plan::{Exchange, NodeId, Operator, StreamPlan},
};
use streamkeeper_state::RunHistory;

use super::{
    commit::Commits,
    store::{FrozenPart, Stored, ToStore},
};
use streamkeeper_control::messages::CheckpointAck;

/// Where this worker's objects go.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) attempt: u64,
    pub(super) worker: u32,
    pub(super) root: String,
}

/// Checkpoints under way, and the runs that are live.
#[derive(Debug)]
pub(super) struct Checkpoints {
    plan: Arc<StreamPlan>,
    catalog: Vec<CatalogEntry>,
    writer: Writer,
    subtasks: BTreeSet<u32>,
    /// Nodes whose watermarks differ between subtasks.
    apart: BTreeSet<NodeId>,
    history: RunHistory,
    /// Snapshots of checkpoints that not all subtasks have reached.
    gathering: BTreeMap<u64, Vec<(u32, Snapshot)>>,
    /// Complete snapshots that wait for their turn: shares are made one after the other.
    waiting: VecDeque<Gathered>,
    storing: Option<Facts>,
}

#[derive(Debug)]
struct Gathered {
    checkpoint: u64,
    snapshots: Vec<(u32, Snapshot)>,
    last_record_ms: Option<i64>,
}

/// What a share says beside the runs.
#[derive(Debug)]
struct Facts {
    checkpoint: u64,
    watermarks: Vec<Option<i64>>,
    /// By node: subtasks with their own watermarks, of nodes where these differ.
    own: BTreeMap<NodeId, Vec<(u32, i64)>>,
    records_in: u64,
    records_out: u64,
    freeze_us: u64,
    ended: bool,
    last_record_ms: Option<i64>,
}

impl Checkpoints {
    pub(super) fn new(
        plan: Arc<StreamPlan>,
        writer: Writer,
        subtasks: BTreeSet<u32>,
        history: RunHistory,
    ) -> Self {
        let catalog = catalog(&plan);
        Self {
            apart: before_exchanges(&plan),
            plan,
            catalog,
            writer,
            subtasks,
            history,
            gathering: BTreeMap::new(),
            waiting: VecDeque::new(),
            storing: None,
        }
    }

    /// Nodes of a subtask that must hand over all their state at the next barrier.
    pub(super) fn full_nodes(&self, subtask: u32) -> Vec<NodeId> {
        let full = |uid: &str| {
            let mut states = self.catalog.iter().filter(|entry| entry.state_uid == uid);
            states.any(|entry| self.history.must_be_full(uid, &entry.descriptor, subtask))
        };
        self.plan
            .nodes
            .iter()
            .filter(|node| full(&node.state_uid))
            .map(|node| node.id)
            .collect()
    }

    /// Takes the snapshot of one subtask. `last_record_ms`: when a source of this worker last
    /// handed out a record.
    pub(super) fn frozen(&mut self, subtask: u32, snapshot: Snapshot, last_record_ms: Option<i64>) {
        let checkpoint = snapshot.barrier.checkpoint;
        let snapshots = self.gathering.entry(checkpoint).or_default();
        snapshots.push((subtask, snapshot));
        if snapshots.len() == self.subtasks.len()
            && let Some(snapshots) = self.gathering.remove(&checkpoint)
        {
            self.waiting.push_back(Gathered {
                checkpoint,
                snapshots,
                last_record_ms,
            });
        }
    }

    /// The next checkpoint to store, unless one is being stored.
    pub(super) fn next(&mut self, commits: &mut Commits) -> Option<ToStore> {
        if self.storing.is_some() {
            return None;
        }
        let Gathered {
            checkpoint,
            snapshots,
            last_record_ms,
        } = self.waiting.pop_front()?;
        let mut facts = Facts {
            checkpoint,
            watermarks: vec![Some(i64::MAX); self.plan.nodes.len()],
            own: BTreeMap::new(),
            records_in: 0,
            records_out: 0,
            freeze_us: 0,
            ended: true,
            last_record_ms,
        };
        let mut parts = Vec::new();
        for (subtask, snapshot) in snapshots {
            facts.ended &= snapshot.ended;
            facts.freeze_us = facts
                .freeze_us
                .max(u64::try_from(snapshot.freeze.as_micros()).unwrap_or(u64::MAX));
            for NodeSnapshot {
                node: id,
                watermark,
                states,
                committable,
                rows,
            } in snapshot.nodes
            {
                let Some(node) = self.plan.nodes.get(id) else {
                    continue;
                };
                facts.watermarks[id] = facts.watermarks[id].min(watermark);
                if let Some(watermark) = watermark.filter(|_| self.apart.contains(&id)) {
                    facts.own.entry(id).or_default().push((subtask, watermark));
                }
                match node.operator {
                    Operator::Source(_) => facts.records_in += rows,
                    Operator::Sink(_) => facts.records_out += rows,
                    _ => {}
                }
                parts.extend(states.into_iter().map(|frozen| FrozenPart {
                    state_uid: node.state_uid.clone(),
                    label: node.label.clone(),
                    subtask,
                    frozen,
                }));
                if let Some(committable) = committable {
                    commits.prepared(checkpoint, id, subtask, committable);
                }
            }
        }
        self.storing = Some(facts);
        let Writer {
            attempt,
            worker,
            root,
        } = self.writer.clone();
        Some(ToStore {
            attempt,
            checkpoint,
            worker,
            root,
            parts,
            staged: commits.unstored(),
        })
    }

    /// Takes the outcome of storing; answers the share, or why there is none.
    pub(super) fn stored(
        &mut self,
        outcome: Result<Stored, String>,
        commits: &mut Commits,
    ) -> Option<Result<CheckpointAck, (u64, String)>> {
        let facts = self.storing.take()?;
        let checkpoint = facts.checkpoint;
        let advanced = outcome.and_then(
            |Stored {
                 reports,
                 staged,
                 bytes,
                 took,
             }| {
                commits.stored(staged);
                let history = self
                    .history
                    .advance(reports, &self.subtasks)
                    .map_err(|error| error.to_string())?;
                Ok((history, bytes, took))
            },
        );
        Some(match advanced {
            Ok((history, written_bytes, took)) => {
                self.history = history;
                Ok(CheckpointAck {
                    attempt: self.writer.attempt,
                    checkpoint,
                    worker: self.writer.worker,
                    operators: self.operators(&facts),
                    committables: commits.references(checkpoint),
                    records_in: facts.records_in,
                    records_out: facts.records_out,
                    written_bytes,
                    freeze_us: facts.freeze_us,
                    upload_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    ended: facts.ended,
                    last_record_ms: facts.last_record_ms,
                })
            }
            Err(why) => {
                self.history = std::mem::take(&mut self.history).after_failure();
                Err((checkpoint, why))
            }
        })
    }

    /// Every operator with its live runs and its watermark; also those that have nothing but a
    /// watermark.
    fn operators(&self, facts: &Facts) -> Vec<OperatorState> {
        let Facts {
            watermarks, own, ..
        } = facts;
        let of = |uid: &str| {
            self.plan
                .nodes
                .iter()
                .filter(|node| node.state_uid == uid)
                .map(|node| watermarks[node.id])
                .min()
                .flatten()
        };
        let mut operators = self.history.operators(of);
        for node in &self.plan.nodes {
            if (watermarks[node.id].is_some() || own.contains_key(&node.id))
                && !operators
                    .iter()
                    .any(|operator| operator.state_uid == node.state_uid)
            {
                operators.push(OperatorState {
                    state_uid: node.state_uid.clone(),
                    label: node.label.clone(),
                    watermark: of(&node.state_uid),
                    watermarks: Vec::new(),
                    states: Vec::new(),
                });
            }
        }
        for operator in &mut operators {
            let nodes = self.plan.nodes.iter();
            let nodes = nodes.filter(|node| node.state_uid == operator.state_uid);
            operator.watermarks = smallest(nodes.filter_map(|node| own.get(&node.id)).flatten());
        }
        operators
    }
}

/// Each subtask once, with its smallest watermark.
fn smallest<'a>(watermarks: impl Iterator<Item = &'a (u32, i64)>) -> Vec<(u32, i64)> {
    let mut smallest: BTreeMap<u32, i64> = BTreeMap::new();
    for &(subtask, watermark) in watermarks {
        let known = smallest.entry(subtask).or_insert(watermark);
        *known = watermark.min(*known);
    }
    smallest.into_iter().collect()
}

/// Watermark assigners, and what gets their watermarks without an exchange: every subtask has its
/// own. Behind an exchange all subtasks hear the same.
fn before_exchanges(plan: &StreamPlan) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for node in &plan.nodes {
        let assigns = matches!(node.operator, Operator::WatermarkAssigner { .. });
        let follows = node
            .inputs
            .iter()
            .any(|input| input.exchange == Exchange::Forward && found.contains(&input.node));
        if assigns || follows {
            found.insert(node.id);
        }
    }
    found
}
