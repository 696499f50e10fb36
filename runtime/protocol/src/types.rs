//! Flink's data types, as far as the engine models them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A data type without its nullability. The comment names the Arrow type that carries it in a
/// batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// Type of an untyped `NULL` literal (Arrow `Null`).
    Null,
    /// `BOOLEAN` (Arrow `Boolean`).
    Boolean,
    /// `TINYINT` (Arrow `Int8`).
    TinyInt,
    /// `SMALLINT` (Arrow `Int16`).
    SmallInt,
    /// `INT` (Arrow `Int32`).
    Int,
    /// `BIGINT` (Arrow `Int64`).
    BigInt,
    /// `FLOAT` (Arrow `Float32`).
    Float,
    /// `DOUBLE` (Arrow `Float64`).
    Double,
    /// `DECIMAL(precision, scale)`, precision 1 to 38 (Arrow `Decimal128`).
    Decimal {
        /// Total digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `CHAR(length)` in characters (Arrow `Utf8`).
    Char {
        /// Characters.
        length: u32,
    },
    /// `VARCHAR(length)`; no length means `STRING` (Arrow `Utf8`).
    Varchar {
        /// Characters at most.
        length: Option<u32>,
    },
    /// `BYTES` (Arrow `Binary`).
    Bytes,
    /// `DATE`, days since 1970-01-01 (Arrow `Date32`).
    Date,
    /// `TIME(0)`, milliseconds of the day (Arrow `Time32(Millisecond)`).
    Time,
    /// `TIMESTAMP(precision)` without a zone (Arrow `Timestamp(Millisecond)` for precision up to 3,
    /// else `Timestamp(Microsecond)`, none).
    Timestamp {
        /// Digits of the second's fraction, 0 to 6.
        precision: u8,
    },
    /// `TIMESTAMP_LTZ(precision)`, an instant (Arrow as `Timestamp`, with zone `+00:00`).
    TimestampLtz {
        /// Digits of the second's fraction, 0 to 6.
        precision: u8,
    },
    /// `INTERVAL DAY TO SECOND` in milliseconds; only inside expressions (Arrow `Int64`).
    IntervalDayTime,
    /// `INTERVAL YEAR TO MONTH` in months; only inside expressions (Arrow `Int32`).
    IntervalYearMonth,
}

impl DataType {
    /// `STRING`.
    pub const STRING: Self = Self::Varchar { length: None };

    /// Whether this is one of the four integer types.
    pub fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt
        )
    }

    /// Whether arithmetic applies: integers, decimals, floats.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, Self::Float | Self::Double | Self::Decimal { .. })
    }

    /// Whether this is `CHAR`, `VARCHAR` or `STRING`.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::Char { .. } | Self::Varchar { .. })
    }

    /// Whether this is `TIMESTAMP` or `TIMESTAMP_LTZ`.
    pub fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp { .. } | Self::TimestampLtz { .. })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Char { length } => write!(f, "CHAR({length})"),
            Self::Varchar { length: None } => f.write_str("STRING"),
            Self::Varchar {
                length: Some(length),
            } => write!(f, "VARCHAR({length})"),
            Self::Bytes => f.write_str("BYTES"),
            Self::Date => f.write_str("DATE"),
            Self::Time => f.write_str("TIME(0)"),
            Self::Timestamp { precision } => write!(f, "TIMESTAMP({precision})"),
            Self::TimestampLtz { precision } => write!(f, "TIMESTAMP_LTZ({precision})"),
            Self::IntervalDayTime => f.write_str("INTERVAL DAY TO SECOND"),
            Self::IntervalYearMonth => f.write_str("INTERVAL YEAR TO MONTH"),
        }
    }
}

/// A data type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogicalType {
    /// The type.
    pub data: DataType,
    /// Whether NULL is among the values.
    pub nullable: bool,
}

impl LogicalType {
    /// A type that admits NULL.
    pub fn nullable(data: DataType) -> Self {
        Self {
            data,
            nullable: true,
        }
    }

    /// A type that does not.
    pub fn not_null(data: DataType) -> Self {
        Self {
            data,
            nullable: false,
        }
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.data,
            if self.nullable { "" } else { " NOT NULL" }
        )
    }
}

/// A named, typed column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Case-sensitive name.
    pub name: String,
    /// Type and nullability.
    pub ty: LogicalType,
}

impl Field {
    /// A column.
    pub fn new(name: impl Into<String>, ty: LogicalType) -> Self {
        Self {
            name: name.into(),
            ty,
        }
    }
}

/// The columns of a table, a view or an edge of a plan, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schema {
    /// Columns in order.
    pub fields: Vec<Field>,
}

impl Schema {
    /// A schema of these columns.
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields }
    }

    /// Position of a column by its exact name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}
