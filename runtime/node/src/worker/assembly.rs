//! Subtasks from their parts: operators with their state, opened sources and sinks, channels.

use std::{collections::BTreeMap, sync::Arc};

use streamkeeper_connectors::{
    open_sink, open_source,
    sink::SinkContext,
    source::{SourceContext, Stores},
};
use streamkeeper_engine::{
    exchange::CREDIT_BYTES,
    operator::Place,
    operators,
    task::{Clock, Counters, FREEZE_SLICE, NodePart, Subtask, SubtaskParts, splits_of},
};
use streamkeeper_protocol::plan::{NodeId, Operator, PlanNode};
use tokio::runtime::Handle;

use super::{
    channels::Channels,
    events::EventSender,
    failure::Failure,
    layout::Layout,
    restore::{RestoredState, RestoredStates},
};
use streamkeeper_tables::variables;

/// Everything that subtasks are made of.
pub(super) struct Assembly {
    pub(super) layout: Arc<Layout>,
    pub(super) channels: Channels,
    /// By local subtask.
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) sinks: BTreeMap<NodeId, SinkContext>,
    /// What a sink keeps at most in memory, bytes, unless the job says otherwise.
    pub(super) sink_buffer_bytes: u64,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) runtime: Handle,
    pub(super) clock: Arc<dyn Clock>,
}

impl Assembly {
    /// Builds the subtasks of this worker. Takes time: not for a thread of the runtime.
    pub(super) fn build(
        &self,
        mut restored: RestoredStates,
        attempt: u64,
        events: &EventSender,
    ) -> Result<Vec<(u32, Subtask)>, Failure> {
        let mut subtasks = Vec::new();
        for (local, (&subtask, counters)) in self.layout.mine.iter().zip(&self.counters).enumerate()
        {
            let nodes = self.layout.plan.nodes.iter();
            let nodes = nodes.map(|node| {
                self.node(
                    node,
                    local,
                    subtask,
                    restored
                        .states
                        .remove(&(node.id, subtask))
                        .unwrap_or_default(),
                )
            });
            let nodes = nodes.collect::<Result<_, Failure>>()?;
            let events = events.clone();
            subtasks.push((
                subtask,
                Subtask::new(SubtaskParts {
                    plan: self.layout.plan.clone(),
                    topology: self.layout.topology.clone(),
                    subtask,
                    assignment: self.layout.assignment.clone(),
                    nodes,
                    watermarks: restored.watermarks.remove(&subtask).unwrap_or_default(),
                    inbox: self.channels.inbox(local),
                    links: self.channels.links(local),
                    credits: self.channels.returns(local),
                    credit_bytes: CREDIT_BYTES,
                    sink_buffer_bytes: self.sink_buffer_bytes,
                    freeze_slice: FREEZE_SLICE,
                    guarantee: self.layout.guarantee,
                    clock: self.clock.clone(),
                    counters: counters.clone(),
                    report: Box::new(move |event| events.subtask(attempt, subtask, event)),
                })?,
            ));
        }
        Ok(subtasks)
    }

    fn node(
        &self,
        node: &PlanNode,
        local: usize,
        subtask: u32,
        states: Vec<RestoredState>,
    ) -> Result<NodePart, Failure> {
        match &node.operator {
            Operator::Source(table) => {
                let mut splits = Vec::new();
                for state in states {
                    splits.extend(splits_of(&node.label, state.entries)?);
                }
                let source = open_source(SourceContext {
                    table: variables::expand_here(table)?,
                    subtask,
                    assignment: self.layout.assignment.clone(),
                    restored: splits.clone(),
                    now_ms: self.clock.wall_ms(),
                    stores: self.stores.clone(),
                    runtime: self.runtime.clone(),
                    wake: self.channels.inbox(local).waker(),
                })?;
                Ok(NodePart::Source(source, splits))
            }
            Operator::Sink(_) => {
                let context = self.sinks.get(&node.id).cloned();
                let context = context.ok_or_else(|| {
                    Failure::new(
                        streamkeeper_control::messages::FailureKind::Internal,
                        format!("{} has no context", node.label),
                    )
                })?;
                Ok(NodePart::Sink(open_sink(SinkContext {
                    subtask,
                    ..context
                })?))
            }
            _ => {
                let place = Place {
                    subtask,
                    assignment: self.layout.assignment.clone(),
                };
                let mut operator = operators::build(node, &self.layout.plan, &place)?;
                for RestoredState { written, entries } in states {
                    operator.restore(&written.name, &written, entries)?;
                }
                Ok(NodePart::Operator(operator))
            }
        }
    }
}
