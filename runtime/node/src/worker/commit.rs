//! Sink output, from the barrier until it is committed.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use streamkeeper_connectors::{
    open_committer,
    sink::{Committable, Committer, SinkContext},
};
use streamkeeper_engine::task::Counters;
use streamkeeper_protocol::{
    manifest::{CommittableRef, ObjectRange},
    plan::NodeId,
};
use streamkeeper_storage::{BytesSent, WriteProgress};

use super::failure::Failure;
use streamkeeper_control::failpoint;

/// Commits under way at once, within one checkpoint.
const PARALLEL: usize = 8;

/// Names a pending committable within its attempt.
pub(super) type PendingId = u64;

/// Output that was prepared.
#[derive(Debug, Clone)]
struct Pending {
    id: PendingId,
    checkpoint: u64,
    node: NodeId,
    reference: CommittableRef,
    /// Staged rows; kept until they are committed, which spares reading them back.
    staged: Option<Bytes>,
    /// How far its commit is, over all tries.
    meter: WriteProgress,
}

/// Prepared output of all sinks of one worker, and the way to commit it.
#[derive(Debug)]
pub(super) struct Commits {
    /// By sink node.
    sinks: BTreeMap<NodeId, SinkContext>,
    /// By subtask: hear of what is in memory no longer.
    counters: BTreeMap<u32, Arc<Counters>>,
    pending: Vec<Pending>,
    next_id: PendingId,
    moved: BytesSent,
    /// The checkpoint that is being committed.
    under_way: Option<u64>,
    /// Asked for meanwhile.
    asked: Option<u64>,
}

/// Work that commits some checkpoints; it holds no borrow of the worker loop.
#[derive(Debug)]
pub(super) struct CommitJob {
    pub(super) checkpoint: u64,
    sinks: BTreeMap<NodeId, SinkContext>,
    pending: Vec<Pending>,
}

impl Commits {
    pub(super) fn new(
        sinks: BTreeMap<NodeId, SinkContext>,
        counters: BTreeMap<u32, Arc<Counters>>,
    ) -> Self {
        Self {
            sinks,
            counters,
            pending: Vec::new(),
            next_id: 0,
            moved: BytesSent::default(),
            under_way: None,
            asked: None,
        }
    }

    /// Bytes on their way to stores, for the parts that report them or add to them.
    pub(super) fn moved(&self) -> BytesSent {
        self.moved.clone()
    }

    /// Takes what a sink of `subtask` prepared; answers the rows that must be stored, with their
    /// name.
    pub(super) fn prepared(
        &mut self,
        checkpoint: u64,
        node: NodeId,
        subtask: u32,
        committable: Committable,
    ) {
        let Some(sink) = self.sinks.get(&node) else {
            return;
        };
        let reference = CommittableRef {
            sink_uid: sink.sink_uid.clone(),
            table: sink.table.name.clone(),
            subtask,
            meta: committable.meta,
            staged: None,
        };
        self.pending.push(Pending {
            id: self.next_id,
            checkpoint,
            node,
            reference,
            staged: committable.staged,
            meter: self.moved.object(),
        });
        self.next_id += 1;
    }

    /// Rows that are in no object yet.
    pub(super) fn unstored(&self) -> Vec<(PendingId, Bytes)> {
        let unstored = self
            .pending
            .iter()
            .filter(|pending| pending.reference.staged.is_none());
        unstored
            .filter_map(|pending| pending.staged.clone().map(|rows| (pending.id, rows)))
            .collect()
    }

    /// Where rows are stored.
    pub(super) fn stored(&mut self, ranges: Vec<(PendingId, ObjectRange)>) {
        for (id, range) in ranges {
            if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
                pending.reference.staged = Some(range);
            }
        }
    }

    /// All output up to a checkpoint that is not known to be committed, oldest first.
    pub(super) fn references(&self, checkpoint: u64) -> Vec<CommittableRef> {
        self.pending
            .iter()
            .filter(|pending| pending.checkpoint <= checkpoint)
            .map(|pending| pending.reference.clone())
            .collect()
    }

    /// Begins to commit everything up to `checkpoint`; none while another commit is under way,
    /// which is then followed by this one.
    pub(super) fn begin(&mut self, checkpoint: u64) -> Option<CommitJob> {
        if self.under_way.is_some() {
            self.asked = self.asked.max(Some(checkpoint));
            return None;
        }
        self.under_way = Some(checkpoint);
        let pending = self
            .pending
            .iter()
            .filter(|pending| pending.checkpoint <= checkpoint)
            .cloned()
            .collect();
        Some(CommitJob {
            checkpoint,
            sinks: self.sinks.clone(),
            pending,
        })
    }

    /// Notes what was committed, so that a commit that failed is not begun from the start; answers
    /// the next one.
    pub(super) fn finish(&mut self, committed: &[PendingId]) -> Option<CommitJob> {
        self.under_way = None;
        let counters = &self.counters;
        self.pending.retain(|pending| {
            let kept = !committed.contains(&pending.id);
            if let (false, Some(counters)) = (kept, counters.get(&pending.reference.subtask)) {
                let bytes = pending.staged.as_ref().map_or(0, Bytes::len);
                counters.committed(pending.node, bytes);
            }
            kept
        });
        self.asked
            .take()
            .and_then(|checkpoint| self.begin(checkpoint))
    }
}

/// What a commit came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) committed: Vec<PendingId>,
    /// Why not everything is.
    pub(super) failure: Option<Failure>,
}

impl CommitJob {
    /// Commits, one checkpoint after the other; the first that is not committed as a whole is the
    /// last.
    pub(super) async fn run(self) -> Outcome {
        failpoint::pass(failpoint::COMMIT_ASKED);
        let mut outcome = Outcome {
            committed: Vec::with_capacity(self.pending.len()),
            failure: None,
        };
        let mut committers: BTreeMap<NodeId, Arc<dyn Committer>> = BTreeMap::new();
        for pending in &self.pending {
            if !committers.contains_key(&pending.node)
                && let Some(sink) = self.sinks.get(&pending.node)
            {
                match open_committer(sink.clone()) {
                    Ok(committer) => drop(committers.insert(pending.node, committer)),
                    Err(error) => {
                        outcome.failure = Some(error.into());
                        return outcome;
                    }
                }
            }
        }
        let mut by_checkpoint: BTreeMap<u64, Vec<Pending>> = BTreeMap::new();
        for pending in self.pending {
            by_checkpoint
                .entry(pending.checkpoint)
                .or_default()
                .push(pending);
        }
        for batch in by_checkpoint.into_values() {
            let mut commits: Vec<BoxFuture<'static, Result<PendingId, Failure>>> =
                Vec::with_capacity(batch.len());
            for pending in batch {
                let Some(committer) = committers.get(&pending.node).cloned() else {
                    continue;
                };
                let commit = async move {
                    let size = pending.staged.as_ref().map_or(0, |rows| rows.len() as u64);
                    let commit = committer.commit(&pending.reference.meta, pending.staged);
                    let result = pending.meter.count(commit).await;
                    if result.is_ok() {
                        pending.meter.reached(size);
                    }
                    failpoint::pass(failpoint::COMMIT_HALF);
                    result.map(|()| pending.id).map_err(|error| {
                        let Failure { kind, message } = error.into();
                        Failure {
                            kind,
                            message: format!(
                                "committing output of '{}': {message}",
                                pending.reference.table
                            ),
                        }
                    })
                };
                commits.push(commit.boxed());
            }
            let mut results = stream::iter(commits).buffer_unordered(PARALLEL);
            // The others go on when one fails: the next round has less to do.
            while let Some(result) = results.next().await {
                match result {
                    Ok(id) => outcome.committed.push(id),
                    Err(failure) => drop(outcome.failure.get_or_insert(failure)),
                }
            }
            if outcome.failure.is_some() {
                return outcome;
            }
        }
        failpoint::pass(failpoint::COMMIT_DONE);
        outcome
    }
}
