//! `SUM` and `AVG`: a widened sum and the number of values in it. Integers wrap around as in Flink; a decimal sum beyond 38 digits is NULL.

use std::{any::Any, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
use streamkeeper_protocol::{
    aggregate::widened,
    types::{DataType, LogicalType},
};

use super::{
    accumulator::{Accumulator, Rows, corrupt, same},
    domain::{Domain, Exact, Real, Total, Whole, take},
};
use crate::expr::conversion::{self, Operand, Target};

/// Values that can be added up.
pub(super) trait Summable: Domain {
    const ZERO: Self::Value;

    /// Adds `value`, or takes it away if `weight` is negative.
    fn add(to: &mut Self::Value, value: &Self::Value, weight: i64);

    /// Whether a sum is beyond what its type holds.
    fn overflows(_sum: &Self::Value) -> bool {
        false
    }

    /// The average, in the type of the result; none if it overflows.
    fn average(sum: &Self::Value, count: i64, arg: &DataType, ty: &DataType)
    -> Option<Self::Value>;
}

impl Summable for Whole {
    const ZERO: i64 = 0;

    fn add(to: &mut i64, value: &i64, weight: i64) {
        *to = to.wrapping_add(value.wrapping_mul(weight));
    }

    fn average(sum: &i64, count: i64, _: &DataType, _: &DataType) -> Option<i64> {
        sum.checked_div(count)
    }
}

impl Summable for Real {
    const ZERO: Total = Total(0.0);

    fn add(to: &mut Total, value: &Total, weight: i64) {
        if weight < 0 {
            to.0 -= value.0;
        } else {
            to.0 += value.0;
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "as Java divides a double by a long"
    )]
    fn average(sum: &Total, count: i64, _: &DataType, _: &DataType) -> Option<Total> {
        Some(Total(sum.0 / count as f64))
    }
}

impl Summable for Exact {
    const ZERO: i128 = 0;

    fn add(to: &mut i128, value: &i128, weight: i64) {
        *to = to.saturating_add(if weight < 0 { -value } else { *value });
    }

    fn overflows(sum: &i128) -> bool {
        conversion::fit_i128(*sum, 38).is_none()
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
}

/// Sums and counts.
#[derive(Debug)]
pub(super) struct Sum<D: Summable> {
    sums: Vec<D::Value>,
    counts: Vec<i64>,
    average: bool,
    arg: DataType,
    ty: LogicalType,
}

impl<D: Summable> Sum<D> {
    /// Of values of type `arg`, with a result of type `ty`.
    pub(super) fn new(average: bool, arg: DataType, ty: LogicalType) -> Self {
        Self {
            sums: Vec::new(),
            counts: Vec::new(),
            average,
            arg,
            ty,
        }
    }

    fn sum(&self, group: usize) -> Option<&D::Value> {
        (self.counts[group] != 0 && !D::overflows(&self.sums[group])).then(|| &self.sums[group])
    }

    fn take(&mut self, group: usize, value: &D::Value, weight: i64, count: i64) {
        D::add(&mut self.sums[group], value, weight);
        self.counts[group] += count;
    }
}

impl<D: Summable> Accumulator for Sum<D> {
    fn grow(&mut self, groups: usize) {
        let groups = groups.max(self.counts.len());
        self.sums.resize(groups, D::ZERO);
        self.counts.resize(groups, 0);
    }

    fn clear(&mut self, group: usize) {
        self.sums[group] = D::ZERO;
        self.counts[group] = 0;
    }

    fn reset(&mut self) {
        self.sums.clear();
        self.counts.clear();
    }

    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String> {
        let column = D::column(arg.ok_or("SUM and AVG need an argument")?)?;
        if column.null_count() == 0 {
            for (row, group, weight) in rows.iter() {
                self.take(group, &D::value(&column, row), weight, weight);
            }
        } else {
            for (row, group, weight) in rows.iter().filter(|(row, ..)| column.is_valid(*row)) {
                self.take(group, &D::value(&column, row), weight, weight);
            }
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) -> Result<(), String> {
        let sums = D::column(partial.first().ok_or("SUM and AVG need a partial sum")?)?;
        let counts = match partial.get(1) {
            Some(counts) => Some(
                counts
                    .as_primitive_opt::<Int64Type>()
                    .ok_or("AVG needs a partial BIGINT")?,
            ),
            None => None,
        };
        for (row, &group) in groups.iter().enumerate() {
            if sums.is_valid(row) {
                // A sum alone does not say of how many values: one stands for some.
                let count = counts.map_or(1, |counts| counts.value(row));
                self.take(group as usize, &D::value(&sums, row), 1, count);
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
            let from = from as usize;
            self.take(to as usize, &other.sums[from], 1, other.counts[from]);
        }
        Ok(())
    }

    fn partial(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String> {
        let sums = D::array(
            groups.iter().map(|&group| self.sum(group as usize)),
            &widened(&self.arg),
        )?;
        if !self.average {
            return Ok(vec![sums]);
        }
        let counts: Int64Array = groups
            .iter()
            .map(|&group| Some(self.counts[group as usize]))
            .collect();
        Ok(vec![sums, Arc::new(counts)])
    }

    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String> {
        if !self.average {
            return D::array(
                groups.iter().map(|&group| self.sum(group as usize)),
                &self.ty.data,
            );
        }
        let averages: Vec<Option<D::Value>> = groups
            .iter()
            .map(|&group| {
                self.sum(group as usize).and_then(|sum| {
                    D::average(sum, self.counts[group as usize], &self.arg, &self.ty.data)
                })
            })
            .collect();
        D::array(averages.iter().map(Option::as_ref), &self.ty.data)
    }

    fn encode(&self, group: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[group].to_le_bytes());
        D::write(&self.sums[group], out);
    }

    fn decode(&mut self, group: usize, mut bytes: &[u8]) -> Result<(), String> {
        let count = take(&mut bytes)
            .map(i64::from_le_bytes)
            .ok_or_else(corrupt)?;
        let sum = D::read(&mut bytes)
            .filter(|_| bytes.is_empty())
            .ok_or_else(corrupt)?;
        (self.sums[group], self.counts[group]) = (sum, count);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
