//! Whether a plan can continue from a checkpoint.
//!
//! * [`catalog`]: the states that a plan keeps, and their shapes.
//! * [`check`]: compares them with the states of a manifest.
//! * [`summary`]: whether the plan may start, as a message.

mod catalog;
mod check;

pub use catalog::*;
pub use check::*;
use serde::{Deserialize, Serialize};

use crate::manifest::StateDescriptor;

/// What happens to one state when a plan continues from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateVerdict {
    /// Identity of the operator.
    pub state_uid: String,
    /// Label for messages.
    pub label: String,
    /// Name of the state within the operator.
    pub state: String,
    /// The verdict.
    pub fit: Fit,
}

/// Ways in which a state fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Fit {
    /// Same shape.
    Exact,
    /// Fits after these steps, done while restoring.
    Evolve {
        /// Descriptions, like `add SUM(BIGINT), starting from no rows`.
        steps: Vec<String>,
    },
    /// Not in the checkpoint: starts empty.
    New,
    /// In the checkpoint only: needs permission.
    Dropped,
    /// Does not fit.
    Incompatible {
        /// Why, and what to do.
        why: String,
    },
}

/// A state that a plan will keep, as its catalog lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// Identity of the operator.
    pub state_uid: String,
    /// Label for people.
    pub label: String,
    /// Shape.
    pub descriptor: StateDescriptor,
}
