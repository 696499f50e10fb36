//! One attempt of the job, as HEAD numbers them.

use streamkeeper_protocol::{head::Head, key_group::Assignment};

use crate::attempt_failure::AttemptFailure;

/// One attempt of the job: the graph that was deployed under its number.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    /// Workers it runs on.
    pub(crate) workers: u32,
    /// Whether a `Deploy` was sent: another attempt must be claimed before the next.
    pub(crate) used: bool,
    /// Whether the loss of a worker is the end of it.
    pub(crate) live: bool,
    pub(crate) started_ms: i64,
    pub(crate) restored_from: Option<u64>,
    pub(crate) checkpoints: u64,
    pub(crate) lineage: Option<Lineage>,
    /// Checkpoint whose output all workers committed.
    pub(crate) committed: Option<u64>,
    /// What went wrong in it, until the leader acts on it.
    pub(crate) broken: Option<AttemptFailure>,
}

impl Attempt {
    /// Returns the attempt that HEAD names. Nothing is deployed yet.
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            number: head.attempt,
            workers: head.workers,
            ..Self::default()
        }
    }

    /// Whether the graph of the attempt runs on this worker.
    pub(crate) fn runs_on(&self, worker: u32) -> bool {
        self.live && worker < self.workers
    }
}

/// What every checkpoint of an attempt has in common.
#[derive(Debug, Clone)]
pub(crate) struct Lineage {
    pub(crate) job_uid: String,
    /// Of HEAD: names and markers of sinks.
    pub(crate) of_head: String,
    pub(crate) revision: u64,
    pub(crate) attempt: u64,
    pub(crate) plan_hash: String,
    pub(crate) assignment: Assignment,
    /// Records read and written before this attempt, over the job's life.
    pub(crate) records_before: (u64, u64),
    /// When a record last flowed before this attempt.
    pub(crate) last_record_before_ms: Option<i64>,
}
