//! Time as a subtask sees it.

use std::{fmt::Debug, time::Duration};

/// A clock; tests move it by hand.
pub trait Clock: Send + Sync + Debug {
    /// Time since some fixed start; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since the epoch, for messages and measurements.
    fn wall_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine's one clock; everything else takes it as an argument"
)]
impl SystemClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine's one clock; everything else takes it as an argument"
)]
impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        std::time::Instant::now().saturating_duration_since(self.start)
    }

    fn wall_ms(&self) -> i64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
    }
}

/// A clock's monotonous time in milliseconds.
pub(crate) fn now_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}
