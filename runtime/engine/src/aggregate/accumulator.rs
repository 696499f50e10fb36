//! The contract of one call's accumulators.

use std::any::Any;

use arrow_array::ArrayRef;

/// Rows of a batch and the groups they belong to.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Group of every row.
    pub groups: &'a [u32],
    /// 1 to accumulate a row, -1 to retract it, 0 to leave it out; absent means 1 for all.
    pub weights: Option<&'a [i8]>,
}

impl Rows<'_> {
    /// Group and weight of every row that counts.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize, i64)> + Clone + '_ {
        let weights = self.weights;
        self.groups
            .iter()
            .enumerate()
            .map(move |(row, &group)| {
                (
                    row,
                    group as usize,
                    weights.map_or(1, |weights| i64::from(weights[row])),
                )
            })
            .filter(|(_, _, weight)| *weight != 0)
    }
}

/// What the input of an operator may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Only `+I`: the cheap forms are enough.
    InsertOnly,
    /// Retractions too.
    Changes,
}

/// Accumulators of one aggregate call, one per group. Groups are numbered densely; the caller that
/// numbers them calls [`Accumulator::grow`] first. Errors describe what does not fit; they come
/// from plans and bytes that do not belong together.
pub trait Accumulator: Send + std::fmt::Debug {
    /// Makes room for `groups` groups; new ones are empty.
    fn grow(&mut self, groups: usize);

    /// Empties a group.
    fn clear(&mut self, group: usize);

    /// Removes all groups.
    fn reset(&mut self);

    /// Takes rows; `arg` is the argument column, absent for `COUNT(*)`.
    fn update(&mut self, rows: Rows<'_>, arg: Option<&ArrayRef>) -> Result<(), String>;

    /// Takes partial results, made by [`Accumulator::partial`], of rows that were inserted.
    fn merge(&mut self, groups: &[u32], partial: &[ArrayRef]) -> Result<(), String>;

    /// Adds groups of another accumulator of this call: `theirs[i]` to `own[i]`.
    fn absorb(
        &mut self,
        own: &[u32],
        other: &dyn Accumulator,
        theirs: &[u32],
    ) -> Result<(), String>;

    /// Columns of [`streamkeeper_protocol::aggregate::AggregateCall::partial_types`] for these
    /// groups.
    fn partial(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String>;

    /// Results of these groups.
    fn result(&self, groups: &[u32]) -> Result<ArrayRef, String>;

    /// Whether results may be texts or bytes, whose length has no bound.
    fn has_texts(&self) -> bool {
        false
    }

    /// Bytes of the text that is a group's result, or its partial result.
    fn text_bytes(&self, _group: usize) -> usize {
        0
    }

    /// Bytes of the texts of all groups.
    fn held_text_bytes(&self) -> usize {
        0
    }

    /// Appends the stored form of a group.
    fn encode(&self, group: usize, out: &mut Vec<u8>);

    /// Loads a stored form into an empty group.
    fn decode(&mut self, group: usize, bytes: &[u8]) -> Result<(), String>;

    /// Whether it keeps every value of a group. Then [`Accumulator::encode`] writes nothing,
    /// because each value is an entry of its own; [`Accumulator::decode`] still reads all of them,
    /// as state of version 1 has them.
    fn keeps_values(&self) -> bool {
        false
    }

    /// Starts to track which values change, because the groups are stored as state.
    fn track_values(&mut self) {}

    /// Calls `each` for the values of a group that changed since the last call, or with `full` for
    /// all of them: stored form and count, none for a removed value.
    fn freeze_values(
        &mut self,
        _group: usize,
        _full: bool,
        _each: &mut dyn FnMut(&[u8], Option<i64>),
    ) {
    }

    /// Restores values of settled groups: group, stored form, count.
    fn load_values(&mut self, _values: &[(u32, &[u8], i64)]) -> Result<(), String> {
        Err(corrupt())
    }

    /// For [`Accumulator::absorb`].
    fn as_any(&self) -> &dyn Any;
}

/// The other accumulator, if it is of this kind.
pub(super) fn same<A: 'static>(other: &dyn Accumulator) -> Result<&A, String> {
    other
        .as_any()
        .downcast_ref::<A>()
        .ok_or_else(|| "accumulators of different kinds cannot be added".to_owned())
}

/// Why stored bytes cannot be read.
pub(super) fn corrupt() -> String {
    "the stored accumulator is cut short or of another kind".to_owned()
}
