//! Constants as arrays of length 1.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, StringArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, new_null_array,
};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{expr::Literal, types::DataType};

use super::ExprError;

/// A constant as an array of length 1.
pub(super) fn array(literal: &Literal, data: &DataType) -> Result<ArrayRef, ExprError> {
    let wrong = || ExprError::new("literal", format!("{literal:?} is not a {data}"));
    let integer = |value: &i64| -> Option<ArrayRef> {
        Some(match data {
            DataType::TinyInt => {
                Arc::new(Int8Array::from(vec![i8::try_from(*value).ok()?])) as ArrayRef
            }
            DataType::SmallInt => Arc::new(Int16Array::from(vec![i16::try_from(*value).ok()?])),
            DataType::Int => Arc::new(Int32Array::from(vec![i32::try_from(*value).ok()?])),
            DataType::BigInt => Arc::new(Int64Array::from(vec![*value])),
            _ => return None,
        })
    };
    let array: ArrayRef = match (literal, data) {
        (Literal::Null, _) => new_null_array(&arrow_type(data), 1),
        (Literal::Boolean(value), DataType::Boolean) => Arc::new(BooleanArray::from(vec![*value])),
        (Literal::Integer(value), _) => integer(value).ok_or_else(wrong)?,
        #[expect(
            clippy::cast_possible_truncation,
            reason = "FLOAT is narrower by definition"
        )]
        (Literal::Double(value), DataType::Float) => {
            Arc::new(Float32Array::from(vec![*value as f32]))
        }
        (Literal::Double(value), DataType::Double) => Arc::new(Float64Array::from(vec![*value])),
        (Literal::Decimal(digits), DataType::Decimal { .. }) => {
            let unscaled: i128 = digits.parse().map_err(|_| wrong())?;
            Arc::new(Decimal128Array::from(vec![unscaled]).with_data_type(arrow_type(data)))
        }
        (Literal::String(value), data) if data.is_string() => {
            Arc::new(StringArray::from(vec![value.as_str()]))
        }
        (Literal::Bytes(value), DataType::Bytes) => {
            Arc::new(BinaryArray::from(vec![value.as_slice()]))
        }
        (Literal::Date(value), DataType::Date) => Arc::new(Date32Array::from(vec![*value])),
        (Literal::Time(value), DataType::Time) => {
            Arc::new(Time32MillisecondArray::from(vec![*value]))
        }
        (
            Literal::TimestampMicros(value),
            DataType::Timestamp { precision } | DataType::TimestampLtz { precision },
        ) => {
            let array: ArrayRef = if *precision <= 3 {
                Arc::new(
                    TimestampMillisecondArray::from(vec![value.div_euclid(1000)])
                        .with_data_type(arrow_type(data)),
                )
            } else {
                Arc::new(
                    TimestampMicrosecondArray::from(vec![*value]).with_data_type(arrow_type(data)),
                )
            };
            array
        }
        (Literal::IntervalMillis(value), DataType::IntervalDayTime) => {
            Arc::new(Int64Array::from(vec![*value]))
        }
        (Literal::IntervalMonths(value), DataType::IntervalYearMonth) => {
            Arc::new(Int32Array::from(vec![*value]))
        }
        _ => return Err(wrong()),
    };
    Ok(array)
}
