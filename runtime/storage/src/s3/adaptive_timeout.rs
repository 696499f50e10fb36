//! Timeouts of transfers that adapt to how earlier transfers went.
//!
//! Deadlines assume that a transfer gets [`RequestLimits::slowest`] for itself. Where several share
//! a link that does not give each of them as much, all of them run out of time, and would do so
//! again and again. So after a timeout the next transfer gets twice the time, and large transfers
//! go one at a time, until a transfer that went alone was quick enough for several at once.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use aws_sdk_s3::{config::Builder, error::SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use super::limits::{RequestKind, RequestLimits};

/// Transfers that a user of a store has under way at once.
const SEVERAL: u32 = 8;
/// Largest number of times the slowest rate is halved, so that a store that hangs is given up at
/// some point.
const MOST: u32 = 3;

/// The state of one store.
#[derive(Debug, Default)]
pub(super) struct AdaptiveTimeout {
    /// How often the slowest rate is halved.
    halved: AtomicU32,
    /// Whether large transfers go one at a time.
    turns: AtomicBool,
    /// Held by the one that goes.
    turn: Mutex<()>,
}

impl AdaptiveTimeout {
    /// Sends a request with `bytes` of content, at most `tries` times while it runs out of time.
    pub(super) async fn send<T, E, F>(
        &self,
        limits: &RequestLimits,
        (kind, bytes, mut tries): (RequestKind, u64, u32),
        request: impl Fn(Builder) -> F,
    ) -> Result<T, SdkError<E, HttpResponse>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        // The time for a smaller one is hardly that of its bytes.
        let large = bytes >= limits.slowest;
        loop {
            tries = tries.saturating_sub(1);
            let turn = if large { self.turn().await } else { None };
            let halved = if large { self.halved.load(Relaxed) } else { 0 };
            let config = match kind {
                RequestKind::Plain => limits.of_send(bytes, halved),
                RequestKind::Conditional => limits.of_condition(bytes, halved),
            };
            let began = Instant::now();
            let sent = request(config).await;
            match &sent {
                Ok(_) if large => {
                    self.took(
                        limits,
                        (kind, bytes, halved),
                        began.elapsed(),
                        turn.is_some(),
                    );
                }
                Err(SdkError::TimeoutError(_)) => {
                    if large {
                        self.ran_out(halved);
                    }
                    if tries > 0 {
                        continue;
                    }
                }
                _ => {}
            }
            return sent;
        }
    }

    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        if self.turns.load(Relaxed) {
            Some(self.turn.lock().await)
        } else {
            None
        }
    }

    /// A transfer ran out of the time it had at `halved`. Of several that did so together one
    /// counts.
    fn ran_out(&self, halved: u32) {
        self.turns.store(true, Relaxed);
        let next = (halved + 1).min(MOST);
        let _ = self.halved.compare_exchange(halved, next, Relaxed, Relaxed);
    }

    /// A transfer succeeded: the timeout goes back to what the transfer needed.
    fn took(
        &self,
        limits: &RequestLimits,
        (kind, bytes, halved): (RequestKind, u64, u32),
        took: Duration,
        alone: bool,
    ) {
        let enough = (0..halved).find(|halved| took < limits.time(kind, bytes, *halved));
        if let Some(enough) = enough {
            let _ = self
                .halved
                .compare_exchange(halved, enough, Relaxed, Relaxed);
        }
        if alone && took.saturating_mul(SEVERAL) <= limits.moving(bytes, 0) {
            self.turns.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn state(adaptive_timeout: &AdaptiveTimeout) -> (u32, bool) {
        (
            adaptive_timeout.halved.load(Relaxed),
            adaptive_timeout.turns.load(Relaxed),
        )
    }

    #[test]
    fn simultaneous_timeouts_count_once_and_the_timeout_has_a_limit() {
        let adaptive_timeout = AdaptiveTimeout::default();
        for _ in 0..SEVERAL {
            adaptive_timeout.ran_out(0);
        }
        assert_eq!(state(&adaptive_timeout), (1, true));
        for halved in 1..10 {
            adaptive_timeout.ran_out(halved.min(MOST));
        }
        assert_eq!(state(&adaptive_timeout), (MOST, true));
    }

    #[test]
    fn the_timeout_goes_back_and_a_quick_transfer_ends_the_turns() {
        let limits = RequestLimits::default();
        let adaptive_timeout = AdaptiveTimeout::default();
        adaptive_timeout.ran_out(0);
        adaptive_timeout.ran_out(1);
        let transfer = |halved| (RequestKind::Conditional, 10 * MIB, halved);
        // 50 s without patience, 90 s halved once.
        adaptive_timeout.took(&limits, transfer(2), Duration::from_mins(1), true);
        assert_eq!(state(&adaptive_timeout), (1, true));
        adaptive_timeout.took(&limits, transfer(1), Duration::from_secs(10), true);
        assert_eq!(
            state(&adaptive_timeout),
            (0, true),
            "1 MiB/s is not enough for eight"
        );
        adaptive_timeout.took(&limits, transfer(0), Duration::from_secs(2), false);
        assert_eq!(
            state(&adaptive_timeout),
            (0, true),
            "nobody knows what it shared"
        );
        adaptive_timeout.took(&limits, transfer(0), Duration::from_secs(5), true);
        assert_eq!(state(&adaptive_timeout), (0, false));
    }
}
