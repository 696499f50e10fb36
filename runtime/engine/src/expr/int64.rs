//! Integers, dates, times and timestamps as 64-bit integers of their own units, and back.

use std::sync::Arc;

use arrow_array::{
    ArrayRef,
    types::{
        Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
        TimestampMicrosecondType, TimestampMillisecondType,
    },
};
use streamkeeper_protocol::types::DataType;

use super::{ExprError, value::Value};

/// Units of a timestamp type in a millisecond.
pub(crate) fn units_per_ms(data: &DataType) -> i64 {
    match data {
        DataType::Timestamp { precision } | DataType::TimestampLtz { precision }
            if *precision > 3 =>
        {
            1000
        }
        _ => 1,
    }
}

/// Times and integers as 64-bit integers of their own unit.
pub(crate) fn as_i64(value: &Value) -> Result<Value, ExprError> {
    Ok(value.with_array(array_as_i64(value.array())?))
}

/// Times and integers as 64-bit integers of their own unit.
pub(crate) fn array_as_i64(array: &ArrayRef) -> Result<ArrayRef, ExprError> {
    use arrow_array::cast::AsArray;
    use arrow_schema::{DataType as Arrow, TimeUnit};
    Ok(match array.data_type() {
        Arrow::Timestamp(TimeUnit::Millisecond, _) => Arc::new(
            array
                .as_primitive::<TimestampMillisecondType>()
                .reinterpret_cast::<Int64Type>(),
        ),
        Arrow::Timestamp(TimeUnit::Microsecond, _) => Arc::new(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .reinterpret_cast::<Int64Type>(),
        ),
        Arrow::Date32 => Arc::new(
            array
                .as_primitive::<Date32Type>()
                .unary::<_, Int64Type>(i64::from),
        ),
        Arrow::Time32(TimeUnit::Millisecond) => Arc::new(
            array
                .as_primitive::<Time32MillisecondType>()
                .unary::<_, Int64Type>(i64::from),
        ),
        Arrow::Int8 => Arc::new(
            array
                .as_primitive::<Int8Type>()
                .unary::<_, Int64Type>(i64::from),
        ),
        Arrow::Int16 => Arc::new(
            array
                .as_primitive::<Int16Type>()
                .unary::<_, Int64Type>(i64::from),
        ),
        Arrow::Int32 => Arc::new(
            array
                .as_primitive::<Int32Type>()
                .unary::<_, Int64Type>(i64::from),
        ),
        Arrow::Int64 => ArrayRef::clone(array),
        other => {
            return Err(ExprError::new(
                "expression",
                format!("{other} is not a time"),
            ));
        }
    })
}

/// 64-bit integers as the times or integers of `out`, wrapping.
#[expect(
    clippy::cast_possible_truncation,
    reason = "wraps as Java's narrowing does"
)]
pub(crate) fn from_i64(
    array: ArrayRef,
    out: &arrow_schema::DataType,
) -> Result<ArrayRef, ExprError> {
    use arrow_array::cast::AsArray;
    use arrow_schema::{DataType as Arrow, TimeUnit};
    let wide = array.as_primitive::<Int64Type>();
    Ok(match out {
        Arrow::Timestamp(TimeUnit::Millisecond, _) => Arc::new(
            wide.reinterpret_cast::<TimestampMillisecondType>()
                .with_data_type(out.clone()),
        ),
        Arrow::Timestamp(TimeUnit::Microsecond, _) => Arc::new(
            wide.reinterpret_cast::<TimestampMicrosecondType>()
                .with_data_type(out.clone()),
        ),
        Arrow::Date32 => Arc::new(wide.unary::<_, Date32Type>(|value| value as i32)),
        Arrow::Time32(TimeUnit::Millisecond) => {
            Arc::new(wide.unary::<_, Time32MillisecondType>(|value| value as i32))
        }
        Arrow::Int8 => Arc::new(wide.unary::<_, Int8Type>(|value| value as i8)),
        Arrow::Int16 => Arc::new(wide.unary::<_, Int16Type>(|value| value as i16)),
        Arrow::Int32 => Arc::new(wide.unary::<_, Int32Type>(|value| value as i32)),
        Arrow::Int64 => array,
        other => {
            return Err(ExprError::new(
                "expression",
                format!("integers are not a {other}"),
            ));
        }
    })
}
