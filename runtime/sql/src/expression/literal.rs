//! Constants.

use jiff::civil::{Date, Time};
use sqlparser::ast;
use streamkeeper_protocol::{
    expr::{Expr, Literal},
    types::{DataType, LogicalType},
};

use super::{
    analyzer::Analyzer,
    build::{self, null},
};
use crate::{
    error::{Position, Result, SqlError},
    types::MAX_DECIMAL,
};

impl Analyzer<'_> {
    pub(super) fn value(&self, value: &ast::ValueWithSpan) -> Result<Expr> {
        let position = Position::from(value.span.start).or(self.places.start);
        match &value.value {
            ast::Value::Number(digits, false) => number(digits, position),
            ast::Value::SingleQuotedString(text) => Ok(build::string(text)),
            ast::Value::Boolean(value) => Ok(Expr::literal(
                Literal::Boolean(*value),
                LogicalType::not_null(DataType::Boolean),
            )),
            ast::Value::Null => Ok(null()),
            other => Err(SqlError::at(
                position,
                format!("the constant {other} is not supported"),
            )),
        }
    }
}

/// `DATE '2024-01-31'`, `TIME '10:00:00'`, `TIMESTAMP '2024-01-31 10:00:00.123'`.
pub(super) fn typed_string(typed: &ast::TypedString, position: Position) -> Result<Expr> {
    let ast::Value::SingleQuotedString(text) = &typed.value.value else {
        return Err(SqlError::at(
            position,
            "a text in single quotes is expected",
        ));
    };
    let malformed = |kind: &str, format: &str| {
        Err(SqlError::at(
            position,
            format!("'{text}' is not a {kind}: it is written {format}"),
        ))
    };
    match &typed.data_type {
        ast::DataType::Date => match date(text).map(days) {
            Some(days) => Ok(Expr::literal(
                Literal::Date(days),
                LogicalType::not_null(DataType::Date),
            )),
            None => malformed("date", "yyyy-MM-dd"),
        },
        ast::DataType::Time(None, _) => match time(text) {
            Some((time, 0)) => Ok(Expr::literal(
                Literal::Time(millis(time)),
                LogicalType::not_null(DataType::Time),
            )),
            _ => malformed("time of the day", "HH:mm:ss"),
        },
        ast::DataType::Timestamp(None, ast::TimezoneInfo::None) => match timestamp(text) {
            Some((micros, precision)) => Ok(Expr::literal(
                Literal::TimestampMicros(micros),
                LogicalType::not_null(DataType::Timestamp { precision }),
            )),
            None => malformed(
                "timestamp",
                "yyyy-MM-dd HH:mm:ss, with at most 6 digits after the second",
            ),
        },
        other => Err(SqlError::at(
            position,
            format!("constants of type {other} are not supported"),
        )
        .hint(format!("write CAST('{text}' AS {other})"))),
    }
}

/// A number: INT, BIGINT when larger, DECIMAL with a point, DOUBLE with an exponent.
pub(super) fn number(digits: &str, position: Position) -> Result<Expr> {
    let out_of_range = || SqlError::at(position, format!("the number {digits} is out of range"));
    if digits.contains(['e', 'E']) {
        let value: f64 = digits.parse().map_err(|_| out_of_range())?;
        if !value.is_finite() {
            return Err(out_of_range());
        }
        return Ok(Expr::literal(
            Literal::Double(value),
            LogicalType::not_null(DataType::Double),
        ));
    }
    if let Some((before, after)) = digits.split_once('.')
        && !after.is_empty()
    {
        let unsigned = before.trim_start_matches('-');
        let precision = u8::try_from(unsigned.len() + after.len())
            .ok()
            .filter(|p| *p <= MAX_DECIMAL);
        let scale = u8::try_from(after.len()).map_err(|_| out_of_range())?;
        let precision = precision.ok_or_else(out_of_range)?;
        let minus = if before.starts_with('-') { "-" } else { "" };
        let bare = format!("{unsigned}{after}");
        let bare = bare.trim_start_matches('0');
        let unscaled = if bare.is_empty() {
            "0".to_owned()
        } else {
            format!("{minus}{bare}")
        };
        return Ok(Expr::literal(
            Literal::Decimal(unscaled),
            LogicalType::not_null(DataType::Decimal { precision, scale }),
        ));
    }
    let value: i64 = digits
        .trim_end_matches('.')
        .parse()
        .map_err(|_| out_of_range())?;
    let data = if i32::try_from(value).is_ok() {
        DataType::Int
    } else {
        DataType::BigInt
    };
    Ok(Expr::literal(
        Literal::Integer(value),
        LogicalType::not_null(data),
    ))
}

fn fields<const N: usize>(text: &str, separator: char) -> Option<[i16; N]> {
    let mut out = [0; N];
    let mut parts = text.split(separator);
    for field in &mut out {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *field = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn date(text: &str) -> Option<Date> {
    let [year, month, day] = fields(text, '-')?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn days(date: Date) -> i32 {
    date.since(Date::constant(1970, 1, 1))
        .map_or(0, |span| span.get_days())
}

/// A time and the number of digits after the second.
fn time(text: &str) -> Option<(Time, u8)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if text.ends_with('.')
        || fraction.len() > 6
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let [hour, minute, second] =
        fields::<3>(whole, ':')?.map(|field| i8::try_from(field).unwrap_or(-1));
    let nanos: i32 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<9}").parse().ok()?
    };
    let time = Time::new(hour, minute, second, nanos).ok()?;
    Some((time, u8::try_from(fraction.len()).ok()?))
}

fn millis(time: Time) -> i32 {
    let seconds =
        i32::from(time.hour()) * 3600 + i32::from(time.minute()) * 60 + i32::from(time.second());
    seconds * 1000 + i32::from(time.millisecond())
}

/// Microseconds since the epoch and the precision.
fn timestamp(text: &str) -> Option<(i64, u8)> {
    let (day, clock) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let (time, precision) = time(clock)?;
    let micros = i64::from(millis(time)) * 1_000 + i64::from(time.microsecond());
    Some((
        i64::from(days(date(day)?)) * 86_400_000_000 + micros,
        precision,
    ))
}

/// A text as a constant date, time or timestamp, where it reads as one. What does not is left to
/// the cast at run time.
pub(super) fn temporal_constant(text: &str, data: &DataType) -> Option<Literal> {
    match data {
        DataType::Date => date(text).map(days).map(Literal::Date),
        DataType::Time => time(text)
            .filter(|(_, digits)| *digits == 0)
            .map(|(time, _)| Literal::Time(millis(time))),
        DataType::Timestamp { precision } => timestamp(text)
            .filter(|(_, digits)| digits <= precision)
            .map(|(micros, _)| Literal::TimestampMicros(micros)),
        _ => None,
    }
}

/// How a value of `data` is written, where `text` is certainly none. What is valid but has no
/// constant here is left to the cast at run time.
pub(super) fn misread(text: &str, data: &DataType) -> Option<&'static str> {
    const TRUTH: [&str; 10] = ["t", "true", "y", "yes", "1", "f", "false", "n", "no", "0"];
    // Digits of the fraction beyond the type's precision are cut off.
    let whole = match text.split_once('.') {
        Some((whole, fraction))
            if (1..=9).contains(&fraction.len())
                && fraction.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            whole
        }
        _ => text,
    };
    let (reads, form) = match data {
        DataType::Boolean => (
            TRUTH.contains(&text.to_lowercase().as_str()),
            "'true' or 'false'",
        ),
        DataType::Date => (date(text).is_some(), "'yyyy-MM-dd'"),
        DataType::Time => (time(whole).is_some(), "'HH:mm:ss'"),
        DataType::Timestamp { .. } | DataType::TimestampLtz { .. } => {
            (timestamp(whole).is_some(), "'yyyy-MM-dd HH:mm:ss'")
        }
        _ => return None,
    };
    (!reads).then_some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970() {
        assert_eq!(date("1970-01-01").map(days), Some(0));
        assert_eq!(date("2013-01-01").map(days), Some(15_706));
        assert_eq!(date("1969-12-31").map(days), Some(-1));
        assert_eq!(date("2024-02-30"), None);
    }

    #[test]
    fn timestamps_have_the_precision_of_their_text() {
        assert_eq!(timestamp("1970-01-01 00:00:01"), Some((1_000_000, 0)));
        assert_eq!(
            timestamp("1970-01-02 00:00:00.123456"),
            Some((86_400_123_456, 6))
        );
        assert_eq!(timestamp("1970-01-01T00:00:01"), None);
        assert_eq!(timestamp("1970-01-01 24:00:00"), None);
    }

    #[test]
    fn numbers_have_flinks_types() {
        let ty = |text: &str| {
            number(text, Position::START)
                .map(|expr| expr.ty.data.to_string())
                .unwrap_or_default()
        };
        assert_eq!(ty("0.908"), "DECIMAL(4, 3)");
        assert_eq!(ty(".5"), "DECIMAL(1, 1)");
        assert_eq!(ty("1."), "INT");
        assert_eq!(ty("2147483648"), "BIGINT");
        assert_eq!(ty("-2147483648"), "INT");
        assert_eq!(ty("1e3"), "DOUBLE");
        assert_eq!(ty("9223372036854775808"), "");
    }
}
