//! How often one job may be looked at: one that changes without end must not take the turns of the
//! others, nor write without end.

use std::time::Duration;

use tokio::time::Instant;

/// Passes that a job may make one after the other. A transition makes fewer.
const BURST: u32 = 40;
/// After that, one in this time.
const EVERY: Duration = Duration::from_millis(250);

/// The turns of one job.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateLimiter {
    /// When all turns are there again.
    full: Option<Instant>,
}

impl RateLimiter {
    /// Takes a turn, or returns how long there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full = self.full.map_or(now, |full| full.max(now));
        let debt = full.saturating_duration_since(now);
        let most = EVERY * (BURST - 1);
        let wait = debt.saturating_sub(most);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full = Some(full + EVERY);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_one_pass_after_the_other() {
        let start = Instant::now();
        let mut rate_limiter = RateLimiter::default();
        for n in 0..BURST {
            assert_eq!(rate_limiter.take(start), Ok(()), "pass {n}");
        }
        assert_eq!(rate_limiter.take(start), Err(EVERY));
        assert_eq!(rate_limiter.take(start + EVERY), Ok(()));
        assert!(rate_limiter.take(start + EVERY).is_err());
    }

    #[test]
    fn a_job_that_storms_for_a_minute_gets_four_turns_a_second() {
        let start = Instant::now();
        let mut rate_limiter = RateLimiter::default();
        let turns = (0..6000_u64)
            .filter(|n| {
                rate_limiter
                    .take(start + Duration::from_millis(n * 10))
                    .is_ok()
            })
            .count();
        assert_eq!(turns, 40 + 240 - 1);
    }

    #[test]
    fn a_quiet_job_has_all_its_turns_again() {
        let start = Instant::now();
        let mut rate_limiter = RateLimiter::default();
        while rate_limiter.take(start).is_ok() {}
        let later = start + EVERY * BURST;
        for _ in 0..BURST {
            assert_eq!(rate_limiter.take(later), Ok(()));
        }
    }
}
