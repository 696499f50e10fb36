//! `INTERVAL '5' SECOND`, `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL '1 02:03:04.5' DAY TO SECOND`.

use sqlparser::ast::{self, DateTimeField, UnaryOperator};
use streamkeeper_protocol::{
    expr::{Expr, Literal},
    types::{DataType, LogicalType},
};

use crate::error::{Position, SqlError};

/// Digits of the leading field where no precision is written, as the SQL standard has it.
const LEADING_DIGITS: u64 = 2;

/// Units in falling order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Unit {
    fn of(field: &DateTimeField) -> Option<Self> {
        use DateTimeField as F;
        Some(match field {
            F::Year | F::Years => Self::Year,
            F::Quarter => Self::Quarter,
            F::Month | F::Months => Self::Month,
            F::Week(None) | F::Weeks => Self::Week,
            F::Day | F::Days => Self::Day,
            F::Hour | F::Hours => Self::Hour,
            F::Minute | F::Minutes => Self::Minute,
            F::Second | F::Seconds => Self::Second,
            _ => return None,
        })
    }

    /// Months or milliseconds.
    fn scale(self) -> i64 {
        match self {
            Self::Year => 12,
            Self::Quarter => 3,
            Self::Month => 1,
            Self::Week => 604_800_000,
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
        }
    }

    /// The unit that follows in a combined interval, the sign between them and its largest value.
    fn next(self) -> Option<(Self, char, i64)> {
        match self {
            Self::Year => Some((Self::Month, '-', 11)),
            Self::Day => Some((Self::Hour, ' ', 23)),
            Self::Hour => Some((Self::Minute, ':', 59)),
            Self::Minute => Some((Self::Second, ':', 59)),
            _ => None,
        }
    }
}

/// The value of an interval constant.
pub(crate) fn interval_literal(
    interval: &ast::Interval,
    position: Position,
) -> Result<Expr, SqlError> {
    let refuse = |message: String| {
        SqlError::at(position, message).hint(
            "an interval is written like INTERVAL '5' MINUTE or INTERVAL '1 12:30' DAY TO MINUTE",
        )
    };
    let (text, negative) = constant(&interval.value)
        .ok_or_else(|| refuse("the value of an interval must be a constant".to_owned()))?;
    let field = interval
        .leading_field
        .as_ref()
        .ok_or_else(|| refuse("the interval has no unit".to_owned()))?;
    let unknown = |field: &DateTimeField| refuse(format!("intervals in {field} are not supported"));
    let first = Unit::of(field).ok_or_else(|| unknown(field))?;
    let last = match &interval.last_field {
        Some(field) => Unit::of(field).ok_or_else(|| unknown(field))?,
        None => first,
    };
    let (text, negative) = match text.strip_prefix('-') {
        Some(text) => (text, !negative),
        None => (text.strip_prefix('+').unwrap_or(text), negative),
    };
    let range = if first == last {
        format!("{first:?}")
    } else {
        format!("{first:?} TO {last:?}")
    }
    .to_uppercase();
    let malformed = || refuse(format!("'{text}' is not an interval of {range}"));
    let (leading, amount) = read(text, first, last).ok_or_else(malformed)?;
    let digits = interval.leading_precision.unwrap_or(LEADING_DIGITS);
    if u64::try_from(leading.len()).unwrap_or(u64::MAX) > digits {
        let unit = format!("{first:?}").to_uppercase();
        return Err(SqlError::at(
            position,
            format!("the interval's {leading} has more than {digits} digits"),
        )
        .hint(format!(
            "write {unit}({}), or use a larger unit",
            leading.len()
        )));
    }
    let amount = if negative { -amount } else { amount };
    let (literal, data) = if first <= Unit::Month {
        let months = i32::try_from(amount).map_err(|_| malformed())?;
        (Literal::IntervalMonths(months), DataType::IntervalYearMonth)
    } else {
        (Literal::IntervalMillis(amount), DataType::IntervalDayTime)
    };
    Ok(Expr::literal(literal, LogicalType::not_null(data)))
}

fn constant(value: &ast::Expr) -> Option<(&str, bool)> {
    match value {
        ast::Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => constant(expr).map(|(text, minus)| (text, !minus)),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some((text.trim(), false)),
            ast::Value::Number(digits, false) => Some((digits, false)),
            _ => None,
        },
        _ => None,
    }
}

/// The leading field's digits and the whole in months or milliseconds.
fn read(text: &str, first: Unit, last: Unit) -> Option<(&str, i64)> {
    let mut unit = first;
    let mut rest = text;
    let mut total: i64 = 0;
    let mut leading = None;
    let mut limit = i64::MAX;
    loop {
        let (field, following) = if unit == last {
            (rest, None)
        } else {
            let (next, separator, limit) = unit.next()?;
            let (field, tail) = rest.split_once(separator)?;
            (field, Some((next, limit, tail)))
        };
        let (whole, millis) = if unit == Unit::Second {
            seconds(field)?
        } else {
            (field, 0)
        };
        if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value: i64 = whole.parse().ok().filter(|value| *value <= limit)?;
        total = total
            .checked_add(value.checked_mul(unit.scale())?)?
            .checked_add(millis)?;
        leading.get_or_insert(whole);
        match following {
            None => return leading.map(|leading| (leading, total)),
            Some((next, next_limit, tail)) => (unit, limit, rest) = (next, next_limit, tail),
        }
    }
}

/// Whole seconds and the milliseconds after the point; smaller parts are dropped, as Flink drops
/// them.
fn seconds(text: &str) -> Option<(&str, i64)> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return Some((text, 0));
    };
    if fraction.is_empty()
        || fraction.len() > 9
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    Some((whole, format!("{fraction:0<3}").get(..3)?.parse().ok()?))
}
