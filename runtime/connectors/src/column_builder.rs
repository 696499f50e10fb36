//! Columns of a batch while it is decoded: typed vectors from which the last row can be removed
//! again.
//!
//! Conversions are Flink's: numbers may come as text, a decimal with too many integer digits reads
//! as NULL, BOOLEAN is `true` or else false.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray,
    types::{
        ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType,
    },
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use streamkeeper_protocol::types::{DataType, Field, Schema};

use crate::{
    batch::arrow_schema,
    text::{
        TimestampStyle,
        bytes::{self, excerpt},
        number::{self, DecimalError},
        time,
    },
};

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    TinyInt(Vec<i8>),
    SmallInt(Vec<i16>),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Text {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Bytes {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Date(Vec<i32>),
    Time(Vec<i32>),
    Timestamp {
        values: Vec<i64>,
        precision: u8,
        zoned: bool,
    },
}

/// One column.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    values: Values,
    valid: Vec<bool>,
    nulls: bool,
    field: Field,
    /// The value of the row being appended was cut, or is NULL because it does not fit.
    misfit: bool,
}

/// Runs `$body` with `$vector` bound to the vector of values of any type.
macro_rules! each_vector {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            Values::Boolean($vector) => $body,
            Values::TinyInt($vector) => $body,
            Values::SmallInt($vector) => $body,
            Values::Int($vector) | Values::Date($vector) | Values::Time($vector) => $body,
            Values::BigInt($vector)
            | Values::Timestamp {
                values: $vector, ..
            } => $body,
            Values::Float($vector) => $body,
            Values::Double($vector) => $body,
            Values::Decimal {
                values: $vector, ..
            } => $body,
            Values::Text { ends: $vector, .. } | Values::Bytes { ends: $vector, .. } => $body,
        }
    };
}

fn end_of(bytes: &[u8]) -> Result<i32, String> {
    i32::try_from(bytes.len()).map_err(|_| "more than 2 GiB of text in one batch".to_owned())
}

fn last_end(ends: &[i32]) -> usize {
    ends.last()
        .and_then(|end| usize::try_from(*end).ok())
        .unwrap_or(0)
}

impl ColumnBuilder {
    /// An empty column; none for types that no table column has.
    pub(crate) fn new(field: &Field) -> Option<Self> {
        let values = match field.ty.data {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::TinyInt => Values::TinyInt(Vec::new()),
            DataType::SmallInt => Values::SmallInt(Vec::new()),
            DataType::Int => Values::Int(Vec::new()),
            DataType::BigInt => Values::BigInt(Vec::new()),
            DataType::Float => Values::Float(Vec::new()),
            DataType::Double => Values::Double(Vec::new()),
            DataType::Decimal { precision, scale } => Values::Decimal {
                values: Vec::new(),
                precision,
                scale,
            },
            DataType::Char { .. } | DataType::Varchar { .. } => Values::Text {
                ends: Vec::new(),
                bytes: Vec::new(),
            },
            DataType::Bytes => Values::Bytes {
                ends: Vec::new(),
                bytes: Vec::new(),
            },
            DataType::Date => Values::Date(Vec::new()),
            DataType::Time => Values::Time(Vec::new()),
            DataType::Timestamp { precision } => Values::Timestamp {
                values: Vec::new(),
                precision,
                zoned: false,
            },
            DataType::TimestampLtz { precision } => Values::Timestamp {
                values: Vec::new(),
                precision,
                zoned: true,
            },
            DataType::Null | DataType::IntervalDayTime | DataType::IntervalYearMonth => {
                return None;
            }
        };
        Some(Self {
            values,
            valid: Vec::new(),
            nulls: false,
            field: field.clone(),
            misfit: false,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.field.name
    }

    pub(crate) fn data(&self) -> &DataType {
        &self.field.ty.data
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.values, Values::Text { .. })
    }

    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Removes the last rows until `rows` are left.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.misfit = false;
        self.valid.truncate(rows);
        each_vector!(&mut self.values, vector => vector.truncate(rows));
        if let Values::Text { ends, bytes } | Values::Bytes { ends, bytes } = &mut self.values {
            bytes.truncate(last_end(ends));
        }
    }

    fn wrong(&self, text: &str) -> String {
        let example = match self.field.ty.data {
            DataType::Date => " like 2013-01-01",
            DataType::Time => " like 05:00:00",
            _ => "",
        };
        format!(
            "'{}' is not a value of {}{example}",
            excerpt(text),
            self.field.ty.data
        )
    }

    /// Appends NULL, unless the column is NOT NULL.
    pub(crate) fn push_null(&mut self) -> Result<(), String> {
        if !self.field.ty.nullable {
            return Err("NULL in a NOT NULL column".to_owned());
        }
        self.nulls = true;
        self.valid.push(false);
        match &mut self.values {
            Values::Text { ends, .. } | Values::Bytes { ends, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
            }
            values => each_vector!(values, vector => vector.push(Default::default())),
        }
        Ok(())
    }

    /// Appends NULL for a value that the column cannot hold, and counts it.
    pub(crate) fn push_misfit(&mut self) -> Result<(), String> {
        self.push_null()?;
        self.misfit = true;
        Ok(())
    }

    pub(crate) fn push_boolean(&mut self, value: bool) -> Result<(), String> {
        match &mut self.values {
            Values::Boolean(values) => {
                values.push(value);
                self.valid.push(true);
                Ok(())
            }
            _ => self.push_text(if value { "true" } else { "false" }, TimestampStyle::Sql),
        }
    }

    /// Appends a JSON number, given as it is written. INT and BIGINT cut a fraction off.
    pub(crate) fn push_number(&mut self, text: &str) -> Result<(), String> {
        let mut cut = false;
        let mut whole = |text: &str| -> Option<i64> {
            if let Ok(value) = text.parse() {
                return Some(value);
            }
            let number = text.parse::<f64>().ok()?;
            let value = number.trunc();
            cut = value.total_cmp(&number).is_ne();
            // 2⁶³ itself is the first double that does not fit.
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
            (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
                .contains(&value)
                .then_some(value as i64)
        };
        match &mut self.values {
            Values::Int(values) => match whole(text).and_then(|value| i32::try_from(value).ok()) {
                Some(value) => values.push(value),
                None => return Err(self.wrong(text)),
            },
            Values::BigInt(values) => match whole(text) {
                Some(value) => values.push(value),
                None => return Err(self.wrong(text)),
            },
            _ => return self.push_text(text, TimestampStyle::Sql),
        }
        self.misfit = cut;
        self.valid.push(true);
        Ok(())
    }

    /// Appends the value that a text represents; nothing is appended on an error.
    pub(crate) fn push_text(&mut self, text: &str, style: TimestampStyle) -> Result<(), String> {
        let trimmed = text.trim();
        let pushed = match &mut self.values {
            Values::Boolean(values) => {
                values.push(trimmed.eq_ignore_ascii_case("true"));
                Some(())
            }
            Values::TinyInt(values) => trimmed.parse().ok().map(|value| values.push(value)),
            Values::SmallInt(values) => trimmed.parse().ok().map(|value| values.push(value)),
            Values::Int(values) => trimmed.parse().ok().map(|value| values.push(value)),
            Values::BigInt(values) => trimmed.parse().ok().map(|value| values.push(value)),
            Values::Float(values) => number::parse_float(trimmed).map(|value| values.push(value)),
            Values::Double(values) => number::parse_double(trimmed).map(|value| values.push(value)),
            Values::Decimal {
                values,
                precision,
                scale,
            } => match number::parse_decimal(trimmed, *precision, *scale) {
                Ok(value) => {
                    values.push(value);
                    Some(())
                }
                Err(DecimalError::Overflow) => {
                    return self.push_misfit().map_err(|_| self.wrong(text));
                }
                Err(DecimalError::Malformed) => None,
            },
            Values::Text { ends, bytes } => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(end_of(bytes)?);
                Some(())
            }
            Values::Bytes { ends, bytes } => {
                bytes.extend_from_slice(&bytes::parse(text)?);
                ends.push(end_of(bytes)?);
                Some(())
            }
            Values::Date(values) => time::parse_date(text).map(|days| values.push(days)),
            Values::Time(values) => time::parse_time(text).map(|millis| values.push(millis)),
            Values::Timestamp {
                values,
                precision,
                zoned,
            } => time::parse_timestamp(text, style, *zoned).map(|moment| {
                let moment = moment.with_precision(*precision);
                values.push(if *precision <= 3 {
                    moment.millis()
                } else {
                    moment.micros()
                });
            }),
        };
        match pushed {
            Some(()) => {
                self.valid.push(true);
                Ok(())
            }
            None => Err(self.wrong(text)),
        }
    }

    /// Appends bytes as they are, to BYTES.
    pub(crate) fn push_raw(&mut self, value: &[u8]) -> Result<(), String> {
        let Values::Bytes { ends, bytes } = &mut self.values else {
            return Err("expected a BYTES column".to_owned());
        };
        bytes.extend_from_slice(value);
        ends.push(end_of(bytes)?);
        self.valid.push(true);
        Ok(())
    }

    /// The rows so far as an Arrow array; the column is empty afterwards.
    fn take(&mut self) -> Result<ArrayRef, String> {
        let valid = std::mem::take(&mut self.valid);
        let nulls = std::mem::take(&mut self.nulls).then(|| NullBuffer::from(valid));
        let refused = |error: arrow_schema::ArrowError| error.to_string();
        Ok(match &mut self.values {
            Values::Boolean(values) => {
                Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls))
            }
            Values::TinyInt(values) => Arc::new(primitive::<Int8Type>(values, nulls)),
            Values::SmallInt(values) => Arc::new(primitive::<Int16Type>(values, nulls)),
            Values::Int(values) => Arc::new(primitive::<Int32Type>(values, nulls)),
            Values::BigInt(values) => Arc::new(primitive::<Int64Type>(values, nulls)),
            Values::Float(values) => Arc::new(primitive::<Float32Type>(values, nulls)),
            Values::Double(values) => Arc::new(primitive::<Float64Type>(values, nulls)),
            Values::Decimal {
                values,
                precision,
                scale,
            } => Arc::new(
                Decimal128Array::new(ScalarBuffer::from(std::mem::take(values)), nulls)
                    .with_precision_and_scale(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
                    .map_err(refused)?,
            ),
            Values::Text { ends, bytes } => {
                let (offsets, bytes) = parts(ends, bytes);
                Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(refused)?)
            }
            Values::Bytes { ends, bytes } => {
                let (offsets, bytes) = parts(ends, bytes);
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(refused)?)
            }
            Values::Date(values) => Arc::new(primitive::<Date32Type>(values, nulls)),
            Values::Time(values) => Arc::new(primitive::<Time32MillisecondType>(values, nulls)),
            Values::Timestamp {
                values,
                precision,
                zoned,
            } => {
                let zone = zoned.then_some("+00:00");
                if *precision <= 3 {
                    let array = primitive::<TimestampMillisecondType>(values, nulls);
                    Arc::new(array.with_timezone_opt(zone))
                } else {
                    let array = primitive::<TimestampMicrosecondType>(values, nulls);
                    Arc::new(array.with_timezone_opt(zone))
                }
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> PrimitiveArray<T> {
    let capacity = values.len();
    let full = std::mem::replace(values, Vec::with_capacity(capacity));
    PrimitiveArray::new(ScalarBuffer::from(full), nulls)
}

fn parts(ends: &mut Vec<i32>, bytes: &mut Vec<u8>) -> (OffsetBuffer<i32>, Buffer) {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    let bytes = std::mem::take(bytes);
    (
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Buffer::from(bytes),
    )
}

/// All columns of a table.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<ColumnBuilder>,
    schema: Arc<arrow_schema::Schema>,
    length: usize,
    /// Values of kept rows that were cut, or are NULL because they do not fit their column.
    misfits: u64,
}

impl Rows {
    /// No rows yet; none for a schema with types that no table column has.
    pub(crate) fn new(schema: &Schema) -> Option<Self> {
        let columns = schema
            .fields
            .iter()
            .map(ColumnBuilder::new)
            .collect::<Option<_>>()?;
        Some(Self {
            columns,
            schema: arrow_schema(schema),
            length: 0,
            misfits: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Keeps the row that was just appended to every column.
    pub(crate) fn commit_row(&mut self) {
        self.length += 1;
        for column in &mut self.columns {
            self.misfits += u64::from(std::mem::take(&mut column.misfit));
        }
    }

    /// Takes the number of values that were cut, or are NULL because they do not fit.
    pub(crate) fn take_misfits(&mut self) -> u64 {
        std::mem::take(&mut self.misfits)
    }

    /// Removes what was appended of an incomplete row.
    pub(crate) fn abandon_row(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.length);
        }
    }

    /// The rows as a batch; none are left.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, String> {
        let arrays = self
            .columns
            .iter_mut()
            .map(ColumnBuilder::take)
            .collect::<Result<Vec<_>, _>>()?;
        let options =
            RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.length)));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| error.to_string())
    }
}
