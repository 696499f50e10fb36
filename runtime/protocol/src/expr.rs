//! Typed scalar expressions over the columns of one input.
//!
//! The SQL front end resolves names, types and coercions; what the engine sees needs no inference.
//! Rules it may rely on:
//! * both operands of arithmetic and comparison have the same [`DataType`](crate::types::DataType),
//!   casts being explicit, except that decimals may differ in precision and scale, and that
//!   `timestamp ± interval` mixes types; the result type of every node is stated in `ty`;
//! * integer arithmetic wraps, integer division by zero is an error, as in Flink;
//! * `AND`, `OR`, `NOT` follow three-valued logic; every other function returns NULL when an
//!   argument is NULL unless its variant says otherwise.

use serde::{Deserialize, Serialize};

use crate::types::LogicalType;

/// An expression with its result type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expr {
    /// What to compute.
    pub kind: ExprKind,
    /// Type of the result.
    pub ty: LogicalType,
}

impl Expr {
    /// A reference to column `index` of the input.
    pub fn column(index: usize, ty: LogicalType) -> Self {
        Self {
            kind: ExprKind::Column(index),
            ty,
        }
    }

    /// A constant.
    pub fn literal(value: Literal, ty: LogicalType) -> Self {
        Self {
            kind: ExprKind::Literal(value),
            ty,
        }
    }
}

/// The forms of an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExprKind {
    /// A column of the input, by position.
    Column(usize),
    /// A constant.
    Literal(Literal),
    /// A function of its arguments.
    Call {
        /// Which function.
        function: Function,
        /// Arguments in SQL order.
        args: Vec<Expr>,
    },
    /// Conversion to the node's type; `tolerant` (TRY_CAST) returns NULL where CAST fails the job.
    Cast {
        /// Value to convert.
        input: Box<Expr>,
        /// Whether a failure is NULL.
        tolerant: bool,
    },
    /// `CASE WHEN c THEN v … ELSE e END`; conditions are boolean, values have the node's type.
    Case {
        /// Condition and value, first match wins.
        branches: Vec<(Expr, Expr)>,
        /// Value when nothing matches; absent means NULL.
        otherwise: Option<Box<Expr>>,
    },
}

/// A constant; its type stands in the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Literal {
    /// NULL of any type.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// Any integer type.
    Integer(i64),
    /// FLOAT and DOUBLE.
    Double(f64),
    /// DECIMAL, as its unscaled digits ("-12345" with scale 2 is -123.45); the scale is the node's
    /// type's.
    Decimal(String),
    /// CHAR, VARCHAR, STRING.
    String(String),
    /// BYTES.
    Bytes(Vec<u8>),
    /// DATE, days since the epoch.
    Date(i32),
    /// TIME, milliseconds of the day.
    Time(i32),
    /// TIMESTAMP and TIMESTAMP_LTZ, microseconds since the epoch.
    TimestampMicros(i64),
    /// INTERVAL DAY TO SECOND, milliseconds.
    IntervalMillis(i64),
    /// INTERVAL YEAR TO MONTH, months.
    IntervalMonths(i32),
}

/// Scalar functions, with Flink's semantics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// `a + b`: numbers; timestamp, date or interval plus interval.
    Add,
    /// `a - b`: numbers; timestamp, date or interval minus interval.
    Subtract,
    /// `a * b`.
    Multiply,
    /// `a / b`; integers truncate and fail on zero.
    Divide,
    /// `a % b`, `MOD(a, b)`.
    Modulo,
    /// `-a`.
    Negate,
    /// `a = b`.
    Equal,
    /// `a <> b`.
    NotEqual,
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessOrEqual,
    /// `a > b`.
    Greater,
    /// `a >= b`.
    GreaterOrEqual,
    /// `a IS NOT DISTINCT FROM b`: never NULL.
    IsNotDistinctFrom,
    /// `a AND b`, two or more arguments.
    And,
    /// `a OR b`, two or more arguments.
    Or,
    /// `NOT a`.
    Not,
    /// `a IS NULL`: never NULL.
    IsNull,
    /// `a IS NOT NULL`: never NULL.
    IsNotNull,
    /// `a IS TRUE`: never NULL.
    IsTrue,
    /// `a IS FALSE`: never NULL.
    IsFalse,
    /// `a IN (b, c, …)`: first argument against the rest, SQL's NULL rules.
    InList,
    /// `a LIKE pattern` or, with three arguments, `ESCAPE`.
    Like,
    /// First argument that is not NULL.
    Coalesce,
    /// Largest argument; NULL if any is.
    Greatest,
    /// Smallest argument; NULL if any is.
    Least,
    /// `ABS(x)`.
    Abs,
    /// `CEIL(x)` of a number.
    Ceil,
    /// `FLOOR(x)` of a number.
    Floor,
    /// `ROUND(x [, digits])`.
    Round,
    /// `POWER(x, y)`, doubles.
    Power,
    /// `SQRT(x)`, double.
    Sqrt,
    /// `EXP(x)`, double.
    Exp,
    /// `LN(x)`, double.
    Ln,
    /// `SIGN(x)`.
    Sign,
    /// `CHAR_LENGTH(s)`, characters.
    CharLength,
    /// `UPPER(s)`.
    Upper,
    /// `LOWER(s)`.
    Lower,
    /// `TRIM(BOTH chars FROM s)`: arguments `s, chars`.
    Trim,
    /// `LTRIM`: arguments `s, chars`.
    TrimLeading,
    /// `RTRIM`: arguments `s, chars`.
    TrimTrailing,
    /// `SUBSTRING(s FROM start [FOR length])`, 1-based; start 0 counts as 1, negative counts from
    /// the end.
    Substring,
    /// `CONCAT(a, b, …)` and `||`: NULL if any is.
    Concat,
    /// `CONCAT_WS(sep, a, …)`: skips NULL arguments, NULL separator gives NULL.
    ConcatWs,
    /// `POSITION(a IN b)`: arguments `a, b`; 0 when absent.
    Position,
    /// `REPLACE(s, from, to)`.
    Replace,
    /// `SPLIT_INDEX(s, separator, index)`, index 0-based; NULL when out of range.
    SplitIndex,
    /// `EXTRACT(unit FROM t)`: BIGINT.
    Extract(TimeUnit),
    /// `FLOOR(t TO unit)`.
    FloorTo(TimeUnit),
    /// `CEIL(t TO unit)`.
    CeilTo(TimeUnit),
    /// `DATE_FORMAT(t, pattern)`, Java's `DateTimeFormatter` letters.
    DateFormat,
    /// `TO_TIMESTAMP(s [, pattern])`; NULL when the text does not parse.
    ToTimestamp,
    /// `TO_DATE(s [, pattern])`; NULL when the text does not parse.
    ToDate,
    /// `TO_TIMESTAMP_LTZ(number, precision 0 or 3)`.
    ToTimestampLtz,
    /// `UNIX_TIMESTAMP(t)`-like: milliseconds since the epoch of a timestamp, BIGINT.
    EpochMillis,
}

/// Units of time in `EXTRACT`, `FLOOR … TO` and `CEIL … TO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum TimeUnit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Epoch,
}
