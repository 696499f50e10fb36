//! Converts type names of the SQL text to the engine's types.

use sqlparser::ast::{self, CharacterLength, ExactNumberInfo, TimezoneInfo, TypeModifier};
use streamkeeper_protocol::types::DataType;

/// Largest precision of a decimal.
pub(crate) const MAX_DECIMAL: u8 = 38;

const SUPPORTED: &str = "supported are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), CHAR(n), VARCHAR(n), STRING, BYTES, DATE, TIME, \
                         TIMESTAMP(p) and TIMESTAMP_LTZ(p)";

/// The engine's type for a type name, or a sentence why there is none.
pub(crate) fn resolve_type(ty: &ast::DataType) -> Result<DataType, String> {
    use ast::DataType as Sql;
    Ok(match ty {
        Sql::Boolean => DataType::Boolean,
        Sql::TinyInt(None) => DataType::TinyInt,
        Sql::SmallInt(None) => DataType::SmallInt,
        Sql::Int(None) | Sql::Integer(None) => DataType::Int,
        Sql::BigInt(None) => DataType::BigInt,
        Sql::Float(ExactNumberInfo::None) => DataType::Float,
        Sql::Double(ExactNumberInfo::None) | Sql::DoublePrecision => DataType::Double,
        Sql::Decimal(info) | Sql::Dec(info) | Sql::Numeric(info) => decimal(info)?,
        Sql::Char(length) | Sql::Character(length) => DataType::Char {
            length: characters(length.as_ref())?.unwrap_or(1),
        },
        Sql::Varchar(length) | Sql::CharVarying(length) | Sql::CharacterVarying(length) => {
            DataType::Varchar {
                length: characters(length.as_ref())?,
            }
        }
        Sql::String(None) => DataType::STRING,
        Sql::Bytes(None) => DataType::Bytes,
        Sql::Date => DataType::Date,
        Sql::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => match precision
        {
            None | Some(0) => DataType::Time,
            Some(precision) => {
                return Err(format!(
                    "TIME({precision}) is not supported: TIME has whole seconds"
                ));
            }
        },
        Sql::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp {
                precision: fraction(*precision)?,
            }
        }
        Sql::Custom(name, modifiers) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            DataType::TimestampLtz {
                precision: fraction(modifier(modifiers)?)?,
            }
        }
        Sql::Array(_) | Sql::Map(..) | Sql::Struct(..) => {
            return Err(format!(
                "the nested type {ty} is not supported; {SUPPORTED}"
            ));
        }
        other => return Err(format!("the type {other} is not supported; {SUPPORTED}")),
    })
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=MAX_DECIMAL), Ok(scale)) if scale <= precision => {
            Ok(DataType::Decimal { precision, scale })
        }
        _ => Err(format!(
            "DECIMAL({precision}, {scale}) does not exist: precision is 1 to 38, scale 0 to the precision"
        )),
    }
}

fn characters(length: Option<&CharacterLength>) -> Result<Option<u32>, String> {
    match length {
        None | Some(CharacterLength::Max) => Ok(None),
        Some(CharacterLength::IntegerLength { length, unit: None }) => match u32::try_from(*length)
        {
            Ok(2_147_483_647) => Ok(None),
            Ok(length @ 1..=2_147_483_646) => Ok(Some(length)),
            _ => Err(format!(
                "a length of {length} characters is out of range 1 to 2147483647"
            )),
        },
        Some(CharacterLength::IntegerLength {
            unit: Some(unit), ..
        }) => Err(format!(
            "lengths are in characters; {unit} is not supported here"
        )),
    }
}

fn fraction(precision: Option<u64>) -> Result<u8, String> {
    match precision.unwrap_or(6) {
        precision @ 0..=6 => Ok(u8::try_from(precision).unwrap_or(6)),
        precision => Err(format!(
            "a precision of {precision} is not supported: timestamps have at most microseconds, precision 6"
        )),
    }
}

fn modifier(modifiers: &[TypeModifier]) -> Result<Option<u64>, String> {
    match modifiers {
        [] => Ok(None),
        [TypeModifier::Number(digits, false)] => digits
            .parse()
            .map(Some)
            .map_err(|_| format!("'{digits}' is not a precision")),
        _ => Err("TIMESTAMP_LTZ takes one precision, as in TIMESTAMP_LTZ(3)".to_owned()),
    }
}
