//! Converts expressions of the SQL text to typed expressions of the plan.
//!
//! Every result satisfies what [`streamkeeper_protocol::expr`] promises the engine: operands of one
//! type, explicit casts, the type of every node stated. In reading order:
//! * `analyzer`: the analyzer over one scope; `dispatch`: analyzes an expression by its kind.
//! * `literal`, `interval`: constants.
//! * `arithmetic`, `comparison`, `conditional`: operators.
//! * `function`: functions by name, with their `arguments`; `number`, `string`, `temporal` (with
//!   `pattern`): their families.
//! * `aggregate`: aggregate functions; `aggregate_request`: one call of them.
//! * `build`: building, measuring and rewriting typed expressions; `text`: printing them.

mod aggregate;
mod aggregate_request;
mod analyzer;
mod arguments;
mod arithmetic;
mod build;
mod comparison;
mod conditional;
mod dispatch;
mod function;
mod interval;
mod literal;
mod number;
mod pattern;
mod string;
mod temporal;
mod text;

pub(crate) use aggregate_request::AggregateRequest;
pub(crate) use analyzer::{Aggregates, Analyzer};
pub(crate) use build::{MAX_WEIGHT, columns_of, logical, map_columns, size, weight};
pub(crate) use interval::interval_literal;
pub(crate) use text::{milliseconds, render};
