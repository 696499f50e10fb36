//! Precision and scale of decimal results.

use streamkeeper_protocol::types::DataType;

use crate::types::MAX_DECIMAL;

/// Digits after the point that survive when a result has too many digits.
const MIN_SCALE: i32 = 6;

/// Precision and scale of an exact number; integers count as decimals of their widest value.
pub(crate) fn as_decimal(ty: &DataType) -> Option<(i32, i32)> {
    Some(match ty {
        DataType::TinyInt => (3, 0),
        DataType::SmallInt => (5, 0),
        DataType::Int => (10, 0),
        DataType::BigInt => (19, 0),
        DataType::Decimal { precision, scale } => (i32::from(*precision), i32::from(*scale)),
        _ => return None,
    })
}

/// Type of `a + b` and `a - b`.
pub(crate) fn minus_or_plus((p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> DataType {
    let scale = s1.max(s2);
    adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale)
}

/// Type of `a * b`.
pub(crate) fn times((p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> DataType {
    adjusted(p1 + p2 + 1, s1 + s2)
}

/// Type of `a / b`.
pub(crate) fn divide((p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> DataType {
    let scale = MIN_SCALE.max(s1 + p2 + 1);
    adjusted(p1 - s1 + s2 + scale, scale)
}

/// Type of `a % b`.
pub(crate) fn modulo((p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> DataType {
    let scale = s1.max(s2);
    adjusted((p1 - s1).min(p2 - s2) + scale, scale)
}

/// Type of `ROUND(a, digits)`.
pub(crate) fn round((p, s): (i32, i32), digits: i32) -> DataType {
    if digits >= s {
        decimal(p, s)
    } else if digits < 0 {
        decimal((1 + p - s).min(i32::from(MAX_DECIMAL)), 0)
    } else {
        decimal((1 + p - s + digits).min(i32::from(MAX_DECIMAL)), digits)
    }
}

/// A result of more than 38 digits loses digits after the point first, but keeps [`MIN_SCALE`] of
/// them.
fn adjusted(precision: i32, scale: i32) -> DataType {
    let max = i32::from(MAX_DECIMAL);
    if precision <= max {
        return decimal(precision, scale);
    }
    let kept = (max - (precision - scale)).max(scale.min(MIN_SCALE));
    decimal(max, kept)
}

pub(super) fn decimal(precision: i32, scale: i32) -> DataType {
    let precision = u8::try_from(precision)
        .unwrap_or(MAX_DECIMAL)
        .clamp(1, MAX_DECIMAL);
    let scale = u8::try_from(scale).unwrap_or(0).min(precision);
    DataType::Decimal { precision, scale }
}
