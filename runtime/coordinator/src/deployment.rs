//! From a claimed attempt to a graph that runs: open commits first, then workers, then the restore
//! point into them.

use std::sync::Arc;

use streamkeeper_control::{
    clock,
    messages::{Deploy, Restore, ToCoordinator, ToWorker},
};
use streamkeeper_protocol::{job_api::JobPhase, key_group::Assignment};
use streamkeeper_storage::read_plan;

use crate::{
    attempt::Lineage,
    attempt_failure::{AttemptExit, AttemptFailure},
    commit_replay,
    head_ownership::HeadOwnership,
    job_report,
};

/// Output of the restore point that is not confirmed is committed before any record moves.
pub(crate) async fn replay_commits(owner: &mut HeadOwnership<'_>) -> Result<(), AttemptExit> {
    let head = owner.head_writer.head();
    let Some(last) = head.last.clone().filter(|_| head.has_open_commits()) else {
        return Ok(());
    };
    job_report::publish(owner, JobPhase::Restoring);
    let checkpoint = last.checkpoint;
    let (config, job) = (owner.context.config.clone(), owner.job.clone());
    let manifest = owner.read_manifest().await?;
    let replayed = owner
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
        // No output may be left behind: the caller that asked for an end is told, and may ask
        // again.
        owner.fail_endings(&failure.message);
        return Err(failure.into());
    }
    owner
        .write(move |head| head.change().committed(checkpoint))
        .await?;
    tracing::info!(checkpoint, "output committed again");
    Ok(())
}

pub(crate) async fn wait_for_workers(owner: &mut HeadOwnership<'_>) -> Result<(), AttemptExit> {
    loop {
        job_report::publish(owner, JobPhase::WaitingForWorkers);
        if owner
            .context
            .worker_registry
            .missing(owner.attempt.workers)
            .is_empty()
        {
            return Ok(());
        }
        owner.check_at_rest()?;
        if let Some(event) = owner.context.next(None).await {
            owner.handle_event(event);
        }
    }
}

pub(crate) async fn deploy(owner: &mut HeadOwnership<'_>) -> Result<(), AttemptExit> {
    let head = owner.head_writer.head();
    job_report::publish(owner, JobPhase::Restoring);
    let manifest = match &head.last {
        Some(_) => Some(owner.read_manifest().await?),
        None => None,
    };
    let Some(workers) = owner
        .context
        .worker_registry
        .addresses(owner.attempt.workers)
    else {
        return Err(AttemptFailure::new("a worker was lost before the graph was deployed").into());
    };
    let config = owner.context.config.clone();
    let parallelism = owner.attempt.workers * config.slots;
    let assignment = match &manifest {
        Some(manifest) => manifest.assignment.rescaled(parallelism),
        None => Assignment::even(config.max_parallelism, parallelism),
    };
    let attempt = owner.attempt.number;
    owner.attempt.used = true;
    owner.attempt.live = true;
    owner.attempt.restored_from = manifest.as_ref().map(|manifest| manifest.checkpoint);
    owner.attempt.lineage = Some(Lineage {
        job_uid: config.job.uid.clone(),
        of_head: head.lineage.clone(),
        revision: config.job.revision,
        attempt,
        plan_hash: owner.job.plan_hash.clone(),
        assignment: assignment.clone(),
        records_before: manifest.as_ref().map_or((0, 0), |manifest| {
            (manifest.records_in, manifest.records_out)
        }),
        last_record_before_ms: manifest
            .as_ref()
            .and_then(|manifest| manifest.last_record_ms),
    });
    owner.context.pauses.restored(owner.attempt.restored_from);
    let deploy = ToWorker::Deploy(Box::new(Deploy {
        attempt,
        job_uid: config.job.uid.clone(),
        lineage: head.lineage.clone(),
        plan: (*owner.job.plan).clone(),
        plan_hash: owner.job.plan_hash.clone(),
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
    owner
        .context
        .worker_registry
        .send_to_first(owner.attempt.workers, &deploy);
    await_deployed(owner).await?;
    owner
        .context
        .worker_registry
        .send_to_first(owner.attempt.workers, &ToWorker::Start { attempt });
    owner.attempt.started_ms = clock::now_ms();
    tracing::info!(
        attempt,
        parallelism,
        restored_from = owner.attempt.restored_from,
        "graph deployed"
    );
    Ok(())
}

async fn await_deployed(owner: &mut HeadOwnership<'_>) -> Result<(), AttemptExit> {
    let deadline = clock::now() + owner.context.config.deploy_timeout;
    let mut waiting: Vec<u32> = (0..owner.attempt.workers).collect();
    while !waiting.is_empty() {
        owner.check()?;
        job_report::publish(owner, JobPhase::Restoring);
        let Some(event) = owner.context.next(Some(deadline)).await else {
            if clock::now() >= deadline {
                let message = format!(
                    "workers {waiting:?} did not deploy the graph within {} s",
                    owner.context.config.deploy_timeout.as_secs()
                );
                return Err(AttemptFailure::new(message).into());
            }
            continue;
        };
        if let Some((worker, ToCoordinator::Deployed { restored, .. })) = owner.handle_event(event)
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
