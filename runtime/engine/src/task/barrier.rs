//! Barriers through the stages of a subtask, and what is frozen at them.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use streamkeeper_protocol::{manifest::CheckpointKind, plan::NodeId};

use super::{
    Event, NodeSnapshot, Snapshot,
    subtask::{Partial, Subtask, Work},
};
use crate::{
    EngineError,
    exchange::{Barrier, Msg},
    operators::LateFilter,
};

impl Subtask {
    pub(super) fn partial(&mut self, checkpoint: u64) -> &mut Partial {
        let stages_left = self.stages.len();
        self.checkpoints
            .entry(checkpoint)
            .or_insert_with(|| Partial {
                full: None,
                stages_left,
                nodes: Vec::new(),
                ended: true,
                freeze: Duration::ZERO,
            })
    }

    /// Lets a stage's barrier through if every input delivered it.
    pub(super) fn pass_barriers(&mut self, stage: usize) -> Result<bool, EngineError> {
        let mut passed = false;
        while let Some(barrier) = self.stages[stage].alignment.complete() {
            passed = true;
            self.pass_barrier(stage, barrier)?;
        }
        Ok(passed)
    }

    pub(super) fn pass_barrier(
        &mut self,
        stage: usize,
        barrier: Barrier,
    ) -> Result<(), EngineError> {
        let topology = self.topology.clone();
        let wiring = &topology.stages[stage];
        let began = self.clock.monotonic();
        for &node in &wiring.nodes {
            self.flush_node(node)?;
        }
        for &edge in &wiring.outputs {
            self.outlets[edge]
                .control(&Msg::Barrier(barrier))
                .map_err(|error| self.refused(topology.edges[edge].from, &error))?;
        }
        if barrier.kind == CheckpointKind::Final && !wiring.sources.is_empty() {
            self.stages[stage].stopped = true;
        }
        let full = self.partial(barrier.checkpoint).full.clone();
        let mut frozen = Vec::with_capacity(wiring.nodes.len());
        for &node in &wiring.nodes {
            // Without a trigger of its own (which no correct coordinator forgets) everything is the safe answer.
            let full = full.as_ref().is_none_or(|full| full.contains(&node));
            frozen.push(self.freeze(node, barrier.checkpoint, full)?);
        }
        let ended = wiring
            .nodes
            .iter()
            .all(|&node| self.nodes[node].has_ended());
        let took = self.clock.monotonic().saturating_sub(began);
        self.stages[stage].passed = Some(barrier.checkpoint);
        let partial = self.partial(barrier.checkpoint);
        partial.nodes.append(&mut frozen);
        partial.ended &= ended;
        partial.freeze += took;
        partial.stages_left -= 1;
        if partial.stages_left == 0
            && let Some(Partial {
                nodes,
                ended,
                freeze,
                ..
            }) = self.checkpoints.remove(&barrier.checkpoint)
        {
            self.publish_counters();
            self.report(Event::Frozen(Snapshot {
                barrier,
                nodes,
                ended,
                freeze,
            }));
        }
        Ok(())
    }

    pub(super) fn freeze(
        &mut self,
        id: NodeId,
        checkpoint: u64,
        full: bool,
    ) -> Result<NodeSnapshot, EngineError> {
        let node = &mut self.nodes[id];
        let mut snapshot = NodeSnapshot {
            node: id,
            watermark: node.own_watermark.max(node.progress.combined()),
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
                if *makes_watermarks && !node.progress.has_ended() {
                    snapshot.watermark = node.own_watermark;
                }
                operator.agree(node.progress.agreed());
                snapshot.states = operator.freeze(full)?;
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
                    let watermark = node.progress.combined();
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
