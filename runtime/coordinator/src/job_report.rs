//! What the owner of HEAD reports about its job.

use streamkeeper_protocol::{
    head::Head,
    job_api::{CheckpointReport, JobPhase},
};

use crate::head_ownership::HeadOwnership;

/// Publishes the report and the metrics.
pub(crate) fn publish(owner: &mut HeadOwnership<'_>, phase: JobPhase) {
    let head = owner.head_writer.head();
    owner.context.published_status.saw_head(Some(head.clone()));
    let (workers, slots) = (owner.attempt.workers, owner.context.config.slots);
    let before = owner
        .attempt
        .lineage
        .as_ref()
        .map(|lineage| lineage.records_before);
    let (mut read, mut written) = (0, 0);
    for (_, heartbeat) in owner
        .context
        .worker_registry
        .heartbeats(owner.attempt.number)
    {
        read += heartbeat.records_in.values().sum::<u64>();
        written += heartbeat.records_out.values().sum::<u64>();
    }
    let counted = owner.manifest.as_ref().map_or((0, 0), |manifest| {
        (manifest.records_in, manifest.records_out)
    });
    let list = owner.context.worker_registry.report(workers);
    let pauses = owner.context.pauses.report();
    let restarts = owner.context.restarts;
    owner.context.published_status.update(|report| {
        report.attempt = Some(owner.attempt.number);
        report.phase = phase;
        report.parallelism = workers * slots;
        report.workers = list;
        report.last_checkpoint = last_checkpoint(&head, owner.attempt.committed);
        report.checkpoint_failures = owner.failed_checkpoints.told().clone();
        report.restored_from = owner.attempt.restored_from;
        report.restarts = restarts;
        report.pauses = pauses;
        report.records_in_attempt = read;
        report.checkpoints_in_attempt = owner.attempt.checkpoints;
        report.plan_hash = Some(owner.job.plan_hash.clone());
        if let Some((read_before, written_before)) = before {
            // Heartbeats lag behind barriers: a job that has just ended said its last in a
            // checkpoint.
            let (read_then, written_then) = counted;
            report.records_in = read_then.max(read_before + read);
            report.records_out = written_then.max(written_before + written);
        }
    });
    owner.context.liveness.metrics.observe(
        &owner.context.published_status.report(),
        owner
            .context
            .worker_registry
            .heartbeats(owner.attempt.number),
    );
}

fn last_checkpoint(head: &Head, committed: Option<u64>) -> Option<CheckpointReport> {
    head.last.as_ref().map(|last| CheckpointReport {
        id: last.checkpoint,
        completed_ms: last.completed_ms,
        duration_ms: last.duration_ms,
        total_bytes: last.total_bytes,
        manifest: last.manifest.clone(),
        committed: last.committed || committed == Some(last.checkpoint),
    })
}
