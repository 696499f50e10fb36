//! Why a savepoint is refused.

use super::folder::METADATA;
use crate::StorageError;

/// Why a savepoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavepointError {
    /// The store failed, which says nothing about the savepoint.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is none, or it was never finished.
    #[error("{at} holds no savepoint, or half of one: it has no {METADATA}")]
    NotFound {
        /// The folder.
        at: String,
    },
    /// An object is not there.
    #[error("{at} is missing")]
    Missing {
        /// The object.
        at: String,
    },
    /// An object is not what was written.
    #[error("{at} is damaged: {detail}")]
    Damaged {
        /// The object.
        at: String,
        /// What is wrong, with its place.
        detail: String,
    },
}
