//! All aggregate calls of an operator together, with their encoding in state.
//!
//! The value of a state entry ends with its accumulators: for each one of the descriptor, in order,
//! a 32-bit little-endian length, a version byte and the stored form of its kind. So a reader can
//! skip an accumulator that it does not know, and find the others by uid.
//!
//! Where an accumulator keeps values, version 1 has all of them here. Version 2 has the serial
//! number of the group (64 bits, little-endian), and every value is an entry of its own
//! (`value_entry`). The version of the state's descriptor shows that its entries are of version 2.

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use streamkeeper_protocol::{
    aggregate::{AggregateCall, AggregateFunction},
    manifest::AccumulatorDescriptor,
    types::{DataType, LogicalType},
};
use streamkeeper_state::{Entry, PagedVec};

use super::{
    accumulator::{Accumulator, Input, Rows, corrupt},
    count::Count,
    distinct::Distinct,
    extreme::{Extreme, RetractableExtreme},
    sum::{Sum, Summable},
    value_entry::ValueEntry,
    value_repr::{Bytes, Exact, Real, ValueRepr, Whole, take},
};

/// Version byte of a stored accumulator that is whole.
const WHOLE: u8 = 1;
/// Version byte of an accumulator whose values are entries of their own.
const VALUES_IN_ENTRIES: u8 = 2;
/// Values that are restored at a time.
const LOADED: usize = 1 << 16;

/// The accumulators of an operator, and the numbers of its groups.
#[derive(Debug)]
pub struct Accumulators {
    calls: Vec<AggregateCall>,
    cells: Vec<Box<dyn Accumulator>>,
    groups: usize,
    free: Vec<u32>,
    /// Serial number of every group; absent where groups are not state.
    serials: Option<PagedVec<u64>>,
    /// Larger than all serial numbers that are in the state.
    next_serial: u64,
}

/// A stored value to restore: group, stored form, count.
type Loaded<'a> = (u32, &'a [u8], i64);

impl Accumulators {
    /// Makes the accumulators of these calls; `input` tells whether rows may be retracted. Fails on
    /// types that a function does not take.
    pub fn new(calls: &[AggregateCall], input: Input) -> Result<Self, String> {
        let cells = calls
            .iter()
            .map(|call| accumulator(call, input))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            calls: calls.to_vec(),
            cells,
            groups: 0,
            free: Vec::new(),
            serials: None,
            next_serial: 0,
        })
    }

    /// Like [`Self::new`], for groups that are stored as state.
    pub fn stored(calls: &[AggregateCall], input: Input) -> Result<Self, String> {
        let mut stored = Self::new(calls, input)?;
        stored.serials = Some(PagedVec::default());
        for cell in &mut stored.cells {
            cell.track_values();
        }
        Ok(stored)
    }

    /// Number of groups, with the free ones.
    pub fn len(&self) -> usize {
        self.groups
    }

    /// Whether there never was a group.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }

    /// A new, empty group. Call [`Self::settle`] before it is used.
    pub fn add(&mut self) -> u32 {
        let group = self.free.pop().unwrap_or_else(|| {
            self.groups += 1;
            // Four billion groups do not fit into a worker's memory.
            u32::try_from(self.groups - 1).unwrap_or(u32::MAX)
        });
        if let Some(serials) = &mut self.serials {
            serials.grow(self.groups, &0);
            serials[group as usize] = self.next_serial;
            self.next_serial += 1;
        }
        group
    }

    /// Makes room for all groups added so far.
    pub fn settle(&mut self) {
        for cell in &mut self.cells {
            cell.grow(self.groups);
        }
    }

    /// Makes room for exactly the groups 0 to `groups`, which the caller has numbered.
    pub fn settle_at(&mut self, groups: usize) {
        self.groups = groups;
        self.settle();
    }

    /// Removes all groups.
    pub fn reset(&mut self) {
        self.groups = 0;
        self.free.clear();
        for cell in &mut self.cells {
            cell.reset();
        }
    }

    /// Frees a settled group.
    pub fn release(&mut self, group: u32) {
        for cell in &mut self.cells {
            cell.clear(group as usize);
        }
        self.free.push(group);
    }

    /// Takes rows of the operator's input: `weights` as in [`Rows`].
    pub fn update(
        &mut self,
        groups: &[u32],
        batch: &RecordBatch,
        weights: Option<&[i8]>,
    ) -> Result<(), String> {
        let mut filtered: Vec<i8> = Vec::new();
        for (call, cell) in self.calls.iter().zip(&mut self.cells) {
            let column = |index: usize| {
                batch.columns().get(index).ok_or_else(|| {
                    format!(
                        "an aggregate names column {index} of {}",
                        batch.num_columns()
                    )
                })
            };
            let arg = call.arg.map(column).transpose()?;
            let weights = match call.filter {
                None => weights,
                Some(filter) => {
                    let filter = column(filter)?
                        .as_boolean_opt()
                        .ok_or("FILTER needs a BOOLEAN")?;
                    filtered.clear();
                    filtered.extend((0..groups.len()).map(|row| {
                        if filter.is_valid(row) && filter.value(row) {
                            weights.map_or(1, |weights| weights[row])
                        } else {
                            0
                        }
                    }));
                    Some(filtered.as_slice())
                }
            };
            cell.update(Rows { groups, weights }, arg)?;
        }
        Ok(())
    }

    /// Takes partial results: for every call its columns, one call after the other.
    pub fn merge(&mut self, groups: &[u32], partials: &[ArrayRef]) -> Result<(), String> {
        let mut rest = partials;
        for (call, cell) in self.calls.iter().zip(&mut self.cells) {
            let (own, after) = rest
                .split_at_checked(call.partial_types().len())
                .ok_or("there are too few columns of partial results")?;
            cell.merge(groups, own)?;
            rest = after;
        }
        Ok(())
    }

    /// Adds groups of other accumulators of these calls: `theirs[i]` to `own[i]`.
    pub fn absorb(&mut self, own: &[u32], other: &Self, theirs: &[u32]) -> Result<(), String> {
        self.cells
            .iter_mut()
            .zip(&other.cells)
            .try_for_each(|(cell, other)| cell.absorb(own, other.as_ref(), theirs))
    }

    /// Partial results of these groups: for every call its columns, one call after the other.
    pub fn partials(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String> {
        let columns = self
            .cells
            .iter()
            .map(|cell| cell.partial(groups))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(columns.into_iter().flatten().collect())
    }

    /// Results of these groups, a column for every call.
    pub fn results(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, String> {
        self.cells.iter().map(|cell| cell.result(groups)).collect()
    }

    /// Whether results may be texts or bytes, whose length has no bound.
    pub fn has_texts(&self) -> bool {
        self.cells.iter().any(|cell| cell.has_texts())
    }

    /// Bytes of the texts among a group's results, or its partial results.
    pub fn text_bytes(&self, group: u32) -> usize {
        let cells = self.cells.iter();
        cells.map(|cell| cell.text_bytes(group as usize)).sum()
    }

    /// Bytes of the texts among the partial results of all groups.
    pub fn held_text_bytes(&self) -> usize {
        self.cells.iter().map(|cell| cell.held_text_bytes()).sum()
    }

    /// Appends the stored form of a group, without the values that are entries of their own.
    pub fn encode(&self, group: u32, out: &mut Vec<u8>) {
        for cell in &self.cells {
            let start = out.len();
            if cell.keeps_values() {
                out.extend_from_slice(&[0, 0, 0, 0, VALUES_IN_ENTRIES]);
                out.extend_from_slice(&self.serial(group).to_le_bytes());
            } else {
                out.extend_from_slice(&[0, 0, 0, 0, WHOLE]);
                cell.encode(group as usize, out);
            }
            let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
            out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Adds the entries of a group's values that changed since the last call, or with `full` all of
    /// them. `owner` is the key of the group.
    pub fn freeze_values(
        &mut self,
        group: u32,
        full: bool,
        owner: &[u8],
        key_group: u16,
        into: &mut Vec<Entry>,
    ) {
        let serial = self.serial(group);
        // No plan has 65,536 calls: a column of the output is behind each.
        for (cell, position) in self.cells.iter_mut().zip(0_u16..) {
            cell.freeze_values(group as usize, full, &mut |value, count| {
                into.push(Entry {
                    key_group,
                    key: ValueEntry::key(owner, position, value),
                    value: count.map(|count| ValueEntry::value(owner, serial, count)),
                });
            });
        }
    }

    /// Restores values that are entries of their own, after their groups. `group_of` finds a group
    /// by its key; `mapping` as in [`Self::decode`].
    pub fn load_values(
        &mut self,
        entries: &[Entry],
        mapping: &[Option<usize>],
        group_of: impl Fn(&[u8]) -> Option<u32>,
    ) -> Result<(), String> {
        let mut loaded: Vec<Vec<Loaded<'_>>> = vec![Vec::new(); self.cells.len()];
        for entry in entries {
            let Some(apart) = ValueEntry::read(entry)? else {
                continue;
            };
            self.next_serial = self.next_serial.max(apart.serial.saturating_add(1));
            let cell = mapping
                .iter()
                .position(|written| *written == Some(usize::from(apart.position)));
            // The value of a call that no longer exists.
            let Some(cell) = cell else { continue };
            // The value of a group that no longer exists.
            let group = group_of(apart.owner).filter(|group| self.serial(*group) == apart.serial);
            let Some(group) = group else { continue };
            loaded[cell].push((group, apart.value, apart.count));
            if loaded[cell].len() == LOADED {
                self.cells[cell].load_values(&std::mem::take(&mut loaded[cell]))?;
            }
        }
        for (cell, loaded) in self.cells.iter_mut().zip(loaded) {
            if !loaded.is_empty() {
                cell.load_values(&loaded)?;
            }
        }
        Ok(())
    }

    fn serial(&self, group: u32) -> u64 {
        let serials = self.serials.as_ref();
        serials.map_or(0, |serials| serials[group as usize])
    }

    /// Where each call's accumulator stands among those that were `written`; a call that is not
    /// there starts from no rows.
    pub fn mapping(&self, written: &[AccumulatorDescriptor]) -> Vec<Option<usize>> {
        self.calls
            .iter()
            .map(|call| {
                written
                    .iter()
                    .position(|descriptor| descriptor.uid == call.uid)
            })
            .collect()
    }

    /// Loads a stored form into an empty, settled group. `mapping` is [`Self::mapping`] of the
    /// `count` accumulators that were written.
    pub fn decode(
        &mut self,
        group: u32,
        mut bytes: &[u8],
        mapping: &[Option<usize>],
        count: usize,
    ) -> Result<(), String> {
        let mut stored = Vec::with_capacity(count);
        for _ in 0..count {
            let length = take(&mut bytes)
                .map(u32::from_le_bytes)
                .ok_or_else(corrupt)?;
            let (own, rest) = bytes
                .split_at_checked(length as usize)
                .ok_or_else(corrupt)?;
            stored.push(own);
            bytes = rest;
        }
        if !bytes.is_empty() {
            return Err(format!(
                "{} bytes stand behind the last accumulator",
                bytes.len()
            ));
        }
        for (cell, position) in self.cells.iter_mut().zip(mapping) {
            let Some(own) = position.and_then(|position| stored.get(position)) else {
                continue;
            };
            match own.split_first() {
                Some((&WHOLE, own)) => cell.decode(group as usize, own)?,
                Some((&VALUES_IN_ENTRIES, own)) if cell.keeps_values() => {
                    let serial = u64::from_le_bytes(own.try_into().map_err(|_| corrupt())?);
                    self.next_serial = self.next_serial.max(serial.saturating_add(1));
                    if let Some(serials) = &mut self.serials {
                        serials[group as usize] = serial;
                    }
                }
                Some((&VALUES_IN_ENTRIES, _)) | None => return Err(corrupt()),
                Some((version, _)) => {
                    return Err(format!(
                        "version {version} of a stored accumulator is unknown, the newest known is {VALUES_IN_ENTRIES}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The accumulators for a call.
fn accumulator(call: &AggregateCall, input: Input) -> Result<Box<dyn Accumulator>, String> {
    let Some(arg) = call.arg_type.as_ref().map(|ty| ty.data.clone()) else {
        return match call.function {
            AggregateFunction::Count if !call.distinct => Ok(Box::new(Count::default())),
            other => Err(format!("{other:?} needs an argument")),
        };
    };
    match &arg {
        DataType::Boolean
        | DataType::TinyInt
        | DataType::SmallInt
        | DataType::Int
        | DataType::BigInt
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp { .. }
        | DataType::TimestampLtz { .. }
        | DataType::IntervalDayTime
        | DataType::IntervalYearMonth => {
            over::<Whole>(call, &arg, input, arg.is_integer().then_some(sum::<Whole>))
        }
        DataType::Float | DataType::Double => over::<Real>(call, &arg, input, Some(sum::<Real>)),
        DataType::Decimal { .. } => over::<Exact>(call, &arg, input, Some(sum::<Exact>)),
        DataType::Char { .. } | DataType::Varchar { .. } | DataType::Bytes => {
            over::<Bytes>(call, &arg, input, None)
        }
        DataType::Null => Err("an argument of type NULL".to_owned()),
    }
}

type MakeSum = fn(bool, DataType, LogicalType) -> Box<dyn Accumulator>;

fn sum<D: Summable>(average: bool, arg: DataType, ty: LogicalType) -> Box<dyn Accumulator> {
    Box::new(Sum::<D>::new(average, arg, ty))
}

fn over<D: ValueRepr>(
    call: &AggregateCall,
    arg: &DataType,
    input: Input,
    sum: Option<MakeSum>,
) -> Result<Box<dyn Accumulator>, String> {
    let average = call.function == AggregateFunction::Avg;
    let largest = call.function == AggregateFunction::Max;
    let plain: Box<dyn Accumulator> = match call.function {
        AggregateFunction::Count => Box::new(Count::default()),
        AggregateFunction::Sum | AggregateFunction::Avg => match sum {
            Some(sum) => sum(average, arg.clone(), call.ty.clone()),
            None => return Err(format!("{:?}({arg}) is not implemented", call.function)),
        },
        // DISTINCT changes nothing here.
        AggregateFunction::Min | AggregateFunction::Max if input == Input::InsertOnly => {
            return Ok(Box::new(Extreme::<D>::new(largest, arg.clone())));
        }
        AggregateFunction::Min | AggregateFunction::Max => {
            return Ok(Box::new(RetractableExtreme::<D>::new(largest, arg.clone())));
        }
    };
    Ok(if call.distinct {
        Box::new(Distinct::<D>::new(plain, arg.clone()))
    } else {
        plain
    })
}
