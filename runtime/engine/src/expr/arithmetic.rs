//! `+ - * / %`: integers wrap and refuse to divide by zero, floats follow IEEE 754, decimals see [`super::decimal`], times move by intervals.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMicrosecondType,
        TimestampMillisecondType,
    },
};
use arrow_schema::ArrowError;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{expr::Function, types::DataType};

use super::{
    ExprError, calendar,
    compile::Site,
    decimal::{self, Operand, Target},
    node::Kernel,
    value::{Value, map1, map2},
};

type Fallible = (Kernel, bool);

/// The kernel for a site and whether it may fail.
pub(crate) fn kernel(site: &Site<'_>) -> Result<Fallible, ExprError> {
    if site.function == Function::Negate {
        return negate(site).map(|kernel| (kernel, false));
    }
    let [left, right] = site.args[..] else { return Err(site.unsupported()) };
    if let (DataType::Decimal { scale: a, .. }, DataType::Decimal { scale: b, .. }, DataType::Decimal { precision, scale }) = (left, right, site.ty) {
        return decimals(site.function, (*a, *b), Target { precision: *precision, scale: *scale }, site);
    }
    if left == right && left == site.ty {
        match left {
            DataType::TinyInt => return Ok(integers::<Int8Type>(site.function)),
            DataType::SmallInt => return Ok(integers::<Int16Type>(site.function)),
            DataType::Int => return Ok(integers::<Int32Type>(site.function)),
            DataType::BigInt => return Ok(integers::<Int64Type>(site.function)),
            DataType::Float => return Ok((floats::<Float32Type>(site.function), false)),
            DataType::Double => return Ok((floats::<Float64Type>(site.function), false)),
            DataType::IntervalDayTime | DataType::IntervalYearMonth if matches!(site.function, Function::Add | Function::Subtract) => {
                return Ok((wrapping(site.function), false));
            }
            _ => {}
        }
    }
    times(site).map(|kernel| (kernel, false))
}

fn negate(site: &Site<'_>) -> Result<Kernel, ExprError> {
    let [arg] = site.args[..] else { return Err(site.unsupported()) };
    if arg != site.ty {
        return Err(site.unsupported());
    }
    match arg {
        DataType::Decimal { .. } => {
            let out = arrow_type(site.ty);
            Ok(Box::new(move |args, rows| {
                let negated = map1::<Decimal128Type, Decimal128Type>(&args[0], rows, |digits| Ok(Some(-digits)))?;
                Ok(Arc::new(negated.with_data_type(out.clone())))
            }))
        }
        data if data.is_numeric() || matches!(data, DataType::IntervalDayTime | DataType::IntervalYearMonth) => {
            Ok(Box::new(|args, _| Ok(arrow_arith::numeric::neg_wrapping(args[0].array())?)))
        }
        _ => Err(site.unsupported()),
    }
}

/// Addition, subtraction or multiplication of two equal types with wrap-around; floats follow IEEE 754.
fn wrapping(function: Function) -> Kernel {
    let operate: fn(&dyn arrow_array::Datum, &dyn arrow_array::Datum) -> Result<ArrayRef, ArrowError> = match function {
        Function::Subtract => arrow_arith::numeric::sub_wrapping,
        Function::Multiply => arrow_arith::numeric::mul_wrapping,
        _ => arrow_arith::numeric::add_wrapping,
    };
    Box::new(move |args, _| Ok(operate(&args[0], &args[1])?))
}

/// Division as in Java.
trait Divide: Copy + PartialEq + Default + std::fmt::Display {
    fn quotient(self, by: Self) -> Self;
    fn remainder(self, by: Self) -> Self;
}

macro_rules! divide {
    ($($ty:ty),*) => {$(
        impl Divide for $ty {
            fn quotient(self, by: Self) -> Self {
                self.wrapping_div(by)
            }
            fn remainder(self, by: Self) -> Self {
                self.wrapping_rem(by)
            }
        }
    )*};
}
divide!(i8, i16, i32, i64);

fn integers<T>(function: Function) -> Fallible
where
    T: ArrowPrimitiveType,
    T::Native: Divide,
{
    let divides = match function {
        Function::Divide => true,
        Function::Modulo => false,
        _ => return (wrapping(function), false),
    };
    let kernel: Kernel = Box::new(move |args, rows| {
        let out = map2::<T, T, T>(&args[0], &args[1], rows, |a, b| {
            if b == T::Native::default() {
                return Err(by_zero(if divides { "/" } else { "MOD" }, &a.to_string()));
            }
            Ok(Some(if divides { a.quotient(b) } else { a.remainder(b) }))
        })?;
        Ok(Arc::new(out))
    });
    (kernel, true)
}

fn by_zero(function: &str, dividend: &str) -> ExprError {
    ExprError::new(function, format!("division of {dividend} by zero"))
}

fn floats<T>(function: Function) -> Kernel
where
    T: ArrowPrimitiveType,
    T::Native: std::ops::Div<Output = T::Native> + std::ops::Rem<Output = T::Native>,
{
    match function {
        Function::Divide => Box::new(|args, rows| Ok(Arc::new(map2::<T, T, T>(&args[0], &args[1], rows, |a, b| Ok(Some(a / b)))?))),
        Function::Modulo => Box::new(|args, rows| Ok(Arc::new(map2::<T, T, T>(&args[0], &args[1], rows, |a, b| Ok(Some(a % b)))?))),
        other => wrapping(other),
    }
}

fn decimals(function: Function, (left, right): (u8, u8), to: Target, site: &Site<'_>) -> Result<Fallible, ExprError> {
    let out = arrow_type(site.ty);
    let (operate, name): (fn(Operand, Operand, Target) -> Option<i128>, &str) = match function {
        Function::Add => (decimal::add, "+"),
        Function::Subtract => (decimal::subtract, "-"),
        Function::Multiply => (decimal::multiply, "*"),
        Function::Divide => (decimal::divide, "/"),
        Function::Modulo => (decimal::modulo, "MOD"),
        _ => return Err(site.unsupported()),
    };
    let divides = matches!(function, Function::Divide | Function::Modulo);
    let kernel: Kernel = Box::new(move |args, rows| {
        let result = map2::<Decimal128Type, Decimal128Type, Decimal128Type>(&args[0], &args[1], rows, |a, b| {
            if divides && b == 0 {
                return Err(by_zero(name, &decimal::to_text(a, left)));
            }
            Ok(operate(Operand { digits: a, scale: left }, Operand { digits: b, scale: right }, to))
        })?;
        Ok(Arc::new(result.with_data_type(out.clone())))
    });
    Ok((kernel, divides))
}

/// A date, time or timestamp plus or minus an interval; the difference of two timestamps.
fn times(site: &Site<'_>) -> Result<Kernel, ExprError> {
    let subtracts = match site.function {
        Function::Add => false,
        Function::Subtract => true,
        _ => return Err(site.unsupported()),
    };
    let is_interval = |data: &DataType| matches!(data, DataType::IntervalDayTime | DataType::IntervalYearMonth);
    let (left, right) = (site.args[0], site.args[1]);
    if subtracts && left == right && left.is_timestamp() && *site.ty == DataType::IntervalDayTime {
        let divisor = units_per_ms(left);
        return Ok(Box::new(move |args, rows| {
            let (a, b) = (as_i64(&args[0])?, as_i64(&args[1])?);
            Ok(Arc::new(map2::<Int64Type, Int64Type, Int64Type>(&a, &b, rows, |a, b| Ok(Some(a.wrapping_sub(b) / divisor)))?))
        }));
    }
    let swapped = match (is_interval(left), is_interval(right)) {
        (false, true) => false,
        (true, false) if !subtracts => true,
        _ => return Err(site.unsupported()),
    };
    let (time, interval) = if swapped { (right, left) } else { (left, right) };
    let shift = shift_of(time, interval, site)?;
    let sign = if subtracts { -1 } else { 1 };
    let out = arrow_type(site.ty);
    Ok(Box::new(move |args, rows| {
        let (time, interval) = if swapped { (&args[1], &args[0]) } else { (&args[0], &args[1]) };
        let (time, interval) = (as_i64(time)?, as_i64(interval)?);
        let moved = map2::<Int64Type, Int64Type, Int64Type>(&time, &interval, rows, |time, interval| Ok(Some(shift(time, sign * interval))))?;
        from_i64(Arc::new(moved), &out)
    }))
}

/// How a time moves by an interval, both as integers of their own units, the result in the units of the site's type.
fn shift_of(time: &DataType, interval: &DataType, site: &Site<'_>) -> Result<fn(i64, i64) -> i64, ExprError> {
    let months = *interval == DataType::IntervalYearMonth;
    Ok(match (time, site.ty) {
        (DataType::Date, DataType::Date) if months => calendar::add_months,
        (DataType::Date, DataType::Date) => |days, ms| days.wrapping_add(ms.div_euclid(calendar::DAY_MS)),
        (DataType::Date, ty) if ty.is_timestamp() && !months && units_per_ms(ty) == 1 => |days, ms| days.wrapping_mul(calendar::DAY_MS).wrapping_add(ms),
        (DataType::Time, DataType::Time) if !months => |time, ms| (time + ms % calendar::DAY_MS).rem_euclid(calendar::DAY_MS),
        (time, ty) if time.is_timestamp() && arrow_type(time) == arrow_type(ty) => match (units_per_ms(time), months) {
            (1, false) => i64::wrapping_add,
            (1, true) => |ms, months| calendar::add_months(ms.div_euclid(calendar::DAY_MS), months) * calendar::DAY_MS + ms.rem_euclid(calendar::DAY_MS),
            (_, false) => |micros, ms| micros.wrapping_add(ms.wrapping_mul(1000)),
            (_, true) => |micros, months| {
                calendar::add_months(micros.div_euclid(calendar::DAY_MICROS), months) * calendar::DAY_MICROS + micros.rem_euclid(calendar::DAY_MICROS)
            },
        },
        _ => return Err(site.unsupported()),
    })
}

/// Units of a timestamp type in a millisecond.
pub(crate) fn units_per_ms(data: &DataType) -> i64 {
    match data {
        DataType::Timestamp { precision } | DataType::TimestampLtz { precision } if *precision > 3 => 1000,
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
        Arrow::Timestamp(TimeUnit::Millisecond, _) => Arc::new(array.as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Int64Type>()),
        Arrow::Timestamp(TimeUnit::Microsecond, _) => Arc::new(array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>()),
        Arrow::Date32 => Arc::new(array.as_primitive::<Date32Type>().unary::<_, Int64Type>(i64::from)),
        Arrow::Time32(TimeUnit::Millisecond) => Arc::new(array.as_primitive::<Time32MillisecondType>().unary::<_, Int64Type>(i64::from)),
        Arrow::Int8 => Arc::new(array.as_primitive::<Int8Type>().unary::<_, Int64Type>(i64::from)),
        Arrow::Int16 => Arc::new(array.as_primitive::<Int16Type>().unary::<_, Int64Type>(i64::from)),
        Arrow::Int32 => Arc::new(array.as_primitive::<Int32Type>().unary::<_, Int64Type>(i64::from)),
        Arrow::Int64 => ArrayRef::clone(array),
        other => return Err(ExprError::new("expression", format!("{other} is not a time"))),
    })
}

/// 64-bit integers as the times or integers of `out`, wrapping.
#[expect(clippy::cast_possible_truncation, reason = "wraps as Java's narrowing does")]
pub(crate) fn from_i64(array: ArrayRef, out: &arrow_schema::DataType) -> Result<ArrayRef, ExprError> {
    use arrow_array::cast::AsArray;
    use arrow_schema::{DataType as Arrow, TimeUnit};
    let wide = array.as_primitive::<Int64Type>();
    Ok(match out {
        Arrow::Timestamp(TimeUnit::Millisecond, _) => Arc::new(wide.reinterpret_cast::<TimestampMillisecondType>().with_data_type(out.clone())),
        Arrow::Timestamp(TimeUnit::Microsecond, _) => Arc::new(wide.reinterpret_cast::<TimestampMicrosecondType>().with_data_type(out.clone())),
        Arrow::Date32 => Arc::new(wide.unary::<_, Date32Type>(|value| value as i32)),
        Arrow::Time32(TimeUnit::Millisecond) => Arc::new(wide.unary::<_, Time32MillisecondType>(|value| value as i32)),
        Arrow::Int8 => Arc::new(wide.unary::<_, Int8Type>(|value| value as i8)),
        Arrow::Int16 => Arc::new(wide.unary::<_, Int16Type>(|value| value as i16)),
        Arrow::Int32 => Arc::new(wide.unary::<_, Int32Type>(|value| value as i32)),
        Arrow::Int64 => array,
        other => return Err(ExprError::new("expression", format!("integers are not a {other}"))),
    })
}
