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
    source::{Drawn, SourceTask},
    watermark_tracker::WatermarkTracker,
};
use crate::{
    EngineError,
    exchange::{Barrier, Envelope, Inbox, Link, Msg, OutputChannel, ReturnCredit},
    operator::Operator,
    operators::LateFilter,
};

/// Approximate number of state entries that are frozen in a step: some ten milliseconds of work,
/// between which rows flow.
pub const FREEZE_SLICE: usize = 1 << 15;

/// Messages that a chain takes in one step before others get their turn.
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
    /// By edge, by sending subtask: where consumed credit is returned.
    pub credits: Vec<Vec<Arc<dyn ReturnCredit>>>,
    /// Credit of one channel, bytes; returned in quarters of it.
    pub credit_bytes: u32,
    /// Bytes that a sink keeps in memory at most.
    pub sink_buffer_bytes: u64,
    /// Approximate number of state entries frozen at a time; [`FREEZE_SLICE`] outside of tests.
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
    /// The subtask worked; there may be more to do.
    Worked,
    /// There was nothing to do: wait for the inbox.
    Waiting {
        /// When to look again even if nothing arrives, by [`Clock::monotonic`] in milliseconds.
        until_ms: Option<u64>,
        /// Whether there was input but no room downstream.
        back_pressured: bool,
    },
    /// It received [`Command::Stop`].
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
    pub(super) watermarks: WatermarkTracker,
    /// First input channel of each input.
    pub(super) inputs: Vec<usize>,
    /// Last watermark it passed on, if it makes its own.
    pub(super) own_watermark: Option<i64>,
    pub(super) label: String,
    pub(super) scratch: Vec<Batch>,
}

/// One channel into a chain.
pub(super) struct Channel {
    pub(super) call: Call,
    pub(super) input: usize,
    pub(super) queue: VecDeque<Envelope>,
    /// Consumed and not yet returned.
    pub(super) owed: u32,
    pub(super) credit: Arc<dyn ReturnCredit>,
}

pub(super) struct ChainState {
    pub(super) alignment: Alignment,
    pub(super) channels: Vec<Channel>,
    /// Where the next turn begins.
    pub(super) turn: usize,
    /// Whether a final barrier has stopped the sources.
    pub(super) stopped: bool,
    /// The last checkpoint that passed.
    pub(super) passed: Option<u64>,
}

/// A checkpoint that not all chains have reached, or whose state is not all frozen.
pub(super) struct PendingSnapshot {
    pub(super) barrier: Option<Barrier>,
    pub(super) full: Option<BTreeSet<NodeId>>,
    pub(super) chains_left: usize,
    /// Operators whose freeze has begun and has not ended.
    pub(super) freezes_left: usize,
    pub(super) nodes: Vec<NodeSnapshot>,
    pub(super) ended: bool,
    pub(super) freeze: Duration,
}

/// How full the buffers of sinks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SinkBufferLevel {
    /// Every sink has more than half of its buffer left.
    Plenty,
    /// A sink's buffer is half full.
    Half,
}

/// An operator whose freeze has begun and has not ended.
pub(super) struct Freeze {
    pub(super) checkpoint: u64,
    pub(super) snapshot: NodeSnapshot,
}

/// One instance of every node of the plan.
pub struct Subtask {
    pub(super) topology: Arc<Topology>,
    pub(super) nodes: Vec<Node>,
    pub(super) chains: Vec<ChainState>,
    /// By edge: first channel inside the receiving chain.
    pub(super) first_channel: Vec<usize>,
    pub(super) output_channels: Vec<OutputChannel>,
    /// By edge: the filter that drops late rows before the exchange.
    pub(super) late_filters: Vec<Option<LateFilter>>,
    pub(super) inbox: Arc<Inbox<Command>>,
    pub(super) commands: VecDeque<Command>,
    pub(super) arrivals: Vec<Envelope>,
    pub(super) checkpoints: BTreeMap<u64, PendingSnapshot>,
    /// Freezes under way, in the order of their barriers.
    pub(super) freezes: VecDeque<Freeze>,
    pub(super) freeze_slice: usize,
    pub(super) credit_bytes: u32,
    /// What a sink keeps at most until its output is committed, bytes.
    pub(super) sink_buffer_bytes: u64,
    /// The level that was reported to the owner.
    pub(super) buffer_level: SinkBufferLevel,
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
        // Downstream first: queued rows leave before more come in.
        for chain in (0..self.chains.len()).rev() {
            worked |= self.pass_barriers(chain)?;
            worked |= self.consume(chain, &mut back_pressured)?;
            worked |= self.read(chain, &mut back_pressured)?;
        }
        self.report_filling();
        for output_channel in 0..self.output_channels.len() {
            if self.output_channels[output_channel].is_due(self.now_ms) {
                self.flush_outlet(output_channel)?;
            }
        }
        if worked {
            return Ok(Step::Worked);
        }
        for output_channel in 0..self.output_channels.len() {
            if self.output_channels[output_channel].is_holding() {
                self.flush_outlet(output_channel)?;
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
            let chain = self
                .topology
                .edges
                .get(envelope.edge)
                .map(|edge| self.topology.nodes[edge.to.node].chain);
            // The data plane checks edge and subtask against the plan, so that nothing is lost
            // here.
            if let Some(channel) = chain
                .zip(channel)
                .and_then(|(chain, channel)| self.chains[chain].channels.get_mut(channel))
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
                for chain in &mut self.chains {
                    chain.stopped = false;
                }
            }
            Command::Trigger { barrier, full } => {
                self.pending(barrier.checkpoint).full = Some(full.into_iter().collect());
                for chain in 0..self.chains.len() {
                    self.chains[chain].alignment.trigger(barrier);
                    self.pass_barriers(chain)?;
                }
            }
            Command::Stop => {}
        }
        Ok(())
    }

    fn has_room(&self, chain: usize) -> bool {
        self.topology.chains[chain]
            .outputs
            .iter()
            .all(|&edge| self.output_channels[edge].has_room())
    }

    /// Whether a sink of the chain keeps as many rows as it may: those of the next checkpoint, and
    /// those that are prepared but not committed. Only a checkpoint and its commit take them.
    fn is_full(&self, chain: usize) -> bool {
        self.topology.chains[chain]
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

    /// Reports a half-full buffer to the owner, because only a checkpoint empties it. So the
    /// checkpoint comes before the sources must stop.
    fn report_filling(&mut self) {
        let half = self.sink_buffer_bytes / 2;
        let filling = self.nodes.iter().any(
            |node| matches!(&node.work, Work::Sink(sink) if sink.held_bytes() as u64 >= half.max(1)),
        );
        let level = if filling {
            SinkBufferLevel::Half
        } else {
            SinkBufferLevel::Plenty
        };
        if level == SinkBufferLevel::Half && self.buffer_level == SinkBufferLevel::Plenty {
            self.report(Event::SinkFilling);
        }
        self.buffer_level = level;
    }

    /// Whether a sink of the chain keeps so much uncommitted output that not even a checkpoint may
    /// add to it: only commits take it away. Checkpoints wait then, as the sources do.
    fn is_crammed(&self, chain: usize) -> bool {
        let most = self.sink_buffer_bytes.saturating_mul(2);
        let nodes = &self.topology.chains[chain].nodes;
        nodes
            .iter()
            .any(|&node| self.counters.uncommitted(node) >= most)
    }

    /// Whether a checkpoint began that has not passed the chain. Its barrier may lie in a channel
    /// behind rows: at most as many as the channel has credit for.
    fn awaits_barrier(&self, chain: usize) -> bool {
        let last = self.checkpoints.keys().next_back().copied();
        last > self.chains[chain].passed
    }

    /// Takes messages from the chain's channels, in turn.
    fn consume(&mut self, chain: usize, back_pressured: &mut bool) -> Result<bool, EngineError> {
        let channels = self.chains[chain].channels.len();
        let (mut taken, mut skipped) = (0, 0);
        while taken < TURN && skipped < channels {
            let state = &mut self.chains[chain];
            let channel = state.turn % channels;
            state.turn = (channel + 1) % channels;
            if state.alignment.blocks(channel) || state.channels[channel].queue.is_empty() {
                skipped += 1;
                continue;
            }
            if !self.has_room(chain)
                || (self.is_full(chain) && !self.awaits_barrier(chain))
                || self.is_crammed(chain)
            {
                *back_pressured = true;
                break;
            }
            let Some(envelope) = self.chains[chain].channels[channel].queue.pop_front() else {
                continue;
            };
            taken += 1;
            skipped = 0;
            self.accept(chain, channel, envelope)?;
        }
        Ok(taken > 0)
    }

    fn accept(
        &mut self,
        chain: usize,
        channel: usize,
        envelope: Envelope,
    ) -> Result<(), EngineError> {
        let state = &mut self.chains[chain].channels[channel];
        let (call, input) = (state.call, state.input);
        match envelope.msg {
            Msg::Batch(batch) => self.process(call, batch)?,
            Msg::Watermark(watermark) => {
                let change = self.nodes[call.node].watermarks.watermark(input, watermark);
                self.apply(call.node, change)?;
            }
            Msg::Idle | Msg::Active => {
                let idle = matches!(envelope.msg, Msg::Idle);
                let change = self.nodes[call.node].watermarks.idle(input, idle);
                self.apply(call.node, change)?;
            }
            Msg::End => {
                let change = self.nodes[call.node].watermarks.end(input);
                self.apply(call.node, change)?;
            }
            Msg::Barrier(barrier) => {
                if !self.chains[chain].alignment.arrive(channel, barrier) {
                    return Err(EngineError::Internal {
                        operator: self.nodes[call.node].label.clone(),
                        detail: format!(
                            "barrier {} from subtask {} came out of turn",
                            barrier.checkpoint, envelope.from
                        ),
                    });
                }
                self.pass_barriers(chain)?;
            }
        }
        let state = &mut self.chains[chain].channels[channel];
        state.owed += envelope.cost;
        if state.owed >= self.credit_bytes / 4 {
            state.credit.give(std::mem::take(&mut state.owed));
        }
        Ok(())
    }

    /// Polls the chain's sources once.
    fn read(&mut self, chain: usize, back_pressured: &mut bool) -> Result<bool, EngineError> {
        let mut worked = false;
        for index in 0..self.topology.chains[chain].sources.len() {
            let node = self.topology.chains[chain].sources[index];
            let full = self.is_full(chain);
            let state = &self.chains[chain];
            let Work::Source(source) = &mut self.nodes[node].work else {
                continue;
            };
            if !self.started || source.ended || state.stopped || state.alignment.blocks_sources() {
                source.rest();
                continue;
            }
            if full
                || !self.topology.chains[chain]
                    .outputs
                    .iter()
                    .all(|&edge| self.output_channels[edge].has_room())
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
            .chains
            .iter()
            .zip(&self.chains)
            .filter(|(_, state)| self.started && !state.stopped)
            .flat_map(|(chain, _)| &chain.sources);
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
            _ => self.watermarks.has_ended(),
        }
    }
}
