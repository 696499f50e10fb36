//! `rows-per-second`, shared by the subtasks in proportion to their key groups.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::source::SourceContext;

/// Rows wait until those of this duration are due, so that batches are worth their cost.
const LINGER: Duration = Duration::from_millis(10);
/// A source that was held up catches up at most the rows of this duration.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What may be handed out now.
pub(super) enum Allowed {
    Rows(usize),
    /// Nothing; the slot will be woken.
    Later,
}

/// The rate of one subtask.
pub(super) struct RateLimiter {
    /// Rows per second.
    rate: f64,
    /// When the next row is due; none before the first poll.
    due: Option<Instant>,
    /// Whether a wake-up is on its way.
    armed: Arc<AtomicBool>,
    runtime: tokio::runtime::Handle,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl RateLimiter {
    pub(super) fn new(context: &SourceContext, rows_per_second: u64) -> Self {
        let owned = context.assignment.groups_of(context.subtask).count();
        let groups = context.assignment.owner.len().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate = rows_per_second as f64 * owned as f64 / groups as f64;
        Self {
            rate: rate.max(f64::MIN_POSITIVE),
            due: None,
            armed: Arc::default(),
            runtime: context.runtime.clone(),
            wake: context.wake.clone(),
        }
    }

    fn duration_of(&self, rows: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let seconds = rows as f64 / self.rate;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many of `wanted` rows may be handed out now.
    pub(super) fn allow(&mut self, wanted: usize) -> Allowed {
        let now = Instant::now();
        let linger = LINGER
            .max(self.duration_of(1))
            .min(self.duration_of(wanted));
        let due = self
            .due
            .unwrap_or(now)
            .max(now.checked_sub(CATCH_UP).unwrap_or(now));
        self.due = Some(due);
        let waited = now.saturating_duration_since(due);
        if waited < linger {
            self.wake_at(due.checked_add(linger).unwrap_or(now));
            return Allowed::Later;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and the cast saturates"
        )]
        let rows = (waited.as_secs_f64() * self.rate + 1e-6) as usize;
        Allowed::Rows(rows.clamp(1, wanted))
    }

    /// Counts rows that were handed out.
    pub(super) fn spend(&mut self, rows: usize) {
        let step = self.duration_of(rows);
        self.due = self.due.and_then(|due| due.checked_add(step));
    }

    fn wake_at(&self, at: Instant) {
        if self.armed.swap(true, Ordering::AcqRel) {
            return;
        }
        let (armed, wake) = (self.armed.clone(), self.wake.clone());
        self.runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            armed.store(false, Ordering::Release);
            wake();
        });
    }
}
