//! Texts to everything.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Int64Array, PrimitiveArray,
    types::{Decimal128Type, Float32Type, Float64Type},
};
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::types::DataType;

use super::{Cast, print};
use crate::expr::{
    ExprError, datetime_text,
    decimal::{self, BadDecimal, Target},
    int64,
    node::Kernel,
    value::{Value, build_strings},
};

/// Parses a text to the 64-bit form of its type.
type ParseWhole = Box<dyn Fn(&str) -> Result<i64, &'static str> + Send + Sync>;

pub(super) fn kernel(cast: &Cast<'_>) -> Option<Kernel> {
    let (tolerant, to, out) = (cast.tolerant, cast.to.clone(), arrow_type(cast.to));
    let whole = |parse: ParseWhole| -> Kernel {
        let (to, out) = (to.clone(), out.clone());
        Box::new(move |args, rows| {
            let parsed: Int64Array = each(&args[0], rows, tolerant, &to, &parse)?
                .into_iter()
                .collect();
            int64::from_i64(Arc::new(parsed), &out)
        })
    };
    let bounds = |least: i64, most: i64| whole(Box::new(move |text| integer(text, least, most)));
    let offset = cast.zone.offset_micros();
    Some(match cast.to {
        DataType::TinyInt => bounds(i8::MIN.into(), i8::MAX.into()),
        DataType::SmallInt => bounds(i16::MIN.into(), i16::MAX.into()),
        DataType::Int => bounds(i32::MIN.into(), i32::MAX.into()),
        DataType::BigInt => bounds(i64::MIN, i64::MAX),
        DataType::Boolean => Box::new(move |args, rows| {
            Ok(Arc::new(
                each(&args[0], rows, tolerant, &to, boolean)?
                    .into_iter()
                    .collect::<BooleanArray>(),
            ))
        }),
        DataType::Float => Box::new(move |args, rows| {
            primitive::<Float32Type>(&args[0], rows, tolerant, &to, float)
        }),
        DataType::Double => Box::new(move |args, rows| {
            primitive::<Float64Type>(&args[0], rows, tolerant, &to, float)
        }),
        DataType::Decimal { precision, scale } => {
            let target = Target {
                precision: *precision,
                scale: *scale,
            };
            Box::new(move |args, rows| {
                primitive::<Decimal128Type>(&args[0], rows, tolerant, &to, |text| {
                    decimal::parse(text.trim_matches([' ', '\n', '\t']), target).map_err(|error| {
                        match error {
                            BadDecimal::Syntax => "it is not a number",
                            BadDecimal::Overflow => "it has too many digits",
                        }
                    })
                })
            })
        }
        DataType::Date => whole(Box::new(|text| {
            datetime_text::parse_date(text).ok_or("it is not like yyyy-MM-dd")
        })),
        DataType::Time => whole(Box::new(|text| {
            datetime_text::parse_time(text).ok_or("it is not like HH:mm:ss")
        })),
        DataType::Timestamp { precision } => whole(timestamp(cast.to, *precision, 0)),
        DataType::TimestampLtz { precision } => whole(timestamp(cast.to, *precision, offset)),
        DataType::Bytes => Box::new(|args, rows| {
            let texts = args[0].strings()?;
            Ok(Arc::new(
                (0..rows)
                    .map(|row| texts.get(row).map(str::as_bytes))
                    .collect::<BinaryArray>(),
            ))
        }),
        DataType::Char { .. } | DataType::Varchar { length: Some(_) } => {
            Box::new(move |args, rows| {
                let texts = args[0].strings()?;
                Ok(Arc::new(build_strings(rows, |row| {
                    Ok(texts.get(row).map(|text| print::fit(text, &to)))
                })?))
            })
        }
        DataType::Varchar { length: None } => super::conversion::unchanged(),
        _ => return None,
    })
}

/// Parses every text; failures are NULL if `tolerant`.
fn each<T>(
    value: &Value,
    rows: usize,
    tolerant: bool,
    to: &DataType,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<Option<T>>, ExprError> {
    let texts = value.strings()?;
    (0..rows)
        .map(|row| {
            let Some(text) = texts.get(row) else {
                return Ok(None);
            };
            match parse(text) {
                Ok(parsed) => Ok(Some(parsed)),
                Err(_) if tolerant => Ok(None),
                Err(why) => Err(ExprError::new("CAST", format!("'{text}' to {to}: {why}"))),
            }
        })
        .collect()
}

fn primitive<T: ArrowPrimitiveType>(
    value: &Value,
    rows: usize,
    tolerant: bool,
    to: &DataType,
    parse: impl Fn(&str) -> Result<T::Native, &'static str>,
) -> Result<ArrayRef, ExprError> {
    let parsed: PrimitiveArray<T> = each(value, rows, tolerant, to, parse)?
        .into_iter()
        .collect();
    Ok(Arc::new(parsed.with_data_type(arrow_type(to))))
}

/// `[+-]digits[.digits]`, blanks around; the fraction is cut off.
fn integer(text: &str, least: i64, most: i64) -> Result<i64, &'static str> {
    let text = text.trim_matches(' ');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if digits.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit())
    {
        return Err("it is not a whole number");
    }
    // Negative numbers reach one further than positive ones.
    let magnitude: i128 = format!("0{}", whole.trim_start_matches('0'))
        .parse()
        .unwrap_or(i128::MAX);
    let value = if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    };
    i64::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or("it is out of range")
}

fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Ok(true),
        "f" | "false" | "n" | "no" | "0" => Ok(false),
        _ => Err("it is neither true nor false"),
    }
}

/// What Java's `parseDouble` takes, without hexadecimal.
fn float<F: std::str::FromStr>(text: &str) -> Result<F, &'static str> {
    const WHY: &str = "it is not a number";
    let text = text.trim_matches(|letter: char| letter <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_named = matches!(unsigned, "NaN" | "Infinity");
    let bare = if is_named {
        text
    } else {
        text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text)
    };
    let is_number = unsigned.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && bare.ends_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    if is_named || is_number {
        bare.parse().map_err(|_| WHY)
    } else {
        Err(WHY)
    }
}

fn timestamp(to: &DataType, precision: u8, offset: i64) -> ParseWhole {
    let unit = 1000 / int64::units_per_ms(to);
    let step = 10_i64.pow(u32::from(6_u8.saturating_sub(precision)));
    Box::new(move |text| {
        let local =
            datetime_text::parse_timestamp(text).ok_or("it is not like yyyy-MM-dd HH:mm:ss.SSS")?;
        let micros = local.to_micros().div_euclid(step) * step - offset;
        Ok(micros.div_euclid(unit))
    })
}
