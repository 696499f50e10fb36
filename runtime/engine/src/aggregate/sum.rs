//! `SUM` and `AVG`: a widened sum and the number of values in it.
//!
//! Sums of integers wrap around, as in Flink. A sum of decimals is exact; its result is NULL only
//! while it has more than 38 digits.

use std::{any::Any, fmt::Debug, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
use streamkeeper_protocol::{
    aggregate::widened,
    types::{DataType, LogicalType},
};
use streamkeeper_state::PagedVec;

use super::{
    accumulator::{Accumulator, Rows, corrupt, same},
    value_repr::{Exact, Real, Total, ValueRepr, Whole, take},
    wide_sum::{self, WideSum},
};
use crate::expr::conversion::{self, Operand, Target};

/// Values that can be added up.
pub(super) trait Summable: ValueRepr {
    /// A sum of values.
    type Sum: Clone + Debug + Default + Send;
    /// Columns of a partial sum.
    const COLUMNS: usize;

    /// Adds `value`, or takes it away if `weight` is negative.
    fn add(to: &mut Self::Sum, value: &Self::Value, weight: i64);

    /// Adds another sum.
    fn combine(to: &mut Self::Sum, other: &Self::Sum);

    /// Returns the sum as a value; none if its type does not hold it.
    fn total(sum: &Self::Sum) -> Option<Self::Value>;

    /// Returns the average, in the type of the result; none if that does not hold it.
    fn average(sum: &Self::Value, count: i64, arg: &DataType, ty: &DataType)
    -> Option<Self::Value>;

    /// Returns partial sums as columns. None of their values is lost.
    fn to_columns(
        sums: impl Iterator<Item = Option<Self::Sum>>,
        arg: &DataType,
    ) -> Result<Vec<ArrayRef>, String>;

    /// Reads what [`Summable::to_columns`] wrote.
    fn from_columns(columns: &[ArrayRef]) -> Result<Vec<Option<Self::Sum>>, String>;

    /// Appends the stored form of a sum.
    fn write_sum(sum: &Self::Sum, out: &mut Vec<u8>);

    /// Takes a stored sum off the front.
    fn read_sum(bytes: &mut &[u8]) -> Option<Self::Sum>;
}

/// Partial sums as the one column that holds their type.
fn to_column<D: ValueRepr>(
    sums: impl Iterator<Item = Option<D::Value>>,
    arg: &DataType,
) -> Result<Vec<ArrayRef>, String> {
    let sums: Vec<Option<D::Value>> = sums.collect();
    Ok(vec![D::array(
        sums.iter().map(Option::as_ref),
        &widened(arg),
    )?])
}

fn from_column<D: ValueRepr>(columns: &[ArrayRef]) -> Result<Vec<Option<D::Value>>, String> {
    let column = D::column(columns.first().ok_or("SUM and AVG need a partial sum")?)?;
    Ok((0..column.len())
        .map(|row| column.is_valid(row).then(|| D::value(&column, row)))
        .collect())
}

impl Summable for Whole {
    type Sum = i64;
    const COLUMNS: usize = 1;

    fn add(to: &mut i64, value: &i64, weight: i64) {
        *to = to.wrapping_add(value.wrapping_mul(weight));
    }

    fn combine(to: &mut i64, other: &i64) {
        *to = to.wrapping_add(*other);
    }

    fn total(sum: &i64) -> Option<i64> {
        Some(*sum)
    }

    fn average(sum: &i64, count: i64, _: &DataType, _: &DataType) -> Option<i64> {
        sum.checked_div(count)
    }

    fn to_columns(
        sums: impl Iterator<Item = Option<i64>>,
        arg: &DataType,
    ) -> Result<Vec<ArrayRef>, String> {
        to_column::<Self>(sums, arg)
    }

    fn from_columns(columns: &[ArrayRef]) -> Result<Vec<Option<i64>>, String> {
        from_column::<Self>(columns)
    }

    fn write_sum(sum: &i64, out: &mut Vec<u8>) {
        Self::write(sum, out);
    }

    fn read_sum(bytes: &mut &[u8]) -> Option<i64> {
        Self::read(bytes)
    }
}

impl Summable for Real {
    type Sum = Total;
    const COLUMNS: usize = 1;

    fn add(to: &mut Total, value: &Total, weight: i64) {
        if weight < 0 {
            to.0 -= value.0;
        } else {
            to.0 += value.0;
        }
    }

    fn combine(to: &mut Total, other: &Total) {
        to.0 += other.0;
    }

    fn total(sum: &Total) -> Option<Total> {
        Some(*sum)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "as Java divides a double by a long"
    )]
    fn average(sum: &Total, count: i64, _: &DataType, _: &DataType) -> Option<Total> {
        Some(Total(sum.0 / count as f64))
    }

    fn to_columns(
        sums: impl Iterator<Item = Option<Total>>,
        arg: &DataType,
    ) -> Result<Vec<ArrayRef>, String> {
        to_column::<Self>(sums, arg)
    }

    fn from_columns(columns: &[ArrayRef]) -> Result<Vec<Option<Total>>, String> {
        from_column::<Self>(columns)
    }

    fn write_sum(sum: &Total, out: &mut Vec<u8>) {
        Self::write(sum, out);
    }

    fn read_sum(bytes: &mut &[u8]) -> Option<Total> {
        Self::read(bytes)
    }
}

impl Summable for Exact {
    type Sum = WideSum;
    const COLUMNS: usize = 2;

    fn add(to: &mut WideSum, value: &i128, weight: i64) {
        to.add(if weight < 0 { -value } else { *value });
    }

    fn combine(to: &mut WideSum, other: &WideSum) {
        to.combine(*other);
    }

    fn total(sum: &WideSum) -> Option<i128> {
        sum.total()
    }

    fn average(sum: &i128, count: i64, arg: &DataType, ty: &DataType) -> Option<i128> {
        let (DataType::Decimal { scale: from, .. }, DataType::Decimal { precision, scale }) =
            (arg, ty)
        else {
            return None;
        };
        let (sum, count) = (
            Operand {
                digits: *sum,
                scale: *from,
            },
            Operand {
                digits: i128::from(count),
                scale: 0,
            },
        );
        conversion::divide(
            sum,
            count,
            Target {
                precision: *precision,
                scale: *scale,
            },
        )
    }

    fn to_columns(
        sums: impl Iterator<Item = Option<WideSum>>,
        arg: &DataType,
    ) -> Result<Vec<ArrayRef>, String> {
        wide_sum::to_columns(sums, arg)
    }

    fn from_columns(columns: &[ArrayRef]) -> Result<Vec<Option<WideSum>>, String> {
        wide_sum::from_columns(columns)
    }

    fn write_sum(sum: &WideSum, out: &mut Vec<u8>) {
        sum.write(out);
    }

    fn read_sum(bytes: &mut &[u8]) -> Option<WideSum> {
        WideSum::read(bytes)
    }
}

/// Sums and counts.
#[derive(Debug)]
pub(super) struct Sum<D: Summable> {
    sums: PagedVec<D::Sum>,
    counts: PagedVec<i64>,
    average: bool,
    arg: DataType,
    ty: LogicalType,
}

impl<D: Summable> Sum<D> {
    /// Of values of type `arg`, with a result of type `ty`.
    pub(super) fn new(average: bool, arg: DataType, ty: LogicalType) -> Self {
        Self {
            sums: PagedVec::default(),
            counts: PagedVec::default(),
            average,
            arg,
            ty,
        }
    }

    /// Adds rows: position, group and weight of each.
    fn add(&mut self, column: &D::Column, rows: impl Iterator<Item = (usize, usize, i64)> + Clone) {
        let values = rows
            .clone()
            .map(|(row, group, weight)| (group, (row, weight)));
        self.sums.update(values, |sum, (row, weight)| {
            D::add(sum, &D::value(column, row), weight);
        });
        let weights = rows.map(|(_, group, weight)| (group, weight));
        self.counts
            .update(weights, |count, weight| *count += weight);
    }

    /// Returns the sum of a group's values, if there are any and the type holds it.
    fn total(&self, group: usize) -> Option<D::Value> {
        (self.counts[group] != 0)
            .then(|| D::total(&self.sums[group]))
            .flatten()
    }
}

impl<D: Summable> Accumulator for Sum<D> {
    fn grow(&mut self, groups: usize) {
        self.sums.grow(groups, &D::Sum::default());
        self.counts.grow(groups, &0);
    }

    fn clear(&mut self, group: usize) {
        self.sums[group] = D::Sum::default();
        self.counts[group] = 0;
    }

    fn reset(&mut self) {
        self.sums.clear();
        self.counts.clear();
    }

    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String> {
        let column = D::column(arg.ok_or("SUM and AVG need an argument")?)?;
        if column.null_count() == 0 {
            self.add(&column, rows.iter());
        } else {
            self.add(
                &column,
                rows.iter().filter(|(row, ..)| column.is_valid(*row)),
            );
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) -> Result<(), String> {
        let (sums, counts) = partial
            .split_at_checked(D::COLUMNS)
            .ok_or("SUM and AVG need a partial sum")?;
        let sums = D::from_columns(sums)?;
        let counts = match counts.first() {
            Some(counts) => Some(
                counts
                    .as_primitive_opt::<Int64Type>()
                    .ok_or("AVG needs a partial BIGINT")?,
            ),
            None => None,
        };
        for (row, (sum, &group)) in sums.iter().zip(groups).enumerate() {
            if let Some(sum) = sum {
                D::combine(&mut self.sums[group as usize], sum);
                // A sum alone does not show how many values are in it: a count of one stands for
                // any number.
                self.counts[group as usize] += counts.map_or(1, |counts| counts.value(row));
            }
        }
        Ok(())
    }

    fn absorb(
        &mut self,
        own: &[u32],
        other: &dyn Accumulator,
        theirs: &[u32],
    ) -> Result<(), String> {
        let other = same::<Self>(other)?;
        for (&to, &from) in own.iter().zip(theirs) {
            let (to, from) = (to as usize, from as usize);
            D::combine(&mut self.sums[to], &other.sums[from]);
            self.counts[to] += other.counts[from];
        }
        Ok(())
    }

    fn partial(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String> {
        let groups = groups.iter().map(|&group| group as usize);
        let sums = groups
            .clone()
            .map(|group| (self.counts[group] != 0).then(|| self.sums[group].clone()));
        let mut columns = D::to_columns(sums, &self.arg)?;
        if self.average {
            let counts: Int64Array = groups.map(|group| Some(self.counts[group])).collect();
            columns.push(Arc::new(counts));
        }
        Ok(columns)
    }

    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String> {
        let results: Vec<Option<D::Value>> = groups
            .iter()
            .map(|&group| {
                let group = group as usize;
                let total = self.total(group)?;
                if self.average {
                    D::average(&total, self.counts[group], &self.arg, &self.ty.data)
                } else {
                    Some(total)
                }
            })
            .collect();
        D::array(results.iter().map(Option::as_ref), &self.ty.data)
    }

    fn encode(&self, group: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[group].to_le_bytes());
        D::write_sum(&self.sums[group], out);
    }

    fn decode(&mut self, group: usize, mut bytes: &[u8]) -> Result<(), String> {
        let count = take(&mut bytes)
            .map(i64::from_le_bytes)
            .ok_or_else(corrupt)?;
        let sum = D::read_sum(&mut bytes)
            .filter(|_| bytes.is_empty())
            .ok_or_else(corrupt)?;
        (self.sums[group], self.counts[group]) = (sum, count);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Decimal128Array, cast::AsArray, types::Decimal128Type};
    use arrow_buffer::i256;
    use proptest::prelude::*;
    use streamkeeper_connectors::batch::arrow_type;

    use super::*;

    use crate::expr::conversion::fit_i128;

    const NINES: i128 = 10_i128.pow(38) - 1;
    const TYPE: DataType = DataType::Decimal {
        precision: 38,
        scale: 0,
    };
    const MEAN: DataType = DataType::Decimal {
        precision: 38,
        scale: 6,
    };

    fn accumulator(average: bool, groups: usize) -> Sum<Exact> {
        let ty = LogicalType::nullable(if average { MEAN } else { TYPE });
        let mut sum = Sum::<Exact>::new(average, TYPE, ty);
        sum.grow(groups);
        sum
    }

    fn update(sum: &mut Sum<Exact>, rows: &[(u32, i128, i8)]) {
        let groups: Vec<u32> = rows.iter().map(|(group, ..)| *group).collect();
        let weights: Vec<i8> = rows.iter().map(|(.., weight)| *weight).collect();
        let values: Decimal128Array = rows.iter().map(|(_, value, _)| Some(*value)).collect();
        let values: ArrayRef = Arc::new(values.with_data_type(arrow_type(&TYPE)));
        let rows = Rows {
            groups: &groups,
            weights: Some(&weights),
        };
        sum.update(rows, Some(&values)).unwrap();
    }

    fn values() -> impl Strategy<Value = Vec<(u32, i128, i8)>> {
        let value = prop_oneof![
            Just(NINES),
            Just(-NINES),
            -1_000_i128..1_000,
            any::<i64>().prop_map(|value| i128::from(value) * 10_i128.pow(19)),
        ];
        prop::collection::vec((0_u32..2, value, Just(1_i8)), 1..40)
    }

    /// The sum of one group, by integers that hold it; none beyond 38 digits or over no values.
    fn oracle(rows: &[(u32, i128, i8)], group: u32) -> Option<i128> {
        let own = rows.iter().filter(|row| row.0 == group);
        let count: i64 = own.clone().map(|row| i64::from(row.2)).sum();
        let sum = own.fold(i256::ZERO, |sum, row| {
            sum.wrapping_add(i256::from_i128(row.1 * i128::from(row.2)))
        });
        (count != 0)
            .then(|| sum.to_i128().and_then(|sum| fit_i128(sum, 38)))
            .flatten()
    }

    proptest! {
        /// Case: partials of one key were lost or saturated when another key forced a flush.
        #[test]
        fn a_sum_of_decimals_does_not_depend_on_where_partials_are_flushed_or_state_is_stored(
            rows in values(),
            cuts in prop::collection::vec(any::<(bool, bool)>(), 40),
        ) {
            let mut whole = accumulator(false, 2);
            let mut local = accumulator(false, 2);
            for (row, (flush, store)) in rows.iter().zip(cuts.iter().cycle()) {
                update(&mut local, &[*row]);
                if *flush {
                    whole.merge(&[0, 1], &local.partial(&[0, 1]).unwrap()).unwrap();
                    local = accumulator(false, 2);
                }
                if *store {
                    let mut restored = accumulator(false, 2);
                    for group in 0..2 {
                        let mut bytes = Vec::new();
                        whole.encode(group, &mut bytes);
                        restored.decode(group, &bytes).unwrap();
                    }
                    whole = restored;
                }
            }
            whole.merge(&[0, 1], &local.partial(&[0, 1]).unwrap()).unwrap();
            let result = whole.result(&[0, 1]).unwrap();
            let result = result.as_primitive::<Decimal128Type>();
            for group in 0..2_u32 {
                let found = result.is_valid(group as usize).then(|| result.value(group as usize));
                prop_assert_eq!(found, oracle(&rows, group));
            }
        }

        #[test]
        fn a_retracted_decimal_has_no_effect_on_the_sum(rows in values()) {
            let mut sum = accumulator(true, 2);
            update(&mut sum, &[(0, 5, 1)]);
            update(&mut sum, &rows);
            let back: Vec<_> = rows.iter().map(|(group, value, _)| (*group, *value, -1)).collect();
            update(&mut sum, &back);
            let result = sum.result(&[0, 1]).unwrap();
            let result = result.as_primitive::<Decimal128Type>();
            prop_assert_eq!((result.value(0), result.is_valid(1)), (5_000_000, false));
        }
    }
}
