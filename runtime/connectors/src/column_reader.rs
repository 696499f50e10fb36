//! Columns of a batch as typed values, for writing them.

use arrow_array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, StringArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use streamkeeper_protocol::{
    plan::TableRef,
    types::{DataType, Field},
};

use crate::{ConnectorError, batch::Batch, text::time::Moment};

/// One column of a batch.
#[derive(Debug)]
pub(crate) struct ColumnReader<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

#[derive(Debug)]
enum Values<'a> {
    Boolean(&'a BooleanArray),
    TinyInt(&'a Int8Array),
    SmallInt(&'a Int16Array),
    Int(&'a Int32Array),
    BigInt(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal {
        array: &'a Decimal128Array,
        scale: u8,
    },
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time32MillisecondArray),
    Millis {
        array: &'a TimestampMillisecondArray,
        zoned: bool,
    },
    Micros {
        array: &'a TimestampMicrosecondArray,
        zoned: bool,
    },
}

/// One value that is not NULL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Decimal {
        value: i128,
        scale: u8,
    },
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Days since the epoch.
    Date(i32),
    /// Milliseconds of the day.
    Time(i32),
    Timestamp {
        moment: Moment,
        zoned: bool,
    },
}

impl<'a> ColumnReader<'a> {
    fn new(array: &'a dyn Array, field: &Field) -> Option<Self> {
        let any = array.as_any();
        let values = match field.ty.data {
            DataType::Boolean => Values::Boolean(any.downcast_ref()?),
            DataType::TinyInt => Values::TinyInt(any.downcast_ref()?),
            DataType::SmallInt => Values::SmallInt(any.downcast_ref()?),
            DataType::Int => Values::Int(any.downcast_ref()?),
            DataType::BigInt => Values::BigInt(any.downcast_ref()?),
            DataType::Float => Values::Float(any.downcast_ref()?),
            DataType::Double => Values::Double(any.downcast_ref()?),
            DataType::Decimal { scale, .. } => Values::Decimal {
                array: any.downcast_ref()?,
                scale,
            },
            DataType::Char { .. } | DataType::Varchar { .. } => Values::Text(any.downcast_ref()?),
            DataType::Bytes => Values::Bytes(any.downcast_ref()?),
            DataType::Date => Values::Date(any.downcast_ref()?),
            DataType::Time => Values::Time(any.downcast_ref()?),
            DataType::Timestamp { precision } | DataType::TimestampLtz { precision } => {
                let zoned = matches!(field.ty.data, DataType::TimestampLtz { .. });
                if precision <= 3 {
                    Values::Millis {
                        array: any.downcast_ref()?,
                        zoned,
                    }
                } else {
                    Values::Micros {
                        array: any.downcast_ref()?,
                        zoned,
                    }
                }
            }
            DataType::Null | DataType::IntervalDayTime | DataType::IntervalYearMonth => {
                return None;
            }
        };
        Some(Self { array, values })
    }

    /// All columns of a batch that a table is to take.
    pub(crate) fn all(batch: &'a Batch, table: &TableRef) -> Result<Vec<Self>, ConnectorError> {
        let fields = &table.schema.fields;
        if batch.rows.num_columns() != fields.len() {
            return Err(ConnectorError::Write {
                table: table.name.clone(),
                detail: format!(
                    "a batch of {} columns arrived for the {} columns of the table",
                    batch.rows.num_columns(),
                    fields.len()
                ),
            });
        }
        fields
            .iter()
            .zip(batch.rows.columns())
            .map(|(field, array)| {
                Self::new(array.as_ref(), field).ok_or_else(|| ConnectorError::Write {
                    table: table.name.clone(),
                    detail: format!(
                        "column '{}' is {}, but the batch brings {}",
                        field.name,
                        field.ty,
                        array.data_type()
                    ),
                })
            })
            .collect()
    }

    /// The value of a row; none is NULL.
    pub(crate) fn get(&self, row: usize) -> Option<Value<'a>> {
        if self.array.is_null(row) {
            return None;
        }
        Some(match self.values {
            Values::Boolean(array) => Value::Boolean(array.value(row)),
            Values::TinyInt(array) => Value::Integer(i64::from(array.value(row))),
            Values::SmallInt(array) => Value::Integer(i64::from(array.value(row))),
            Values::Int(array) => Value::Integer(i64::from(array.value(row))),
            Values::BigInt(array) => Value::Integer(array.value(row)),
            Values::Float(array) => Value::Float(array.value(row)),
            Values::Double(array) => Value::Double(array.value(row)),
            Values::Decimal { array, scale } => Value::Decimal {
                value: array.value(row),
                scale,
            },
            Values::Text(array) => Value::Text(array.value(row)),
            Values::Bytes(array) => Value::Bytes(array.value(row)),
            Values::Date(array) => Value::Date(array.value(row)),
            Values::Time(array) => Value::Time(array.value(row)),
            Values::Millis { array, zoned } => Value::Timestamp {
                moment: Moment::from_millis(array.value(row)),
                zoned,
            },
            Values::Micros { array, zoned } => Value::Timestamp {
                moment: Moment::from_micros(array.value(row)),
                zoned,
            },
        })
    }
}
