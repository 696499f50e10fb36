//! Everything to texts.

use std::{fmt::Write, sync::Arc};

use arrow_array::{
    Array,
    cast::AsArray,
    types::{Decimal128Type, Float32Type, Float64Type, Int64Type},
};
use streamkeeper_protocol::{calendar, types::DataType};

use super::Cast;
use crate::expr::{
    ExprError,
    datetime_text::{self, Local},
    decimal, int64,
    node::Kernel,
    value::build_strings,
};

pub(super) fn kernel(cast: &Cast<'_>) -> Option<Kernel> {
    let to = cast.to.clone();
    let offset = cast.zone.offset_micros();
    match cast.from {
        DataType::Boolean => Some(Box::new(move |args, rows| {
            let bits = args[0].booleans(rows)?;
            let text = |bit: bool| if bit { "TRUE" } else { "FALSE" };
            Ok(Arc::new(build_strings(rows, |row| {
                Ok(bits.is_valid(row).then(|| fit(text(bits.value(row)), &to)))
            })?))
        })),
        DataType::Float => Some(Box::new(move |args, rows| {
            let values = args[0].primitive::<Float32Type>()?;
            Ok(Arc::new(build_strings(rows, |row| {
                Ok(values
                    .get(row)
                    .map(|value| fit(&java_float(&format!("{value:e}"), value.into()), &to)))
            })?))
        })),
        DataType::Double => Some(Box::new(move |args, rows| {
            let values = args[0].primitive::<Float64Type>()?;
            Ok(Arc::new(build_strings(rows, |row| {
                Ok(values
                    .get(row)
                    .map(|value| fit(&java_float(&format!("{value:e}"), value), &to)))
            })?))
        })),
        DataType::Decimal { scale, .. } => {
            let scale = *scale;
            Some(Box::new(move |args, rows| {
                let values = args[0].primitive::<Decimal128Type>()?;
                Ok(Arc::new(build_strings(rows, |row| {
                    Ok(values
                        .get(row)
                        .map(|digits| fit(&decimal::to_text(digits, scale), &to)))
                })?))
            }))
        }
        DataType::Bytes => {
            let tolerant = cast.tolerant;
            Some(Box::new(move |args, rows| {
                let array = args[0].clone().into_array(rows)?;
                let values = array
                    .as_binary_opt::<i32>()
                    .ok_or_else(|| ExprError::new("CAST", "a BYTES column is not binary"))?;
                Ok(Arc::new(build_strings(rows, |row| {
                    match values
                        .is_valid(row)
                        .then(|| std::str::from_utf8(values.value(row)))
                    {
                        None => Ok(None),
                        Some(Ok(text)) => Ok(Some(fit(text, &to))),
                        Some(Err(_)) if tolerant => Ok(None),
                        Some(Err(_)) => Err(ExprError::new(
                            "CAST",
                            format!("BYTES {:02x?} to {to}: it is not UTF-8", values.value(row)),
                        )),
                    }
                })?))
            }))
        }
        from => {
            let text = printer(from, offset)?;
            Some(Box::new(move |args, rows| {
                let values = int64::as_i64(&args[0])?;
                let values = values.primitive::<Int64Type>()?;
                Ok(Arc::new(build_strings(rows, |row| {
                    Ok(values.get(row).map(|value| fit(&text(value), &to)))
                })?))
            }))
        }
    }
}

/// Prints the 64-bit form of a type.
fn printer(from: &DataType, offset: i64) -> Option<Box<dyn Fn(i64) -> String + Send + Sync>> {
    let scale = 1000 / int64::units_per_ms(from);
    Some(match from {
        DataType::TinyInt | DataType::SmallInt | DataType::Int | DataType::BigInt => {
            Box::new(|value| value.to_string())
        }
        DataType::Date => Box::new(datetime_text::format_date),
        DataType::Time => Box::new(datetime_text::format_time),
        DataType::Timestamp { precision } => {
            let precision = *precision;
            Box::new(move |value| {
                datetime_text::format_timestamp(
                    Local::from_micros(value.wrapping_mul(scale)),
                    precision,
                )
            })
        }
        DataType::TimestampLtz { precision } => {
            let precision = *precision;
            Box::new(move |value| {
                datetime_text::format_timestamp(
                    Local::from_micros(value.wrapping_mul(scale).wrapping_add(offset)),
                    precision,
                )
            })
        }
        DataType::IntervalYearMonth => Box::new(|months| {
            format!(
                "{}{}-{:02}",
                sign(months),
                months.abs() / 12,
                months.abs() % 12
            )
        }),
        DataType::IntervalDayTime => Box::new(|ms| {
            let (days, rest) = (ms / calendar::DAY_MS, (ms % calendar::DAY_MS).abs());
            format!(
                "{}{} {}.{:03}",
                sign(ms),
                days.abs(),
                datetime_text::format_time(rest),
                rest % 1000
            )
        }),
        _ => return None,
    })
}

fn sign(value: i64) -> char {
    if value < 0 { '-' } else { '+' }
}

/// `text` cut to the length of a CHAR or VARCHAR, and filled with blanks for a CHAR.
pub(super) fn fit(text: &str, to: &DataType) -> String {
    let (length, fill) = match to {
        DataType::Char { length } => (*length, true),
        DataType::Varchar {
            length: Some(length),
        } => (*length, false),
        _ => return text.to_owned(),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut cut: String = text.chars().take(length).collect();
    if fill {
        let missing = length - cut.chars().count();
        cut.extend(std::iter::repeat_n(' ', missing));
    }
    cut
}

/// A float as Java prints it, from its shortest digits in the form `-1.25e-3`.
fn java_float(shortest: &str, value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (minus, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let or_zero = |text: &str| {
        if text.is_empty() {
            "0".to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut out = minus.to_owned();
    // Writing to a string cannot fail.
    let _ = match usize::try_from(exponent) {
        _ if value == 0.0 => write!(out, "0.0"),
        Ok(exponent) if exponent < 7 => {
            let padded = format!("{digits:0<width$}", width = exponent + 1);
            let (whole, fraction) = padded.split_at(exponent + 1);
            write!(out, "{whole}.{}", or_zero(fraction))
        }
        Err(_) if exponent >= -3 => write!(
            out,
            "0.{}{digits}",
            "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0))
        ),
        _ => {
            let (first, rest) = digits.split_at(1);
            write!(out, "{first}.{}E{exponent}", or_zero(rest))
        }
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_java() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (123_456.789, "123456.789"),
            (9_999_999.0, "9999999.0"),
            (1.0E7, "1.0E7"),
            (1.25E10, "1.25E10"),
            (0.001, "0.001"),
            (0.012_3, "0.0123"),
            (0.000_1, "1.0E-4"),
            (1.5E-7, "1.5E-7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(java_float(&format!("{value:e}"), value), text);
        }
    }
}
