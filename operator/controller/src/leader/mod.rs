//! Which replica may write.
//!
//! Replicas compete for one Lease. The replica that holds it reconciles; the others stand by with
//! warm caches. A lease is not a fence: what is done to a job is fenced by `resourceVersion` and
//! HEAD. It keeps two replicas from doing the same work, and it is taken seriously all the same:
//! after its local deadline no request that changes something leaves this process. A process that
//! starts again in the pod of the one that held it takes it at once: that one cannot run any more.
//!
//! * [`decision`]: what a replica does next: pure, by its own monotonic clock, never by times in
//!   the Lease.
//! * [`lease`]: the Lease, read and written.
//! * [`writes`]: what holds every request that changes something to it.

pub mod decision;
mod lease;
pub mod writes;

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use self::decision::{Step, Terms, View};
pub use self::{lease::LeaseClient, writes::Leadership};
use crate::metrics::Metrics;

/// Giving the Lease back may take this long; then it runs out by itself.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// A replica that competes for the Lease.
#[derive(Debug)]
pub struct Candidate {
    lease: LeaseClient,
    terms: Terms,
    view: View,
    leadership: Leadership,
    metrics: Metrics,
    /// Whether the last look failed: that is said once.
    blind: bool,
}

impl Candidate {
    /// One that tells `leadership` how it goes.
    pub fn new(lease: LeaseClient, terms: Terms, leadership: Leadership, metrics: Metrics) -> Self {
        Self {
            lease,
            terms,
            view: View::default(),
            leadership,
            metrics,
            blind: false,
        }
    }

    /// Competes for the Lease until `ended`, then gives it back. `ended` must come after the last
    /// write.
    pub async fn run(mut self, ended: impl Future<Output = ()>) {
        tokio::select! {
            () = self.compete() => {}
            () = ended => {}
        }
        self.leadership.stop();
        self.metrics.leads(false);
        if timeout(GIVE_BACK, self.lease.give_back()).await.is_err() {
            tracing::warn!("the Lease could not be given back: it runs out by itself");
        }
    }

    async fn compete(&mut self) {
        loop {
            let began = Instant::now();
            let step = self.view.decide(self.lease.replica(), &self.terms, began);
            self.take(step, began).await;
            let again = self
                .view
                .decide(self.lease.replica(), &self.terms, Instant::now());
            if step == Step::StandBy && again != Step::StandBy {
                // What was looked at is free.
                continue;
            }
            let next = self.view.next(step, &self.terms, began);
            sleep_until(next).await;
        }
    }

    /// Does a step. An answer that does not come counts as none: the next step is decided from
    /// what is known.
    async fn take(&mut self, step: Step, began: Instant) {
        match step {
            Step::StandBy => self.look().await,
            Step::Take | Step::Renew => {
                let limit = self.view.held_until().unwrap_or(began + self.terms.every);
                let patience = limit
                    .saturating_duration_since(began)
                    .min(self.terms.patience());
                let seen = self.view.lease().cloned();
                let writing = self.lease.write(seen.as_ref(), &self.terms);
                match timeout(patience, writing).await {
                    Ok(Ok(written)) => {
                        // Counted from before the request: every other replica sees the write
                        // later.
                        self.view.wrote(written, began, Instant::now(), &self.terms);
                        self.lead(step);
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, ?step, "lease");
                        self.look().await;
                    }
                    Err(_) => tracing::debug!(?step, "lease: no answer"),
                }
            }
            Step::GiveUp => {
                self.view.gave_up();
                self.leadership.stand_by();
                self.metrics.leads(false);
                tracing::warn!(
                    "the Lease could not be renewed in time, or somebody else holds it: nothing is written until it is held again"
                );
            }
        }
    }

    fn lead(&self, step: Step) {
        let Some(until) = self.view.held_until() else {
            return;
        };
        if step == Step::Take {
            tracing::info!(identity = self.lease.replica().name, "leading");
            self.metrics.leads(true);
        }
        self.leadership.lead(Some(until));
    }

    async fn look(&mut self) {
        let trouble = match timeout(self.terms.patience(), self.lease.look()).await {
            // Counted from after the answer: its holder may have renewed it while the request was
            // on its way.
            Ok(Ok(seen)) => {
                if self.view.saw(seen, Instant::now()) {
                    let holder = self.view.lease().and_then(|lease| lease.holder.clone());
                    self.leadership.known(holder);
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the API server does not answer in time".to_owned()),
        };
        if let Some(why) = &trouble
            && !self.blind
        {
            tracing::warn!(why, "the Lease cannot be read; trying on");
        }
        self.blind = trouble.is_some();
    }
}
