//! The subtask and its step.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arrow_schema::ArrowError;
use streamkeeper_connectors::{
    batch::Batch,
    sink::Sink,
    source::{Source, SplitState},
};
use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::CheckpointKind,
    plan::{NodeId, StreamPlan},
    types::DataType,
};

use super::{
    Call, Clock, Command, Counters, Event, NodeSnapshot, Snapshot, Topology,
    alignment::Alignment,
    clock::now_ms,
    progress::{Change, Progress},
    source::{Drawn, SourceTask},
};
use crate::{
    EngineError,
    exchange::{Barrier, Envelope, Inbox, Link, Msg, Outlet, Partition, ReturnCredit},
    operator::Operator,
};

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
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Takes events; called on the subtask's thread.
    pub report: Box<dyn FnMut(Event) + Send>,
}

impl fmt::Debug for SubtaskParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubtaskParts").field("subtask", &self.subtask).finish_non_exhaustive()
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

enum Work {
    Source(SourceTask),
    Operator { operator: Box<dyn Operator>, makes_watermarks: bool },
    Sink(Box<dyn Sink>),
}

struct Node {
    work: Work,
    progress: Progress,
    /// First lane of each input.
    lanes: Vec<usize>,
    /// Last watermark it passed on, if it makes its own.
    own_watermark: Option<i64>,
    label: String,
    scratch: Vec<Batch>,
}

/// One channel into a stage.
struct Channel {
    call: Call,
    lane: usize,
    queue: VecDeque<Envelope>,
    /// Consumed and not yet returned.
    owed: u32,
    credit: Arc<dyn ReturnCredit>,
}

struct StageState {
    alignment: Alignment,
    channels: Vec<Channel>,
    /// Where the next turn begins.
    turn: usize,
    /// Sources stand still after a final barrier.
    stopped: bool,
}

/// A checkpoint that not all stages have reached.
struct Partial {
    full: Option<BTreeSet<NodeId>>,
    stages_left: usize,
    nodes: Vec<NodeSnapshot>,
    ended: bool,
    freeze: Duration,
}

/// One instance of every node of the plan.
pub struct Subtask {
    topology: Arc<Topology>,
    nodes: Vec<Node>,
    stages: Vec<StageState>,
    /// By edge: first channel inside the receiving stage.
    first_channel: Vec<usize>,
    outlets: Vec<Outlet>,
    inbox: Arc<Inbox<Command>>,
    commands: VecDeque<Command>,
    arrivals: Vec<Envelope>,
    checkpoints: BTreeMap<u64, Partial>,
    credit_bytes: u32,
    clock: Arc<dyn Clock>,
    /// Time at the start of the step.
    now_ms: u64,
    counters: Arc<Counters>,
    report: Box<dyn FnMut(Event) + Send>,
    started: bool,
    first_record: bool,
    ended: bool,
}

impl fmt::Debug for Subtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subtask").field("started", &self.started).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Subtask {
    /// Puts a subtask together. Nothing moves before [`Command::Start`].
    pub fn new(parts: SubtaskParts) -> Result<Self, EngineError> {
        let SubtaskParts { plan, topology, subtask, assignment, nodes, watermarks, inbox, links, credits, credit_bytes, clock, counters, report } = parts;
        let defect = |detail: &str| EngineError::Internal { operator: format!("subtask {subtask}"), detail: detail.to_owned() };
        if nodes.len() != plan.nodes.len() || links.len() != topology.edges.len() || credits.len() != topology.edges.len() {
            return Err(defect("its parts do not match the plan"));
        }
        let now = now_ms(&*clock);
        let mut built: Vec<Node> = Vec::with_capacity(nodes.len());
        for ((part, wiring), node) in nodes.into_iter().zip(&topology.nodes).zip(&plan.nodes) {
            let mut lanes = Vec::with_capacity(wiring.inputs.len());
            let mut count = 0;
            for input in &wiring.inputs {
                lanes.push(count);
                count += if input.is_some() { topology.parallelism as usize } else { 1 };
            }
            let mut progress = Progress::new(count);
            let watermark = watermarks.get(node.id).copied().flatten();
            let mut own_watermark = None;
            let work = match part {
                NodePart::Source(source, splits) => Work::Source(SourceTask::new(source, splits, &plan.settings, topology.parallelism, now)),
                NodePart::Operator(mut operator) => {
                    let makes_watermarks = operator.own_watermark().is_some();
                    if let Some(watermark) = watermark {
                        operator.restore_watermark(watermark);
                        if makes_watermarks {
                            own_watermark = Some(watermark);
                        }
                    }
                    Work::Operator { operator, makes_watermarks }
                }
                NodePart::Sink(sink) => Work::Sink(sink),
            };
            if let Some(watermark) = watermark.filter(|_| own_watermark.is_none()) {
                progress.restore(watermark);
            }
            built.push(Node { work, progress, lanes, own_watermark, label: node.label.clone(), scratch: Vec::new() });
        }
        let mut first_channel = vec![0; topology.edges.len()];
        let mut credits: Vec<Option<Vec<Arc<dyn ReturnCredit>>>> = credits.into_iter().map(Some).collect();
        let mut stages = Vec::with_capacity(topology.stages.len());
        for stage in &topology.stages {
            let mut channels = Vec::new();
            for &edge in &stage.inputs {
                first_channel[edge] = channels.len();
                let call = topology.edges[edge].to;
                let lane = built[call.node].lanes[call.input];
                let returns = credits[edge].take().filter(|returns| returns.len() == topology.parallelism as usize);
                for (from, credit) in returns.ok_or_else(|| defect("an edge has not one channel per subtask"))?.into_iter().enumerate() {
                    channels.push(Channel { call, lane: lane + from, queue: VecDeque::new(), owed: 0, credit });
                }
            }
            stages.push(StageState { alignment: Alignment::new(channels.len(), !stage.sources.is_empty()), channels, turn: 0, stopped: false });
        }
        let mut outlets = Vec::with_capacity(topology.edges.len());
        for (number, (edge, links)) in topology.edges.iter().zip(links).enumerate() {
            if links.len() != topology.parallelism as usize {
                return Err(defect("an edge has not one link per subtask"));
            }
            let fields = &plan.nodes[edge.from].schema.fields;
            let types: Vec<DataType> = edge.keys.iter().filter_map(|&key| fields.get(key)).map(|field| field.ty.data.clone()).collect();
            let partition = Partition::new(edge.keys.clone(), &types, assignment.clone(), links.len());
            outlets.push(Outlet::new(number, subtask, partition, links));
        }
        Ok(Self {
            topology,
            nodes: built,
            stages,
            first_channel,
            outlets,
            inbox,
            commands: VecDeque::new(),
            arrivals: Vec::new(),
            checkpoints: BTreeMap::new(),
            credit_bytes,
            clock,
            now_ms: now,
            counters,
            report,
            started: false,
            first_record: false,
            ended: false,
        })
    }

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
        let mut back_pressured = false;
        // Downstream first: what lies in a queue leaves before more comes in.
        for stage in (0..self.stages.len()).rev() {
            worked |= self.pass_barriers(stage)?;
            worked |= self.consume(stage, &mut back_pressured)?;
            worked |= self.read(stage, &mut back_pressured)?;
        }
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
        Ok(Step::Waiting { until_ms: self.next_ms(), back_pressured })
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
            let channel = self.first_channel.get(envelope.edge).map(|first| first + envelope.from as usize);
            let stage = self.topology.edges.get(envelope.edge).map(|edge| self.topology.nodes[edge.to.node].stage);
            // The data plane checks edge and subtask against the plan, so that nothing is lost here.
            if let Some(channel) = stage.zip(channel).and_then(|(stage, channel)| self.stages[stage].channels.get_mut(channel)) {
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
        self.topology.stages[stage].outputs.iter().all(|&edge| self.outlets[edge].has_room())
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
            if !self.has_room(stage) {
                *back_pressured = true;
                break;
            }
            let Some(envelope) = self.stages[stage].channels[channel].queue.pop_front() else { continue };
            taken += 1;
            skipped = 0;
            self.accept(stage, channel, envelope)?;
        }
        Ok(taken > 0)
    }

    fn accept(&mut self, stage: usize, channel: usize, envelope: Envelope) -> Result<(), EngineError> {
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
                        detail: format!("barrier {} from subtask {} came out of turn", barrier.checkpoint, envelope.from),
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
            let state = &self.stages[stage];
            let Work::Source(source) = &mut self.nodes[node].work else { continue };
            if !self.started || source.ended || state.stopped || state.alignment.blocks_sources() {
                continue;
            }
            if !self.topology.stages[stage].outputs.iter().all(|&edge| self.outlets[edge].has_room()) {
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

    fn process(&mut self, call: Call, batch: Batch) -> Result<(), EngineError> {
        let node = &mut self.nodes[call.node];
        match &mut node.work {
            Work::Operator { operator, makes_watermarks } => {
                let makes_watermarks = *makes_watermarks;
                let mut out = std::mem::take(&mut node.scratch);
                let done = operator.process(call.input, &batch, &mut out);
                drop(batch);
                done?;
                self.emit_all(call.node, out)?;
                if makes_watermarks { self.pass_own_watermark(call.node) } else { Ok(()) }
            }
            Work::Sink(sink) => {
                sink.write(&batch)?;
                self.counters.add_rows(call.node, batch.len());
                Ok(())
            }
            Work::Source(_) => Err(EngineError::Internal { operator: node.label.clone(), detail: "a source got rows".to_owned() }),
        }
    }

    fn pass_own_watermark(&mut self, id: NodeId) -> Result<(), EngineError> {
        let node = &mut self.nodes[id];
        let Work::Operator { operator, .. } = &node.work else { return Ok(()) };
        match operator.own_watermark().flatten() {
            Some(watermark) if node.own_watermark < Some(watermark) => {
                node.own_watermark = Some(watermark);
                self.forward_watermark(id, watermark)
            }
            _ => Ok(()),
        }
    }

    /// Sends an operator's output on and keeps the emptied list for its next call.
    fn emit_all(&mut self, node: NodeId, mut out: Vec<Batch>) -> Result<(), EngineError> {
        for batch in out.drain(..) {
            self.emit(node, batch)?;
        }
        self.nodes[node].scratch = out;
        Ok(())
    }

    fn emit(&mut self, node: NodeId, batch: Batch) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let calls = self.topology.nodes[node].calls.len();
        let receivers = calls + self.topology.nodes[node].edges.len();
        let mut batch = Some(batch);
        for receiver in 0..receivers {
            let rows = if receiver + 1 == receivers { batch.take() } else { batch.clone() };
            let Some(rows) = rows else { break };
            if receiver < calls {
                self.process(self.topology.nodes[node].calls[receiver], rows)?;
            } else {
                let edge = self.topology.nodes[node].edges[receiver - calls];
                self.outlets[edge].rows(rows, self.now_ms).map_err(|error| self.refused(node, &error))?;
            }
        }
        Ok(())
    }

    fn refused(&self, node: NodeId, error: &ArrowError) -> EngineError {
        EngineError::Internal { operator: self.nodes[node].label.clone(), detail: format!("its output cannot be sent on: {error}") }
    }

    fn flush_outlet(&mut self, edge: usize) -> Result<(), EngineError> {
        self.outlets[edge].flush().map_err(|error| self.refused(self.topology.edges[edge].from, &error))
    }

    fn forward_control(&mut self, node: NodeId, msg: &Msg) -> Result<(), EngineError> {
        for index in 0..self.topology.nodes[node].edges.len() {
            let edge = self.topology.nodes[node].edges[index];
            self.outlets[edge].control(msg).map_err(|error| self.refused(node, &error))?;
        }
        Ok(())
    }

    /// Tells every directly called node of a change on its lane.
    fn forward_change(&mut self, node: NodeId, change: impl Fn(&mut Progress, usize) -> Change) -> Result<(), EngineError> {
        for index in 0..self.topology.nodes[node].calls.len() {
            let call = self.topology.nodes[node].calls[index];
            let called = &mut self.nodes[call.node];
            let lane = called.lanes[call.input];
            let change = change(&mut called.progress, lane);
            self.apply(call.node, change)?;
        }
        Ok(())
    }

    fn forward_watermark(&mut self, node: NodeId, watermark: i64) -> Result<(), EngineError> {
        for index in 0..self.topology.nodes[node].edges.len() {
            let edge = self.topology.nodes[node].edges[index];
            self.outlets[edge].watermark(watermark, self.now_ms);
        }
        self.forward_change(node, |progress, lane| progress.watermark(lane, watermark))
    }

    fn forward_status(&mut self, node: NodeId, idle: bool) -> Result<(), EngineError> {
        self.forward_control(node, &if idle { Msg::Idle } else { Msg::Active })?;
        self.forward_change(node, |progress, lane| progress.idle(lane, idle))
    }

    fn forward_end(&mut self, node: NodeId) -> Result<(), EngineError> {
        self.forward_control(node, &Msg::End)?;
        self.forward_change(node, Progress::end)?;
        if !self.ended && self.nodes.iter().all(Node::has_ended) {
            self.ended = true;
            self.publish_counters();
            self.report(Event::Ended);
        }
        Ok(())
    }

    /// Acts on a change of a node's combined progress.
    fn apply(&mut self, id: NodeId, change: Change) -> Result<(), EngineError> {
        if change.active {
            self.forward_status(id, false)?;
        }
        if let Some(watermark) = change.watermark {
            let node = &mut self.nodes[id];
            let mut passes = true;
            if let Work::Operator { operator, makes_watermarks } = &mut node.work {
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
            self.forward_status(id, true)?;
        }
        if change.ended {
            self.flush_node(id)?;
            self.forward_end(id)?;
        }
        Ok(())
    }

    fn flush_node(&mut self, id: NodeId) -> Result<(), EngineError> {
        let node = &mut self.nodes[id];
        let Work::Operator { operator, .. } = &mut node.work else { return Ok(()) };
        let mut out = std::mem::take(&mut node.scratch);
        operator.flush(&mut out)?;
        self.emit_all(id, out)
    }

    fn partial(&mut self, checkpoint: u64) -> &mut Partial {
        let stages_left = self.stages.len();
        self.checkpoints.entry(checkpoint).or_insert_with(|| Partial {
            full: None,
            stages_left,
            nodes: Vec::new(),
            ended: true,
            freeze: Duration::ZERO,
        })
    }

    /// Lets a stage's barrier through if every input delivered it.
    fn pass_barriers(&mut self, stage: usize) -> Result<bool, EngineError> {
        let mut passed = false;
        while let Some(barrier) = self.stages[stage].alignment.complete() {
            passed = true;
            self.pass_barrier(stage, barrier)?;
        }
        Ok(passed)
    }

    fn pass_barrier(&mut self, stage: usize, barrier: Barrier) -> Result<(), EngineError> {
        let topology = self.topology.clone();
        let wiring = &topology.stages[stage];
        let began = self.clock.monotonic();
        for &node in &wiring.nodes {
            self.flush_node(node)?;
        }
        for &edge in &wiring.outputs {
            self.outlets[edge].control(&Msg::Barrier(barrier)).map_err(|error| self.refused(topology.edges[edge].from, &error))?;
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
        let ended = wiring.nodes.iter().all(|&node| self.nodes[node].has_ended());
        let took = self.clock.monotonic().saturating_sub(began);
        let partial = self.partial(barrier.checkpoint);
        partial.nodes.append(&mut frozen);
        partial.ended &= ended;
        partial.freeze += took;
        partial.stages_left -= 1;
        if partial.stages_left == 0
            && let Some(Partial { nodes, ended, freeze, .. }) = self.checkpoints.remove(&barrier.checkpoint)
        {
            self.publish_counters();
            self.report(Event::Frozen(Snapshot { barrier, nodes, ended, freeze }));
        }
        Ok(())
    }

    fn freeze(&mut self, id: NodeId, checkpoint: u64, full: bool) -> Result<NodeSnapshot, EngineError> {
        let node = &mut self.nodes[id];
        let mut snapshot =
            NodeSnapshot { node: id, watermark: node.own_watermark.max(node.progress.combined()), states: Vec::new(), committable: None, rows: self.counters.rows(id) };
        match &mut node.work {
            Work::Source(source) => snapshot.states.push(source.freeze(full)),
            Work::Operator { operator, makes_watermarks } => {
                if *makes_watermarks && !node.progress.has_ended() {
                    snapshot.watermark = node.own_watermark;
                }
                snapshot.states = operator.freeze(full)?;
            }
            Work::Sink(sink) => snapshot.committable = sink.prepare(checkpoint)?,
        }
        Ok(snapshot)
    }

    fn publish_counters(&self) {
        let (mut late, mut skipped) = (0, 0);
        let mut sinks: Option<Option<i64>> = None;
        for node in &self.nodes {
            match &node.work {
                Work::Source(source) => skipped += source.skipped(),
                Work::Operator { operator, .. } => late += operator.late_records(),
                Work::Sink(_) => {
                    let watermark = node.progress.combined();
                    sinks = Some(sinks.map_or(watermark, |other| other.min(watermark)));
                }
            }
        }
        self.counters.late.store(late, Relaxed);
        self.counters.skipped.store(skipped, Relaxed);
        self.counters.set_sink_watermark(sinks.flatten());
    }

    fn next_ms(&self) -> Option<u64> {
        let sources = self.topology.stages.iter().zip(&self.stages).filter(|(_, state)| self.started && !state.stopped).flat_map(|(stage, _)| &stage.sources);
        sources
            .filter_map(|&node| match &self.nodes[node].work {
                Work::Source(source) => source.next_ms(self.now_ms),
                _ => None,
            })
            .min()
    }
}

impl Node {
    fn has_ended(&self) -> bool {
        match &self.work {
            Work::Source(source) => source.ended,
            _ => self.progress.has_ended(),
        }
    }
}
