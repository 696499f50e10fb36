//! The common type of values of several types.

use streamkeeper_protocol::types::DataType;

use super::decimal::{as_decimal, decimal};
use crate::types::MAX_DECIMAL;

/// Which of Flink's two sets of rules applies where FLOAT meets DOUBLE or DECIMAL, and TIMESTAMP
/// meets TIMESTAMP_LTZ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Calcite's, by the order of the operands: arithmetic, comparison, CASE, IF, UNION.
    Ordered,
    /// Flink's own, for the wider type: COALESCE, IFNULL, GREATEST, LEAST.
    Widest,
}

/// The type that all `types` convert to implicitly, if there is one. Untyped NULLs fit any type.
pub(crate) fn common_type<'a>(
    types: impl IntoIterator<Item = &'a DataType>,
    rules: Rules,
) -> Option<DataType> {
    let mut common = DataType::Null;
    for ty in types {
        common = pair(&common, ty, rules)?;
    }
    Some(common)
}

fn pair(a: &DataType, b: &DataType, rules: Rules) -> Option<DataType> {
    use DataType as T;
    Some(match (a, b) {
        (T::Null, other) | (other, T::Null) => other.clone(),
        (a, b) if a == b => a.clone(),
        (a, b) if a.is_integer() && b.is_integer() => {
            if width(a) >= width(b) {
                a.clone()
            } else {
                b.clone()
            }
        }
        (T::Decimal { .. }, T::Float) if rules == Rules::Widest => T::Float,
        (T::Decimal { .. }, b) if b.is_numeric() => with_decimal(a, b),
        (a, T::Decimal { .. }) if a.is_numeric() => with_decimal(a, b),
        (T::Float, T::Double) | (T::Double, T::Float) => match rules {
            Rules::Ordered => a.clone(),
            Rules::Widest => T::Double,
        },
        (T::Float | T::Double, other) if other.is_integer() => a.clone(),
        (other, T::Float | T::Double) if other.is_integer() => b.clone(),
        (a, b) if a.is_string() && b.is_string() => strings(a, b),
        (
            T::Timestamp { precision: p } | T::TimestampLtz { precision: p },
            T::Timestamp { precision: q } | T::TimestampLtz { precision: q },
        ) => {
            let precision = *p.max(q);
            let is_instant = |ty: &T| matches!(ty, T::TimestampLtz { .. });
            let instant = match rules {
                Rules::Widest => is_instant(a) || is_instant(b),
                Rules::Ordered if p == q => is_instant(a),
                Rules::Ordered => is_instant(b),
            };
            if instant {
                T::TimestampLtz { precision }
            } else {
                T::Timestamp { precision }
            }
        }
        _ => return None,
    })
}

/// Bytes of an integer type.
fn width(ty: &DataType) -> u8 {
    match ty {
        DataType::TinyInt => 1,
        DataType::SmallInt => 2,
        DataType::Int => 4,
        _ => 8,
    }
}

fn with_decimal(a: &DataType, b: &DataType) -> DataType {
    let (Some((p1, s1)), Some((p2, s2))) = (as_decimal(a), as_decimal(b)) else {
        return DataType::Double;
    };
    let max = i32::from(MAX_DECIMAL);
    let before_point = (p1 - s1).max(p2 - s2).min(max);
    let scale = s1.max(s2).min(max - before_point);
    decimal(before_point + scale, scale)
}

/// Texts of different lengths meet in VARCHAR, so that none is padded.
fn strings(a: &DataType, b: &DataType) -> DataType {
    DataType::Varchar {
        length: string_length(a)
            .zip(string_length(b))
            .map(|(a, b)| a.max(b)),
    }
}

fn string_length(ty: &DataType) -> Option<u32> {
    match ty {
        DataType::Char { length } => Some(*length),
        DataType::Varchar { length } => *length,
        _ => None,
    }
}
