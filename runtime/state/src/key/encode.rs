//! Columns to keys.

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType,
    },
};

use super::{Form, KeyBatch, KeyEncoder, wrong};
use crate::StateError;

/// Largest batch of keys in bytes.
const LIMIT: usize = u32::MAX as usize;

impl KeyEncoder {
    /// Keys of all `rows` rows of `columns`, which are as many and of the types as declared. `rows`
    /// counts when there is no column: then every key is empty.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<KeyBatch, StateError> {
        let mut batch = KeyBatch::default();
        self.encode_into(columns, rows, &mut batch)?;
        Ok(batch)
    }

    /// Like [`Self::encode`], into a batch whose memory is reused.
    pub fn encode_into(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        batch: &mut KeyBatch,
    ) -> Result<(), StateError> {
        if columns.len() != self.forms.len() {
            let detail = format!(
                "{} columns for {} key columns",
                columns.len(),
                self.forms.len()
            );
            return Err(wrong(columns.len().min(self.forms.len()), detail));
        }
        let columns = (0_usize..).zip(&self.forms).zip(columns);
        let columns: Vec<Column<'_>> = columns
            .map(|((position, &form), array)| Column::new(position, form, array.as_ref(), rows))
            .collect::<Result<_, _>>()?;
        // First where every key starts, then column by column into its place.
        batch.offsets.clear();
        batch.offsets.reserve(rows + 1);
        batch.offsets.push(0);
        let mut end = 0;
        for row in 0..rows {
            for column in &columns {
                end += column.length(row);
            }
            let offset = u32::try_from(end)
                .map_err(|_| wrong(0, format!("keys of more than {LIMIT} bytes in one batch")))?;
            batch.offsets.push(offset);
        }
        batch.bytes.clear();
        batch.bytes.resize(end, 0);
        let mut cursors: Vec<usize> = batch.offsets[..rows]
            .iter()
            .map(|&offset| offset as usize)
            .collect();
        for column in &columns {
            column.write(&mut batch.bytes, &mut cursors);
        }
        Ok(())
    }
}

/// A column with its checked Arrow type.
struct Column<'a> {
    values: Values<'a>,
    array: &'a dyn Array,
    /// Bytes of a value with its marker, if all values have one length.
    width: Option<usize>,
}

/// Sortable values of a column.
enum Values<'a> {
    Null,
    Boolean(&'a arrow_array::BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>),
    Utf8(&'a arrow_array::StringArray),
    Binary(&'a arrow_array::BinaryArray),
}

impl<'a> Column<'a> {
    fn new(
        position: usize,
        form: Form,
        array: &'a dyn Array,
        rows: usize,
    ) -> Result<Self, StateError> {
        if array.len() != rows {
            return Err(wrong(
                position,
                format!("{} values for {rows} rows", array.len()),
            ));
        }
        let values = match form {
            Form::Null => {
                (*array.data_type() == arrow_schema::DataType::Null).then_some(Values::Null)
            }
            Form::Boolean => array.as_boolean_opt().map(Values::Boolean),
            Form::Int8 => array.as_primitive_opt().map(Values::Int8),
            Form::Int16 => array.as_primitive_opt().map(Values::Int16),
            Form::Int32 => ints::<Int32Type>(array).map(Values::Int32),
            Form::Date => ints::<Date32Type>(array).map(Values::Int32),
            Form::Time => ints::<Time32MillisecondType>(array).map(Values::Int32),
            Form::Int64 => ints::<Int64Type>(array).map(Values::Int64),
            Form::Timestamp { millis: true, .. } => {
                ints::<TimestampMillisecondType>(array).map(Values::Int64)
            }
            Form::Timestamp { millis: false, .. } => {
                ints::<TimestampMicrosecondType>(array).map(Values::Int64)
            }
            Form::Float32 => array.as_primitive_opt().map(Values::Float32),
            Form::Float64 => array.as_primitive_opt().map(Values::Float64),
            Form::Decimal { scale, .. } => array
                .as_primitive_opt::<Decimal128Type>()
                .filter(|decimals| i16::from(decimals.scale()) == i16::from(scale))
                .map(Values::Decimal),
            Form::Utf8 => array.as_string_opt::<i32>().map(Values::Utf8),
            Form::Binary => array.as_binary_opt::<i32>().map(Values::Binary),
        };
        let values = values.ok_or_else(|| {
            wrong(
                position,
                format!("Arrow type {} does not carry {form:?}", array.data_type()),
            )
        })?;
        let width = form
            .width()
            .filter(|_| array.null_count() == 0 && form != Form::Null);
        Ok(Self {
            values,
            array,
            width: width.map(|width| width + 1),
        })
    }

    /// Bytes of the value in `row` with its marker.
    fn length(&self, row: usize) -> usize {
        if let Some(width) = self.width {
            return width;
        }
        if self.array.is_null(row) {
            return 1;
        }
        1 + match &self.values {
            Values::Null => 0,
            Values::Boolean(_) | Values::Int8(_) => 1,
            Values::Int16(_) => 2,
            Values::Int32(_) | Values::Float32(_) => 4,
            Values::Int64(_) | Values::Float64(_) => 8,
            Values::Decimal(_) => 16,
            Values::Utf8(strings) => escaped_length(strings.value(row).as_bytes()),
            Values::Binary(strings) => escaped_length(strings.value(row)),
        }
    }

    /// Writes all values, each at its row's cursor, and moves the cursors on.
    fn write(&self, bytes: &mut [u8], cursors: &mut [usize]) {
        match &self.values {
            Values::Null => self.each(bytes, cursors, |_, _| 0),
            Values::Boolean(values) => self.each(bytes, cursors, |row, to| {
                put(to, [u8::from(values.value(row))])
            }),
            Values::Int8(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, (values.value(row) ^ i8::MIN).to_be_bytes())
                });
            }
            Values::Int16(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, (values.value(row) ^ i16::MIN).to_be_bytes())
                });
            }
            Values::Int32(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, (values[row] ^ i32::MIN).to_be_bytes())
                });
            }
            Values::Int64(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, (values[row] ^ i64::MIN).to_be_bytes())
                });
            }
            Values::Float32(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, sortable32(values.value(row)).to_be_bytes())
                });
            }
            Values::Float64(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, sortable64(values.value(row)).to_be_bytes())
                });
            }
            Values::Decimal(values) => {
                self.each(bytes, cursors, |row, to| {
                    put(to, (values.value(row) ^ i128::MIN).to_be_bytes())
                });
            }
            Values::Utf8(values) => self.each(bytes, cursors, |row, to| {
                escape(values.value(row).as_bytes(), to)
            }),
            Values::Binary(values) => {
                self.each(bytes, cursors, |row, to| escape(values.value(row), to));
            }
        }
    }

    /// Writes markers, and calls `write(row, place)` for every value; it returns the bytes it took.
    fn each(
        &self,
        bytes: &mut [u8],
        cursors: &mut [usize],
        write: impl Fn(usize, &mut [u8]) -> usize,
    ) {
        let nulls = self.array.logical_nulls();
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let place = &mut bytes[*cursor..];
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                place[0] = 0;
                *cursor += 1;
            } else {
                place[0] = 1;
                *cursor += 1 + write(row, &mut place[1..]);
            }
        }
    }
}

fn ints<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<&[T::Native]> {
    array
        .as_primitive_opt::<T>()
        .map(|array| array.values().as_ref())
}

fn put<const N: usize>(to: &mut [u8], value: [u8; N]) -> usize {
    to[..N].copy_from_slice(&value);
    N
}

fn sortable32(value: f32) -> u32 {
    let bits = if value.is_nan() {
        f32::NAN.to_bits() & !(1 << 31)
    } else {
        value.to_bits()
    };
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

fn sortable64(value: f64) -> u64 {
    let bits = if value.is_nan() {
        f64::NAN.to_bits() & !(1 << 63)
    } else {
        value.to_bits()
    };
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn escaped_length(text: &[u8]) -> usize {
    text.len()
        + text
            .iter()
            .map(|byte| usize::from(*byte == 0))
            .sum::<usize>()
        + 2
}

fn escape(text: &[u8], to: &mut [u8]) -> usize {
    let mut at = 0;
    let mut rest = text;
    // Zeros are rare: copy what lies between them.
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        to[at..=at + zero].copy_from_slice(&rest[..=zero]);
        to[at + zero + 1] = 0xff;
        at += zero + 2;
        rest = &rest[zero + 1..];
    }
    to[at..at + rest.len()].copy_from_slice(rest);
    at += rest.len();
    to[at..at + 2].fill(0);
    at + 2
}
