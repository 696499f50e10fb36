//! Whether a standby could take over now: every worker there, the newest checkpoint readable and
//! fitting.

use std::sync::Arc;

use streamkeeper_protocol::{
    head::LastCheckpoint,
    job_api::{Preflight, PreflightVerdict},
};
use streamkeeper_storage::StorageError;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    compiled_job::CompiledJob,
    config::StandbyScope,
    coordinator_context::CoordinatorContext,
    restore_point::{self, RestorePoint, Unfit},
};

/// What a check found: the restore point, if there is one and it fits.
type Checked = Result<Option<RestorePoint>, Unfit>;

/// The check against one checkpoint, under way or done.
#[derive(Default)]
pub(crate) struct PreflightRun {
    running: Option<(Option<u64>, AbortOnDropHandle<Checked>)>,
    done: Option<(Option<u64>, Checked)>,
    store_trouble: Option<String>,
}

impl PreflightRun {
    /// HEAD cannot be read.
    pub(crate) fn unreadable(&mut self, error: &StorageError) {
        self.store_trouble = Some(format!("reading HEAD: {error}"));
    }

    /// HEAD's restore point is `last`: checks against it, unless that is done or under way.
    pub(crate) fn check(
        &mut self,
        context: &CoordinatorContext,
        job: &Arc<CompiledJob>,
        last: Option<&LastCheckpoint>,
    ) {
        self.store_trouble = None;
        let wanted = last.map(|last| last.checkpoint);
        if self.running.is_some() {
            return;
        }
        let settled = matches!(&self.done, Some((about, Ok(_) | Err(Unfit::Incompatible { .. }))) if *about == wanted);
        if settled {
            return;
        }
        let (config, job, last) = (context.config.clone(), job.clone(), last.cloned());
        let task = tokio::spawn(async move {
            let Some(last) = last else { return Ok(None) };
            let store = &*config.store;
            let point = restore_point::read(&config, &last, &job).await?;
            restore_point::verify_readable(store, &point, &job.plan).await?;
            Ok(Some(point))
        });
        self.running = Some((wanted, AbortOnDropHandle::new(task)));
    }

    /// Returns when a check under way is done; never while there is none.
    pub(crate) async fn progressed(&mut self) {
        let Some((about, task)) = &mut self.running else {
            return std::future::pending().await;
        };
        let about = *about;
        let result = task.await;
        self.running = None;
        match result {
            Ok(result) => self.done = Some((about, result)),
            Err(error) => self.store_trouble = Some(format!("the check ended early: {error}")),
        }
    }

    /// Publishes the verdict.
    pub(crate) fn publish(&self, context: &CoordinatorContext, job: &CompiledJob) {
        let revision = context.config.job.revision;
        let (missing, ready) = crew(context);
        let base = Preflight {
            verdict: PreflightVerdict::Pending,
            revision,
            message: String::new(),
            checked_against: None,
            from: None,
            states: Vec::new(),
            checked_bytes: None,
        };
        let verdict = match (&self.store_trouble, &self.done) {
            (Some(trouble), _) => Preflight {
                verdict: PreflightVerdict::StorageUnavailable,
                message: trouble.clone(),
                ..base
            },
            (None, Some((_, Err(unfit @ Unfit::Storage { .. })))) => Preflight {
                verdict: PreflightVerdict::StorageUnavailable,
                message: unfit.to_string(),
                ..base
            },
            (None, Some((about, Err(Unfit::Incompatible { message, states })))) => Preflight {
                verdict: PreflightVerdict::Incompatible,
                message: message.clone(),
                checked_against: *about,
                states: states.clone(),
                ..base
            },
            (None, Some((about, Ok(point)))) => {
                let states = point
                    .as_ref()
                    .map(|point| point.states.clone())
                    .unwrap_or_default();
                let (verdict, message) = if missing.is_empty() {
                    (
                        PreflightVerdict::Compatible,
                        format!("plan {} fits, {ready}", job.plan_hash),
                    )
                } else {
                    (
                        PreflightVerdict::Pending,
                        format!("the plan fits; waiting for workers {missing:?} to register"),
                    )
                };
                Preflight {
                    verdict,
                    message,
                    checked_against: *about,
                    states,
                    ..base
                }
            }
            (None, None) => Preflight {
                message: "the check still runs".to_owned(),
                ..base
            },
        };
        context.published_status.set_preflight(verdict);
    }
}

/// Workers that a standby still waits for, and what to say when there are none.
pub(crate) fn crew(context: &CoordinatorContext) -> (Vec<u32>, &'static str) {
    let (crew, ready) = match context.config.standby {
        StandbyScope::Full => (context.config.workers, "all workers are registered"),
        StandbyScope::First => (1, "the other workers come with the promotion"),
    };
    (context.worker_registry.missing(crew), ready)
}
