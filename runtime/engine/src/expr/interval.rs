//! Dates, times and timestamps plus or minus intervals.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{calendar, expr::Function, types::DataType};

use super::{
    ExprError,
    call_context::CallContext,
    int64::{as_i64, from_i64, units_per_ms},
    node::Kernel,
    value::map2,
};

/// A date, time or timestamp plus or minus an interval; the difference of two timestamps.
pub(super) fn kernel(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let subtracts = match context.function {
        Function::Add => false,
        Function::Subtract => true,
        _ => return Err(context.unsupported()),
    };
    let is_interval = |data: &DataType| {
        matches!(
            data,
            DataType::IntervalDayTime | DataType::IntervalYearMonth
        )
    };
    let (left, right) = (context.args[0], context.args[1]);
    if subtracts && left == right && left.is_timestamp() && *context.ty == DataType::IntervalDayTime
    {
        let divisor = units_per_ms(left);
        return Ok(Box::new(move |args, rows| {
            let (a, b) = (as_i64(&args[0])?, as_i64(&args[1])?);
            Ok(Arc::new(map2::<Int64Type, Int64Type, Int64Type>(
                &a,
                &b,
                rows,
                |a, b| Ok(Some(a.wrapping_sub(b) / divisor)),
            )?))
        }));
    }
    let swapped = match (is_interval(left), is_interval(right)) {
        (false, true) => false,
        (true, false) if !subtracts => true,
        _ => return Err(context.unsupported()),
    };
    let (time, interval) = if swapped {
        (right, left)
    } else {
        (left, right)
    };
    let shift = shift_of(time, interval, context)?;
    let sign = if subtracts { -1 } else { 1 };
    let out = arrow_type(context.ty);
    Ok(Box::new(move |args, rows| {
        let (time, interval) = if swapped {
            (&args[1], &args[0])
        } else {
            (&args[0], &args[1])
        };
        let (time, interval) = (as_i64(time)?, as_i64(interval)?);
        let moved =
            map2::<Int64Type, Int64Type, Int64Type>(&time, &interval, rows, |time, interval| {
                Ok(Some(shift(time, interval.wrapping_mul(sign))))
            })?;
        from_i64(Arc::new(moved), &out)
    }))
}

/// How a time moves by an interval, both as integers of their own units, the result in the units of
/// the result's type.
fn shift_of(
    time: &DataType,
    interval: &DataType,
    context: &CallContext<'_>,
) -> Result<fn(i64, i64) -> i64, ExprError> {
    let months = *interval == DataType::IntervalYearMonth;
    Ok(match (time, context.ty) {
        (DataType::Date, DataType::Date) if months => calendar::add_months,
        (DataType::Date, DataType::Date) => {
            |days, ms| days.wrapping_add(ms.div_euclid(calendar::DAY_MS))
        }
        (DataType::Date, ty) if ty.is_timestamp() && !months && units_per_ms(ty) == 1 => {
            |days, ms| days.wrapping_mul(calendar::DAY_MS).wrapping_add(ms)
        }
        (DataType::Time, DataType::Time) if !months => {
            |time, ms| (time + ms % calendar::DAY_MS).rem_euclid(calendar::DAY_MS)
        }
        (time, ty) if time.is_timestamp() && arrow_type(time) == arrow_type(ty) => {
            match (units_per_ms(time), months) {
                (1, false) => i64::wrapping_add,
                (1, true) => |ms, months| {
                    calendar::add_months(ms.div_euclid(calendar::DAY_MS), months)
                        .wrapping_mul(calendar::DAY_MS)
                        .wrapping_add(ms.rem_euclid(calendar::DAY_MS))
                },
                (_, false) => |micros, ms| micros.wrapping_add(ms.wrapping_mul(1000)),
                (_, true) => |micros, months| {
                    calendar::add_months(micros.div_euclid(calendar::DAY_MICROS), months)
                        .wrapping_mul(calendar::DAY_MICROS)
                        .wrapping_add(micros.rem_euclid(calendar::DAY_MICROS))
                },
            }
        }
        _ => return Err(context.unsupported()),
    })
}
