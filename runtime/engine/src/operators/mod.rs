//! The nodes of a plan between sources and sinks.
//!
//! In reading order:
//! * [`build`]: the operator of a node; `context`: what it is built with.
//! * `event_time`: the time column of a batch.
//! * `output`: columns to batches of the node's schema.
//! * `calc`, `watermarks`, `union`: without state.
//! * `slices`: the arithmetic of windows and slices.
//! * `lateness`: which rows come too late.
//! * `local`: partial aggregates before the shuffle; `windows`: windows after it.
//! * `groups`: unbounded `GROUP BY`.
//! * `state_descriptors`: the states of operators, as the compatibility check knows them.

mod build;
mod calc;
mod context;
mod event_time;
mod groups;
mod index;
mod lateness;
mod local;
mod output;
mod slices;
mod state_descriptors;
mod union;
mod watermarks;
mod windows;

#[cfg(test)]
mod tests;

pub use self::build::build;
use self::context::{OperatorContext, input_of};
pub(crate) use self::lateness::{LateFilter, late_filter};
