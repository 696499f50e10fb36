//! Barriers of one chain: it takes part in a checkpoint when every input has delivered the barrier.
//!
//! Where records count exactly once, a channel that delivered the barrier waits for the others.
//! Where they count at least once it does not wait: the records that it delivers meanwhile are in
//! the state of this checkpoint, and are read again after a restart from it.

use std::collections::VecDeque;

use streamkeeper_protocol::manifest::Guarantee;

use crate::exchange::Barrier;

/// State of the alignment of one chain.
#[derive(Debug)]
pub(crate) struct Alignment {
    guarantee: Guarantee,
    /// By channel: barriers it delivered and some other has not, oldest first. At most one where
    /// channels wait.
    ahead: Vec<VecDeque<Barrier>>,
    /// Channels that are not ahead of any other.
    missing: usize,
    /// Whether the chain has sources, which take part as one more input.
    sources: bool,
    /// Barriers for the sources, in order.
    triggers: VecDeque<Barrier>,
}

impl Alignment {
    pub(crate) fn new(channels: usize, sources: bool, guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            ahead: vec![VecDeque::new(); channels],
            missing: channels,
            sources,
            triggers: VecDeque::new(),
        }
    }

    /// A barrier for the chain's sources.
    pub(crate) fn trigger(&mut self, barrier: Barrier) {
        if self.sources {
            self.triggers.push_back(barrier);
        }
    }

    /// A barrier from a channel; false when it is not the next one there, which no correct sender
    /// does.
    #[must_use]
    pub(crate) fn arrive(&mut self, channel: usize, barrier: Barrier) -> bool {
        let awaited = self.ahead.iter().find_map(VecDeque::front).copied();
        let in_turn = match self.ahead[channel].back() {
            None => awaited.is_none_or(|awaited| awaited == barrier),
            Some(last) => !self.waits() && last.checkpoint < barrier.checkpoint,
        };
        if !in_turn {
            return false;
        }
        let ahead = &mut self.ahead[channel];
        if ahead.is_empty() {
            self.missing -= 1;
        }
        ahead.push_back(barrier);
        true
    }

    /// Whether channels that are ahead wait for the rest.
    fn waits(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }

    /// Whether the channel delivered its barrier and must wait.
    pub(crate) fn blocks(&self, channel: usize) -> bool {
        self.waits() && !self.ahead[channel].is_empty()
    }

    /// Whether sources must wait.
    pub(crate) fn blocks_sources(&self) -> bool {
        self.waits() && !self.triggers.is_empty()
    }

    /// The barrier, if every input delivered it. The chain then starts to wait for the next.
    pub(crate) fn complete(&mut self) -> Option<Barrier> {
        if self.missing > 0 || (self.sources && self.triggers.is_empty()) {
            return None;
        }
        let mut barrier = None;
        for ahead in &mut self.ahead {
            barrier = ahead.pop_front();
            if ahead.is_empty() {
                self.missing += 1;
            }
        }
        if self.sources {
            barrier = self.triggers.pop_front();
        }
        barrier
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_protocol::manifest::CheckpointKind;

    use super::*;

    fn barrier(checkpoint: u64) -> Barrier {
        Barrier {
            checkpoint,
            kind: CheckpointKind::Periodic,
        }
    }

    #[test]
    fn the_last_channel_completes_the_barrier_and_frees_the_others() {
        let mut alignment = Alignment::new(2, false, Guarantee::ExactlyOnce);
        assert!(alignment.arrive(0, barrier(1)));
        assert!(alignment.blocks(0) && !alignment.blocks(1));
        assert_eq!(alignment.complete(), None);
        assert!(alignment.arrive(1, barrier(1)));
        assert_eq!(alignment.complete(), Some(barrier(1)));
        assert!(!alignment.blocks(0));
        assert_eq!(alignment.complete(), None);
    }

    #[test]
    fn sources_take_part_in_the_alignment() {
        let mut alignment = Alignment::new(1, true, Guarantee::ExactlyOnce);
        assert!(alignment.arrive(0, barrier(1)));
        assert_eq!(alignment.complete(), None);
        alignment.trigger(barrier(1));
        alignment.trigger(barrier(2));
        assert_eq!(alignment.complete(), Some(barrier(1)));
        assert!(
            alignment.blocks_sources(),
            "the second barrier waits for the channel"
        );
        assert_eq!(alignment.complete(), None);
        assert!(alignment.arrive(0, barrier(2)));
        assert_eq!(alignment.complete(), Some(barrier(2)));
        assert!(!alignment.blocks_sources());
    }

    #[test]
    fn another_barrier_than_the_awaited_one_is_a_defect() {
        let mut alignment = Alignment::new(2, false, Guarantee::ExactlyOnce);
        assert!(alignment.arrive(0, barrier(1)));
        assert!(!alignment.arrive(1, barrier(2)));
    }

    #[test]
    fn a_channel_is_delivered_twice_only_where_nothing_waits() {
        let mut waiting = Alignment::new(2, false, Guarantee::ExactlyOnce);
        assert!(waiting.arrive(0, barrier(1)) && !waiting.arrive(0, barrier(2)));
    }

    #[test]
    fn where_records_may_count_again_a_fast_channel_never_waits_for_a_slow_one() {
        let mut alignment = Alignment::new(2, true, Guarantee::AtLeastOnce);
        alignment.trigger(barrier(1));
        assert!(!alignment.blocks_sources());
        for checkpoint in 1..4 {
            assert!(alignment.arrive(0, barrier(checkpoint)));
            assert!(!alignment.blocks(0));
        }
        assert!(!alignment.arrive(0, barrier(3)), "the same again");
        assert_eq!(alignment.complete(), None);
        // The slow channel follows, barrier by barrier.
        assert!(!alignment.arrive(1, barrier(2)), "not its next one");
        assert!(alignment.arrive(1, barrier(1)));
        assert_eq!(alignment.complete(), Some(barrier(1)));
        assert!(alignment.arrive(1, barrier(2)));
        assert_eq!(alignment.complete(), None, "the sources were not told");
        alignment.trigger(barrier(2));
        assert_eq!(alignment.complete(), Some(barrier(2)));
        assert_eq!(alignment.complete(), None);
    }
}
