//! What the probes and the metrics endpoint of a process read.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use streamkeeper_control::clock;

use crate::metrics::Metrics;

/// An event loop that has not turned for this long is stuck.
const STUCK_AFTER_MS: i64 = 15_000;

/// What the probes and the metrics endpoint read.
#[derive(Debug, Default)]
pub struct Liveness {
    /// Last turn of the coordinator's event loop, milliseconds since the epoch; 0 where no
    /// coordinator runs.
    turned_ms: AtomicI64,
    leaving: AtomicBool,
    /// What `/metrics` shows.
    pub metrics: Metrics,
}

impl Liveness {
    /// Liveness of a process with these metrics.
    pub fn of(metrics: Metrics) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Notes that the event loop turned.
    pub fn turn(&self) {
        self.turned_ms.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// Notes that the process is about to exit: not ready any more.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Returns for how long the event loop has not turned, if it is stuck.
    pub fn stuck_for_ms(&self, now_ms: i64) -> Option<i64> {
        let turned = self.turned_ms.load(Ordering::Relaxed);
        let silent = now_ms - turned;
        (turned != 0 && silent > STUCK_AFTER_MS).then_some(silent)
    }

    /// Whether the process is about to exit.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_noticed_and_no_loop_is_fine() {
        let liveness = Liveness::default();
        assert_eq!(liveness.stuck_for_ms(clock::now_ms()), None);
        liveness.turn();
        let turned = liveness.turned_ms.load(Ordering::Relaxed);
        assert_eq!(liveness.stuck_for_ms(turned + STUCK_AFTER_MS), None);
        assert_eq!(
            liveness.stuck_for_ms(turned + STUCK_AFTER_MS + 1),
            Some(STUCK_AFTER_MS + 1)
        );
    }
}
