//! Objects that no checkpoint needs any more, and uploads that nothing ended, are removed beside
//! the running job.

use std::{sync::Arc, time::Duration};

use streamkeeper_control::clock;
use streamkeeper_protocol::head::Head;
use streamkeeper_storage::{collect_garbage, end_stale_uploads};
use tokio::{task::JoinSet, time::Instant};

use crate::config::CoordinatorConfig;

/// Between two looks for uploads that nothing ended.
const UPLOADS_EVERY: Duration = Duration::from_hours(1);

/// Removes garbage, one round at a time.
#[derive(Default)]
pub(crate) struct GarbageCollector {
    rounds: JoinSet<()>,
    /// When uploads that nothing ended were last looked for.
    uploads_swept: Option<Instant>,
}

impl GarbageCollector {
    /// Begins a round, unless one is under way.
    pub(crate) fn begin(&mut self, config: Arc<CoordinatorConfig>, head: Arc<Head>) {
        if !self.rounds.is_empty() {
            return;
        }
        let now = clock::now();
        let last = self.uploads_swept;
        let stale = last.is_none_or(|last| now.duration_since(last) >= UPLOADS_EVERY);
        if stale {
            self.uploads_swept = Some(now);
        }
        self.rounds.spawn(async move {
            if stale {
                let now_ms = clock::now_ms();
                let ended = end_stale_uploads(&*config.store, &config.paths, now_ms).await;
                tracing::debug!(ended, "uploads that nobody ended");
            }
            match collect_garbage(&*config.store, &config.paths, &head).await {
                Ok(collected) => tracing::debug!(?collected, "garbage collected"),
                Err(error) => tracing::warn!(%error, "garbage is not collected"),
            }
        });
    }

    /// Forgets rounds that ended.
    pub(crate) fn reap(&mut self) {
        while self.rounds.try_join_next().is_some() {}
    }

    /// Ends the round under way.
    pub(crate) fn abort(&mut self) {
        self.rounds = JoinSet::new();
    }
}
