//! From a claimed attempt to a graph that runs: open commits first, then workers, then the restore
//! point into them.

use std::sync::Arc;

use streamkeeper_protocol::{job_api::JobPhase, key_group::Assignment, manifest::Manifest};
use streamkeeper_storage::read_plan;

use crate::{
    attempt_failure::{AttemptExit, AttemptFailure},
    checkpoints::pending::Lineage,
    commit_replay,
    leader::Leader,
    restore_point,
};
use streamkeeper_control::{
    clock,
    messages::{Deploy, Restore, ToCoordinator, ToWorker},
};

impl Leader<'_> {
    /// Output of the restore point that nobody confirmed is committed before any record moves.
    pub(crate) async fn replay_commits(&mut self) -> Result<(), AttemptExit> {
        let head = self.head_writer.head();
        let Some(last) = head.last.clone().filter(|_| head.has_open_commits()) else {
            return Ok(());
        };
        self.show(JobPhase::Restoring);
        let checkpoint = last.checkpoint;
        let (config, job) = (self.context.config.clone(), self.job.clone());
        let manifest = self.read_manifest().await?;
        let replayed = self
            .during(async move {
                let plan = if manifest.plan_hash == job.plan_hash {
                    job.plan.clone()
                } else {
                    let read = read_plan(&*config.store, &config.paths, &manifest.plan_hash).await;
                    Arc::new(read.map_err(|error| {
                        AttemptFailure::storage("reading the plan of the checkpoint", &error)
                    })?)
                };
                commit_replay::replay(&manifest, &plan, &*config.store, &config.stores)
                    .await
                    .map_err(AttemptFailure::from)
            })
            .await?;
        if let Err(failure) = replayed {
            // Nobody may leave output behind: who asked for an end is told, and may ask again.
            self.fail_endings(&failure.message);
            return Err(failure.into());
        }
        self.write(move |head| head.change().committed(checkpoint))
            .await?;
        tracing::info!(checkpoint, "output committed again");
        Ok(())
    }

    /// The manifest of HEAD's restore point, fit for this plan.
    pub(crate) async fn read_manifest(&mut self) -> Result<Arc<Manifest>, AttemptExit> {
        let head = self.head_writer.head();
        let Some(last) = head.last.clone() else {
            return Err(AttemptFailure::new("HEAD has no restore point").into());
        };
        if let Some(known) = self.manifest.clone()
            && self.context.config.paths.checkpoint_of(&last.manifest)
                == Some((known.checkpoint, known.attempt))
        {
            return Ok(known);
        }
        let (config, job) = (self.context.config.clone(), self.job.clone());
        let point = self
            .during(async move { restore_point::read(&config, &last, &job).await })
            .await?
            .map_err(AttemptFailure::from)?;
        self.manifest = Some(point.manifest.clone());
        Ok(point.manifest)
    }

    pub(crate) async fn wait_for_workers(&mut self) -> Result<(), AttemptExit> {
        loop {
            self.show(JobPhase::WaitingForWorkers);
            if self
                .context
                .worker_registry
                .missing(self.attempt.workers)
                .is_empty()
            {
                return Ok(());
            }
            self.check_at_rest()?;
            if let Some(event) = self.context.next(None).await {
                self.handle_event(event);
            }
        }
    }

    pub(crate) async fn deploy(&mut self) -> Result<(), AttemptExit> {
        let head = self.head_writer.head();
        self.show(JobPhase::Restoring);
        let manifest = match &head.last {
            Some(_) => Some(self.read_manifest().await?),
            None => None,
        };
        let Some(workers) = self.context.worker_registry.addresses(self.attempt.workers) else {
            return Err(
                AttemptFailure::new("a worker was lost before the graph was deployed").into(),
            );
        };
        let config = self.context.config.clone();
        let parallelism = self.attempt.workers * config.slots;
        let assignment = match &manifest {
            Some(manifest) => manifest.assignment.rescaled(parallelism),
            None => Assignment::even(config.max_parallelism, parallelism),
        };
        let attempt = self.attempt.number;
        self.attempt.used = true;
        self.attempt.live = true;
        self.attempt.restored_from = manifest.as_ref().map(|manifest| manifest.checkpoint);
        self.attempt.lineage = Some(Lineage {
            job_uid: config.job.uid.clone(),
            of_head: head.lineage.clone(),
            revision: config.job.revision,
            attempt,
            plan_hash: self.job.plan_hash.clone(),
            assignment: assignment.clone(),
            records_before: manifest.as_ref().map_or((0, 0), |manifest| {
                (manifest.records_in, manifest.records_out)
            }),
            last_record_before_ms: manifest
                .as_ref()
                .and_then(|manifest| manifest.last_record_ms),
        });
        self.context.pauses.restored(self.attempt.restored_from);
        let deploy = ToWorker::Deploy(Box::new(Deploy {
            attempt,
            job_uid: config.job.uid.clone(),
            lineage: head.lineage.clone(),
            plan: (*self.job.plan).clone(),
            plan_hash: self.job.plan_hash.clone(),
            root: config.paths.root().to_owned(),
            workers,
            slots: config.slots,
            assignment,
            guarantee: config.checkpoints.guarantee,
            restore: manifest.map(|manifest| {
                Box::new(Restore {
                    manifest: (*manifest).clone(),
                    folder: None,
                })
            }),
        }));
        self.context
            .worker_registry
            .send_to_first(self.attempt.workers, &deploy);
        self.await_deployed().await?;
        self.context
            .worker_registry
            .send_to_first(self.attempt.workers, &ToWorker::Start { attempt });
        self.attempt.started_ms = clock::now_ms();
        tracing::info!(
            attempt,
            parallelism,
            restored_from = self.attempt.restored_from,
            "graph deployed"
        );
        Ok(())
    }

    async fn await_deployed(&mut self) -> Result<(), AttemptExit> {
        let deadline = clock::now() + self.context.config.deploy_timeout;
        let mut waiting: Vec<u32> = (0..self.attempt.workers).collect();
        while !waiting.is_empty() {
            self.check()?;
            self.show(JobPhase::Restoring);
            let Some(event) = self.context.next(Some(deadline)).await else {
                if clock::now() >= deadline {
                    let message = format!(
                        "workers {waiting:?} did not deploy the graph within {} s",
                        self.context.config.deploy_timeout.as_secs()
                    );
                    return Err(AttemptFailure::new(message).into());
                }
                continue;
            };
            if let Some((worker, ToCoordinator::Deployed { restored, .. })) =
                self.handle_event(event)
            {
                waiting.retain(|other| *other != worker);
                tracing::info!(
                    worker,
                    entries = restored.entries,
                    took_ms = restored.took_ms,
                    "deployed"
                );
            }
        }
        Ok(())
    }
}
