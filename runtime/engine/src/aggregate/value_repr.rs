//! The few forms in which values are kept: whole numbers, doubles, decimals, bytes. Every type that
//! aggregates take maps to one of them and back.

use std::{cmp::Ordering, fmt::Debug, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array,
    StringArray,
    cast::AsArray,
    types::{Decimal128Type, Float32Type, Float64Type, Int64Type},
};
use arrow_schema::DataType as Arrow;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::types::DataType;

use crate::expr::conversion;

/// A form of values.
pub trait ValueRepr: Debug + Send + Sync + 'static {
    /// Columns in this form.
    type Column: Array;
    /// One value.
    type Value: Ord + Clone + Debug + Send;

    /// A column of any type that has this form.
    fn column(array: &ArrayRef) -> Result<Self::Column, String>;

    /// The value in a row that is not NULL.
    fn value(column: &Self::Column, row: usize) -> Self::Value;

    /// Order of the value in a row and another, without a copy.
    fn compare(column: &Self::Column, row: usize, other: &Self::Value) -> Ordering;

    /// Values as a column of type `data`.
    fn array<'a>(
        values: impl Iterator<Item = Option<&'a Self::Value>>,
        data: &DataType,
    ) -> Result<ArrayRef, String>;

    /// Whether values differ in length.
    const TEXTS: bool = false;

    /// Bytes of a value, where values differ in length.
    fn text_bytes(_value: &Self::Value) -> usize {
        0
    }

    /// Appends the stored form of a value.
    fn write(value: &Self::Value, out: &mut Vec<u8>);

    /// Takes a stored value off the front.
    fn read(bytes: &mut &[u8]) -> Option<Self::Value>;
}

/// Booleans, integers, dates, times, timestamps.
#[derive(Debug)]
pub struct Whole;
/// FLOAT and DOUBLE.
#[derive(Debug)]
pub struct Real;
/// DECIMAL, as unscaled digits.
#[derive(Debug)]
pub struct Exact;
/// Texts and bytes.
#[derive(Debug)]
pub struct Bytes;

/// A double in total order: -NaN, -infinity, …, -0, 0, …, infinity, NaN.
#[derive(Debug, Clone, Copy, Default)]
pub struct Total(pub f64);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Takes `N` bytes off the front.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>()?;
    *bytes = tail;
    Some(*head)
}

fn cannot(array: &ArrayRef, form: &str) -> String {
    format!("a column of Arrow type {} is not {form}", array.data_type())
}

impl ValueRepr for Whole {
    type Column = Int64Array;
    type Value = i64;

    fn column(array: &ArrayRef) -> Result<Int64Array, String> {
        if let Some(booleans) = array.as_boolean_opt() {
            return Ok(booleans.iter().map(|value| value.map(i64::from)).collect());
        }
        let wide = conversion::array_as_i64(array).map_err(|_| cannot(array, "a whole number"))?;
        Ok(wide.as_primitive::<Int64Type>().clone())
    }

    fn value(column: &Int64Array, row: usize) -> i64 {
        column.value(row)
    }

    fn compare(column: &Int64Array, row: usize, other: &i64) -> Ordering {
        column.value(row).cmp(other)
    }

    fn array<'a>(
        values: impl Iterator<Item = Option<&'a i64>>,
        data: &DataType,
    ) -> Result<ArrayRef, String> {
        if *data == DataType::Boolean {
            return Ok(Arc::new(
                values
                    .map(|value| value.map(|value| *value != 0))
                    .collect::<BooleanArray>(),
            ));
        }
        let wide: Int64Array = values.map(Option::<&i64>::copied).collect();
        conversion::from_i64(Arc::new(wide), &arrow_type(data)).map_err(|error| error.to_string())
    }

    fn write(value: &i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<i64> {
        take(bytes).map(i64::from_le_bytes)
    }
}

impl ValueRepr for Real {
    type Column = Float64Array;
    type Value = Total;

    fn column(array: &ArrayRef) -> Result<Float64Array, String> {
        match array.data_type() {
            Arrow::Float64 => Ok(array.as_primitive::<Float64Type>().clone()),
            Arrow::Float32 => Ok(array.as_primitive::<Float32Type>().unary(f64::from)),
            _ => Err(cannot(array, "a float")),
        }
    }

    fn value(column: &Float64Array, row: usize) -> Total {
        Total(column.value(row))
    }

    fn compare(column: &Float64Array, row: usize, other: &Total) -> Ordering {
        column.value(row).total_cmp(&other.0)
    }

    fn array<'a>(
        values: impl Iterator<Item = Option<&'a Total>>,
        data: &DataType,
    ) -> Result<ArrayRef, String> {
        let values = values.map(|value| value.map(|value| value.0));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "FLOAT is narrower by definition"
        )]
        match data {
            DataType::Float => Ok(Arc::new(
                values
                    .map(|value| value.map(|value| value as f32))
                    .collect::<arrow_array::Float32Array>(),
            )),
            DataType::Double => Ok(Arc::new(values.collect::<Float64Array>())),
            _ => Err(format!("floats are not a {data}")),
        }
    }

    fn write(value: &Total, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.0.to_bits().to_le_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<Total> {
        take(bytes).map(|bits| Total(f64::from_bits(u64::from_le_bytes(bits))))
    }
}

impl ValueRepr for Exact {
    type Column = Decimal128Array;
    type Value = i128;

    fn column(array: &ArrayRef) -> Result<Decimal128Array, String> {
        array
            .as_primitive_opt::<Decimal128Type>()
            .cloned()
            .ok_or_else(|| cannot(array, "a decimal"))
    }

    fn value(column: &Decimal128Array, row: usize) -> i128 {
        column.value(row)
    }

    fn compare(column: &Decimal128Array, row: usize, other: &i128) -> Ordering {
        column.value(row).cmp(other)
    }

    fn array<'a>(
        values: impl Iterator<Item = Option<&'a i128>>,
        data: &DataType,
    ) -> Result<ArrayRef, String> {
        let DataType::Decimal { .. } = data else {
            return Err(format!("decimals are not a {data}"));
        };
        let digits: Decimal128Array = values.map(Option::<&i128>::copied).collect();
        Ok(Arc::new(digits.with_data_type(arrow_type(data))))
    }

    fn write(value: &i128, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<i128> {
        take(bytes).map(i128::from_le_bytes)
    }
}

impl ValueRepr for Bytes {
    type Column = BinaryArray;
    type Value = Box<[u8]>;

    fn column(array: &ArrayRef) -> Result<BinaryArray, String> {
        match array.data_type() {
            Arrow::Utf8 => Ok(BinaryArray::from(array.as_string::<i32>().clone())),
            Arrow::Binary => Ok(array.as_binary::<i32>().clone()),
            _ => Err(cannot(array, "text or bytes")),
        }
    }

    fn value(column: &BinaryArray, row: usize) -> Box<[u8]> {
        column.value(row).into()
    }

    fn compare(column: &BinaryArray, row: usize, other: &Box<[u8]>) -> Ordering {
        column.value(row).cmp(other)
    }

    fn array<'a>(
        values: impl Iterator<Item = Option<&'a Box<[u8]>>>,
        data: &DataType,
    ) -> Result<ArrayRef, String> {
        if *data == DataType::Bytes {
            return Ok(Arc::new(
                values
                    .map(|value| value.map(AsRef::<[u8]>::as_ref))
                    .collect::<BinaryArray>(),
            ));
        }
        let texts = values
            .map(|value| value.map(|value| std::str::from_utf8(value)).transpose())
            .collect::<Result<StringArray, _>>();
        Ok(Arc::new(
            texts.map_err(|_| "a stored text is not UTF-8".to_owned())?,
        ))
    }

    const TEXTS: bool = true;

    fn text_bytes(value: &Box<[u8]>) -> usize {
        value.len()
    }

    fn write(value: &Box<[u8]>, out: &mut Vec<u8>) {
        // A value of 4 GiB does not fit a batch.
        out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(value);
    }

    fn read(bytes: &mut &[u8]) -> Option<Box<[u8]>> {
        let length = usize::try_from(u32::from_le_bytes(take(bytes)?)).ok()?;
        let (value, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(value.into())
    }
}
