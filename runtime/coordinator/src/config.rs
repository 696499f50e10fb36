//! What a coordinator is told when its process starts.

use std::{fmt, sync::Arc, time::Duration};

use streamkeeper_connectors::source::Stores;
use streamkeeper_protocol::{manifest::Guarantee, paths::StatePaths};
use streamkeeper_storage::ObjectStore;

use crate::compiled_job::JobText;
use streamkeeper_control::transport::Transport;

/// Which job this process belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobIdentity {
    /// Namespace of the StreamJob.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Revision of the process.
    pub revision: u64,
    /// Uid of the pod that the process runs in; empty outside of Kubernetes.
    pub pod: String,
}

/// When checkpoints are taken and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// From the start of one to the start of the next; none takes only those that operations and
    /// full sinks ask for.
    pub interval: Option<Duration>,
    /// A checkpoint that takes longer is given up.
    pub timeout: Duration,
    /// Complete checkpoints kept, the restore point among them.
    pub retain: usize,
    /// What they promise.
    pub guarantee: Guarantee,
}

/// How long to wait before the next restart, after repeated failures at the same checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Wait before the second restart (the first is at once); doubles from there.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl BackOff {
    /// The wait before a restart after this many failures at the same checkpoint.
    pub fn after(&self, failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            many => self
                .initial
                .saturating_mul(1 << (many - 2).min(20))
                .min(self.max),
        }
    }

    /// Whether failures before a checkpoint are over: it holds records that were read since the one
    /// before, or its attempt `ran` for longer than any wait.
    pub fn settled(&self, read_on: bool, ran: Duration) -> bool {
        read_on || ran > self.max
    }
}

/// What brings a job to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartMode {
    /// Stands by until HEAD or a promotion gives the job to this process.
    Standby,
    /// Promotes itself: from HEAD when there is one, else from nothing. For a process without
    /// an operator.
    Auto,
}

/// Whose registration a standby waits for before it says that it could take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandbyScope {
    /// All workers it would run on.
    Full,
    /// Its own pod's: image, query and state are proven, and the rest of the pods come with the
    /// promotion.
    First,
}

/// Everything a coordinator is told.
#[derive(Clone)]
pub struct CoordinatorConfig {
    /// The job.
    pub job: JobIdentity,
    /// Holds the job's state.
    pub store: Arc<dyn ObjectStore>,
    /// Where in it.
    pub paths: StatePaths,
    /// Opens the stores of tables, for commits that are replayed.
    pub stores: Arc<dyn Stores>,
    /// How it talks to other pods.
    pub transport: Transport,
    /// Whether all pods of the job are processes of this host, which find each other on its
    /// loopback.
    pub on_loopback: bool,
    /// What to run.
    pub text: JobText,
    /// Workers of this revision.
    pub workers: u32,
    /// Subtasks per worker.
    pub slots: u32,
    /// Key groups.
    pub max_parallelism: u16,
    /// Checkpoints.
    pub checkpoints: CheckpointPolicy,
    /// Restarts.
    pub back_off: BackOff,
    /// Whether states that the plan does not have any more may be dropped.
    pub may_drop_state: bool,
    /// A worker silent for longer is lost.
    pub worker_silence: Duration,
    /// A deployment that takes longer has failed.
    pub deploy_timeout: Duration,
    /// Sinks whose commit does not get on for longer abort the operation that waits for them.
    pub commit_timeout: Duration,
    /// A rescale waits this long for workers to register.
    pub rescale_timeout: Duration,
    /// What brings the job to life.
    pub start: StartMode,
    /// Whom a preflight waits for.
    pub standby: StandbyScope,
}

impl fmt::Debug for CoordinatorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorConfig")
            .field("job", &self.job)
            .field("root", &self.paths.root())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_the_wait_doubles_to_its_limit() {
        let back_off = BackOff {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(5),
        };
        let waits: Vec<u64> = (0..7)
            .map(|failures| back_off.after(failures).as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 1, 2, 4, 5, 5]);
        assert_eq!(back_off.after(u32::MAX), back_off.max);
    }

    #[test]
    fn an_empty_checkpoint_ends_no_series_of_failures_before_the_attempt_ran_for_long() {
        let back_off = BackOff {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(5),
        };
        let settled = |read_on, seconds| back_off.settled(read_on, Duration::from_secs(seconds));
        assert!(settled(true, 0) && settled(false, 6));
        assert!(!settled(false, 0) && !settled(false, 5));
    }
}
