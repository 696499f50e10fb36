//! Keyed state, sets of changed keys, delta runs, snapshots.
//!
//! In reading order:
//! * [`frozen_state`]: state that an operator hands over at a barrier, and receives at a restore.
//! * [`key`]: Arrow columns to bytes that sort as the values do, and back.
//! * [`state_table`]: a state in memory that tracks its changes; its slots in `paged_vec`, found by
//!   `slot_index`.
//! * [`sorted_run`]: sorted runs of entries in checksummed blocks.
//! * [`data_object`]: all runs and staged rows of a worker in one object.
//! * [`run_history`]: which runs are live, and which subtasks must write a new base.
//! * [`restore`], [`object_cache`]: restores entries from runs; caches what it read.
//!
//! It may depend on `streamkeeper-protocol` and `streamkeeper-storage`, never on operators or
//! connectors.
#![deny(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

pub mod data_object;
pub mod frozen_state;
pub mod key;
pub mod object_cache;
mod paged_vec;
pub mod restore;
pub mod run_history;
mod slot_index;
pub mod sorted_run;
pub mod state_table;

pub use data_object::ObjectWriter;
pub use frozen_state::*;
pub use key::{KeyBatch, KeyEncoder, KeyRef};
pub use object_cache::ObjectCache;
pub use paged_vec::PagedVec;
pub use restore::{GroupSet, load_state};
pub use run_history::{Continuation, RunHistory, StateReport};
pub use sorted_run::{EncodedRun, decode_block, encode_run};
pub use state_table::{Part, StateTable, StateValue};

/// Why state cannot be encoded, read or merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] streamkeeper_storage::StorageError),
    /// Stored bytes are not what was written there.
    #[error("{object} at byte {offset}: {detail}")]
    Corrupt {
        /// Key of the object.
        object: String,
        /// First byte of the range at fault.
        offset: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// Columns or keys are not of the declared types.
    #[error("key column {column}: {detail}")]
    Key {
        /// Position of the column.
        column: usize,
        /// What is wrong.
        detail: String,
    },
    /// Reports of a checkpoint do not fit together.
    #[error("state '{state}' of {state_uid}: {detail}")]
    Reports {
        /// Operator.
        state_uid: String,
        /// State.
        state: String,
        /// What does not fit.
        detail: String,
    },
    /// A value or a block cannot be encoded or decoded.
    #[error("{0}")]
    Encoding(String),
}
