//! Scalar expressions over the columns of a batch, with Flink's semantics.
//!
//! [`CompiledExpr::new`] turns the plan's [`Expr`] into a tree of kernels once;
//! [`CompiledExpr::evaluate`] runs it over a batch, column at a time. Constants stay scalars as
//! long as the kernels allow. In reading order:
//! * `value`: a column or a scalar, and loops over them; `int64`: whole numbers and times as 64-bit
//!   integers.
//! * `node`: the compiled tree; what is evaluated on which rows.
//! * `compile`, `call_context`, `literal`: from the plan's expression to the tree, with constant
//!   folding.
//! * A module per family of functions: `arithmetic`, `interval`, `compare`, `math`, `text`,
//!   `temporal`, `cast`.
//! * What those stand on: `decimal`, `like`, `datetime_text` (dates and times as texts), `pattern`
//!   (Java's date patterns), `zone`.

mod arithmetic;
mod call_context;
mod cast;
mod compare;
mod compile;
mod compiled;
mod datetime_text;
mod decimal;
mod error;
mod int64;
mod interval;
mod like;
mod literal;
mod math;
mod node;
pub(crate) mod parse_failure;
mod pattern;
mod temporal;
mod text;
mod value;
mod zone;

#[cfg(test)]
mod tests;

pub use self::{compiled::CompiledExpr, error::ExprError, zone::Zone};

/// Conversions that accumulators share with expressions.
pub(crate) mod conversion {
    pub(crate) use super::{
        compare::differ,
        decimal::{Operand, Target, divide, fit_i128},
        int64::{array_as_i64, from_i64},
    };
}
