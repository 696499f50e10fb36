//! Functions of dates, times and timestamps.

use std::sync::Arc;

use arrow_array::{
    Array, Int64Array,
    types::{Float64Type, Int64Type},
};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{
    calendar::{self, DAY_MICROS},
    expr::{Function, TimeUnit},
    types::DataType,
};

use super::{
    ExprError,
    call_context::{CallContext, sql_name},
    datetime_text::{self, Local},
    int64,
    node::Kernel,
    parse_failure,
    pattern::Pattern,
    value::{Value, build_strings, map1},
};

/// The kernel for a call.
pub(crate) fn kernel(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    match context.function {
        Function::Extract(unit) => extract(context, unit),
        Function::FloorTo(unit) => round_to(context, unit, false),
        Function::CeilTo(unit) => round_to(context, unit, true),
        Function::DateFormat => date_format(context),
        Function::ToTimestamp => to_timestamp(context),
        Function::ToDate => to_date(context),
        Function::ToTimestampLtz => to_timestamp_ltz(context),
        Function::EpochMillis => epoch_millis(context),
        _ => Err(context.unsupported()),
    }
}

/// How the 64-bit integers of a time type become local microseconds: multiply, then add. None if it
/// is no time.
fn to_local(context: &CallContext<'_>, data: &DataType) -> Option<(i64, i64)> {
    match data {
        DataType::Timestamp { .. } => Some((1000 / int64::units_per_ms(data), 0)),
        DataType::TimestampLtz { .. } => Some((
            1000 / int64::units_per_ms(data),
            context.zone.offset_micros(),
        )),
        DataType::Date => Some((DAY_MICROS, 0)),
        DataType::Time => Some((1000, 0)),
        _ => None,
    }
}

fn extract(context: &CallContext<'_>, unit: TimeUnit) -> Result<Kernel, ExprError> {
    let (scale, offset) =
        to_local(context, context.args[0]).ok_or_else(|| context.unsupported())?;
    let is_clock = matches!(
        unit,
        TimeUnit::Hour | TimeUnit::Minute | TimeUnit::Second | TimeUnit::Millisecond
    );
    if *context.args[0] == DataType::Time && !is_clock || *context.ty != DataType::BigInt {
        return Err(context.unsupported());
    }
    // EPOCH is that of the instant; all other units are those of the local time.
    let offset =
        if unit == TimeUnit::Epoch && !matches!(context.args[0], DataType::Timestamp { .. }) {
            0
        } else {
            offset
        };
    Ok(Box::new(move |args, rows| {
        let times = int64::as_i64(&args[0])?;
        Ok(Arc::new(map1::<Int64Type, Int64Type>(
            &times,
            rows,
            |time| {
                Ok(Some(field(
                    unit,
                    time.wrapping_mul(scale).wrapping_add(offset),
                )))
            },
        )?))
    }))
}

fn field(unit: TimeUnit, micros: i64) -> i64 {
    let local = Local::from_micros(micros);
    let civil = || calendar::civil_from_days(local.days);
    match unit {
        TimeUnit::Year => civil().0,
        TimeUnit::Quarter => (civil().1 + 2) / 3,
        TimeUnit::Month => civil().1,
        TimeUnit::Week => calendar::iso_week(local.days),
        TimeUnit::Day => civil().2,
        TimeUnit::DayOfWeek => calendar::weekday(local.days) + 1,
        TimeUnit::DayOfYear => calendar::day_of_year(local.days),
        TimeUnit::Hour => local.micros / 3_600_000_000,
        TimeUnit::Minute => local.micros / 60_000_000 % 60,
        TimeUnit::Second => local.micros / 1_000_000 % 60,
        TimeUnit::Millisecond => local.micros / 1000 % 1000,
        TimeUnit::Epoch => micros.div_euclid(1_000_000),
    }
}

/// `FLOOR(t TO unit)` and `CEIL(t TO unit)`.
fn round_to(context: &CallContext<'_>, unit: TimeUnit, up: bool) -> Result<Kernel, ExprError> {
    let data = context.args[0];
    let (scale, offset) = to_local(context, data).ok_or_else(|| context.unsupported())?;
    let is_known = !matches!(
        unit,
        TimeUnit::DayOfWeek | TimeUnit::DayOfYear | TimeUnit::Epoch
    );
    let is_clock = matches!(
        unit,
        TimeUnit::Hour | TimeUnit::Minute | TimeUnit::Second | TimeUnit::Millisecond
    );
    if !is_known
        || data != context.ty && arrow_type(data) != arrow_type(context.ty)
        || *data == DataType::Time && !is_clock
    {
        return Err(context.unsupported());
    }
    let out = arrow_type(context.ty);
    Ok(Box::new(move |args, rows| {
        let times = int64::as_i64(&args[0])?;
        let rounded = map1::<Int64Type, Int64Type>(&times, rows, |time| {
            let micros = round_micros(unit, up, time.wrapping_mul(scale).wrapping_add(offset));
            Ok(Some(micros.wrapping_sub(offset).div_euclid(scale)))
        })?;
        int64::from_i64(Arc::new(rounded), &out)
    }))
}

fn round_micros(unit: TimeUnit, up: bool, micros: i64) -> i64 {
    let to_multiple = |of: i64| {
        let floor = micros.wrapping_sub(micros.rem_euclid(of));
        if up && floor != micros {
            floor.wrapping_add(of)
        } else {
            floor
        }
    };
    let days = micros.div_euclid(DAY_MICROS);
    let (year, month, day) = calendar::civil_from_days(days);
    // From here on the time of day does not count, and a quarter rounds up from every month but
    // January: both as Flink does.
    let first =
        |year: i64, month: i64| calendar::days_from_civil(year, month, 1).wrapping_mul(DAY_MICROS);
    match unit {
        TimeUnit::Millisecond => to_multiple(1000),
        TimeUnit::Second => to_multiple(1_000_000),
        TimeUnit::Minute => to_multiple(60_000_000),
        TimeUnit::Hour => to_multiple(3_600_000_000),
        TimeUnit::Week => {
            let since_sunday = calendar::weekday(days);
            let back = if up && since_sunday > 0 {
                since_sunday - 7
            } else {
                since_sunday
            };
            (days - back).wrapping_mul(DAY_MICROS)
        }
        TimeUnit::Month => first(year, month + i64::from(up && day > 1)),
        TimeUnit::Quarter => first(
            year,
            ((month + 2) / 3 + i64::from(up && (month > 1 || day > 1))) * 3 - 2,
        ),
        TimeUnit::Year => first(year + i64::from(up && (month > 1 || day > 1)), 1),
        _ => to_multiple(DAY_MICROS),
    }
}

fn date_format(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let pattern = Pattern::compile(&context.constant_text(1)?, &sql_name(context.function))?;
    if context.args[0].is_string() {
        return Ok(Box::new(move |args, rows| {
            let texts = args[0].strings()?;
            Ok(Arc::new(build_strings(rows, |row| {
                Ok(texts
                    .get(row)
                    .and_then(datetime_text::parse_timestamp)
                    .map(|local| pattern.format(local)))
            })?))
        }));
    }
    let (scale, offset) =
        to_local(context, context.args[0]).ok_or_else(|| context.unsupported())?;
    Ok(Box::new(move |args, rows| {
        let times = int64::as_i64(&args[0])?;
        let times = times.primitive::<Int64Type>()?;
        Ok(Arc::new(build_strings(rows, |row| {
            Ok(times.get(row).map(|time| {
                pattern.format(Local::from_micros(
                    time.wrapping_mul(scale).wrapping_add(offset),
                ))
            }))
        })?))
    }))
}

/// Reads a text; none if it is none of these.
type Parser<T> = Box<dyn Fn(&str) -> Option<T> + Send + Sync>;

/// Parses with the pattern, if any; falls back to the standard form, as Flink does.
fn parser(context: &CallContext<'_>) -> Result<Parser<Local>, ExprError> {
    if !context.args[0].is_string() {
        return Err(context.unsupported());
    }
    if context.args.len() < 2 {
        return Ok(Box::new(datetime_text::parse_timestamp));
    }
    let pattern = Pattern::compile(&context.constant_text(1)?, &sql_name(context.function))?;
    Ok(Box::new(move |text| {
        pattern
            .parse(text)
            .or_else(|| datetime_text::parse_timestamp(text.trim()))
    }))
}

fn to_timestamp(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let parse = parser(context)?;
    let (scale, out) = match context.ty {
        data @ DataType::Timestamp { .. } => (1000 / int64::units_per_ms(data), arrow_type(data)),
        _ => return Err(context.unsupported()),
    };
    Ok(Box::new(move |args, rows| {
        let texts = args[0].strings()?;
        let mut unread = None;
        let parsed: Int64Array = (0..rows)
            .map(|row| {
                let text = texts.get(row)?;
                let parsed = parse(text);
                if parsed.is_none() {
                    unread.get_or_insert((row, text));
                }
                parsed.map(|local| local.to_micros().div_euclid(scale))
            })
            .collect();
        if let Some((row, text)) = unread {
            parse_failure::note(row, text);
        }
        int64::from_i64(Arc::new(parsed), &out)
    }))
}

fn to_date(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let parse: Parser<i64> = if context.args.len() < 2 {
        if !context.args[0].is_string() {
            return Err(context.unsupported());
        }
        Box::new(datetime_text::parse_date)
    } else {
        let parse = parser(context)?;
        Box::new(move |text| parse(text).map(|local| local.days))
    };
    let out = arrow_type(context.ty);
    if *context.ty != DataType::Date {
        return Err(context.unsupported());
    }
    Ok(Box::new(move |args, rows| {
        let texts = args[0].strings()?;
        let parsed: Int64Array = (0..rows).map(|row| parse(texts.get(row)?)).collect();
        int64::from_i64(Arc::new(parsed), &out)
    }))
}

/// First and last millisecond of the years 0 to 9999, beyond which Flink returns NULL.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

fn to_timestamp_ltz(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let precision = match context.constants.get(1) {
        None => 3,
        Some(Some(constant)) if constant.is_valid(0) => {
            let value = Value::Scalar(Arc::clone(constant));
            int64::as_i64(&value)?
                .primitive::<Int64Type>()?
                .get(0)
                .unwrap_or(-1)
        }
        Some(_) => -1,
    };
    let per_unit: i64 = match precision {
        0 => 1000,
        3 => 1,
        _ => {
            return Err(ExprError::new(
                sql_name(context.function),
                "the precision must be the constant 0 (seconds) or 3 (milliseconds)",
            ));
        }
    };
    let (scale, out) = match context.ty {
        data @ DataType::TimestampLtz { .. } => (int64::units_per_ms(data), arrow_type(data)),
        _ => return Err(context.unsupported()),
    };
    let in_range =
        move |ms: Option<i64>| ms.filter(|ms| RANGE_MS.contains(ms)).map(|ms| ms * scale);
    match context.args[0] {
        data if data.is_integer() => Ok(Box::new(move |args, rows| {
            let numbers = int64::as_i64(&args[0])?;
            let times = map1::<Int64Type, Int64Type>(&numbers, rows, |number| {
                Ok(in_range(number.checked_mul(per_unit)))
            })?;
            int64::from_i64(Arc::new(times), &out)
        })),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "as Java casts a double to a long"
        )]
        DataType::Double => Ok(Box::new(move |args, rows| {
            let times = map1::<Float64Type, Int64Type>(&args[0], rows, |number| {
                Ok(in_range(Some((number * per_unit as f64) as i64)))
            })?;
            int64::from_i64(Arc::new(times), &out)
        })),
        _ => Err(context.unsupported()),
    }
}

fn epoch_millis(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    if !context.args[0].is_timestamp() {
        return Err(context.unsupported());
    }
    let divisor = int64::units_per_ms(context.args[0]);
    Ok(Box::new(move |args, rows| {
        let times = int64::as_i64(&args[0])?;
        Ok(Arc::new(map1::<Int64Type, Int64Type>(
            &times,
            rows,
            |time| Ok(Some(time.div_euclid(divisor))),
        )?))
    }))
}
