//! `MIN` and `MAX`: the best value when nothing is ever retracted, else all values with their
//! counts.

use std::{any::Any, cmp::Ordering};

use arrow_array::{Array, ArrayRef};
use streamkeeper_protocol::types::DataType;
use streamkeeper_state::PagedVec;

use super::{
    accumulator::{Accumulator, Rows, corrupt, same},
    value_counts::ValueCounts,
    value_repr::{ValueRepr, take},
};

/// The smallest or largest value.
#[derive(Debug)]
pub(super) struct Extreme<D: ValueRepr> {
    best: PagedVec<Option<D::Value>>,
    /// How a better value compares with the best so far.
    better: Ordering,
    data: DataType,
    /// Bytes of all texts in `best`.
    text_bytes: usize,
}

impl<D: ValueRepr> Extreme<D> {
    /// Of values of type `data`.
    pub(super) fn new(largest: bool, data: DataType) -> Self {
        Self {
            best: PagedVec::default(),
            better: if largest {
                Ordering::Greater
            } else {
                Ordering::Less
            },
            data,
            text_bytes: 0,
        }
    }

    fn size(&self, group: usize) -> usize {
        self.best[group].as_ref().map_or(0, D::text_bytes)
    }

    fn put(&mut self, group: usize, value: Option<D::Value>) {
        let before = self.size(group);
        self.best[group] = value;
        self.text_bytes = self.text_bytes - before + self.size(group);
    }

    /// Takes rows: position and group of each.
    fn take(&mut self, column: &D::Column, rows: impl Iterator<Item = (usize, usize)>) {
        let (better, text_bytes) = (self.better, &mut self.text_bytes);
        let rows = rows.map(|(row, group)| (group, row));
        self.best.update(rows, |best, row| {
            if best
                .as_ref()
                .is_none_or(|best| D::compare(column, row, best) == better)
            {
                let value = D::value(column, row);
                let before = best.as_ref().map_or(0, D::text_bytes);
                *text_bytes = *text_bytes - before + D::text_bytes(&value);
                *best = Some(value);
            }
        });
    }
}

impl<D: ValueRepr> Accumulator for Extreme<D> {
    fn grow(&mut self, groups: usize) {
        self.best.grow(groups, &None);
    }

    fn clear(&mut self, group: usize) {
        self.put(group, None);
    }

    fn reset(&mut self) {
        self.best.clear();
        self.text_bytes = 0;
    }

    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String> {
        let column = D::column(arg.ok_or("MIN and MAX need an argument")?)?;
        if rows
            .weights
            .is_some_and(|weights| weights.iter().any(|weight| *weight < 0))
        {
            return Err(
                "a retraction reached a MIN or MAX that was planned for inserts only".to_owned(),
            );
        }
        let rows = rows.iter().map(|(row, group, _)| (row, group));
        if column.null_count() == 0 {
            self.take(&column, rows);
        } else {
            self.take(&column, rows.filter(|(row, _)| column.is_valid(*row)));
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) -> Result<(), String> {
        self.update(
            Rows {
                groups,
                weights: None,
            },
            partial.first(),
        )
    }

    fn absorb(
        &mut self,
        own: &[u32],
        other: &dyn Accumulator,
        theirs: &[u32],
    ) -> Result<(), String> {
        let other = same::<Self>(other)?;
        for (&to, &from) in own.iter().zip(theirs) {
            let Some(theirs) = &other.best[from as usize] else {
                continue;
            };
            if self.best[to as usize]
                .as_ref()
                .is_none_or(|best| theirs.cmp(best) == self.better)
            {
                self.put(to as usize, Some(theirs.clone()));
            }
        }
        Ok(())
    }

    fn partial(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String> {
        self.result(groups).map(|array| vec![array])
    }

    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String> {
        D::array(
            groups
                .iter()
                .map(|&group| self.best[group as usize].as_ref()),
            &self.data,
        )
    }

    fn has_texts(&self) -> bool {
        D::TEXTS
    }

    fn text_bytes(&self, group: usize) -> usize {
        self.size(group)
    }

    fn held_text_bytes(&self) -> usize {
        self.text_bytes
    }

    fn encode(&self, group: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.best[group].is_some()));
        if let Some(best) = &self.best[group] {
            D::write(best, out);
        }
    }

    fn decode(&mut self, group: usize, mut bytes: &[u8]) -> Result<(), String> {
        let best = match take(&mut bytes) {
            Some([0]) => None,
            Some([1]) => Some(D::read(&mut bytes).ok_or_else(corrupt)?),
            _ => return Err(corrupt()),
        };
        self.put(group, best);
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(corrupt())
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The smallest or largest value among changes.
#[derive(Debug)]
pub(super) struct RetractableExtreme<D: ValueRepr> {
    values: ValueCounts<D>,
    largest: bool,
    data: DataType,
}

impl<D: ValueRepr> RetractableExtreme<D> {
    /// Of values of type `data`.
    pub(super) fn new(largest: bool, data: DataType) -> Self {
        Self {
            values: ValueCounts::default(),
            largest,
            data,
        }
    }

    fn best(&self, group: usize) -> Option<&D::Value> {
        let mut present = self
            .values
            .of(group)
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(value, _)| value);
        if self.largest {
            present.next_back()
        } else {
            present.next()
        }
    }
}

impl<D: ValueRepr> Accumulator for RetractableExtreme<D> {
    fn grow(&mut self, groups: usize) {
        self.values.grow(groups);
    }

    fn clear(&mut self, group: usize) {
        self.values.clear(group);
    }

    fn reset(&mut self) {
        self.values.reset();
    }

    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String> {
        let column = D::column(arg.ok_or("MIN and MAX need an argument")?)?;
        for (row, group, weight) in rows.iter().filter(|(row, ..)| column.is_valid(*row)) {
            self.values.change(group, D::value(&column, row), weight);
        }
        Ok(())
    }

    fn merge(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<(), String> {
        Err("MIN and MAX of changes have no partial results".to_owned())
    }

    fn absorb(
        &mut self,
        own: &[u32],
        other: &dyn Accumulator,
        theirs: &[u32],
    ) -> Result<(), String> {
        let other = same::<Self>(other)?;
        for (&to, &from) in own.iter().zip(theirs) {
            for (value, count) in other.values.of(from as usize) {
                self.values.change(to as usize, value.clone(), *count);
            }
        }
        Ok(())
    }

    fn partial(&self, _: &[u32]) -> Result<Vec<ArrayRef>, String> {
        Err("MIN and MAX of changes have no partial results".to_owned())
    }

    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String> {
        D::array(
            groups.iter().map(|&group| self.best(group as usize)),
            &self.data,
        )
    }

    fn has_texts(&self) -> bool {
        D::TEXTS
    }

    fn text_bytes(&self, group: usize) -> usize {
        self.best(group).map_or(0, D::text_bytes)
    }

    fn encode(&self, _: usize, _: &mut Vec<u8>) {}

    fn decode(&mut self, group: usize, bytes: &[u8]) -> Result<(), String> {
        self.values.load_all(group, bytes)
    }

    fn keeps_values(&self) -> bool {
        true
    }

    fn track_values(&mut self) {
        self.values.track();
    }

    fn freeze_values(
        &mut self,
        group: usize,
        full: bool,
        each: &mut dyn FnMut(&[u8], Option<i64>),
    ) {
        self.values.freeze(group, full, each);
    }

    fn load_values(&mut self, values: &[(u32, &[u8], i64)]) -> Result<(), String> {
        for &(group, bytes, count) in values {
            self.values.load(group as usize, bytes, count)?;
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
