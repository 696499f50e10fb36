//! `DISTINCT`: values with their counts, in front of an accumulator that receives each value once.

use std::any::Any;

use arrow_array::{Array, ArrayRef, UInt32Array};
use streamkeeper_protocol::types::DataType;

use super::{
    accumulator::{Accumulator, Rows, same},
    value_counts::ValueCounts,
    value_repr::ValueRepr,
};

/// Passes a value on when it appears, and retracts it when its last copy is retracted.
#[derive(Debug)]
pub(super) struct Distinct<D: ValueRepr> {
    seen: ValueCounts<D>,
    inner: Box<dyn Accumulator>,
    data: DataType,
}

/// Values to pass on to `inner`.
struct ForwardedValues<V> {
    groups: Vec<u32>,
    weights: Vec<i8>,
    values: Vec<V>,
}

impl<V> ForwardedValues<V> {
    fn new() -> Self {
        Self {
            groups: Vec::new(),
            weights: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Records a value that appeared or disappeared.
    fn note(&mut self, group: u32, (before, after): (i64, i64), value: impl FnOnce() -> V) {
        let weight = match (before > 0, after > 0) {
            (false, true) => 1,
            (true, false) => -1,
            _ => return,
        };
        self.groups.push(group);
        self.weights.push(weight);
        self.values.push(value());
    }
}

impl<D: ValueRepr> Distinct<D> {
    /// In front of `inner`, for values of type `data`.
    pub(super) fn new(inner: Box<dyn Accumulator>, data: DataType) -> Self {
        Self {
            seen: ValueCounts::default(),
            inner,
            data,
        }
    }

    fn forward(&mut self, forwarded: &ForwardedValues<D::Value>) -> Result<(), String> {
        if forwarded.groups.is_empty() {
            return Ok(());
        }
        let values = D::array(forwarded.values.iter().map(Some), &self.data)?;
        self.inner.update(
            Rows {
                groups: &forwarded.groups,
                weights: Some(&forwarded.weights),
            },
            Some(&values),
        )
    }
}

impl<D: ValueRepr> Accumulator for Distinct<D> {
    fn grow(&mut self, groups: usize) {
        self.seen.grow(groups);
        self.inner.grow(groups);
    }

    fn clear(&mut self, group: usize) {
        self.seen.clear(group);
        self.inner.clear(group);
    }

    fn reset(&mut self) {
        self.seen.reset();
        self.inner.reset();
    }

    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String> {
        let arg = arg.ok_or("DISTINCT needs an argument")?;
        let column = D::column(arg)?;
        let mut forwarded = ForwardedValues::new();
        for (row, group, weight) in rows.iter().filter(|(row, ..)| column.is_valid(*row)) {
            let counts = self.seen.change(group, D::value(&column, row), weight);
            // A row number fits 32 bits: batches are small.
            forwarded.note(rows.groups[row], counts, || {
                u32::try_from(row).unwrap_or(u32::MAX)
            });
        }
        if forwarded.groups.is_empty() {
            return Ok(());
        }
        let values = arrow_select::take::take(arg, &UInt32Array::from(forwarded.values), None)
            .map_err(|error| error.to_string())?;
        self.inner.update(
            Rows {
                groups: &forwarded.groups,
                weights: Some(&forwarded.weights),
            },
            Some(&values),
        )
    }

    fn merge(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<(), String> {
        Err("DISTINCT has no partial results".to_owned())
    }

    fn absorb(
        &mut self,
        own: &[u32],
        other: &dyn Accumulator,
        theirs: &[u32],
    ) -> Result<(), String> {
        let other = same::<Self>(other)?;
        let mut forwarded = ForwardedValues::new();
        for (&to, &from) in own.iter().zip(theirs) {
            for (value, count) in other.seen.of(from as usize) {
                let counts = self.seen.change(to as usize, value.clone(), *count);
                forwarded.note(to, counts, || value.clone());
            }
        }
        self.forward(&forwarded)
    }

    fn partial(&self, _: &[u32]) -> Result<Vec<ArrayRef>, String> {
        Err("DISTINCT has no partial results".to_owned())
    }

    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String> {
        self.inner.result(groups)
    }

    fn encode(&self, _: usize, _: &mut Vec<u8>) {}

    fn decode(&mut self, group: usize, bytes: &[u8]) -> Result<(), String> {
        self.seen.load_all(group, bytes)?;
        // The inner accumulator is a function of the values.
        let mut forwarded = ForwardedValues::new();
        let number = u32::try_from(group).unwrap_or(u32::MAX);
        for (value, count) in self.seen.of(group) {
            forwarded.note(number, (0, *count), || value.clone());
        }
        self.forward(&forwarded)
    }

    fn keeps_values(&self) -> bool {
        true
    }

    fn track_values(&mut self) {
        self.seen.track();
    }

    fn freeze_values(
        &mut self,
        group: usize,
        full: bool,
        each: &mut dyn FnMut(&[u8], Option<i64>),
    ) {
        self.seen.freeze(group, full, each);
    }

    fn load_values(&mut self, values: &[(u32, &[u8], i64)]) -> Result<(), String> {
        let mut forwarded = ForwardedValues::new();
        for &(group, bytes, count) in values {
            let value = self.seen.load(group as usize, bytes, count)?;
            forwarded.note(group, (0, count), || value);
        }
        self.forward(&forwarded)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
