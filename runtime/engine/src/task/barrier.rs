//! Barriers through the chains of a subtask, and what is frozen at them.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use streamkeeper_protocol::{manifest::CheckpointKind, plan::NodeId};

use super::{
    Event, NodeSnapshot, Snapshot,
    subtask::{Freeze, PendingSnapshot, Subtask, Work},
};
use crate::{
    EngineError,
    exchange::{Barrier, Msg},
    operators::LateFilter,
};

impl Subtask {
    pub(super) fn pending(&mut self, checkpoint: u64) -> &mut PendingSnapshot {
        let chains_left = self.chains.len();
        self.checkpoints
            .entry(checkpoint)
            .or_insert_with(|| PendingSnapshot {
                barrier: None,
                full: None,
                chains_left,
                freezes_left: 0,
                nodes: Vec::new(),
                ended: true,
                freeze: Duration::ZERO,
            })
    }

    /// Lets a chain's barrier through if every input delivered it.
    pub(super) fn pass_barriers(&mut self, chain: usize) -> Result<bool, EngineError> {
        let mut passed = false;
        while let Some(barrier) = self.chains[chain].alignment.complete() {
            passed = true;
            self.pass_barrier(chain, barrier)?;
        }
        Ok(passed)
    }

    pub(super) fn pass_barrier(
        &mut self,
        chain: usize,
        barrier: Barrier,
    ) -> Result<(), EngineError> {
        let topology = self.topology.clone();
        let wiring = &topology.chains[chain];
        self.end_freezes(&wiring.nodes)?;
        let began = self.clock.monotonic();
        for &node in &wiring.nodes {
            self.flush_node(node)?;
        }
        for &edge in &wiring.outputs {
            self.output_channels[edge]
                .control(&Msg::Barrier(barrier))
                .map_err(|error| self.refused(topology.edges[edge].from, &error))?;
        }
        if barrier.kind == CheckpointKind::Final && !wiring.sources.is_empty() {
            self.chains[chain].stopped = true;
        }
        let full = self.pending(barrier.checkpoint).full.clone();
        let (mut frozen, mut begun) = (Vec::with_capacity(wiring.nodes.len()), 0);
        for &node in &wiring.nodes {
            // Without a trigger of its own (which no correct coordinator forgets) a full snapshot
            // is the safe choice.
            let full = full.as_ref().is_none_or(|full| full.contains(&node));
            let snapshot = self.freeze(node, barrier.checkpoint, full)?;
            if matches!(self.nodes[node].work, Work::Operator { .. }) {
                begun += 1;
                self.freezes.push_back(Freeze {
                    checkpoint: barrier.checkpoint,
                    snapshot,
                });
            } else {
                frozen.push(snapshot);
            }
        }
        let ended = wiring
            .nodes
            .iter()
            .all(|&node| self.nodes[node].has_ended());
        let took = self.clock.monotonic().saturating_sub(began);
        self.chains[chain].passed = Some(barrier.checkpoint);
        let pending = self.pending(barrier.checkpoint);
        pending.barrier = Some(barrier);
        pending.nodes.append(&mut frozen);
        pending.ended &= ended;
        pending.freeze += took;
        pending.chains_left -= 1;
        pending.freezes_left += begun;
        self.complete(barrier.checkpoint);
        Ok(())
    }

    /// Reports a checkpoint when all chains have passed its barrier and all their state is frozen.
    fn complete(&mut self, checkpoint: u64) {
        let done =
            |pending: &PendingSnapshot| pending.chains_left == 0 && pending.freezes_left == 0;
        if !self.checkpoints.get(&checkpoint).is_some_and(done) {
            return;
        }
        if let Some(PendingSnapshot {
            barrier: Some(barrier),
            nodes,
            ended,
            freeze,
            ..
        }) = self.checkpoints.remove(&checkpoint)
        {
            self.publish_counters();
            self.report(Event::Frozen(Snapshot {
                barrier,
                nodes,
                ended,
                freeze,
            }));
        }
    }

    /// Freezes one slice; returns whether there was anything to freeze. Several small states may
    /// end within one slice.
    pub(super) fn advance_freezes(&mut self) -> Result<bool, EngineError> {
        let mut left = self.freeze_slice;
        let worked = !self.freezes.is_empty();
        while left > 0 && !self.freezes.is_empty() {
            left = left.saturating_sub(self.advance_freeze(0, left)?);
        }
        Ok(worked)
    }

    /// Ends the freezes of these nodes: the next barrier is there before the last one's were done.
    fn end_freezes(&mut self, nodes: &[NodeId]) -> Result<(), EngineError> {
        let of = |freeze: &Freeze| nodes.contains(&freeze.snapshot.node);
        while let Some(position) = self.freezes.iter().position(of) {
            self.advance_freeze(position, usize::MAX)?;
        }
        Ok(())
    }

    /// Continues a freeze; returns the number of entries written: `slice` if there are more, else
    /// all that are left, and at least one.
    fn advance_freeze(&mut self, position: usize, slice: usize) -> Result<usize, EngineError> {
        let Some(freeze) = self.freezes.get_mut(position) else {
            return Ok(slice);
        };
        let began = self.clock.monotonic();
        let Work::Operator { operator, .. } = &mut self.nodes[freeze.snapshot.node].work else {
            return Ok(slice);
        };
        let frozen = operator.advance_freeze(slice)?;
        let took = self.clock.monotonic().saturating_sub(began);
        let checkpoint = freeze.checkpoint;
        let is_last = frozen.is_some();
        let mut made = slice;
        if let Some(states) = frozen {
            let chunks = states.iter().flat_map(|state| &state.chunks);
            made = chunks.map(Vec::len).sum::<usize>().max(1);
            freeze.snapshot.states = states;
        }
        let ended = is_last.then(|| self.freezes.remove(position)).flatten();
        let pending = self.pending(checkpoint);
        pending.freeze += took;
        if let Some(Freeze { snapshot, .. }) = ended {
            pending.nodes.push(snapshot);
            pending.freezes_left -= 1;
            self.complete(checkpoint);
        }
        Ok(made)
    }

    /// Freezes a node, or begins to, if it is an operator.
    pub(super) fn freeze(
        &mut self,
        id: NodeId,
        checkpoint: u64,
        full: bool,
    ) -> Result<NodeSnapshot, EngineError> {
        let node = &mut self.nodes[id];
        let mut snapshot = NodeSnapshot {
            node: id,
            watermark: node.own_watermark.max(node.watermarks.combined()),
            states: Vec::new(),
            committable: None,
            rows: self.counters.rows(id),
        };
        match &mut node.work {
            Work::Source(source) => snapshot.states.push(source.freeze(full)),
            Work::Operator {
                operator,
                makes_watermarks,
            } => {
                if *makes_watermarks && !node.watermarks.has_ended() {
                    snapshot.watermark = node.own_watermark;
                }
                operator.align_watermark(node.watermarks.agreed());
                operator.begin_freeze(full);
            }
            Work::Sink(sink) => {
                snapshot.committable = sink.prepare(checkpoint)?;
                if let Some(committable) = &snapshot.committable {
                    self.counters.prepared(id, committable.staged_bytes());
                }
            }
        }
        Ok(snapshot)
    }

    pub(super) fn publish_counters(&self) {
        let before_exchanges = self.late_filters.iter().flatten().map(LateFilter::late);
        let (mut late, mut skipped, mut misfits) = (before_exchanges.sum::<u64>(), 0, 0);
        let mut sinks: Option<Option<i64>> = None;
        for node in &self.nodes {
            match &node.work {
                Work::Source(source) => {
                    skipped += source.skipped();
                    misfits += source.misfits();
                }
                Work::Operator { operator, .. } => late += operator.late_records(),
                Work::Sink(_) => {
                    let watermark = node.watermarks.combined();
                    sinks = Some(sinks.map_or(watermark, |other| other.min(watermark)));
                }
            }
        }
        self.counters.late.store(late, Relaxed);
        self.counters.skipped.store(skipped, Relaxed);
        self.counters.misfits.store(misfits, Relaxed);
        self.counters.set_sink_watermark(sinks.flatten());
    }
}
