//! Rows, watermarks, idleness and the end, from node to node.

use arrow_schema::ArrowError;
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::plan::NodeId;

use super::{
    Call, Event,
    subtask::{Node, Subtask, Work},
    watermark_tracker::{Change, WatermarkTracker},
};
use crate::{EngineError, exchange::Msg};

impl Subtask {
    pub(super) fn process(&mut self, call: Call, batch: Batch) -> Result<(), EngineError> {
        let node = &mut self.nodes[call.node];
        match &mut node.work {
            Work::Operator {
                operator,
                makes_watermarks,
            } => {
                let makes_watermarks = *makes_watermarks;
                let mut out = std::mem::take(&mut node.scratch);
                let done = operator.process(call.input, &batch, &mut out);
                drop(batch);
                done?;
                if !makes_watermarks {
                    self.emit_all(call.node, out)?;
                    return self.go_on(call.node);
                }
                let marks = operator.own_marks().to_vec();
                self.emit_marked(call.node, out, &marks)?;
                self.pass_own_watermark(call.node)
            }
            Work::Sink(sink) => {
                sink.write(&batch)?;
                self.counters.add_rows(call.node, batch.len());
                Ok(())
            }
            Work::Source(_) => Err(EngineError::Internal {
                operator: node.label.clone(),
                detail: "a source got rows".to_owned(),
            }),
        }
    }

    /// Sends the rest of an operator's output on, part by part.
    fn go_on(&mut self, id: NodeId) -> Result<(), EngineError> {
        loop {
            let node = &mut self.nodes[id];
            let Work::Operator { operator, .. } = &mut node.work else {
                return Ok(());
            };
            let mut out = std::mem::take(&mut node.scratch);
            if !operator.go_on(&mut out)? {
                node.scratch = out;
                return Ok(());
            }
            self.emit_all(id, out)?;
        }
    }

    /// Sends batches on, each after the watermark that goes before it.
    fn emit_marked(
        &mut self,
        id: NodeId,
        mut out: Vec<Batch>,
        marks: &[(usize, i64)],
    ) -> Result<(), EngineError> {
        let mut marks = marks.iter().peekable();
        for (position, batch) in out.drain(..).enumerate() {
            while let Some((_, watermark)) = marks.next_if(|(before, _)| *before <= position) {
                self.tell_own_watermark(id, *watermark)?;
            }
            self.emit(id, batch)?;
        }
        self.nodes[id].scratch = out;
        Ok(())
    }

    fn tell_own_watermark(&mut self, id: NodeId, watermark: i64) -> Result<(), EngineError> {
        if self.nodes[id].own_watermark >= Some(watermark) {
            return Ok(());
        }
        self.nodes[id].own_watermark = Some(watermark);
        self.forward_watermark(id, watermark)
    }

    pub(super) fn pass_own_watermark(&mut self, id: NodeId) -> Result<(), EngineError> {
        let Work::Operator { operator, .. } = &self.nodes[id].work else {
            return Ok(());
        };
        match operator.own_watermark().flatten() {
            Some(watermark) => self.tell_own_watermark(id, watermark),
            None => Ok(()),
        }
    }

    /// Sends an operator's output on and keeps the emptied list for its next call.
    pub(super) fn emit_all(
        &mut self,
        node: NodeId,
        mut out: Vec<Batch>,
    ) -> Result<(), EngineError> {
        for batch in out.drain(..) {
            self.emit(node, batch)?;
        }
        self.nodes[node].scratch = out;
        Ok(())
    }

    pub(super) fn emit(&mut self, node: NodeId, batch: Batch) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let calls = self.topology.nodes[node].calls.len();
        let receivers = calls + self.topology.nodes[node].edges.len();
        let mut batch = Some(batch);
        for receiver in 0..receivers {
            let rows = if receiver + 1 == receivers {
                batch.take()
            } else {
                batch.clone()
            };
            let Some(rows) = rows else { break };
            if receiver < calls {
                self.process(self.topology.nodes[node].calls[receiver], rows)?;
            } else {
                let edge = self.topology.nodes[node].edges[receiver - calls];
                let rows = match &mut self.late_filters[edge] {
                    Some(filter) => filter.keep(rows)?,
                    None => rows,
                };
                if rows.is_empty() {
                    continue;
                }
                self.output_channels[edge]
                    .rows(rows, self.now_ms)
                    .map_err(|error| self.refused(node, &error))?;
            }
        }
        Ok(())
    }

    pub(super) fn refused(&self, node: NodeId, error: &ArrowError) -> EngineError {
        EngineError::Internal {
            operator: self.nodes[node].label.clone(),
            detail: format!("its output cannot be sent on: {error}"),
        }
    }

    pub(super) fn flush_outlet(&mut self, edge: usize) -> Result<(), EngineError> {
        self.output_channels[edge]
            .flush()
            .map_err(|error| self.refused(self.topology.edges[edge].from, &error))
    }

    pub(super) fn forward_control(&mut self, node: NodeId, msg: &Msg) -> Result<(), EngineError> {
        for index in 0..self.topology.nodes[node].edges.len() {
            let edge = self.topology.nodes[node].edges[index];
            self.output_channels[edge]
                .control(msg)
                .map_err(|error| self.refused(node, &error))?;
        }
        Ok(())
    }

    /// Passes a change of an input on to every directly called node.
    pub(super) fn forward_change(
        &mut self,
        node: NodeId,
        change: impl Fn(&mut WatermarkTracker, usize) -> Change,
    ) -> Result<(), EngineError> {
        for index in 0..self.topology.nodes[node].calls.len() {
            let call = self.topology.nodes[node].calls[index];
            let called = &mut self.nodes[call.node];
            let input = called.inputs[call.input];
            let change = change(&mut called.watermarks, input);
            self.apply(call.node, change)?;
        }
        Ok(())
    }

    pub(super) fn forward_watermark(
        &mut self,
        node: NodeId,
        watermark: i64,
    ) -> Result<(), EngineError> {
        for index in 0..self.topology.nodes[node].edges.len() {
            let edge = self.topology.nodes[node].edges[index];
            if let Some(filter) = &mut self.late_filters[edge] {
                filter.reached(watermark);
            }
            self.output_channels[edge].watermark(watermark, self.now_ms);
        }
        self.forward_change(node, |watermarks, input| {
            watermarks.watermark(input, watermark)
        })
    }

    pub(super) fn forward_status(&mut self, node: NodeId, idle: bool) -> Result<(), EngineError> {
        self.forward_control(node, &if idle { Msg::Idle } else { Msg::Active })?;
        self.forward_change(node, |watermarks, input| watermarks.idle(input, idle))
    }

    pub(super) fn forward_end(&mut self, node: NodeId) -> Result<(), EngineError> {
        self.forward_control(node, &Msg::End)?;
        self.forward_change(node, WatermarkTracker::end)?;
        if !self.ended && self.nodes.iter().all(Node::has_ended) {
            self.ended = true;
            self.publish_counters();
            self.report(Event::Ended);
        }
        Ok(())
    }

    /// Acts on a change of a node's combined progress.
    pub(super) fn apply(&mut self, id: NodeId, change: Change) -> Result<(), EngineError> {
        if change.active {
            self.forward_status(id, false)?;
        }
        if let Some(watermark) = change.watermark {
            let node = &mut self.nodes[id];
            let mut passes = true;
            if let Work::Operator {
                operator,
                makes_watermarks,
            } = &mut node.work
            {
                passes = !*makes_watermarks || watermark == i64::MAX;
                if passes {
                    let mut out = std::mem::take(&mut node.scratch);
                    operator.watermark(watermark, &mut out)?;
                    self.emit_all(id, out)?;
                }
            }
            if passes {
                self.forward_watermark(id, watermark)?;
            }
        }
        if change.idle {
            // The others go on without this input: what is held back would come late.
            self.flush_node(id)?;
            self.forward_status(id, true)?;
        }
        if change.ended {
            self.flush_node(id)?;
            self.forward_end(id)?;
        }
        Ok(())
    }

    pub(super) fn flush_node(&mut self, id: NodeId) -> Result<(), EngineError> {
        let node = &mut self.nodes[id];
        let Work::Operator { operator, .. } = &mut node.work else {
            return Ok(());
        };
        let mut out = std::mem::take(&mut node.scratch);
        operator.flush(&mut out)?;
        self.emit_all(id, out)
    }
}
