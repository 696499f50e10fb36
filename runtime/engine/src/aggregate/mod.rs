//! Accumulators of aggregate calls, column-wise over dense group numbers.
//!
//! * [`value_repr`]: the few forms in which values are kept, whatever their type.
//! * [`accumulator`]: the contract of one call's accumulators.
//! * `count`, `sum` (with `wide_sum`), `extreme`, `distinct`: the kinds.
//! * `values`: the values that the last two keep, and which of them changed.
//! * `apart`: how such a value is stored, as an entry of its own.
//! * [`set`]: all calls of an operator together, with their encoding in state.

pub mod accumulator;
mod apart;
mod count;
mod distinct;
mod extreme;
pub mod set;
mod sum;
pub mod value_repr;
mod values;
mod wide_sum;

pub use accumulator::{Accumulator, Input, Rows};
pub use apart::is_apart;
pub use set::Accumulators;
