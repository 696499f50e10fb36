//! Numbers and booleans to numbers and booleans.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, Int64Array,
    types::{Decimal128Type, Float32Type, Float64Type, Int64Type},
};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::types::DataType;

use super::Cast;
use crate::expr::{
    ExprError, decimal,
    decimal::Target,
    int64,
    node::Kernel,
    value::{Value, map1},
};

pub(super) fn kernel(cast: &Cast<'_>) -> Option<Kernel> {
    let out = arrow_type(cast.to);
    match (cast.from, cast.to) {
        (DataType::Boolean, to) if to.is_numeric() => {
            let target = target(to);
            Some(Box::new(move |args, rows| {
                let bits: Int64Array = args[0]
                    .booleans(rows)?
                    .iter()
                    .map(|bit| bit.map(i64::from))
                    .collect();
                from_whole(&Value::Array(Arc::new(bits)), rows, &out, target)
            }))
        }
        (from, DataType::Boolean) if from.is_integer() => Some(Box::new(|args, rows| {
            let wide = int64::as_i64(&args[0])?;
            let wide = wide.primitive::<Int64Type>()?;
            Ok(Arc::new(
                (0..rows)
                    .map(|row| wide.get(row).map(|value| value != 0))
                    .collect::<BooleanArray>(),
            ))
        })),
        (from, to) if from.is_integer() && to.is_numeric() => {
            let target = target(to);
            Some(Box::new(move |args, rows| {
                from_whole(&int64::as_i64(&args[0])?, rows, &out, target)
            }))
        }
        (DataType::Float, to) if to.is_numeric() => {
            let target = target(to);
            Some(Box::new(move |args, rows| {
                from_real::<Float32Type>(&args[0], rows, &out, |value| {
                    // Like Flink, by way of the double that the float is: 1.1 is 1.10000002384….
                    decimal::from_f64(f64::from(value), target)
                })
            }))
        }
        (DataType::Double, to) if to.is_numeric() => {
            let target = target(to);
            Some(Box::new(move |args, rows| {
                from_real::<Float64Type>(&args[0], rows, &out, |value| {
                    decimal::from_f64(value, target)
                })
            }))
        }
        (DataType::Decimal { scale, .. }, to) if to.is_numeric() => {
            let (scale, target) = (*scale, target(to));
            Some(Box::new(move |args, rows| {
                from_decimal(&args[0], rows, scale, &out, target)
            }))
        }
        _ => None,
    }
}

fn target(to: &DataType) -> Target {
    match to {
        DataType::Decimal { precision, scale } => Target {
            precision: *precision,
            scale: *scale,
        },
        _ => Target {
            precision: 38,
            scale: 0,
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Java widens a long")]
fn from_whole(
    value: &Value,
    rows: usize,
    out: &arrow_schema::DataType,
    target: Target,
) -> Result<ArrayRef, ExprError> {
    use arrow_schema::DataType as Arrow;
    Ok(match out {
        Arrow::Float32 => Arc::new(map1::<Int64Type, Float32Type>(value, rows, |value| {
            Ok(Some(value as f32))
        })?),
        Arrow::Float64 => Arc::new(map1::<Int64Type, Float64Type>(value, rows, |value| {
            Ok(Some(value as f64))
        })?),
        Arrow::Decimal128(..) => {
            let digits = map1::<Int64Type, Decimal128Type>(value, rows, |value| {
                Ok(decimal::convert(
                    i128::from(value),
                    0,
                    target.precision,
                    target.scale,
                ))
            })?;
            Arc::new(digits.with_data_type(out.clone()))
        }
        _ => int64::from_i64(ArrayRef::clone(value.array()), out)?,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "as Java narrows a double: saturating to int and long, then wrapping"
)]
fn from_real<T>(
    value: &Value,
    rows: usize,
    out: &arrow_schema::DataType,
    to_decimal: impl Fn(T::Native) -> Option<i128>,
) -> Result<ArrayRef, ExprError>
where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    use arrow_schema::DataType as Arrow;
    Ok(match out {
        Arrow::Float32 => Arc::new(map1::<T, Float32Type>(value, rows, |value| {
            Ok(Some(value.into() as f32))
        })?),
        Arrow::Float64 => Arc::new(map1::<T, Float64Type>(value, rows, |value| {
            Ok(Some(value.into()))
        })?),
        Arrow::Decimal128(..) => Arc::new(
            map1::<T, Decimal128Type>(value, rows, |value| Ok(to_decimal(value)))?
                .with_data_type(out.clone()),
        ),
        Arrow::Int64 => Arc::new(map1::<T, Int64Type>(value, rows, |value| {
            Ok(Some(value.into() as i64))
        })?),
        _ => int64::from_i64(
            Arc::new(map1::<T, Int64Type>(value, rows, |value| {
                Ok(Some(i64::from(value.into() as i32)))
            })?),
            out,
        )?,
    })
}

fn from_decimal(
    value: &Value,
    rows: usize,
    scale: u8,
    out: &arrow_schema::DataType,
    target: Target,
) -> Result<ArrayRef, ExprError> {
    use arrow_schema::DataType as Arrow;
    let one = decimal::power_i128(u32::from(scale));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "wraps as BigInteger.longValue does; FLOAT is narrower"
    )]
    Ok(match out {
        Arrow::Float32 => Arc::new(map1::<Decimal128Type, Float32Type>(
            value,
            rows,
            |digits| Ok(decimal::to_text(digits, scale).parse().ok()),
        )?),
        Arrow::Float64 => Arc::new(map1::<Decimal128Type, Float64Type>(
            value,
            rows,
            |digits| Ok(Some(decimal::to_f64(digits, scale))),
        )?),
        Arrow::Decimal128(..) => {
            let digits = map1::<Decimal128Type, Decimal128Type>(value, rows, |digits| {
                Ok(decimal::convert(
                    digits,
                    scale,
                    target.precision,
                    target.scale,
                ))
            })?;
            Arc::new(digits.with_data_type(out.clone()))
        }
        _ => int64::from_i64(
            Arc::new(map1::<Decimal128Type, Int64Type>(value, rows, |digits| {
                Ok(Some((digits / one) as i64))
            })?),
            out,
        )?,
    })
}
