//! Flink's rules for types that meet: common types, decimal results, casts.
//!
//! Checked against Flink 2.3 expression by expression (`tests/flink/`).

mod cast;
mod common;
mod decimal;

pub(crate) use cast::{cast, explicit_cast, fits_sink};
pub(crate) use common::{Rules, common_type};
pub(crate) use decimal::{as_decimal, divide, minus_or_plus, modulo, round, times};
