//! Fires the windows that the watermark has passed.

use hashbrown::HashTable;
use streamkeeper_connectors::batch::Batch;
use streamkeeper_protocol::key_group::key_group;
use streamkeeper_state::KeyRef;

use super::{
    super::{output::batch_end, slices, state_descriptors::SLICES},
    Member, SLICE_BYTES, Windows,
};
use crate::{
    EngineError,
    aggregate::{Accumulators, Input},
};

impl Windows {
    /// Whether the window with this end is still to come for a member.
    fn is_due(&self, member: &Member, end: i64) -> bool {
        self.fired.is_empty() || {
            let group = key_group(&member.key[SLICE_BYTES..], self.key_groups);
            self.fired.watermark(group, i64::MIN) < end.wrapping_sub(1)
        }
    }

    /// Emits the window with this end.
    pub(super) fn fire(&self, end: i64, out: &mut Vec<Batch>) -> Result<(), EngineError> {
        // The start of a window at the smallest time does not fit a number.
        let start = self.slicing.start(end);
        let first = if start < end { start + 1 } else { i64::MIN };
        let slices = || self.slices.range(first..=end);
        let due = |members| -> Vec<&Member> {
            let members: std::slice::Iter<'_, Member> = members;
            members.filter(|member| self.is_due(member, end)).collect()
        };
        if self.slicing.is_tumbling() || slices().nth(1).is_none() {
            for (_, members) in slices() {
                let members = due(members.iter());
                let keys: Vec<&[u8]> = members
                    .iter()
                    .map(|member| &member.key[SLICE_BYTES..])
                    .collect();
                let groups: Vec<u32> = members.iter().map(|member| member.group).collect();
                self.emit(end, &keys, &groups, &self.accumulators, out)?;
            }
            return Ok(());
        }
        let mut merged = Accumulators::new(&self.aggregates.aggregates, Input::InsertOnly)
            .map_err(|detail| self.context.refused(detail))?;
        let mut index: HashTable<u32> = HashTable::new();
        let mut keys: Vec<KeyRef<'_>> = Vec::new();
        for (_, members) in slices() {
            let members = due(members.iter());
            let (mut own, mut theirs) = (
                Vec::with_capacity(members.len()),
                Vec::with_capacity(members.len()),
            );
            for member in members {
                let key = KeyRef::new(&member.key[SLICE_BYTES..]);
                let found = index
                    .find(key.hash, |group| keys[*group as usize] == key)
                    .copied();
                let group = found.unwrap_or_else(|| {
                    let group = merged.add();
                    keys.push(key);
                    index.insert_unique(key.hash, group, |group| keys[*group as usize].hash);
                    group
                });
                own.push(group);
                theirs.push(member.group);
            }
            merged.settle();
            merged
                .absorb(&own, &self.accumulators, &theirs)
                .map_err(|detail| self.context.refused(detail))?;
        }
        let groups: Vec<u32> = (0..keys.len())
            .filter_map(|group| u32::try_from(group).ok())
            .collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.bytes).collect();
        self.emit(end, &keys, &groups, &merged, out)
    }

    fn emit(
        &self,
        end: i64,
        keys: &[&[u8]],
        groups: &[u32],
        from: &Accumulators,
        out: &mut Vec<Batch>,
    ) -> Result<(), EngineError> {
        let refused = |detail: String| self.context.refused(detail);
        let size = |row: usize| keys[row].len() + from.text_bytes(groups[row]);
        let mut start = 0;
        while start < keys.len() {
            let end_of_batch = batch_end(start, keys.len(), size);
            let rows = start..end_of_batch;
            start = end_of_batch;
            let (keys, groups) = (&keys[rows.clone()], &groups[rows]);
            let mut columns = self
                .key_encoder
                .decode(keys.iter().copied())
                .map_err(|error| self.context.unreadable(SLICES, error))?;
            columns.extend(from.results(groups).map_err(refused)?);
            let fields = self.output.types();
            let bounds = [self.slicing.start(end), end, end.wrapping_sub(1)];
            for ((bound, shift), to) in bounds
                .iter()
                .zip(self.shifts)
                .zip(&fields[fields.len().saturating_sub(3)..])
            {
                columns.push(
                    slices::timestamps(&vec![bound.wrapping_add(shift); keys.len()], to)
                        .map_err(refused)?,
                );
            }
            out.push(Batch::inserts(self.output.rows(
                &self.context,
                columns,
                keys.len(),
            )?));
        }
        Ok(())
    }
}
