//! Reads and writes the record, and defines its errors.

use serde::Deserialize;
use streamkeeper_guard::guard;

use super::{
    HEAD_FORMAT, HEAD_LIMIT, Head, OperationKind, OperationRecord, OperationResult, RunState,
};

/// Why HEAD cannot be read, or why a change of it is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not the JSON of a HEAD.
    #[error("HEAD cannot be read: {detail}; restore the object's previous version")]
    Malformed {
        /// Message of the parser, with line and column.
        detail: String,
    },
    /// Written by a release whose records this one does not understand.
    #[error(
        "HEAD has format {format}, which needs a reader of format {min_reader}; this release reads \
         up to {HEAD_FORMAT}: use a newer release"
    )]
    TooNew {
        /// Format of the writer.
        format: u32,
        /// Oldest format that can read it.
        min_reader: u32,
    },
    /// The job is not running, so it cannot carry out the action.
    #[error("cannot {action}: HEAD says the job is {state}")]
    NotRunning {
        /// The requested action.
        action: &'static str,
        /// The state in HEAD.
        state: String,
    },
    /// Sink output of the restore point is not committed yet.
    #[error("cannot {action}: sink output of checkpoint {checkpoint} is not committed yet")]
    CommitPending {
        /// The requested action.
        action: &'static str,
        /// The restore point.
        checkpoint: u64,
    },
    /// There is no restore point.
    #[error("cannot {action}: the job has no complete checkpoint yet")]
    NothingToRestore {
        /// The requested action.
        action: &'static str,
    },
    /// A checkpoint number that was used already.
    #[error("checkpoint {checkpoint} is behind: the next number is {next}")]
    CheckpointBehind {
        /// The number offered.
        checkpoint: u64,
        /// The number HEAD is at.
        next: u64,
    },
    /// The restore point is another one.
    #[error("checkpoint {checkpoint} is not the restore point")]
    NotLast {
        /// The number offered.
        checkpoint: u64,
    },
    /// The successor is not greater than the owner.
    #[error("revision {to} cannot follow revision {revision}: a successor has a greater number")]
    NotASuccessor {
        /// The successor offered.
        to: u64,
        /// The owner.
        revision: u64,
    },
    /// The idempotency key stands for another call.
    #[error("idempotency key '{key}' was used for another call ({kind:?}): use a new key")]
    KeyReused {
        /// The key.
        key: String,
        /// The call it stands for.
        kind: OperationKind,
    },
    /// Nothing has that key or name.
    #[error("HEAD knows no {what} '{name}'")]
    Unknown {
        /// `operation` or `savepoint`.
        what: &'static str,
        /// Key or name.
        name: String,
    },
    /// Too many operations or savepoints are in progress.
    #[error("too many {what} in progress: wait for one to finish")]
    Busy {
        /// `operations` or `savepoints`.
        what: &'static str,
    },
    /// An argument that HEAD cannot hold.
    #[error("{what} is too long: {length} bytes, at most {limit}")]
    TooLong {
        /// Which argument.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The record would exceed [`HEAD_LIMIT`] even without everything that may be dropped.
    #[error("HEAD would have {bytes} bytes, at most {HEAD_LIMIT}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl HeadError {
    /// Error code in the response to the Job API call that requested the change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::TooNew { .. } => "StorageUnavailable",
            Self::NotRunning { .. } => "NotRunning",
            Self::CommitPending { .. } | Self::NothingToRestore { .. } | Self::Busy { .. } => {
                "Busy"
            }
            Self::KeyReused { .. } => "KeyReused",
            Self::NotASuccessor { .. } => "WrongRevision",
            Self::CheckpointBehind { .. }
            | Self::NotLast { .. }
            | Self::Unknown { .. }
            | Self::TooLong { .. }
            | Self::TooLarge { .. } => "BadRequest",
        }
    }
}

/// Fields that every format of HEAD keeps, so that a reader can tell whether it understands the
/// rest.
#[derive(Deserialize)]
struct Versions {
    v: u32,
    min_reader: u32,
}

impl Head {
    /// Reads a record; one that needs a newer reader is refused before its other fields are read.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let malformed = |error: serde_json::Error| HeadError::Malformed {
            detail: error.to_string(),
        };
        let versions: Versions = serde_json::from_slice(bytes).map_err(malformed)?;
        if !guard!("a record of tomorrow is not read": versions.min_reader <= HEAD_FORMAT) {
            return Err(HeadError::TooNew {
                format: versions.v,
                min_reader: versions.min_reader,
            });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        // A record of strings and numbers always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the process with this token owns the job in this attempt.
    pub fn is_owned_by(&self, attempt: u64, token: &str) -> bool {
        self.attempt == attempt && self.token == token
    }

    /// Whether the restore point has sink output that is not confirmed as committed. A new attempt
    /// must commit it again before any source starts.
    pub fn has_open_commits(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| last.needs_commit && !last.committed)
    }

    /// Whether all sink output of a complete checkpoint is known to be committed. That holds for
    /// every checkpoint before the restore point: the next one is published only then.
    pub fn is_committed(&self, checkpoint: u64) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.checkpoint > checkpoint
                || (last.checkpoint == checkpoint && (last.committed || !last.needs_commit))
        })
    }

    /// The call with this idempotency key, if HEAD still knows it.
    pub fn operation(&self, key: &str) -> Option<&OperationRecord> {
        self.operations
            .iter()
            .find(|operation| operation.key == key)
    }

    /// The stop that was begun with its savepoint and has no result. The next owner finishes it
    /// before any record moves.
    pub fn open_stop(&self) -> Option<&OperationRecord> {
        self.operations.iter().find(|operation| {
            operation.kind == OperationKind::Stop
                && operation.result == OperationResult::Running
                && self
                    .savepoints
                    .iter()
                    .any(|savepoint| savepoint.key == operation.key)
        })
    }

    /// Manifests that must stay readable: the restore point, the retained checkpoints, the last
    /// retired one, and those being copied.
    pub fn pinned_manifests(&self) -> Vec<&str> {
        let last = self.last.iter().map(|last| last.manifest.as_str());
        let retained = self.retained.iter().map(|kept| kept.manifest.as_str());
        let left = self
            .left
            .iter()
            .filter(|_| guard!("the newest state that was left behind stays": true, else false));
        let left = left.map(|left| left.manifest.as_str());
        let copied = self.savepoints.iter().filter(
            |savepoint| guard!("what is being copied stays": !savepoint.complete, else false),
        );
        let copied = copied.map(|savepoint| savepoint.manifest.as_str());
        let mut all: Vec<&str> = last.chain(retained).chain(left).chain(copied).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl RunState {
    /// Describes the state for messages.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Running => "running".to_owned(),
            Self::HandingOver { to } => format!("handed over to revision {to}"),
            Self::Stopped => "stopped".to_owned(),
            Self::Completed => "completed: all its input was read".to_owned(),
            Self::Released => "released: its StreamJob was deleted".to_owned(),
        }
    }
}
