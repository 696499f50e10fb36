//! Key hash, key groups and their assignment to subtasks.
//!
//! `key group = xxh3_64(encoded key) mod G`, frozen in the format as `xxh3-64/1`. The assignment is
//! an explicit vector, so that a rescale moves the fewest groups.

use serde::{Deserialize, Serialize};

/// Name of the hash in manifests.
pub const KEY_HASH: &str = "xxh3-64/1";

/// Key group of an encoded key among `max_parallelism` groups.
pub fn key_group(key: &[u8], max_parallelism: u16) -> u16 {
    let groups = u64::from(max_parallelism.max(1));
    // The remainder is below a u16 by construction.
    u16::try_from(xxhash_rust::xxh3::xxh3_64(key) % groups).unwrap_or(0)
}

/// Which subtask owns each key group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// `owner[key group] = subtask`.
    pub owner: Vec<u32>,
}

impl Assignment {
    /// An even assignment of `max_parallelism` groups to `parallelism` subtasks from nothing:
    /// contiguous ranges.
    pub fn even(max_parallelism: u16, parallelism: u32) -> Self {
        let groups = u64::from(max_parallelism);
        let subtasks = u64::from(parallelism.max(1));
        let owner = (0..groups)
            .map(|group| u32::try_from(group * subtasks / groups).unwrap_or(0))
            .collect();
        Self { owner }
    }

    /// The assignment to `parallelism` subtasks that moves the fewest groups from this one: each
    /// subtask ends with the floor or the ceiling of groups / subtasks, groups leave only subtasks
    /// that disappear or hold too many.
    #[must_use]
    pub fn rescaled(&self, parallelism: u32) -> Self {
        let subtasks = parallelism.max(1) as usize;
        let groups = self.owner.len();
        let (floor, extra) = (groups / subtasks, groups % subtasks);
        let mut held = vec![0_usize; subtasks];
        for &owner in &self.owner {
            if let Some(count) = held.get_mut(owner as usize) {
                *count += 1;
            }
        }
        // Those that hold most today may keep one more than the floor.
        let mut by_load: Vec<usize> = (0..subtasks).collect();
        by_load.sort_by_key(|&subtask| (std::cmp::Reverse(held[subtask]), subtask));
        let mut quota = vec![floor; subtasks];
        for &subtask in by_load.iter().take(extra) {
            quota[subtask] += 1;
        }
        let mut room = quota;
        let mut owner: Vec<Option<u32>> = vec![None; groups];
        for (group, &old) in self.owner.iter().enumerate() {
            if let Some(left) = room.get_mut(old as usize).filter(|left| **left > 0) {
                *left -= 1;
                owner[group] = Some(old);
            }
        }
        let mut takers = room.iter().enumerate().flat_map(|(subtask, &left)| {
            std::iter::repeat_n(u32::try_from(subtask).unwrap_or(0), left)
        });
        let owner = owner
            .into_iter()
            .map(|kept| kept.or_else(|| takers.next()).unwrap_or(0))
            .collect();
        Self { owner }
    }

    /// Groups that `subtask` owns, ascending.
    pub fn groups_of(&self, subtask: u32) -> impl Iterator<Item = u16> + '_ {
        self.owner
            .iter()
            .enumerate()
            .filter(move |(_, owner)| **owner == subtask)
            .filter_map(|(group, _)| u16::try_from(group).ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rescale_is_balanced_and_moves_only_what_must_move(groups in 1_u16..300, chain in prop::collection::vec(1_u32..20, 1..6)) {
            let mut now = Assignment::even(groups, chain[0]);
            for &parallelism in &chain[1..] {
                let next = now.rescaled(parallelism);
                let mut held = vec![0_usize; parallelism as usize];
                for &owner in &next.owner { held[owner as usize] += 1; }
                let (min, max) = (held.iter().min().unwrap(), held.iter().max().unwrap());
                prop_assert!(max - min <= 1, "{held:?}");
                // A group moves only from a subtask that disappears, or that gives down to its
                // quota.
                for subtask in 0..parallelism {
                    let before = now.groups_of(subtask).count();
                    let kept = now.groups_of(subtask).filter(|g| next.owner[*g as usize] == subtask).count();
                    prop_assert_eq!(kept, before.min(held[subtask as usize]));
                }
                now = next;
            }
        }
    }

    #[test]
    fn the_key_hash_is_frozen() {
        assert_eq!(
            key_group(b"", 128),
            (0x2d06_8005_38d3_94c2_u64 % 128) as u16
        );
        assert_eq!(
            key_group(b"AA", 128),
            (xxhash_rust::xxh3::xxh3_64(b"AA") % 128) as u16
        );
    }
}
