//! Makes columns from generators and row numbers.
//!
//! Every value is a hash of (table and column, row number), spread by splitmix64's finaliser
//! (Steele, Lea, Flood 2014): no state, so any row can be made at any time.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, RecordBatch, StringArray,
    types::{
        ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType,
    },
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::SchemaRef;
use streamkeeper_protocol::types::DataType;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const DAY_MS: i64 = 86_400_000;

/// How values of a column are made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Decimal {
        min: i128,
        max: i128,
    },
    /// Hexadecimal digits; bytes for BYTES.
    Text {
        length: usize,
        variable: bool,
    },
    /// The row's time on the schedule, or up to `max_past_ms` before.
    Now {
        max_past_ms: u64,
    },
    /// `start` plus the row number, in any numeric or character type.
    Sequence {
        start: i64,
    },
}

/// One column.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) kind: Kind,
    /// The value is NULL where a hash is below this.
    pub(super) nulls: u64,
    pub(super) seed: u64,
    pub(super) data: DataType,
}

/// When rows are due: row `n` at `origin + n / rate`. So the time of a row does not depend on a
/// clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) origin_ms: i64,
    pub(super) rows_per_second: u64,
}

impl Schedule {
    /// Microseconds since the epoch.
    fn micros(&self, row: u64) -> i64 {
        // 64 bits are enough for most rows, and much faster.
        let after = match row.checked_mul(1_000_000) {
            Some(product) => u128::from(product / self.rows_per_second),
            None => u128::from(row) * 1_000_000 / u128::from(self.rows_per_second),
        };
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.origin_ms.saturating_mul(1_000).saturating_add(after)
    }
}

/// FNV-1a, for seeds.
pub(super) fn hash_text(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[inline]
fn mix(seed: u64, number: u64) -> u64 {
    let mut hash = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(GOLDEN));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// `0..=span`, evenly.
#[inline]
fn scale(hash: u64, span: u64) -> u64 {
    match span.checked_add(1) {
        None => hash,
        // The high half of a product is below the other factor.
        Some(count) => u64::try_from((u128::from(hash) * u128::from(count)) >> 64).unwrap_or(0),
    }
}

/// `0.0..1.0`.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// The rows with these numbers.
pub(super) fn rows(
    columns: &[Generator],
    schema: &SchemaRef,
    schedule: &Schedule,
    numbers: &[u64],
) -> Result<RecordBatch, String> {
    let columns = columns
        .iter()
        .map(|generator| generator.column(schedule, numbers))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| error.to_string())
}

#[inline]
fn integer_in(min: i64, max: i64, hash: u64) -> i64 {
    min.wrapping_add_unsigned(scale(hash, max.abs_diff(min)))
}

/// Appends `length` hexadecimal digits, or bytes.
fn push_random(bytes: &mut Vec<u8>, length: usize, seed: u64, number: u64, hexadecimal: bool) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let end = bytes.len() + length;
    let mut hash = seed;
    while bytes.len() < end {
        hash = mix(hash, number);
        let room = end - bytes.len();
        if hexadecimal {
            let digits: [u8; 16] = std::array::from_fn(|digit| {
                DIGITS[usize::try_from(hash >> (digit * 4) & 15).unwrap_or(0)]
            });
            bytes.extend_from_slice(&digits[..room.min(16)]);
        } else {
            bytes.extend_from_slice(&hash.to_le_bytes()[..room.min(8)]);
        }
    }
}

impl Generator {
    fn nulls(&self, numbers: &[u64]) -> Option<NullBuffer> {
        let seed = mix(self.seed, u64::MAX);
        (self.nulls > 0).then(|| {
            numbers
                .iter()
                .map(|&number| mix(seed, number) >= self.nulls)
                .collect::<Vec<_>>()
                .into()
        })
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        numbers: &[u64],
        value: impl Fn(u64) -> T::Native,
    ) -> PrimitiveArray<T> {
        let values: Vec<T::Native> = numbers.iter().map(|&number| value(number)).collect();
        PrimitiveArray::new(ScalarBuffer::from(values), self.nulls(numbers))
    }

    /// Integers of a type that the options were checked against.
    fn integers<T: ArrowPrimitiveType>(&self, numbers: &[u64]) -> ArrayRef
    where
        T::Native: TryFrom<i64> + Default,
    {
        let seed = self.seed;
        Arc::new(match self.kind {
            Kind::Integer { min, max } => self.primitive::<T>(numbers, |number| {
                T::Native::try_from(integer_in(min, max, mix(seed, number))).unwrap_or_default()
            }),
            _ => self.primitive::<T>(numbers, |number| {
                T::Native::try_from(self.in_sequence(number)).unwrap_or_default()
            }),
        })
    }

    fn in_sequence(&self, number: u64) -> i64 {
        match self.kind {
            Kind::Sequence { start } => start.wrapping_add_unsigned(number),
            _ => 0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a sequence of floats is as exact as floats are"
    )]
    fn float(&self, number: u64) -> f64 {
        match self.kind {
            // Written so that neither the span nor the sum can overflow.
            Kind::Float { min, max } => {
                let at = fraction(mix(self.seed, number));
                min * (1.0 - at) + max * at
            }
            _ => self.in_sequence(number) as f64,
        }
    }

    fn decimal(&self, number: u64, scale: u8) -> i128 {
        match self.kind {
            Kind::Decimal { min, max } => {
                let hash = mix(self.seed, number);
                let wide = u128::from(hash) << 64 | u128::from(mix(hash, number));
                min.wrapping_add_unsigned(wide % (max.abs_diff(min) + 1))
            }
            _ => i128::from(self.in_sequence(number)) * 10_i128.pow(u32::from(scale)),
        }
    }

    /// Microseconds since the epoch.
    fn micros(&self, schedule: &Schedule, number: u64) -> i64 {
        let due = schedule.micros(number);
        match self.kind {
            Kind::Now { max_past_ms } if max_past_ms > 0 => {
                let past = scale(mix(self.seed, number), max_past_ms);
                due.saturating_sub(i64::try_from(past).unwrap_or(0).saturating_mul(1_000))
            }
            _ => due,
        }
    }

    fn text(&self, numbers: &[u64], hexadecimal: bool) -> (OffsetBuffer<i32>, Buffer) {
        let mut offsets = Vec::with_capacity(numbers.len() + 1);
        offsets.push(0);
        let mut bytes: Vec<u8> = Vec::new();
        for &number in numbers {
            if let Kind::Text { length, variable } = self.kind {
                let hash = mix(self.seed, number);
                let shorter = variable && length > 0;
                let length = if shorter {
                    1 + usize::try_from(scale(hash, length as u64 - 1)).unwrap_or(0)
                } else {
                    length
                };
                push_random(&mut bytes, length, hash, number, hexadecimal);
            } else {
                let mut buffer = itoa::Buffer::new();
                bytes.extend_from_slice(buffer.format(self.in_sequence(number)).as_bytes());
            }
            // The options keep a batch far below 2 GiB.
            offsets.push(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        }
        (
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from(bytes),
        )
    }

    fn column(&self, schedule: &Schedule, numbers: &[u64]) -> Result<ArrayRef, String> {
        let refused = |error: arrow_schema::ArrowError| error.to_string();
        Ok(match &self.data {
            DataType::Boolean => {
                let values: Vec<bool> = numbers
                    .iter()
                    .map(|&number| mix(self.seed, number) & 1 == 1)
                    .collect();
                Arc::new(BooleanArray::new(values.into(), self.nulls(numbers)))
            }
            DataType::TinyInt => self.integers::<Int8Type>(numbers),
            DataType::SmallInt => self.integers::<Int16Type>(numbers),
            DataType::Int => self.integers::<Int32Type>(numbers),
            DataType::BigInt => self.integers::<Int64Type>(numbers),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "FLOAT is rounded from DOUBLE"
            )]
            DataType::Float => {
                Arc::new(self.primitive::<Float32Type>(numbers, |number| self.float(number) as f32))
            }
            DataType::Double => {
                Arc::new(self.primitive::<Float64Type>(numbers, |number| self.float(number)))
            }
            DataType::Decimal { precision, scale } => {
                let values: Vec<i128> = numbers
                    .iter()
                    .map(|&number| self.decimal(number, *scale))
                    .collect();
                let array = Decimal128Array::new(ScalarBuffer::from(values), self.nulls(numbers));
                let scale = i8::try_from(*scale).unwrap_or(i8::MAX);
                Arc::new(
                    array
                        .with_precision_and_scale(*precision, scale)
                        .map_err(refused)?,
                )
            }
            DataType::Char { .. } | DataType::Varchar { .. } => {
                let (offsets, bytes) = self.text(numbers, true);
                let array = StringArray::try_new(offsets, bytes, self.nulls(numbers));
                Arc::new(array.map_err(refused)?)
            }
            DataType::Bytes => {
                let (offsets, bytes) = self.text(numbers, false);
                let array = BinaryArray::try_new(offsets, bytes, self.nulls(numbers));
                Arc::new(array.map_err(refused)?)
            }
            DataType::Date => Arc::new(self.primitive::<Date32Type>(numbers, |number| {
                let days = schedule.micros(number).div_euclid(DAY_MS * 1_000);
                i32::try_from(days).unwrap_or(i32::MAX)
            })),
            DataType::Time => {
                Arc::new(self.primitive::<Time32MillisecondType>(numbers, |number| {
                    let millis = schedule.micros(number).div_euclid(1_000).rem_euclid(DAY_MS);
                    i32::try_from(millis).unwrap_or(0)
                }))
            }
            DataType::Timestamp { precision } | DataType::TimestampLtz { precision } => {
                let zoned = matches!(self.data, DataType::TimestampLtz { .. });
                self.timestamps(schedule, numbers, *precision, zoned.then_some("+00:00"))
            }
            other => return Err(format!("datagen makes no values of type {other}")),
        })
    }

    fn timestamps(
        &self,
        schedule: &Schedule,
        numbers: &[u64],
        precision: u8,
        zone: Option<&str>,
    ) -> ArrayRef {
        let micros = |number: u64| self.micros(schedule, number);
        let unit = |most: u8| 10_i64.pow(u32::from(most.saturating_sub(precision)));
        if precision <= 3 {
            let unit = unit(3);
            let values = self.primitive::<TimestampMillisecondType>(numbers, |number| {
                let millis = micros(number).div_euclid(1_000);
                if unit == 1 {
                    millis
                } else {
                    millis.div_euclid(unit) * unit
                }
            });
            Arc::new(values.with_timezone_opt(zone))
        } else {
            let unit = unit(6);
            let values = self.primitive::<TimestampMicrosecondType>(numbers, |number| {
                micros(number).div_euclid(unit) * unit
            });
            Arc::new(values.with_timezone_opt(zone))
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;

    use super::*;

    #[test]
    fn times_are_cut_to_their_precision_and_rows_far_away_are_still_on_schedule() {
        let schedule = Schedule {
            origin_ms: -1_234,
            rows_per_second: 7,
        };
        let far = u64::MAX / 1_000_000;
        let mut numbers: Vec<u64> = (0..100).collect();
        numbers.extend([far - 1, far, far + 1, far + 2]);
        let exact: Vec<i64> = numbers
            .iter()
            .map(|&number| {
                let after = u128::from(number) * 1_000_000 / 7;
                i64::try_from(after).unwrap() - 1_234_000
            })
            .collect();
        for precision in 0..=6_u8 {
            let generator = Generator {
                kind: Kind::Now { max_past_ms: 0 },
                nulls: 0,
                seed: 1,
                data: DataType::Timestamp { precision },
            };
            let column = generator.column(&schedule, &numbers).unwrap();
            let unit = 10_i64.pow(u32::from(6 - precision));
            let made: Vec<i64> = if precision <= 3 {
                let millis = column.as_primitive::<TimestampMillisecondType>().values();
                millis.iter().map(|millis| millis * 1_000).collect()
            } else {
                let micros = column.as_primitive::<TimestampMicrosecondType>().values();
                micros.to_vec()
            };
            let cut: Vec<i64> = exact
                .iter()
                .map(|micros| micros.div_euclid(unit) * unit)
                .collect();
            assert_eq!(made, cut, "TIMESTAMP({precision})");
        }
    }
}
