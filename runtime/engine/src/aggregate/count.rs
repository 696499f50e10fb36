//! `COUNT`.

use std::{any::Any, sync::Arc};

use arrow_array::{Array, ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
use streamkeeper_state::PagedVec;

use super::accumulator::{Accumulator, Rows, corrupt, same};

/// Rows, or values that are not NULL.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: PagedVec<i64>,
}

impl Count {
    fn column(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(
            groups
                .iter()
                .map(|&group| self.counts[group as usize])
                .collect::<Vec<i64>>()
                .into_iter()
                .collect::<Int64Array>(),
        )
    }
}

impl Accumulator for Count {
    fn grow(&mut self, groups: usize) {
        self.counts.grow(groups, &0);
    }

    fn clear(&mut self, group: usize) {
        self.counts[group] = 0;
    }

    fn reset(&mut self) {
        self.counts.clear();
    }

    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String> {
        match arg
            .and_then(Array::logical_nulls)
            .filter(|nulls| nulls.null_count() > 0)
        {
            None if rows.weights.is_none() => {
                let groups = rows.groups.iter().map(|&group| (group as usize, 1));
                self.counts.update(groups, |count, one| *count += one);
            }
            None => {
                let weights = rows.iter().map(|(_, group, weight)| (group, weight));
                self.counts
                    .update(weights, |count, weight| *count += weight);
            }
            Some(nulls) => {
                let rows = rows.iter().filter(|(row, ..)| nulls.is_valid(*row));
                let weights = rows.map(|(_, group, weight)| (group, weight));
                self.counts
                    .update(weights, |count, weight| *count += weight);
            }
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) -> Result<(), String> {
        let counts = partial
            .first()
            .and_then(|array| array.as_primitive_opt::<Int64Type>())
            .ok_or("COUNT needs a partial BIGINT")?;
        for (&group, count) in groups.iter().zip(counts) {
            self.counts[group as usize] += count.unwrap_or(0);
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
            self.counts[to as usize] += other.counts[from as usize];
        }
        Ok(())
    }

    fn partial(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String> {
        Ok(vec![self.column(groups)])
    }

    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String> {
        Ok(self.column(groups))
    }

    fn encode(&self, group: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[group].to_le_bytes());
    }

    fn decode(&mut self, group: usize, bytes: &[u8]) -> Result<(), String> {
        self.counts[group] = i64::from_le_bytes(bytes.try_into().map_err(|_| corrupt())?);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
