//! Casts: which exist, which are implicit, and casts of constants.

use streamkeeper_protocol::{
    expr::{Expr, ExprKind, Literal},
    types::{DataType, LogicalType},
};

use super::as_decimal;

/// `expr` as a value of type `data`; nothing is added where it has the type already, and constants
/// change their type in place.
pub(crate) fn cast(expr: Expr, data: &DataType) -> Expr {
    if expr.ty.data == *data {
        return expr;
    }
    let ty = LogicalType {
        data: data.clone(),
        nullable: expr.ty.nullable,
    };
    if let ExprKind::Literal(literal) = &expr.kind
        && let Some(literal) = convert(literal, &expr.ty.data, data)
    {
        return Expr::literal(literal, ty);
    }
    Expr {
        kind: ExprKind::Cast {
            input: Box::new(expr),
            tolerant: false,
        },
        ty,
    }
}

/// A constant in another type, where that loses nothing.
fn convert(literal: &Literal, from: &DataType, to: &DataType) -> Option<Literal> {
    match (literal, to) {
        (Literal::Null, _) => Some(Literal::Null),
        (Literal::Integer(value), DataType::BigInt) => Some(Literal::Integer(*value)),
        (Literal::Integer(value), DataType::Int) => i32::try_from(*value)
            .is_ok()
            .then_some(Literal::Integer(*value)),
        // Every INT is a DOUBLE exactly.
        (Literal::Integer(value), DataType::Double) => i32::try_from(*value)
            .ok()
            .map(|value| Literal::Double(value.into())),
        (Literal::Integer(value), DataType::Decimal { .. }) => rescale(&value.to_string(), 0, to),
        (Literal::Decimal(digits), DataType::Decimal { .. }) => {
            let (_, scale) = as_decimal(from)?;
            rescale(digits, scale, to)
        }
        (Literal::TimestampMicros(micros), DataType::Timestamp { precision: to }) => match from {
            DataType::Timestamp { precision: from } if from <= to => {
                Some(Literal::TimestampMicros(*micros))
            }
            _ => None,
        },
        (Literal::String(text), DataType::Varchar { length }) => {
            let fits = length.is_none_or(|length| text.chars().count() <= length as usize);
            fits.then(|| Literal::String(text.clone()))
        }
        _ => None,
    }
}

/// Appends zeros to reach the scale of `to`; refuses to drop digits.
fn rescale(digits: &str, scale: i32, to: &DataType) -> Option<Literal> {
    let (precision, target) = as_decimal(to)?;
    let zeros = usize::try_from(target - scale).ok()?;
    let bare = digits.trim_start_matches('-').trim_start_matches('0');
    let fits = bare.is_empty() || bare.len() + zeros <= usize::try_from(precision).ok()?;
    fits.then(|| Literal::Decimal(format!("{digits}{}", "0".repeat(zeros))))
}

/// Whether `CAST(from AS to)` exists. The error is advice.
pub(crate) fn explicit_cast(from: &DataType, to: &DataType) -> Result<(), &'static str> {
    use DataType as T;
    let number = |ty: &T| ty.is_numeric();
    let allowed = match (from, to) {
        (T::Null, _) => true,
        (T::IntervalDayTime | T::IntervalYearMonth, _)
        | (_, T::IntervalDayTime | T::IntervalYearMonth | T::Null) => false,
        (a, b) if number(a) && (b.is_timestamp()) => {
            return Err(
                "use TO_TIMESTAMP_LTZ(number, 3) for milliseconds since 1970, 0 for seconds",
            );
        }
        (a, b) if a.is_timestamp() && number(b) => {
            return Err("use EXTRACT(EPOCH FROM …) for seconds since 1970");
        }
        (T::Float | T::Double | T::Decimal { .. }, T::Boolean) => {
            return Err("write value <> 0");
        }
        (a, b) if a == b => true,
        (a, b) if a.is_string() || b.is_string() => !(matches!(a, T::Null)),
        (a, b) if (number(a) || *a == T::Boolean) && (number(b) || *b == T::Boolean) => true,
        (a, T::Date | T::Time) if a.is_timestamp() => true,
        (T::Date | T::Time, b) if b.is_timestamp() => true,
        (a, b) if a.is_timestamp() && b.is_timestamp() => true,
        _ => false,
    };
    if allowed {
        Ok(())
    } else {
        Err("there is no such conversion")
    }
}

/// Whether `INSERT INTO` converts `from` to the sink's `to` implicitly: to wider numbers, between
/// decimals, between strings, between timestamps.
pub(crate) fn fits_sink(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let rank = |ty: &T| match ty {
        T::TinyInt => Some(1),
        T::SmallInt => Some(2),
        T::Int => Some(3),
        T::BigInt => Some(4),
        _ => None,
    };
    match (from, to) {
        (T::Null, _) => true,
        (a, b) if a == b => true,
        (a, T::Decimal { .. }) => a.is_numeric(),
        (a, b) if b.is_integer() => rank(a).zip(rank(b)).is_some_and(|(a, b)| a <= b),
        (T::Double, T::Float) => false,
        (a, T::Float | T::Double) => a.is_numeric(),
        (a, T::Varchar { .. }) => a.is_string(),
        (T::Char { .. }, T::Char { .. }) | (T::Timestamp { .. }, T::Date | T::Time) => true,
        (a, b) => a.is_timestamp() && b.is_timestamp(),
    }
}
