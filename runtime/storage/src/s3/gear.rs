//! How patient a store is with what it sends, by what became of it so far.
//!
//! Deadlines assume that a transfer gets [`Pace::slowest`] for itself. Where several share a link
//! that does not give each of them as much, all of them run out of time, and would do so for ever.
//! So after one that ran out of time the next gets twice as much, and large ones go one at a time;
//! until one that went alone was quick enough for several at once.

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

use super::Pace;

/// Transfers that whoever uses a store has under way at once.
const SEVERAL: u32 = 8;
/// How often the slowest rate is halved at most: a store that hangs must be given up some day.
const MOST: u32 = 3;

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Harmless to repeat.
    Plain,
    /// Sent once.
    Conditional,
}

/// The state of one store.
#[derive(Debug, Default)]
pub(super) struct Gear {
    /// How often the slowest rate is halved.
    halved: AtomicU32,
    /// Whether large transfers go one at a time.
    turns: AtomicBool,
    /// Held by the one that goes.
    turn: Mutex<()>,
}

impl Gear {
    /// Sends a request with `bytes` of content, at most `tries` times while it runs out of time.
    pub(super) async fn send<T, E, F>(
        &self,
        pace: &Pace,
        (kind, bytes, mut tries): (Kind, u64, u32),
        request: impl Fn(Builder) -> F,
    ) -> Result<T, SdkError<E, HttpResponse>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        // The time for a smaller one is hardly that of its bytes.
        let large = bytes >= pace.slowest;
        loop {
            tries = tries.saturating_sub(1);
            let turn = if large { self.turn().await } else { None };
            let halved = if large { self.halved.load(Relaxed) } else { 0 };
            let config = match kind {
                Kind::Plain => pace.of_send(bytes, halved),
                Kind::Conditional => pace.of_condition(bytes, halved),
            };
            let began = Instant::now();
            let sent = request(config).await;
            match &sent {
                Ok(_) if large => {
                    self.took(pace, (kind, bytes, halved), began.elapsed(), turn.is_some());
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

    /// A transfer succeeded: the patience goes back to what it needed.
    fn took(
        &self,
        pace: &Pace,
        (kind, bytes, halved): (Kind, u64, u32),
        took: Duration,
        alone: bool,
    ) {
        let enough = (0..halved).find(|halved| took < pace.time(kind, bytes, *halved));
        if let Some(enough) = enough {
            let _ = self
                .halved
                .compare_exchange(halved, enough, Relaxed, Relaxed);
        }
        if alone && took.saturating_mul(SEVERAL) <= pace.moving(bytes, 0) {
            self.turns.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn state(gear: &Gear) -> (u32, bool) {
        (gear.halved.load(Relaxed), gear.turns.load(Relaxed))
    }

    #[test]
    fn of_several_that_ran_out_of_time_together_one_counts_and_patience_ends() {
        let gear = Gear::default();
        for _ in 0..SEVERAL {
            gear.ran_out(0);
        }
        assert_eq!(state(&gear), (1, true));
        for halved in 1..10 {
            gear.ran_out(halved.min(MOST));
        }
        assert_eq!(state(&gear), (MOST, true));
    }

    #[test]
    fn patience_goes_back_to_what_was_needed_and_turns_end_with_a_quick_one() {
        let pace = Pace::default();
        let gear = Gear::default();
        gear.ran_out(0);
        gear.ran_out(1);
        let transfer = |halved| (Kind::Conditional, 10 * MIB, halved);
        // 50 s without patience, 90 s halved once.
        gear.took(&pace, transfer(2), Duration::from_mins(1), true);
        assert_eq!(state(&gear), (1, true));
        gear.took(&pace, transfer(1), Duration::from_secs(10), true);
        assert_eq!(state(&gear), (0, true), "1 MiB/s is not enough for eight");
        gear.took(&pace, transfer(0), Duration::from_secs(2), false);
        assert_eq!(state(&gear), (0, true), "nobody knows what it shared");
        gear.took(&pace, transfer(0), Duration::from_secs(5), true);
        assert_eq!(state(&gear), (0, false));
    }
}
