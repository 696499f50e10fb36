//! Whether a standby could start from a savepoint that the operator asks about: it is whole, and
//! the plan fits it. What is found is what the promotion goes on with.

use std::sync::Arc;

use streamkeeper_protocol::job_api::{Preflight, PreflightVerdict};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    commands::Refusal,
    compiled_job::CompiledJob,
    coordinator_context::CoordinatorContext,
    import::{self, VerifiedSavepoint},
    preflight::crew,
};

type Proven = Result<VerifiedSavepoint, Refusal>;

/// The check of one savepoint, under way or done.
#[derive(Default)]
pub(crate) struct SavepointCheck {
    uri: String,
    running: Option<AbortOnDropHandle<Proven>>,
    done: Option<Proven>,
}

impl SavepointCheck {
    /// Checks the savepoint that was asked about last, unless that is done or under way.
    pub(crate) fn check(&mut self, context: &CoordinatorContext, job: &Arc<CompiledJob>) {
        let Some(uri) = &context.savepoint_to_check else {
            return;
        };
        if self.uri != *uri {
            *self = Self {
                uri: uri.clone(),
                ..Self::default()
            };
        }
        let settled = self.done.as_ref().is_some_and(is_settled);
        if settled || self.running.is_some() {
            return;
        }
        let (config, job, uri) = (context.config.clone(), job.clone(), uri.clone());
        let published_status = context.published_status.clone();
        published_status.set_checked_bytes(0);
        let task = tokio::spawn(async move {
            let progress = &mut |bytes| published_status.set_checked_bytes(bytes);
            import::verify(&config, &job, &uri, progress).await
        });
        self.running = Some(AbortOnDropHandle::new(task));
    }

    /// Returns when a check under way is done; never while there is none.
    pub(crate) async fn progressed(&mut self) {
        let Some(task) = &mut self.running else {
            return std::future::pending().await;
        };
        let result = task.await;
        self.running = None;
        self.done = Some(result.unwrap_or_else(|error| {
            let why = format!("the check of the savepoint ended early: {error}");
            Err(Refusal::new("StorageUnavailable", why))
        }));
    }

    /// The savepoint at `uri`, if it is proven.
    pub(crate) fn take(&mut self, uri: &str) -> Option<VerifiedSavepoint> {
        if self.uri != uri || !matches!(self.done, Some(Ok(_))) {
            return None;
        }
        self.done.take()?.ok()
    }

    /// What a start from `uri` that came to nothing leaves for the next.
    pub(crate) fn put_back(&mut self, uri: &str, verified: VerifiedSavepoint) {
        if self.uri == uri {
            self.done = Some(Ok(verified));
        }
    }

    /// Publishes the verdict.
    pub(crate) fn publish(&self, context: &CoordinatorContext, job: &CompiledJob) {
        if self.uri.is_empty() {
            return;
        }
        let (missing, ready) = crew(context);
        let (verdict, message) = match &self.done {
            None => (
                PreflightVerdict::Pending,
                format!("the check of the savepoint {} still runs", self.uri),
            ),
            Some(Err(refusal)) => (verdict_of(refusal), refusal.message().to_owned()),
            Some(Ok(_)) if missing.is_empty() => (
                PreflightVerdict::Compatible,
                format!("plan {} fits the savepoint, {ready}", job.plan_hash),
            ),
            Some(Ok(_)) => (
                PreflightVerdict::Pending,
                format!("the plan fits the savepoint; waiting for workers {missing:?} to register"),
            ),
        };
        let proven = self.done.as_ref().and_then(|done| done.as_ref().ok());
        context.published_status.set_preflight_from(Preflight {
            verdict,
            revision: context.config.job.revision,
            message,
            checked_against: proven.map(VerifiedSavepoint::checkpoint),
            from: Some(self.uri.clone()),
            states: proven.map(VerifiedSavepoint::states).unwrap_or_default(),
            checked_bytes: None,
        });
    }
}

/// Whether another look would find the same: a store may answer, a savepoint that is not there may
/// come.
fn is_settled(done: &Proven) -> bool {
    match done {
        Ok(_) => true,
        Err(refusal) => !["StorageUnavailable", "SnapshotNotFound"].contains(&refusal.code()),
    }
}

fn verdict_of(refusal: &Refusal) -> PreflightVerdict {
    match refusal.code() {
        "StateIncompatible" => PreflightVerdict::Incompatible,
        "StorageUnavailable" => PreflightVerdict::StorageUnavailable,
        "SnapshotNotFound" => PreflightVerdict::SnapshotNotFound,
        _ => PreflightVerdict::RestoreFailed,
    }
}
