//! `CAST` and `TRY_CAST` between the types that Flink converts.
//!
//! A text that does not parse fails CAST and is NULL in TRY_CAST. Numbers wrap (integers) or
//! saturate (floats to integers) as in Java; a decimal that does not fit is NULL in both, unless it
//! comes from a text.

mod number;
mod parse;
mod print;
mod time;

use arrow_array::ArrayRef;
use streamkeeper_protocol::types::DataType;

use super::{ExprError, Zone, node::Kernel, value::Value};

/// A conversion in one direction.
struct Cast<'a> {
    from: &'a DataType,
    to: &'a DataType,
    tolerant: bool,
    zone: Zone,
}

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

/// The values as they are, where only the declared type changes.
fn unchanged() -> Kernel {
    Box::new(|args: &[Value], _| Ok(ArrayRef::clone(args[0].array())))
}
