//! Barriers of one stage: a channel that delivered the barrier waits for the others.

use std::collections::VecDeque;

use crate::exchange::Barrier;

/// State of the alignment of one stage.
#[derive(Debug)]
pub(crate) struct Alignment {
    /// By channel: whether it delivered the current barrier.
    arrived: Vec<bool>,
    missing: usize,
    current: Option<Barrier>,
    /// Whether the stage has sources, which take part as one more input.
    sources: bool,
    /// Barriers for the sources, in order.
    triggers: VecDeque<Barrier>,
}

impl Alignment {
    pub(crate) fn new(channels: usize, sources: bool) -> Self {
        Self {
            arrived: vec![false; channels],
            missing: channels,
            current: None,
            sources,
            triggers: VecDeque::new(),
        }
    }

    /// A barrier for the stage's sources.
    pub(crate) fn trigger(&mut self, barrier: Barrier) {
        if self.sources {
            self.triggers.push_back(barrier);
        }
    }

    /// A barrier from a channel; false when it is not the one that the stage waits for, which no correct sender does.
    #[must_use]
    pub(crate) fn arrive(&mut self, channel: usize, barrier: Barrier) -> bool {
        if self.current.is_some_and(|current| current != barrier) || self.arrived[channel] {
            return false;
        }
        self.current = Some(barrier);
        self.arrived[channel] = true;
        self.missing -= 1;
        true
    }

    /// Whether the channel delivered its barrier and must wait.
    pub(crate) fn blocks(&self, channel: usize) -> bool {
        self.arrived[channel]
    }

    /// Whether sources must wait.
    pub(crate) fn blocks_sources(&self) -> bool {
        !self.triggers.is_empty()
    }

    /// The barrier, if every input delivered it. The stage then starts to wait for the next.
    pub(crate) fn complete(&mut self) -> Option<Barrier> {
        if self.missing > 0 || (self.sources && self.triggers.is_empty()) {
            return None;
        }
        let barrier = if self.sources {
            self.triggers.pop_front()
        } else {
            self.current
        };
        self.current = None;
        self.missing = self.arrived.len();
        self.arrived.fill(false);
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
        let mut alignment = Alignment::new(2, false);
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
        let mut alignment = Alignment::new(1, true);
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
        let mut alignment = Alignment::new(2, false);
        assert!(alignment.arrive(0, barrier(1)));
        assert!(!alignment.arrive(1, barrier(2)));
    }
}
