//! Accumulators of aggregate calls, column-wise over dense group numbers.
//!
//! * [`value_repr`]: the few forms in which values of all types are kept.
//! * [`accumulator`]: the contract of one call's accumulators.
//! * `count`, `sum` (with `wide_sum`), `extreme`, `distinct`: the kinds.
//! * `value_counts`: the values that the last two keep, and which of them changed.
//! * `value_entry`: how such a value is stored, as an entry of its own.
//! * [`accumulators`]: all calls of an operator together, with their encoding in state.

pub mod accumulator;
pub mod accumulators;
mod count;
mod distinct;
mod extreme;
mod sum;
mod value_counts;
mod value_entry;
pub mod value_repr;
mod wide_sum;

pub use accumulator::{Accumulator, Input, Rows};
pub use accumulators::Accumulators;
pub use value_entry::is_value_entry;
