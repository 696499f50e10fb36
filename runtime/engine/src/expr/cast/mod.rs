//! `CAST` and `TRY_CAST` between the types that Flink converts.
//!
//! A text that does not parse fails CAST and is NULL in TRY_CAST. Numbers wrap (integers) or
//! saturate (floats to integers) as in Java; a decimal that does not fit is NULL in both, unless it
//! comes from a text.

mod conversion;
mod number;
mod parse;
mod print;
mod time;

use streamkeeper_protocol::types::DataType;

use self::conversion::Cast;
use super::{ExprError, Zone, node::Kernel};

/// The kernel that converts `from` to `to`, and whether it fails on some values when it is not
/// tolerant.
pub(super) fn kernel(
    from: &DataType,
    to: &DataType,
    tolerant: bool,
    zone: Zone,
) -> Result<(Kernel, bool), ExprError> {
    let cast = Cast {
        from,
        to,
        tolerant,
        zone,
    };
    let found = if from.is_string() {
        parse::kernel(&cast).map(|kernel| (kernel, true))
    } else if to.is_string() {
        print::kernel(&cast).map(|kernel| (kernel, *from == DataType::Bytes))
    } else if from.is_numeric() || *from == DataType::Boolean {
        number::kernel(&cast).map(|kernel| (kernel, false))
    } else {
        time::kernel(&cast).map(|kernel| (kernel, false))
    };
    found.ok_or_else(|| ExprError::new("CAST", format!("{from} to {to} is not supported")))
}
