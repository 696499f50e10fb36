//! The running subtasks of one worker in one attempt.

use std::{collections::BTreeSet, io, sync::Arc};

use streamkeeper_engine::task::{Command, Counters, Subtask, SubtaskThread};
use streamkeeper_protocol::plan::StreamPlan;
use streamkeeper_storage::BytesSent;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{checkpoint::Checkpoints, commit::Commits};
use crate::data_plane::Mesh;

/// Everything of an attempt that is ready to run.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) attempt: u64,
    pub(super) plan: Arc<StreamPlan>,
    /// Subtasks of this worker, with their numbers.
    pub(super) subtasks: Vec<(u32, Subtask)>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) checkpoints: Checkpoints,
    pub(super) commits: Commits,
    pub(super) mesh: Mesh,
    /// Entries that were restored.
    pub(super) entries: u64,
}

/// Subtasks at work. Dropped, they stop, but no caller waits for them: see [`Graph::stop`].
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) attempt: u64,
    pub(super) plan: Arc<StreamPlan>,
    threads: Vec<(u32, SubtaskThread)>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) checkpoints: Checkpoints,
    pub(super) commits: Commits,
    mesh: Mesh,
    /// What its shares and its output come to on their way to stores.
    pub(super) moved: BytesSent,
    /// Whether the coordinator heard of a first record.
    pub(super) flowed: bool,
    /// Subtasks that have read all input.
    pub(super) ended: BTreeSet<u32>,
    /// Whether the coordinator heard of a failure.
    pub(super) failed: bool,
    /// Ends what is sent again and again for this graph.
    pub(super) gone: CancellationToken,
    _gone: DropGuard,
}

impl Graph {
    /// Gives every subtask its thread. They wait for [`Command::Start`].
    pub(super) fn launch(built: Built) -> io::Result<Self> {
        let Built {
            attempt,
            plan,
            subtasks,
            counters,
            checkpoints,
            commits,
            mesh,
            ..
        } = built;
        let threads = subtasks
            .into_iter()
            .map(|(number, subtask)| {
                SubtaskThread::spawn(format!("subtask-{number}"), subtask)
                    .map(|thread| (number, thread))
            })
            .collect::<io::Result<_>>()?;
        let gone = CancellationToken::new();
        let moved = commits.moved();
        Ok(Self {
            moved,
            attempt,
            plan,
            threads,
            counters,
            checkpoints,
            commits,
            mesh,
            flowed: false,
            ended: BTreeSet::new(),
            failed: false,
            _gone: gone.clone().drop_guard(),
            gone,
        })
    }

    /// Subtasks here.
    pub(super) fn len(&self) -> usize {
        self.threads.len()
    }

    /// Tells every subtask something of its own.
    pub(super) fn command(&self, command: impl Fn(u32) -> Command) {
        for (number, thread) in &self.threads {
            thread.command(command(*number));
        }
    }

    /// Lets every subtask look again whether it may go on.
    pub(super) fn wake(&self) {
        for (_, thread) in &self.threads {
            thread.wake();
        }
    }

    /// When a source last handed out a record, milliseconds since the epoch.
    pub(super) fn last_record_ms(&self) -> Option<i64> {
        self.counters
            .iter()
            .filter_map(|counters| counters.last_record_ms())
            .max()
    }

    /// Stops all subtasks and waits until they have: at most a batch of work each.
    pub(super) async fn stop(self) -> Option<i64> {
        self.command(|_| Command::Stop);
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for (_, thread) in threads {
                thread.stop();
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "stopping subtasks");
        }
        // Connections close only now, so that no peer takes their end for a failure while this side
        // still worked.
        drop(self.mesh);
        self.counters
            .iter()
            .filter_map(|counters| counters.last_record_ms())
            .max()
    }
}
