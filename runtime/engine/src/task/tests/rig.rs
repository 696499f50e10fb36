//! A whole job in one thread: subtasks, wires that deliver at random, and a coordinator.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow_schema::ArrowError;
use streamkeeper_protocol::{
    key_group::Assignment,
    manifest::{CheckpointKind, Guarantee, RunKind},
    plan::{NodeId, SINK_BUFFER_BYTES, StreamPlan},
};
use streamkeeper_state::Entry;

use super::parts::{Dice, Row};
use crate::{
    exchange::{Barrier, Credit, Deliver, Envelope, Inbox, Link, ReturnCredit},
    task::{
        Clock, Command, Counters, Event, NodePart, Snapshot, Step, Subtask, SubtaskParts, Topology,
    },
};

/// Key groups of all jobs here.
pub(super) const GROUPS: u16 = 16;

/// Time that tests move.
#[derive(Debug, Default)]
pub(super) struct HandClock(AtomicU64);

impl HandClock {
    pub(super) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> i64 {
        1_000_000 + i64::try_from(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

/// Something on its way from one subtask to another.
enum Parcel {
    Message(Envelope),
    Credit(Arc<Credit>, u32),
}

/// All wires: one queue per pair of subtasks, as a connection would be.
#[derive(Default)]
struct Wires(Mutex<BTreeMap<(u32, u32), VecDeque<Parcel>>>);

struct Wire {
    wires: Arc<Wires>,
    from: u32,
    to: u32,
}

impl Deliver for Wire {
    fn deliver(&self, envelope: Envelope) -> Result<(), ArrowError> {
        self.wires
            .0
            .lock()
            .unwrap()
            .entry((self.from, self.to))
            .or_default()
            .push_back(Parcel::Message(envelope));
        Ok(())
    }
}

struct ReturnWire {
    wire: Wire,
    credit: Arc<Credit>,
}

impl ReturnCredit for ReturnWire {
    fn give(&self, bytes: u32) {
        let parcel = Parcel::Credit(self.credit.clone(), bytes);
        self.wire
            .wires
            .0
            .lock()
            .unwrap()
            .entry((self.wire.from, self.wire.to))
            .or_default()
            .push_back(parcel);
    }
}

/// Values by key group and key.
type Values = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

/// State of all operators at a complete checkpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    /// By node and state name.
    pub(super) entries: BTreeMap<(NodeId, String), Values>,
    pub(super) watermarks: BTreeMap<NodeId, Option<i64>>,
}

impl Stored {
    /// Entries of a node's state in the groups that pass.
    pub(super) fn of(&self, node: NodeId, state: &str, owns: impl Fn(u16) -> bool) -> Vec<Entry> {
        let entries = self
            .entries
            .get(&(node, state.to_owned()))
            .into_iter()
            .flatten();
        entries
            .filter(|((group, _), _)| owns(*group))
            .map(|((group, key), value)| Entry {
                key_group: *group,
                key: key.clone().into(),
                value: Some(value.clone().into()),
            })
            .collect()
    }
}

/// Makes the nodes of one subtask from what was stored.
pub(super) type Build<'a> = &'a dyn Fn(u32, &Arc<Assignment>, &Stored) -> Vec<NodePart>;

/// A running job.
pub(super) struct Rig {
    plan: Arc<StreamPlan>,
    pub(super) subtasks: Vec<Subtask>,
    inboxes: Vec<Arc<Inbox<Command>>>,
    wires: Arc<Wires>,
    events: Arc<Mutex<Vec<(u32, Event)>>>,
    pub(super) clock: Arc<HandClock>,
    pub(super) counters: Vec<Arc<Counters>>,
    assignment: Arc<Assignment>,
    pub(super) dice: Dice,
    /// What the last complete checkpoint holds.
    pub(super) stored: Stored,
    /// Snapshots of checkpoints that were given up: they become part of the next.
    carried: Vec<(u32, Snapshot)>,
    frozen: BTreeMap<u64, Vec<(u32, Snapshot)>>,
    /// Committed sink rows by node.
    pub(super) committed: BTreeMap<NodeId, Vec<Row>>,
    pub(super) ended: usize,
    /// How often a sink reported that its buffer fills.
    pub(super) filling: usize,
    pub(super) next_checkpoint: u64,
    /// A wire that delivers nothing: from one subtask to another.
    pub(super) held: Option<(u32, u32)>,
    /// Whether the target takes nothing: output is prepared, and not committed.
    pub(super) target_down: bool,
    /// Subtask, node and bytes of what waits for the target.
    uncommitted: Vec<(u32, NodeId, usize)>,
}

impl Rig {
    pub(super) fn start(
        plan: &StreamPlan,
        parallelism: u32,
        guarantee: Guarantee,
        credit_bytes: u32,
        seed: u64,
        stored: Stored,
        build: Build<'_>,
    ) -> Self {
        let plan = Arc::new(plan.clone());
        let topology = Arc::new(Topology::of(&plan, parallelism).unwrap());
        let assignment = Arc::new(Assignment::even(GROUPS, parallelism));
        let clock = Arc::new(HandClock::default());
        let wires = Arc::new(Wires::default());
        let events: Arc<Mutex<Vec<(u32, Event)>>> = Arc::default();
        let inboxes: Vec<Arc<Inbox<Command>>> = (0..parallelism).map(|_| Arc::default()).collect();
        let counters: Vec<Arc<Counters>> = (0..parallelism)
            .map(|_| Arc::new(Counters::new(&plan)))
            .collect();
        // Credits by edge, sender, receiver.
        let credits: Vec<Vec<Vec<Arc<Credit>>>> = topology
            .edges
            .iter()
            .map(|_| {
                inboxes
                    .iter()
                    .map(|inbox| {
                        inboxes
                            .iter()
                            .map(|_| Arc::new(Credit::new(credit_bytes, inbox.waker())))
                            .collect()
                    })
                    .collect()
            })
            .collect();
        let wire = |from, to| Wire {
            wires: wires.clone(),
            from,
            to,
        };
        let subtasks = (0..parallelism)
            .map(|subtask| {
                let links = credits.iter().map(|edge| {
                    (0..parallelism)
                        .map(|to| {
                            let local: Arc<dyn Deliver> = inboxes[to as usize].clone();
                            Link {
                                to: if to == subtask {
                                    local
                                } else {
                                    Arc::new(wire(subtask, to))
                                },
                                credit: edge[subtask as usize][to as usize].clone(),
                            }
                        })
                        .collect()
                });
                let returns = credits.iter().map(|edge| {
                    (0..parallelism)
                        .map(|from| {
                            let credit = edge[from as usize][subtask as usize].clone();
                            if from == subtask {
                                credit as Arc<dyn ReturnCredit>
                            } else {
                                Arc::new(ReturnWire {
                                    wire: wire(subtask, from),
                                    credit,
                                })
                            }
                        })
                        .collect()
                });
                let events = events.clone();
                let watermarks = (0..plan.nodes.len())
                    .map(|node| stored.watermarks.get(&node).copied().flatten())
                    .collect();
                Subtask::new(SubtaskParts {
                    plan: plan.clone(),
                    topology: topology.clone(),
                    subtask,
                    assignment: assignment.clone(),
                    nodes: build(subtask, &assignment, &stored),
                    watermarks,
                    inbox: inboxes[subtask as usize].clone(),
                    links: links.collect(),
                    credits: returns.collect(),
                    credit_bytes,
                    sink_buffer_bytes: SINK_BUFFER_BYTES,
                    freeze_slice: 3,
                    guarantee,
                    clock: clock.clone(),
                    counters: counters[subtask as usize].clone(),
                    report: Box::new(move |event| events.lock().unwrap().push((subtask, event))),
                })
                .unwrap()
            })
            .collect();
        for inbox in &inboxes {
            inbox.command(Command::Start);
        }
        Self {
            plan,
            subtasks,
            inboxes,
            wires,
            events,
            clock,
            counters,
            assignment,
            dice: Dice(seed),
            stored,
            carried: Vec::new(),
            frozen: BTreeMap::new(),
            committed: BTreeMap::new(),
            ended: 0,
            filling: 0,
            next_checkpoint: 1,
            held: None,
            target_down: false,
            uncommitted: Vec::new(),
        }
    }

    /// Triggers a checkpoint in all subtasks; returns its number.
    pub(super) fn trigger(&mut self, kind: CheckpointKind) -> u64 {
        let checkpoint = self.next_checkpoint;
        self.next_checkpoint += 1;
        for inbox in &self.inboxes {
            let full = (0..self.plan.nodes.len())
                .filter(|_| self.dice.one_in(3))
                .collect();
            inbox.command(Command::Trigger {
                barrier: Barrier { checkpoint, kind },
                full,
            });
        }
        checkpoint
    }

    pub(super) fn command(&self, command: &Command) {
        for inbox in &self.inboxes {
            inbox.command(command.clone());
        }
    }

    /// One random step: a subtask steps, a wire delivers, or time passes. Returns whether anything
    /// moved.
    pub(super) fn roll(&mut self) -> bool {
        let count = self.subtasks.len() as u64;
        let choice = usize::try_from(self.dice.below(2 * count + 1)).unwrap();
        let moved = if let Some(subtask) = self.subtasks.get_mut(choice) {
            match subtask.step().unwrap() {
                Step::Worked => true,
                Step::Waiting { .. } => false,
                Step::Stopped => panic!("nobody stops a subtask of the rig"),
            }
        } else if choice < 2 * self.subtasks.len() {
            self.deliver()
        } else {
            self.clock.advance(1 + self.dice.below(20));
            false
        };
        self.gather();
        moved
    }

    fn deliver(&mut self) -> bool {
        let mut wires = self.wires.0.lock().unwrap();
        let full: Vec<(u32, u32)> = wires
            .iter()
            .filter(|(pair, queue)| !queue.is_empty() && self.held != Some(**pair))
            .map(|(pair, _)| *pair)
            .collect();
        if full.is_empty() {
            return false;
        }
        let pair = full[usize::try_from(self.dice.below(full.len() as u64)).unwrap()];
        let parcel = wires.get_mut(&pair).and_then(VecDeque::pop_front);
        drop(wires);
        match parcel {
            Some(Parcel::Message(envelope)) => {
                self.inboxes[pair.1 as usize].deliver(envelope).unwrap();
            }
            Some(Parcel::Credit(credit, bytes)) => credit.give(bytes),
            None => {}
        }
        true
    }

    fn gather(&mut self) {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        for (subtask, event) in events {
            match event {
                Event::Frozen(snapshot) => {
                    assert_eq!(
                        snapshot.nodes.len(),
                        self.plan.nodes.len(),
                        "every node is in the snapshot once"
                    );
                    self.frozen
                        .entry(snapshot.barrier.checkpoint)
                        .or_default()
                        .push((subtask, snapshot));
                }
                Event::Ended => self.ended += 1,
                Event::SinkFilling => self.filling += 1,
                Event::FirstRecord { .. } | Event::Exited(_) => {}
            }
        }
    }

    /// Whether every subtask froze a checkpoint.
    pub(super) fn is_frozen(&self, checkpoint: u64) -> bool {
        self.frozen
            .get(&checkpoint)
            .is_some_and(|snapshots| snapshots.len() == self.subtasks.len())
    }

    /// Rows of a node when it passed the barrier of a frozen checkpoint, over all subtasks.
    pub(super) fn rows_at(&self, checkpoint: u64, node: NodeId) -> u64 {
        let snapshots = self.frozen[&checkpoint].iter();
        snapshots
            .flat_map(|(_, snapshot)| &snapshot.nodes)
            .filter(|snapshot| snapshot.node == node)
            .map(|snapshot| snapshot.rows)
            .sum()
    }

    /// Gives a frozen checkpoint up: its content goes into the next one.
    pub(super) fn abort(&mut self, checkpoint: u64) {
        self.carried
            .extend(self.frozen.remove(&checkpoint).unwrap());
    }

    /// Completes a frozen checkpoint: stores its state, commits its output. Returns whether the
    /// input had ended.
    pub(super) fn complete(&mut self, checkpoint: u64) -> bool {
        let mut snapshots = std::mem::take(&mut self.carried);
        let fresh = self.frozen.remove(&checkpoint).unwrap();
        let ended = fresh.iter().all(|(_, snapshot)| snapshot.ended);
        self.stored.watermarks.clear();
        for node in fresh.iter().flat_map(|(_, snapshot)| &snapshot.nodes) {
            let known = self
                .stored
                .watermarks
                .entry(node.node)
                .or_insert(node.watermark);
            *known = (*known).min(node.watermark);
        }
        snapshots.extend(fresh);
        for (subtask, snapshot) in snapshots {
            for node in snapshot.nodes {
                if let Some(committable) = node.committable {
                    let bytes = committable.staged_bytes();
                    self.uncommitted.push((subtask, node.node, bytes));
                    let rows: Vec<Row> = serde_json::from_value(committable.meta).unwrap();
                    self.committed.entry(node.node).or_default().extend(rows);
                }
                for state in node.states {
                    let stored = self
                        .stored
                        .entries
                        .entry((node.node, state.descriptor.name.clone()))
                        .or_default();
                    if state.kind == RunKind::Base {
                        stored.retain(|(group, _), _| {
                            self.assignment.owner[usize::from(*group)] != subtask
                        });
                    }
                    for entry in state.into_entries() {
                        assert_eq!(self.assignment.owner[usize::from(entry.key_group)], subtask);
                        match entry.value {
                            Some(value) => {
                                stored.insert((entry.key_group, entry.key.into()), value.into())
                            }
                            None => stored.remove(&(entry.key_group, entry.key.into())),
                        };
                    }
                }
            }
        }
        if !self.target_down {
            self.commit();
        }
        ended
    }

    /// The target takes what was prepared.
    pub(super) fn commit(&mut self) {
        for (subtask, node, bytes) in self.uncommitted.drain(..) {
            self.counters[subtask as usize].committed(node, bytes);
        }
    }
}
