//! Limits of a request: how long it may take, and how large it may be.

use std::time::Duration;

use aws_sdk_s3::config::{Builder, retry::RetryConfig, timeout::TimeoutConfig};

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Harmless to repeat.
    Plain,
    /// Sent once.
    Conditional,
}

/// Limits of time and size. The time for a transfer follows its size: a store that is slow but
/// works is waited for, and one that hangs is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// Time for a request without content.
    pub base: Duration,
    /// Time for a conditional write without content.
    pub condition: Duration,
    /// Slowest transfer that is not given up, bytes per second; not 0.
    pub slowest: u64,
    /// Largest object that is written or copied by one request, unless it is written under a
    /// condition.
    pub whole: u64,
    /// Bytes of a part of a larger one.
    pub part: u64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(15),
            condition: Duration::from_secs(10),
            slowest: 256 << 10,
            whole: 64 << 20,
            part: 16 << 20,
        }
    }
}

impl RequestLimits {
    /// Time for `bytes` bytes, if the slowest rate is halved `halved` times.
    pub(super) fn moving(&self, bytes: u64, halved: u32) -> Duration {
        let slowest = (self.slowest >> halved).max(1);
        Duration::from_millis(bytes.saturating_mul(1000) / slowest)
    }

    /// Time for a request.
    pub(super) fn time(&self, kind: RequestKind, bytes: u64, halved: u32) -> Duration {
        let base = match kind {
            RequestKind::Plain => self.base,
            RequestKind::Conditional => self.condition,
        };
        base + self.moving(bytes, halved)
    }

    /// Configuration of a request that takes the store as long as a transfer of `bytes`, and that
    /// is harmless to repeat.
    pub(super) fn of_transfer(&self, bytes: u64) -> Builder {
        let timeouts = TimeoutConfig::builder()
            // It would count from the first byte sent, independently of the size.
            .disable_read_timeout()
            .operation_attempt_timeout(self.base + self.moving(bytes, 0))
            .build();
        Builder::new().timeout_config(timeouts)
    }

    /// Configuration of a write of `bytes` bytes that is harmless to repeat. The SDK repeats what
    /// is refused within the time, and nothing that ran out of it: that is for
    /// [`super::adaptive_timeout`] to decide.
    pub(super) fn of_send(&self, bytes: u64, halved: u32) -> Builder {
        let time = self.time(RequestKind::Plain, bytes, halved);
        let timeouts = TimeoutConfig::builder()
            .disable_read_timeout()
            .operation_attempt_timeout(time)
            .operation_timeout(time)
            .build();
        Builder::new().timeout_config(timeouts)
    }

    /// Configuration of a conditional write of `bytes` bytes: it is sent once.
    pub(super) fn of_condition(&self, bytes: u64, halved: u32) -> Builder {
        let time = self.time(RequestKind::Conditional, bytes, halved);
        let timeouts = TimeoutConfig::builder()
            .disable_read_timeout()
            .operation_attempt_timeout(time)
            .operation_timeout(time)
            .build();
        Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
    }

    /// Bytes of each part of an object of this size: no store takes more than 10,000 parts.
    pub(super) fn part_of(&self, size: u64) -> u64 {
        self.part.max(size.div_ceil(10_000)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_a_transfer_follows_its_size() {
        let limits = RequestLimits::default();
        assert_eq!(limits.moving(0, 0), Duration::ZERO);
        assert_eq!(limits.moving(64 << 20, 0), Duration::from_secs(256));
        assert_eq!(limits.moving(64 << 20, 2), Duration::from_secs(1024));
    }

    #[test]
    fn no_object_has_more_than_ten_thousand_parts() {
        let limits = RequestLimits::default();
        assert_eq!(limits.part_of(65 << 20), 16 << 20);
        for size in [160_u64 << 30, 161 << 30, 5 << 40] {
            assert!(size.div_ceil(limits.part_of(size)) <= 10_000, "{size}");
        }
    }
}
