//! Work on the folder of a snapshot, and what became of it.

use crate::observed::facts::DAMAGED;

/// Work on the folder of a snapshot that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Read what it is.
    Inspect,
    /// Read all of it and compare checksums.
    Verify,
    /// Remove it.
    Remove,
}

/// What became of the work on a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WorkState {
    /// Nothing was asked for, or the operator was restarted since.
    #[default]
    None,
    /// It is under way.
    Running {
        /// What.
        work: Work,
        /// Bytes, or objects, done so far.
        done: u64,
        /// Of so many; 0 when that is not known yet.
        total: u64,
    },
    /// It is done.
    Done {
        /// What.
        work: Work,
        /// How it went.
        result: Result<Option<Content>, Trouble>,
    },
}

/// What a snapshot is, as its own folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Checkpoint it holds.
    pub checkpoint: u64,
    /// When that was complete, milliseconds since the epoch.
    pub completed_ms: i64,
    /// Bytes that a restore reads.
    pub total_bytes: u64,
    /// Revision that took it.
    pub revision: u64,
    /// Uid of the StreamJob that it was taken of.
    pub job_uid: String,
}

/// Why work on a folder failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// What was tried, on what.
    pub message: String,
}

/// Kinds of trouble with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// There is no snapshot in it.
    Missing,
    /// Something in it is not as it was written.
    Damaged,
    /// It belongs to another job.
    NotOurs,
    /// It names more than the operator can hold; whether it is whole is not known.
    TooLarge,
    /// The storage refuses.
    Denied,
    /// The storage does not answer.
    Down,
}

impl TroubleKind {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "SnapshotNotFound",
            Self::Damaged => DAMAGED,
            Self::NotOurs | Self::TooLarge | Self::Denied => "StorageAccessDenied",
            Self::Down => "StorageUnreachable",
        }
    }
}
