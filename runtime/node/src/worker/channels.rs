//! Both ends of all channels that touch a worker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use streamkeeper_connectors::batch::arrow_schema;
use streamkeeper_engine::{
    exchange::{CREDIT_BYTES, Credit, Deliver, Inbox, Link, ReturnCredit, frame::FrameEncoder},
    task::Command,
};

use super::layout::Layout;
use crate::data_plane::{PeerFrames, Queues, RemoteLink, RemoteReturn, Routes};

/// Inboxes, credits and the ways to other workers.
pub(super) struct Channels {
    first: u32,
    slots: u32,
    parallelism: u32,
    inboxes: Vec<Arc<Inbox<Command>>>,
    /// By edge, local sender, receiving subtask.
    credits: Vec<Vec<Vec<Arc<Credit>>>>,
    peers: BTreeMap<u32, PeerFrames>,
}

impl Channels {
    pub(super) fn new(layout: &Layout) -> (Self, Queues) {
        let inboxes: Vec<Arc<Inbox<Command>>> =
            layout.mine.iter().map(|_| Arc::default()).collect();
        let to_all = |inbox: &Arc<Inbox<Command>>| {
            (0..layout.parallelism)
                .map(|_| Arc::new(Credit::new(CREDIT_BYTES, inbox.waker())))
                .collect()
        };
        let credits = layout
            .topology
            .edges
            .iter()
            .map(|_| inboxes.iter().map(to_all).collect())
            .collect();
        let mut queues = Queues::default();
        let others = (0..layout.workers).filter(|worker| *worker != layout.worker);
        let peers = others.map(|worker| (worker, queues.open(worker))).collect();
        let first = layout.worker * layout.slots;
        (
            Self {
                first,
                slots: layout.slots,
                parallelism: layout.parallelism,
                inboxes,
                credits,
                peers,
            },
            queues,
        )
    }

    /// Where frames from other workers go.
    pub(super) fn routes(&self, layout: &Layout) -> Routes {
        let schema = |from: usize| {
            layout.plan.nodes.get(from).map_or_else(
                || Arc::new(arrow_schema::Schema::empty()),
                |node| arrow_schema(&node.schema),
            )
        };
        Routes {
            first: self.first,
            inboxes: self.inboxes.clone(),
            credits: self.credits.clone(),
            schemas: layout
                .topology
                .edges
                .iter()
                .map(|edge| schema(edge.from))
                .collect(),
            slots: self.slots,
        }
    }

    /// Inbox of a local subtask, by its position here.
    pub(super) fn inbox(&self, local: usize) -> Arc<Inbox<Command>> {
        self.inboxes[local].clone()
    }

    fn local(&self, subtask: u32) -> Option<usize> {
        subtask
            .checked_sub(self.first)
            .map(|local| local as usize)
            .filter(|local| *local < self.inboxes.len())
    }

    /// Sending ends of a local subtask: by edge, by receiving subtask.
    pub(super) fn links(&self, local: usize) -> Vec<Vec<Link>> {
        let encoders: BTreeMap<u32, Arc<Mutex<FrameEncoder>>> = self
            .peers
            .keys()
            .map(|worker| (*worker, Arc::default()))
            .collect();
        let link =
            |credit: &Arc<Credit>, to: u32| {
                let worker = to / self.slots;
                let deliver: Option<Arc<dyn Deliver>> =
                    match self.local(to) {
                        Some(receiver) => Some(self.inboxes[receiver].clone()),
                        None => self.peers.get(&worker).zip(encoders.get(&worker)).map(
                            |(peer, encoder)| {
                                Arc::new(RemoteLink::new(peer.clone(), to, encoder.clone())) as _
                            },
                        ),
                    };
                deliver.map(|deliver| Link {
                    to: deliver,
                    credit: credit.clone(),
                })
            };
        self.credits
            .iter()
            .map(|edge| {
                edge[local]
                    .iter()
                    .zip(0..)
                    .filter_map(|(credit, to)| link(credit, to))
                    .collect()
            })
            .collect()
    }

    /// Ways back for the credit that a local subtask consumed: by edge, by sending subtask.
    pub(super) fn returns(&self, local: usize) -> Vec<Vec<Arc<dyn ReturnCredit>>> {
        let to = self.first + u32::try_from(local).unwrap_or(0);
        let back = |number: usize,
                    edge: &Vec<Vec<Arc<Credit>>>,
                    from: u32|
         -> Option<Arc<dyn ReturnCredit>> {
            match self.local(from) {
                Some(sender) => Some(edge[sender][to as usize].clone()),
                None => self
                    .peers
                    .get(&(from / self.slots))
                    .map(|peer| Arc::new(RemoteReturn::new(peer.clone(), number, from, to)) as _),
            }
        };
        self.credits
            .iter()
            .enumerate()
            .map(|(number, edge)| {
                (0..self.parallelism)
                    .filter_map(|from| back(number, edge, from))
                    .collect()
            })
            .collect()
    }
}
