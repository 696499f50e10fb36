//! Keys to columns.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, NullArray,
    builder::{
        BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
        Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
        Time32MillisecondBuilder, TimestampMicrosecondBuilder, TimestampMillisecondBuilder,
    },
};

use super::{Form, KeyEncoder, wrong};
use crate::StateError;

impl KeyEncoder {
    /// Columns of these keys, in the Arrow types that carry the declared ones.
    pub fn decode<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, StateError> {
        let mut builders: Vec<Builder> =
            self.forms.iter().map(|form| Builder::new(*form)).collect();
        let mut rows = 0;
        for key in keys {
            let mut rest = key;
            for (position, builder) in builders.iter_mut().enumerate() {
                builder
                    .take(&mut rest)
                    .map_err(|detail| wrong(position, detail))?;
            }
            if !rest.is_empty() {
                return Err(wrong(
                    builders.len(),
                    format!("{} bytes after the last column", rest.len()),
                ));
            }
            rows += 1;
        }
        Ok(builders
            .into_iter()
            .map(|builder| builder.finish(rows))
            .collect())
    }
}

enum Builder {
    Null,
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, u8),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time32MillisecondBuilder),
    Millis(TimestampMillisecondBuilder, bool),
    Micros(TimestampMicrosecondBuilder, bool),
}

const ZONE: &str = "+00:00";

impl Builder {
    fn new(form: Form) -> Self {
        match form {
            Form::Null => Self::Null,
            Form::Boolean => Self::Boolean(BooleanBuilder::new()),
            Form::Int8 => Self::Int8(Int8Builder::new()),
            Form::Int16 => Self::Int16(Int16Builder::new()),
            Form::Int32 => Self::Int32(Int32Builder::new()),
            Form::Int64 => Self::Int64(Int64Builder::new()),
            Form::Float32 => Self::Float32(Float32Builder::new()),
            Form::Float64 => Self::Float64(Float64Builder::new()),
            Form::Decimal { precision, scale } => {
                Self::Decimal(Decimal128Builder::new(), precision, scale)
            }
            Form::Utf8 => Self::Utf8(StringBuilder::new()),
            Form::Binary => Self::Binary(BinaryBuilder::new()),
            Form::Date => Self::Date(Date32Builder::new()),
            Form::Time => Self::Time(Time32MillisecondBuilder::new()),
            Form::Timestamp {
                millis: true,
                zoned,
            } => Self::Millis(TimestampMillisecondBuilder::new(), zoned),
            Form::Timestamp {
                millis: false,
                zoned,
            } => Self::Micros(TimestampMicrosecondBuilder::new(), zoned),
        }
    }

    /// Takes one value off the front of `rest`.
    fn take(&mut self, rest: &mut &[u8]) -> Result<(), String> {
        let present = match take::<1>(rest)? {
            [0] => false,
            [1] => true,
            [other] => return Err(format!("marker {other} is neither NULL nor a value")),
        };
        // A macro, because every builder is a type of its own.
        macro_rules! append {
            ($builder:expr, $value:expr) => {{
                let value = if present { Some($value) } else { None };
                $builder.append_option(value);
            }};
        }
        match self {
            Self::Null => {
                if present {
                    return Err("a value in a column of type NULL".to_owned());
                }
            }
            Self::Boolean(builder) => append!(builder, take::<1>(rest)? == [1]),
            Self::Int8(builder) => append!(builder, i8::from_be_bytes(take(rest)?) ^ i8::MIN),
            Self::Int16(builder) => append!(builder, i16::from_be_bytes(take(rest)?) ^ i16::MIN),
            Self::Int32(builder) => append!(builder, int32(rest)?),
            Self::Date(builder) => append!(builder, int32(rest)?),
            Self::Time(builder) => append!(builder, int32(rest)?),
            Self::Int64(builder) => append!(builder, int64(rest)?),
            Self::Millis(builder, _) => append!(builder, int64(rest)?),
            Self::Micros(builder, _) => append!(builder, int64(rest)?),
            Self::Float32(builder) => append!(builder, float32(u32::from_be_bytes(take(rest)?))),
            Self::Float64(builder) => append!(builder, float64(u64::from_be_bytes(take(rest)?))),
            Self::Decimal(builder, ..) => {
                append!(builder, i128::from_be_bytes(take(rest)?) ^ i128::MIN);
            }
            Self::Utf8(builder) => {
                append!(
                    builder,
                    String::from_utf8(unescape(rest)?).map_err(|_| "a string is not UTF-8")?
                );
            }
            Self::Binary(builder) => append!(builder, unescape(rest)?),
        }
        Ok(())
    }

    fn finish(self, rows: usize) -> ArrayRef {
        match self {
            Self::Null => Arc::new(NullArray::new(rows)),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int8(mut builder) => Arc::new(builder.finish()),
            Self::Int16(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float32(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder, precision, scale) => {
                let scale = i8::try_from(scale).unwrap_or(i8::MAX);
                let array = builder.finish();
                // The type comes from the plan, where precision and scale were checked.
                Arc::new(
                    array
                        .clone()
                        .with_precision_and_scale(precision, scale)
                        .unwrap_or(array),
                )
            }
            Self::Utf8(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Millis(mut builder, zoned) => {
                Arc::new(builder.finish().with_timezone_opt(zoned.then_some(ZONE)))
            }
            Self::Micros(mut builder, zoned) => {
                Arc::new(builder.finish().with_timezone_opt(zoned.then_some(ZONE)))
            }
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let Some((head, tail)) = rest.split_first_chunk::<N>() else {
        return Err(format!(
            "the key ends early: {} bytes left of {N}",
            rest.len()
        ));
    };
    *rest = tail;
    Ok(*head)
}

fn int32(rest: &mut &[u8]) -> Result<i32, String> {
    Ok(i32::from_be_bytes(take(rest)?) ^ i32::MIN)
}

fn int64(rest: &mut &[u8]) -> Result<i64, String> {
    Ok(i64::from_be_bytes(take(rest)?) ^ i64::MIN)
}

fn float32(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 {
        bits & !(1 << 31)
    } else {
        !bits
    })
}

fn float64(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 {
        bits & !(1 << 63)
    } else {
        !bits
    })
}

fn unescape(rest: &mut &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    loop {
        let Some(zero) = rest.iter().position(|byte| *byte == 0) else {
            return Err("a string does not end".to_owned());
        };
        text.extend_from_slice(&rest[..zero]);
        match rest.get(zero + 1) {
            Some(0) => {
                *rest = &rest[zero + 2..];
                return Ok(text);
            }
            Some(0xff) => {
                text.push(0);
                *rest = &rest[zero + 2..];
            }
            _ => return Err("a string has a bad escape".to_owned()),
        }
    }
}
