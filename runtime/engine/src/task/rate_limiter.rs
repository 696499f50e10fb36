//! Limits how fast a source reads.

use std::{path::PathBuf, sync::OnceLock};

/// Environment variable of tests: once the file that it names exists, no rate applies any more. So
/// a test's input lasts until its faults are over, also on a slow machine.
const HURRY: &str = "STREAMKEEPER_HURRY_FILE";
/// Between two looks for that file.
const LOOK_MS: u64 = 100;

/// A token bucket over an injected clock; it lets at most a tenth of a second catch up.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    rows_per_ms: f64,
    tokens: f64,
    burst: f64,
    filled_ms: u64,
    looked_ms: u64,
}

impl RateLimiter {
    /// This subtask's even share of `rows_per_second` over `subtasks`.
    pub(crate) fn share_of(rows_per_second: u64, subtasks: u32, now_ms: u64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate beyond 2^53 rows a second is no limit"
        )]
        let rows_per_ms = rows_per_second as f64 / f64::from(subtasks.max(1)) / 1000.0;
        Self {
            rows_per_ms,
            tokens: 0.0,
            burst: (rows_per_ms * 100.0).max(1.0),
            filled_ms: now_ms,
            looked_ms: now_ms,
        }
    }

    /// Whether the file exists that ends the limit in tests.
    pub(crate) fn hurries(&mut self, now_ms: u64) -> bool {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(file) = FILE.get_or_init(|| std::env::var_os(HURRY).map(PathBuf::from)) else {
            return false;
        };
        if now_ms < self.looked_ms.saturating_add(LOOK_MS) {
            return false;
        }
        self.looked_ms = now_ms;
        file.exists()
    }

    /// Rows that may be read now.
    pub(crate) fn allowance(&mut self, now_ms: u64) -> usize {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since the process started"
        )]
        let passed = now_ms.saturating_sub(self.filled_ms) as f64;
        self.filled_ms = now_ms;
        self.tokens = (self.tokens + passed * self.rows_per_ms).min(self.burst);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and floats saturate"
        )]
        let rows = self.tokens.max(0.0) as usize;
        rows
    }

    /// Accounts for rows that were read.
    pub(crate) fn spend(&mut self, rows: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a batch")]
        let rows = rows as f64;
        self.tokens -= rows;
    }

    /// When the next row may be read.
    pub(crate) fn next_ms(&self, now_ms: u64) -> u64 {
        let missing = (1.0 - self.tokens).max(0.0) / self.rows_per_ms.max(f64::MIN_POSITIVE);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and bounded"
        )]
        let wait = missing.ceil().min(1000.0) as u64;
        now_ms + wait.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_reading_is_the_share_of_a_second() {
        let mut pace = RateLimiter::share_of(1000, 4, 0);
        let mut read = 0;
        for now in 0..1000 {
            let rows = pace.allowance(now);
            pace.spend(rows);
            read += rows;
        }
        assert!((248..=250).contains(&read), "{read}");
    }

    #[test]
    fn less_than_one_row_a_second_still_moves() {
        let mut pace = RateLimiter::share_of(1, 4, 0);
        assert_eq!(pace.allowance(3_999), 0);
        assert_eq!(pace.next_ms(3_999), 4_000);
        assert_eq!(pace.allowance(4_000), 1);
    }

    #[test]
    fn a_source_does_not_catch_up_after_a_long_pause() {
        let mut pace = RateLimiter::share_of(1000, 1, 0);
        assert_eq!(pace.allowance(60_000), 100);
    }
}
