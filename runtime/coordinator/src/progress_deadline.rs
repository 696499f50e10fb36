//! A deadline that moves on as long as something gets on.

use std::time::Duration;

use tokio::time::Instant;

/// Waits for work that says how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgressDeadline {
    by: Instant,
    /// How far the work was when the deadline was set.
    seen: u64,
}

impl ProgressDeadline {
    /// It ends `limit` after `now`, unless the work gets further than `seen`.
    pub(crate) fn new(now: Instant, limit: Duration, seen: u64) -> Self {
        let by = now + limit;
        Self { by, seen }
    }

    /// Whether it is at an end, with the work at `progress`: nothing moved for `limit`.
    pub(crate) fn is_out(&mut self, now: Instant, limit: Duration, progress: u64) -> bool {
        if progress > self.seen {
            *self = Self::new(now, limit, progress);
        }
        now >= self.by
    }

    /// When it ends.
    pub(crate) fn by(&self) -> Instant {
        self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    /// Seconds after which patience with a transfer of 256 MiB ends that moves so many bytes a
    /// second until `stuck`; none: never.
    fn ends_after(rate: u64, stuck: u64) -> Option<u64> {
        let began = streamkeeper_control::clock::now();
        let mut patience = ProgressDeadline::new(began, LIMIT, 0);
        let done = (256 << 20) / rate.max(1);
        (0..done.min(3_600)).find(|second| {
            let now = began + Duration::from_secs(*second);
            patience.is_out(now, LIMIT, rate * (*second).min(stuck))
        })
    }

    #[test]
    fn a_slow_transfer_is_waited_for_and_one_that_is_stuck_is_not() {
        assert_eq!(ends_after(1 << 20, u64::MAX), None, "256 s at 1 MiB/s");
        assert_eq!(ends_after(0, 0), Some(60));
        assert_eq!(ends_after(1 << 20, 100), Some(160));
    }

    #[test]
    fn a_worker_that_forgets_how_far_it_was_gains_no_time() {
        let began = streamkeeper_control::clock::now();
        let mut patience = ProgressDeadline::new(began, LIMIT, 10);
        assert!(!patience.is_out(began, LIMIT, 0));
        assert!(!patience.is_out(began + LIMIT / 2, LIMIT, 10));
        assert!(patience.is_out(began + LIMIT, LIMIT, 9));
        assert_eq!(patience.by(), began + LIMIT);
    }
}
