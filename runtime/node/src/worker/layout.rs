//! Which subtask of a deployed graph runs on which worker, checked against what this worker offers.

use std::sync::Arc;

use streamkeeper_engine::task::Topology;
use streamkeeper_protocol::{key_group::Assignment, manifest::Guarantee, plan::StreamPlan};

use super::{WorkerConfig, failure::Failure};
use streamkeeper_control::messages::{Deploy, FailureKind};

/// The subtasks of a deployment and the workers that run them.
pub(super) struct Layout {
    pub(super) plan: Arc<StreamPlan>,
    pub(super) topology: Arc<Topology>,
    pub(super) assignment: Arc<Assignment>,
    pub(super) guarantee: Guarantee,
    pub(super) parallelism: u32,
    pub(super) slots: u32,
    pub(super) worker: u32,
    pub(super) workers: u32,
    /// Subtasks of this worker.
    pub(super) mine: Vec<u32>,
}

impl Layout {
    pub(super) fn of(deploy: &Deploy, config: &WorkerConfig) -> Result<Self, Failure> {
        let wrong = |detail: String| {
            Failure::new(
                FailureKind::Internal,
                format!(
                    "the deployment does not fit worker {}: {detail}",
                    config.worker
                ),
            )
        };
        let (slots, workers) = (
            deploy.slots,
            u32::try_from(deploy.workers.len()).unwrap_or(u32::MAX),
        );
        if slots == 0 || slots > config.slots || config.worker >= workers {
            return Err(wrong(format!(
                "it asks for {slots} slots on each of {workers} workers, this one has {}",
                config.slots
            )));
        }
        if deploy.plan.hash() != deploy.plan_hash {
            return Err(wrong(format!(
                "its plan has hash {}, announced as {}",
                deploy.plan.hash(),
                deploy.plan_hash
            )));
        }
        let parallelism = workers.saturating_mul(slots);
        if let Some(owner) = deploy
            .assignment
            .owner
            .iter()
            .find(|owner| **owner >= parallelism)
        {
            return Err(wrong(format!(
                "it assigns key groups to subtask {owner} of {parallelism}"
            )));
        }
        Ok(Self {
            topology: Arc::new(Topology::of(&deploy.plan, parallelism)?),
            plan: Arc::new(deploy.plan.clone()),
            assignment: Arc::new(deploy.assignment.clone()),
            guarantee: deploy.guarantee,
            parallelism,
            slots,
            worker: config.worker,
            workers,
            mine: (config.worker * slots..(config.worker + 1) * slots).collect(),
        })
    }
}
