//! Sums of decimals that are wider than a decimal, so that they are exact in any order of their
//! values.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Int64Array,
    cast::AsArray,
    types::{Decimal128Type, Int64Type},
};
use arrow_buffer::i256;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{aggregate::widened, types::DataType};

use super::value_repr::take;
use crate::expr::conversion;

/// Digits of the widest decimal. A partial sum is cut into `low + high * 10^38`.
const DIGITS: u8 = 38;

/// A sum of decimals: `low + high * 2^128`. It holds 2^63 decimals of 38 digits, so it never
/// overflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WideSum {
    low: i128,
    high: i64,
}

impl WideSum {
    /// Adds a value.
    pub(super) fn add(&mut self, value: i128) {
        let (low, overflows) = self.low.overflowing_add(value);
        self.low = low;
        if overflows {
            self.high += if value < 0 { -1 } else { 1 };
        }
    }

    /// Adds another sum.
    pub(super) fn combine(&mut self, other: Self) {
        self.add(other.low);
        self.high = self.high.wrapping_add(other.high);
    }

    /// Returns the sum if it has at most 38 digits.
    pub(super) fn total(self) -> Option<i128> {
        (self.high == 0)
            .then_some(self.low)
            .and_then(|low| conversion::fit_i128(low, DIGITS))
    }

    /// Returns `low` and `high` of a partial sum. Only a sum of more than 2^63 * 10^38, which rows
    /// cannot reach, has none.
    fn parts(self) -> Result<(i128, i64), String> {
        if let Some(total) = self.total() {
            return Ok((total, 0));
        }
        let (high, low) = self.to_i256().wrapping_div_rem(ten_to_38());
        let high = high.to_i128().and_then(|high| i64::try_from(high).ok());
        low.to_i128()
            .zip(high)
            .ok_or_else(|| "a partial sum of decimals has more than 56 digits".to_owned())
    }

    fn to_i256(self) -> i256 {
        let high = i256::from_i128(i128::from(self.high));
        i256::from_i128(self.low).wrapping_add(high << 128)
    }

    /// Returns the sum with this value; none for a value that no sum of decimals reaches.
    fn from_i256(value: i256) -> Option<Self> {
        let (low, high) = value.to_parts();
        let low = low.cast_signed();
        // A negative low part stands for itself minus 2^128.
        let high = high.checked_add(i128::from(low < 0))?;
        Some(Self {
            low,
            high: i64::try_from(high).ok()?,
        })
    }

    /// Appends the stored form: 16 bytes, and 8 more for a sum beyond 128 bits. Little endian.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.low.to_le_bytes());
        if self.high != 0 {
            out.extend_from_slice(&self.high.to_le_bytes());
        }
    }

    /// Reads a stored form, which ends where the bytes end.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let low = take(bytes).map(i128::from_le_bytes)?;
        let high = if bytes.is_empty() {
            0
        } else {
            take(bytes).map(i64::from_le_bytes)?
        };
        Some(Self { low, high })
    }
}

fn ten_to_38() -> i256 {
    i256::from_i128(10_i128.pow(u32::from(DIGITS)))
}

/// Returns the two columns of partial sums: `low` as DECIMAL(38, s), NULL over no values, and
/// `high` as BIGINT, where the sum is `low + high * 10^38`.
pub(super) fn to_columns(
    sums: impl Iterator<Item = Option<WideSum>>,
    arg: &DataType,
) -> Result<Vec<ArrayRef>, String> {
    let (mut lows, mut highs) = (Vec::new(), Vec::new());
    for sum in sums {
        let (low, high) = match sum {
            None => (None, 0),
            Some(sum) => {
                let (low, high) = sum.parts()?;
                (Some(low), high)
            }
        };
        lows.push(low);
        highs.push(high);
    }
    let low = Decimal128Array::from(lows).with_data_type(arrow_type(&widened(arg)));
    Ok(vec![Arc::new(low), Arc::new(Int64Array::from(highs))])
}

/// Reads what [`to_columns`] wrote.
pub(super) fn from_columns(columns: &[ArrayRef]) -> Result<Vec<Option<WideSum>>, String> {
    let [low, high] = columns else {
        return Err("a partial sum of decimals has two columns".to_owned());
    };
    let low = low
        .as_primitive_opt::<Decimal128Type>()
        .ok_or("a partial sum of decimals needs a DECIMAL")?;
    let high = high
        .as_primitive_opt::<Int64Type>()
        .ok_or("a partial sum of decimals needs a BIGINT")?;
    low.iter()
        .zip(high.values())
        .map(|(low, &high)| {
            let Some(low) = low else { return Ok(None) };
            let high = i256::from_i128(i128::from(high)).wrapping_mul(ten_to_38());
            WideSum::from_i256(high.wrapping_add(i256::from_i128(low)))
                .map(Some)
                .ok_or_else(|| "a partial sum of decimals is out of range".to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINES: i128 = 10_i128.pow(38) - 1;
    const TYPE: DataType = DataType::Decimal {
        precision: 38,
        scale: 0,
    };

    fn sum(values: &[i128]) -> WideSum {
        let mut sum = WideSum::default();
        for value in values {
            sum.add(*value);
        }
        sum
    }

    fn there_and_back(sum: WideSum) {
        let columns = to_columns([Some(sum)].into_iter(), &TYPE).unwrap();
        assert_eq!(from_columns(&columns).unwrap(), [Some(sum)]);
        let mut stored = Vec::new();
        sum.write(&mut stored);
        assert_eq!(WideSum::read(&mut stored.as_slice()), Some(sum));
        assert_eq!(WideSum::from_i256(sum.to_i256()), Some(sum));
    }

    #[test]
    fn a_sum_comes_back_from_beyond_38_digits() {
        let far = sum(&[NINES; 7]);
        assert_eq!(far.total(), None);
        let mut back = far;
        for _ in 0..7 {
            back.add(-NINES);
        }
        back.add(5);
        assert_eq!(back.total(), Some(5));
    }

    #[test]
    fn partial_sums_and_stored_sums_are_the_sum_itself() {
        for values in [
            vec![0],
            vec![-1],
            vec![NINES, NINES],
            vec![-NINES, -NINES],
            vec![NINES; 5],
            vec![-NINES; 5],
            vec![i128::MAX / 2, 7, i128::MAX / 2],
        ] {
            there_and_back(sum(&values));
        }
    }

    #[test]
    fn a_sum_that_an_earlier_version_stored_is_read() {
        let mut stored: &[u8] = &(-42_i128).to_le_bytes();
        assert_eq!(WideSum::read(&mut stored), Some(sum(&[-42])));
    }

    #[test]
    fn a_sum_that_its_columns_do_not_hold_is_an_error_and_no_other_number() {
        for high in [i64::MAX, i64::MIN] {
            let sum = WideSum { low: 7, high };
            let error = to_columns([None, Some(sum)].into_iter(), &TYPE).unwrap_err();
            assert!(error.contains("more than 56 digits"), "{error}");
        }
        there_and_back(WideSum {
            low: 7,
            high: i64::MAX / 4,
        });
    }

    #[test]
    fn a_stored_sum_that_is_cut_short_is_not_read() {
        let mut stored = Vec::new();
        sum(&[NINES; 5]).write(&mut stored);
        assert_eq!(WideSum::read(&mut &stored[..20]), None);
    }
}
