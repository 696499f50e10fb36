//! Functions of numbers.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType,
    types::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use arrow_buffer::i256;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{expr::Function, types::DataType};

use super::{
    ExprError,
    call_context::CallContext,
    decimal::{self, Target},
    int64,
    node::Kernel,
    value::{Value, map1, map2},
};

/// The kernel for a call.
pub(crate) fn kernel(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    match context.function {
        Function::Power => doubles2(context, f64::powf),
        Function::Sqrt => doubles(context, f64::sqrt),
        Function::Exp => doubles(context, f64::exp),
        Function::Ln => doubles(context, f64::ln),
        Function::Round => round(context),
        _ => elementwise(context),
    }
}

fn doubles(context: &CallContext<'_>, f: fn(f64) -> f64) -> Result<Kernel, ExprError> {
    match (context.args[0], context.ty) {
        (DataType::Double, DataType::Double) => Ok(Box::new(move |args, rows| {
            Ok(Arc::new(map1::<Float64Type, Float64Type>(
                &args[0],
                rows,
                |value| Ok(Some(f(value))),
            )?))
        })),
        _ => Err(context.unsupported()),
    }
}

fn doubles2(context: &CallContext<'_>, f: fn(f64, f64) -> f64) -> Result<Kernel, ExprError> {
    match (context.args[0], context.args[1], context.ty) {
        (DataType::Double, DataType::Double, DataType::Double) => {
            Ok(Box::new(move |args, rows| {
                Ok(Arc::new(map2::<Float64Type, Float64Type, Float64Type>(
                    &args[0],
                    &args[1],
                    rows,
                    |a, b| Ok(Some(f(a, b))),
                )?))
            }))
        }
        _ => Err(context.unsupported()),
    }
}

fn unary<T: ArrowPrimitiveType>(
    f: impl Fn(T::Native) -> T::Native + Send + Sync + 'static,
) -> Kernel {
    Box::new(move |args, rows| {
        Ok(Arc::new(map1::<T, T>(&args[0], rows, |value| {
            Ok(Some(f(value)))
        })?))
    })
}

fn identity() -> Kernel {
    Box::new(|args, _| Ok(ArrayRef::clone(args[0].array())))
}

/// ABS, CEIL, FLOOR and SIGN.
fn elementwise(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    if let (
        DataType::Decimal { scale, .. },
        DataType::Decimal {
            precision,
            scale: to,
        },
    ) = (context.args[0], context.ty)
    {
        return Ok(decimal_elementwise(
            context.function,
            *scale,
            Target {
                precision: *precision,
                scale: *to,
            },
            context.ty,
        ));
    }
    if context.args[0] != context.ty {
        return Err(context.unsupported());
    }
    macro_rules! integer {
        ($ty:ty) => {
            match context.function {
                Function::Abs => unary::<$ty>(|value| value.wrapping_abs()),
                Function::Sign => unary::<$ty>(|value| value.signum()),
                _ => identity(),
            }
        };
    }
    macro_rules! float {
        ($ty:ty) => {
            match context.function {
                Function::Abs => unary::<$ty>(|value| value.abs()),
                // Java's signum keeps zeros and NaN.
                Function::Sign => unary::<$ty>(|value| {
                    if value == 0.0 || value.is_nan() {
                        value
                    } else {
                        value.signum()
                    }
                }),
                Function::Ceil => unary::<$ty>(|value| value.ceil()),
                _ => unary::<$ty>(|value| value.floor()),
            }
        };
    }
    Ok(match context.ty {
        DataType::TinyInt => integer!(Int8Type),
        DataType::SmallInt => integer!(Int16Type),
        DataType::Int => integer!(Int32Type),
        DataType::BigInt => integer!(Int64Type),
        DataType::Float => float!(Float32Type),
        DataType::Double => float!(Float64Type),
        _ => return Err(context.unsupported()),
    })
}

fn decimal_elementwise(function: Function, scale: u8, to: Target, ty: &DataType) -> Kernel {
    let out = arrow_type(ty);
    Box::new(move |args, rows| {
        let one = decimal::power_i128(u32::from(scale));
        let result = map1::<Decimal128Type, Decimal128Type>(&args[0], rows, |digits| {
            let (digits, scale) = match function {
                Function::Abs => (digits.abs(), scale),
                Function::Sign => (digits.signum(), 0),
                Function::Ceil => (-(-digits).div_euclid(one), 0),
                _ => (digits.div_euclid(one), 0),
            };
            Ok(decimal::convert(digits, scale, to.precision, to.scale))
        })?;
        Ok(Arc::new(result.with_data_type(out.clone())))
    })
}

/// `value` rounded half up to `digits` after the point, where its own scale is `scale`; the result
/// has scale `scale` too.
fn round_digits(value: i256, scale: i32, digits: i32) -> Option<i256> {
    if digits >= scale {
        return Some(value);
    }
    let rounded = decimal::rescale(value, scale, digits)?;
    decimal::rescale(rounded, digits, scale)
}

fn round(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    if context
        .args
        .get(1)
        .is_some_and(|data| **data != DataType::Int)
    {
        return Err(context.unsupported());
    }
    let digits_of = |args: &[Value]| {
        args.get(1)
            .cloned()
            .unwrap_or_else(|| Value::Scalar(Arc::new(arrow_array::Int32Array::from(vec![0]))))
    };
    match (context.args[0], context.ty) {
        (
            DataType::Decimal { scale, .. },
            DataType::Decimal {
                precision,
                scale: to,
            },
        ) => {
            let (scale, to, out) = (
                *scale,
                Target {
                    precision: *precision,
                    scale: *to,
                },
                arrow_type(context.ty),
            );
            Ok(Box::new(move |args, rows| {
                let rounded = map2::<Decimal128Type, Int32Type, Decimal128Type>(
                    &args[0],
                    &digits_of(args),
                    rows,
                    |value, digits| {
                        let rounded =
                            round_digits(i256::from_i128(value), i32::from(scale), digits);
                        Ok(rounded
                            .and_then(|value| {
                                decimal::rescale(value, i32::from(scale), i32::from(to.scale))
                            })
                            .and_then(|value| decimal::fit(value, to.precision)))
                    },
                )?;
                Ok(Arc::new(rounded.with_data_type(out.clone())))
            }))
        }
        (DataType::Double, DataType::Double) => Ok(Box::new(move |args, rows| {
            Ok(Arc::new(map2::<Float64Type, Int32Type, Float64Type>(
                &args[0],
                &digits_of(args),
                rows,
                |value, digits| Ok(Some(round_f64(value, &format!("{value:e}"), digits))),
            )?))
        })),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the digits are those of a FLOAT"
        )]
        (DataType::Float, DataType::Float) => Ok(Box::new(move |args, rows| {
            Ok(Arc::new(map2::<Float32Type, Int32Type, Float32Type>(
                &args[0],
                &digits_of(args),
                rows,
                |value, digits| {
                    Ok(Some(
                        round_f64(f64::from(value), &format!("{value:e}"), digits) as f32,
                    ))
                },
            )?))
        })),
        (from, to) if from == to && from.is_integer() => {
            let out = arrow_type(to);
            Ok(Box::new(move |args, rows| {
                let wide = int64::as_i64(&args[0])?;
                let rounded = map2::<Int64Type, Int32Type, Int64Type>(
                    &wide,
                    &digits_of(args),
                    rows,
                    |value, digits| {
                        let rounded =
                            round_digits(i256::from_i128(i128::from(value)), 0, digits.max(-20));
                        #[expect(
                            clippy::cast_possible_truncation,
                            reason = "wraps as BigDecimal.longValue does"
                        )]
                        Ok(rounded.map(|value| value.as_i128() as i64))
                    },
                )?;
                int64::from_i64(Arc::new(rounded), &out)
            }))
        }
        _ => Err(context.unsupported()),
    }
}

/// Rounds the number that a float prints as (`-1.25e3`), as `BigDecimal.valueOf(x).setScale(digits,
/// HALF_UP)` does.
fn round_f64(value: f64, printed: &str, digits: i32) -> f64 {
    let Some((mantissa, exponent)) = printed.split_once('e') else {
        return value;
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (Ok(unscaled), Ok(exponent)) = (
        format!("{whole}{fraction}").parse::<i128>(),
        exponent.parse::<i32>(),
    ) else {
        return value;
    };
    let scale = i32::try_from(fraction.len()).unwrap_or(0) - exponent;
    if digits >= scale {
        return value;
    }
    let rounded =
        decimal::rescale(i256::from_i128(unscaled), scale, digits).map_or(0, i256::as_i128);
    format!("{rounded}e{}", -i64::from(digits))
        .parse()
        .unwrap_or(value)
}
