//! Accumulators of aggregate calls, column-wise over dense group numbers.
//!
//! * [`domain`]: the few forms in which values are kept, whatever their type.
//! * [`accumulator`]: the contract of one call's accumulators.
//! * `count`, `sum` (with `wide_sum`), `extreme`, `distinct`: the kinds.
//! * [`set`]: all calls of an operator together, with their encoding in state.

pub mod accumulator;
mod count;
mod distinct;
pub mod domain;
mod extreme;
pub mod set;
mod sum;
mod wide_sum;

pub use accumulator::{Accumulator, Input, Rows};
pub use set::Accumulators;
