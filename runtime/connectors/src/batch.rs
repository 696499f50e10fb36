//! Rows in flight and their Arrow types.

use std::sync::Arc;

use arrow_array::{Int8Array, RecordBatch};
use arrow_schema::{DataType as Arrow, TimeUnit};
use streamkeeper_protocol::types::{DataType, Schema};

/// Code of `+I` in [`Batch::kinds`].
pub const INSERT: i8 = 0;
/// Code of `-U`.
pub const UPDATE_BEFORE: i8 = 1;
/// Code of `+U`.
pub const UPDATE_AFTER: i8 = 2;
/// Code of `-D`.
pub const DELETE: i8 = 3;

/// At most this many rows in a batch.
pub const BATCH_ROWS: usize = 4096;

/// Some rows, all of one schema.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns.
    pub rows: RecordBatch,
    /// Kind of change per row; absent means that all are `+I`.
    pub kinds: Option<Int8Array>,
}

impl Batch {
    /// Rows that are all inserts.
    pub fn inserts(rows: RecordBatch) -> Self {
        Self { rows, kinds: None }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` rows from `start`, which must be there. Nothing is copied.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        Self {
            rows: self.rows.slice(start, len),
            kinds: self.kinds.as_ref().map(|kinds| kinds.slice(start, len)),
        }
    }

    /// Kind of change of a row.
    pub fn kind(&self, row: usize) -> i8 {
        self.kinds.as_ref().map_or(INSERT, |kinds| kinds.value(row))
    }
}

/// The Arrow type that carries a data type, as documented on [`DataType`].
pub fn arrow_type(data: &DataType) -> Arrow {
    let unit = |precision: u8| {
        if precision <= 3 {
            TimeUnit::Millisecond
        } else {
            TimeUnit::Microsecond
        }
    };
    match data {
        DataType::Null => Arrow::Null,
        DataType::Boolean => Arrow::Boolean,
        DataType::TinyInt => Arrow::Int8,
        DataType::SmallInt => Arrow::Int16,
        DataType::Int | DataType::IntervalYearMonth => Arrow::Int32,
        DataType::BigInt | DataType::IntervalDayTime => Arrow::Int64,
        DataType::Float => Arrow::Float32,
        DataType::Double => Arrow::Float64,
        DataType::Decimal { precision, scale } => {
            Arrow::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
        }
        DataType::Char { .. } | DataType::Varchar { .. } => Arrow::Utf8,
        DataType::Bytes => Arrow::Binary,
        DataType::Date => Arrow::Date32,
        DataType::Time => Arrow::Time32(TimeUnit::Millisecond),
        DataType::Timestamp { precision } => Arrow::Timestamp(unit(*precision), None),
        DataType::TimestampLtz { precision } => {
            Arrow::Timestamp(unit(*precision), Some("+00:00".into()))
        }
    }
}

/// The Arrow schema of an edge.
pub fn arrow_schema(schema: &Schema) -> Arc<arrow_schema::Schema> {
    let fields: Vec<_> = schema
        .fields
        .iter()
        .map(|field| {
            arrow_schema::Field::new(&field.name, arrow_type(&field.ty.data), field.ty.nullable)
        })
        .collect();
    Arc::new(arrow_schema::Schema::new(fields))
}
