//! The nodes of a plan between sources and sinks.
//!
//! In reading order:
//! * [`build`]: the operator of a node; `context`: what it is built with.
//! * `event_time`: the time column of a batch.
//! * `output`: columns to batches of the node's schema; `group_index`: groups to dense numbers.
//! * `calc`, `watermarks`, `union`: without state.
//! * `slices`: windows and their slices.
//! * `late_filter`: drops late rows.
//! * `local_windows`: partial aggregates before the shuffle; `windows`: windows after it.
//! * `group_aggregate`: unbounded `GROUP BY`.
//! * `state_descriptors`: the states of operators, as the compatibility check knows them.

mod build;
mod calc;
mod context;
mod event_time;
mod group_aggregate;
mod group_index;
mod late_filter;
mod local_windows;
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
pub(crate) use self::late_filter::{LateFilter, late_filter};
