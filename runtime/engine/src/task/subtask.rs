//! The subtask and its step.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use streamkeeper_connectors::{
    batch::Batch,
    sink::Sink,
    source::{Source, SplitState},
};
use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::Guarantee,
    plan::{NodeId, StreamPlan},
};

use super::{
    Call, Clock, Command, Counters, Event, NodeSnapshot, Topology,
    alignment::Alignment,
    clock::now_ms,
    progress::Progress,
    source::{Drawn, SourceTask},
};
use crate::{
    EngineError,
    exchange::{Barrier, Envelope, Inbox, Link, Msg, Outlet, ReturnCredit},
    operator::Operator,
    operators::LateFilter,
};

/// Entries of state that are frozen in a step, about: some ten milliseconds, between which rows
/// flow.
pub const FREEZE_SLICE: usize = 1 << 15;

/// Messages that a stage takes in one step before others get their turn.
const TURN: usize = 16;

/// What runs at a node.
pub enum NodePart {
    /// A source, opened with the splits that were restored.
    Source(Box<dyn Source>, Vec<SplitState>),
    /// An operator with its state restored.
    Operator(Box<dyn Operator>),
    /// A sink.
    Sink(Box<dyn Sink>),
}

impl fmt::Debug for NodePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source(..) => "Source",
            Self::Operator(_) => "Operator",
            Self::Sink(_) => "Sink",
        })
    }
}

/// Everything a subtask is made of.
pub struct SubtaskParts {
    /// The plan.
    pub plan: Arc<StreamPlan>,
    /// The plan at the job's parallelism.
    pub topology: Arc<Topology>,
    /// Which subtask this is.
    pub subtask: u32,
    /// Owner of every key group.
    pub assignment: Arc<Assignment>,
    /// By node.
    pub nodes: Vec<NodePart>,
    /// By node: the watermark of the checkpoint.
    pub watermarks: Vec<Option<i64>>,
    /// Where commands and messages arrive.
    pub inbox: Arc<Inbox<Command>>,
    /// By edge, by receiving subtask.
    pub links: Vec<Vec<Link>>,
    /// By edge, by sending subtask: takes the credit back.
    pub credits: Vec<Vec<Arc<dyn ReturnCredit>>>,
    /// Credit of one channel, bytes; returned in quarters of it.
    pub credit_bytes: u32,
    /// What a sink keeps at most in memory, bytes, unless the job says otherwise.
    pub sink_buffer_bytes: u64,
    /// Entries of state that are frozen at a time, about; [`FREEZE_SLICE`] outside of tests.
    pub freeze_slice: usize,
    /// Whether channels wait for each other's barriers.
    pub guarantee: Guarantee,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Takes events; called on the subtask's thread.
    pub report: Box<dyn FnMut(Event) + Send>,
}

impl fmt::Debug for SubtaskParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubtaskParts")
            .field("subtask", &self.subtask)
            .finish_non_exhaustive()
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something; there may be more to do.
    Worked,
    /// Nothing: wait for the inbox.
    Waiting {
        /// When to look again even if nothing arrives, by [`Clock::monotonic`] in milliseconds.
        until_ms: Option<u64>,
        /// Whether there was input but no room downstream.
        back_pressured: bool,
    },
    /// It was told to stop.
    Stopped,
}

pub(super) enum Work {
    Source(SourceTask),
    Operator {
        operator: Box<dyn Operator>,
        makes_watermarks: bool,
    },
    Sink(Box<dyn Sink>),
}

pub(super) struct Node {
    pub(super) work: Work,
    pub(super) progress: Progress,
    /// First lane of each input.
    pub(super) lanes: Vec<usize>,
    /// Last watermark it passed on, if it makes its own.
    pub(super) own_watermark: Option<i64>,
    pub(super) label: String,
    pub(super) scratch: Vec<Batch>,
}

/// One channel into a stage.
pub(super) struct Channel {
    pub(super) call: Call,
    pub(super) lane: usize,
    pub(super) queue: VecDeque<Envelope>,
    /// Consumed and not yet returned.
    pub(super) owed: u32,
    pub(super) credit: Arc<dyn ReturnCredit>,
}

pub(super) struct StageState {
    pub(super) alignment: Alignment,
    pub(super) channels: Vec<Channel>,
    /// Where the next turn begins.
    pub(super) turn: usize,
    /// Sources stand still after a final barrier.
    pub(super) stopped: bool,
    /// The last checkpoint that passed.
    pub(super) passed: Option<u64>,
}

/// A checkpoint that not all stages have reached, or whose state is not all frozen.
pub(super) struct Partial {
    pub(super) barrier: Option<Barrier>,
    pub(super) full: Option<BTreeSet<NodeId>>,
    pub(super) stages_left: usize,
    /// Operators whose freeze has begun and not ended.
    pub(super) freezes_left: usize,
    pub(super) nodes: Vec<NodeSnapshot>,
    pub(super) ended: bool,
    pub(super) freeze: Duration,
}

/// Room that sinks have for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// More than half of it is left in each.
    Plenty,
    /// One keeps half of what it may keep.
    Half,
}

/// An operator whose freeze has begun and not ended.
pub(super) struct Freeze {
    pub(super) checkpoint: u64,
    pub(super) snapshot: NodeSnapshot,
}

/// One instance of every node of the plan.
pub struct Subtask {
    pub(super) topology: Arc<Topology>,
    pub(super) nodes: Vec<Node>,
    pub(super) stages: Vec<StageState>,
    /// By edge: first channel inside the receiving stage.
    pub(super) first_channel: Vec<usize>,
    pub(super) outlets: Vec<Outlet>,
    /// By edge: what drops late rows before it.
    pub(super) late_filters: Vec<Option<LateFilter>>,
    pub(super) inbox: Arc<Inbox<Command>>,
    pub(super) commands: VecDeque<Command>,
    pub(super) arrivals: Vec<Envelope>,
    pub(super) checkpoints: BTreeMap<u64, Partial>,
    /// Freezes under way, in the order of their barriers.
    pub(super) freezes: VecDeque<Freeze>,
    pub(super) freeze_slice: usize,
    pub(super) credit_bytes: u32,
    /// What a sink keeps at most until its output is committed, bytes.
    pub(super) sink_buffer_bytes: u64,
    /// What the owner knows of that.
    pub(super) room: Room,
    pub(super) clock: Arc<dyn Clock>,
    /// Time at the start of the step.
    pub(super) now_ms: u64,
    pub(super) counters: Arc<Counters>,
    pub(super) report: Box<dyn FnMut(Event) + Send>,
    pub(super) started: bool,
    pub(super) first_record: bool,
    pub(super) ended: bool,
}

impl fmt::Debug for Subtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subtask")
            .field("started", &self.started)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Subtask {
    /// Does a bounded amount of work, without waiting.
    pub fn step(&mut self) -> Result<Step, EngineError> {
        self.now_ms = now_ms(&*self.clock);
        let mut worked = self.receive();
        while let Some(command) = self.commands.pop_front() {
            worked = true;
            if command == Command::Stop {
                return Ok(Step::Stopped);
            }
            self.obey(command)?;
        }
        worked |= self.advance_freezes()?;
        let mut back_pressured = false;
        // Downstream first: what lies in a queue leaves before more comes in.
        for stage in (0..self.stages.len()).rev() {
            worked |= self.pass_barriers(stage)?;
            worked |= self.consume(stage, &mut back_pressured)?;
            worked |= self.read(stage, &mut back_pressured)?;
        }
        self.tell_filling();
        for outlet in 0..self.outlets.len() {
            if self.outlets[outlet].is_due(self.now_ms) {
                self.flush_outlet(outlet)?;
            }
        }
        if worked {
            return Ok(Step::Worked);
        }
        for outlet in 0..self.outlets.len() {
            if self.outlets[outlet].is_holding() {
                self.flush_outlet(outlet)?;
                worked = true;
            }
        }
        if worked {
            return Ok(Step::Worked);
        }
        self.publish_counters();
        Ok(Step::Waiting {
            until_ms: self.next_ms(),
            back_pressured,
        })
    }

    /// Sends an event to the owner.
    pub(super) fn report(&mut self, event: Event) {
        (self.report)(event);
    }

    pub(super) fn inbox(&self) -> Arc<Inbox<Command>> {
        self.inbox.clone()
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    fn receive(&mut self) -> bool {
        let news = self.inbox.take(&mut self.commands, &mut self.arrivals);
        for envelope in self.arrivals.drain(..) {
            let channel = self
                .first_channel
                .get(envelope.edge)
                .map(|first| first + envelope.from as usize);
            let stage = self
                .topology
                .edges
                .get(envelope.edge)
                .map(|edge| self.topology.nodes[edge.to.node].stage);
            // The data plane checks edge and subtask against the plan, so that nothing is lost here.
            if let Some(channel) = stage
                .zip(channel)
                .and_then(|(stage, channel)| self.stages[stage].channels.get_mut(channel))
            {
                channel.queue.push_back(envelope);
            }
        }
        news
    }

    fn obey(&mut self, command: Command) -> Result<(), EngineError> {
        match command {
            Command::Start => self.started = true,
            Command::Resume => {
                for stage in &mut self.stages {
                    stage.stopped = false;
                }
            }
            Command::Trigger { barrier, full } => {
                self.partial(barrier.checkpoint).full = Some(full.into_iter().collect());
                for stage in 0..self.stages.len() {
                    self.stages[stage].alignment.trigger(barrier);
                    self.pass_barriers(stage)?;
                }
            }
            Command::Stop => {}
        }
        Ok(())
    }

    fn has_room(&self, stage: usize) -> bool {
        self.topology.stages[stage]
            .outputs
            .iter()
            .all(|&edge| self.outlets[edge].has_room())
    }

    /// Whether a sink of the stage keeps as many rows as it may: those of the next checkpoint, and
    /// those that are prepared but not committed. Only a checkpoint and its commit take them.
    fn is_full(&self, stage: usize) -> bool {
        self.topology.stages[stage]
            .nodes
            .iter()
            .any(|&node| match &self.nodes[node].work {
                Work::Sink(sink) => {
                    let held = sink.held_bytes() as u64 + self.counters.uncommitted(node);
                    held >= self.sink_buffer_bytes
                }
                _ => false,
            })
    }

    /// Tells the owner in time that only a checkpoint makes room, so that nothing stands still for
    /// it.
    fn tell_filling(&mut self) {
        let half = self.sink_buffer_bytes / 2;
        let filling = self.nodes.iter().any(
            |node| matches!(&node.work, Work::Sink(sink) if sink.held_bytes() as u64 >= half.max(1)),
        );
        let room = if filling { Room::Half } else { Room::Plenty };
        if room == Room::Half && self.room == Room::Plenty {
            self.report(Event::SinkFilling);
        }
        self.room = room;
    }

    /// Whether a sink of the stage keeps so much uncommitted output that not even a checkpoint may
    /// add to it: only commits take it away. Checkpoints wait then, as the sources do.
    fn is_crammed(&self, stage: usize) -> bool {
        let most = self.sink_buffer_bytes.saturating_mul(2);
        let nodes = &self.topology.stages[stage].nodes;
        nodes
            .iter()
            .any(|&node| self.counters.uncommitted(node) >= most)
    }

    /// Whether a checkpoint began that has not passed the stage. Its barrier may lie in a channel
    /// behind rows: at most as many as the channel has credit for.
    fn awaits_barrier(&self, stage: usize) -> bool {
        let last = self.checkpoints.keys().next_back().copied();
        last > self.stages[stage].passed
    }

    /// Takes messages from the stage's channels, in turn.
    fn consume(&mut self, stage: usize, back_pressured: &mut bool) -> Result<bool, EngineError> {
        let channels = self.stages[stage].channels.len();
        let (mut taken, mut skipped) = (0, 0);
        while taken < TURN && skipped < channels {
            let state = &mut self.stages[stage];
            let channel = state.turn % channels;
            state.turn = (channel + 1) % channels;
            if state.alignment.blocks(channel) || state.channels[channel].queue.is_empty() {
                skipped += 1;
                continue;
            }
            if !self.has_room(stage)
                || (self.is_full(stage) && !self.awaits_barrier(stage))
                || self.is_crammed(stage)
            {
                *back_pressured = true;
                break;
            }
            let Some(envelope) = self.stages[stage].channels[channel].queue.pop_front() else {
                continue;
            };
            taken += 1;
            skipped = 0;
            self.accept(stage, channel, envelope)?;
        }
        Ok(taken > 0)
    }

    fn accept(
        &mut self,
        stage: usize,
        channel: usize,
        envelope: Envelope,
    ) -> Result<(), EngineError> {
        let state = &mut self.stages[stage].channels[channel];
        let (call, lane) = (state.call, state.lane);
        match envelope.msg {
            Msg::Batch(batch) => self.process(call, batch)?,
            Msg::Watermark(watermark) => {
                let change = self.nodes[call.node].progress.watermark(lane, watermark);
                self.apply(call.node, change)?;
            }
            Msg::Idle | Msg::Active => {
                let idle = matches!(envelope.msg, Msg::Idle);
                let change = self.nodes[call.node].progress.idle(lane, idle);
                self.apply(call.node, change)?;
            }
            Msg::End => {
                let change = self.nodes[call.node].progress.end(lane);
                self.apply(call.node, change)?;
            }
            Msg::Barrier(barrier) => {
                if !self.stages[stage].alignment.arrive(channel, barrier) {
                    return Err(EngineError::Internal {
                        operator: self.nodes[call.node].label.clone(),
                        detail: format!(
                            "barrier {} from subtask {} came out of turn",
                            barrier.checkpoint, envelope.from
                        ),
                    });
                }
                self.pass_barriers(stage)?;
            }
        }
        let state = &mut self.stages[stage].channels[channel];
        state.owed += envelope.cost;
        if state.owed >= self.credit_bytes / 4 {
            state.credit.give(std::mem::take(&mut state.owed));
        }
        Ok(())
    }

    /// Polls the stage's sources once.
    fn read(&mut self, stage: usize, back_pressured: &mut bool) -> Result<bool, EngineError> {
        let mut worked = false;
        for index in 0..self.topology.stages[stage].sources.len() {
            let node = self.topology.stages[stage].sources[index];
            let full = self.is_full(stage);
            let state = &self.stages[stage];
            let Work::Source(source) = &mut self.nodes[node].work else {
                continue;
            };
            if !self.started || source.ended || state.stopped || state.alignment.blocks_sources() {
                source.rest();
                continue;
            }
            if full
                || !self.topology.stages[stage]
                    .outputs
                    .iter()
                    .all(|&edge| self.outlets[edge].has_room())
            {
                source.rest();
                *back_pressured = true;
                continue;
            }
            let drawn = source.draw(self.now_ms)?;
            let was_idle = source.idle;
            match drawn {
                Drawn::Rows(batch) => {
                    source.idle = false;
                    worked = true;
                    self.counters.add_rows(node, batch.len());
                    let at_ms = self.clock.wall_ms();
                    self.counters.set_last_record_ms(at_ms);
                    if !self.first_record {
                        self.first_record = true;
                        self.report(Event::FirstRecord { at_ms });
                    }
                    if was_idle {
                        self.forward_status(node, false)?;
                    }
                    self.emit(node, batch)?;
                }
                Drawn::Nothing => {}
                Drawn::Idle => {
                    source.idle = true;
                    if !was_idle {
                        worked = true;
                        self.forward_status(node, true)?;
                    }
                }
                Drawn::End => {
                    source.ended = true;
                    worked = true;
                    self.forward_end(node)?;
                }
            }
        }
        Ok(worked)
    }

    fn next_ms(&self) -> Option<u64> {
        let sources = self
            .topology
            .stages
            .iter()
            .zip(&self.stages)
            .filter(|(_, state)| self.started && !state.stopped)
            .flat_map(|(stage, _)| &stage.sources);
        sources
            .filter_map(|&node| match &self.nodes[node].work {
                Work::Source(source) => source.next_ms(self.now_ms),
                _ => None,
            })
            .min()
    }
}

impl Node {
    pub(super) fn has_ended(&self) -> bool {
        match &self.work {
            Work::Source(source) => source.ended,
            _ => self.progress.has_ended(),
        }
    }
}
