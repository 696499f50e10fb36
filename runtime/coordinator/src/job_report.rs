//! What the owner of HEAD tells about its job.

use streamkeeper_protocol::{
    head::Head,
    job_api::{CheckpointReport, JobError, JobPhase},
};

use crate::{attempt_failure::storage_reason, leader::Leader};

impl Leader<'_> {
    /// Publishes everything.
    pub(crate) fn show(&mut self, phase: JobPhase) {
        let head = self.head_writer.head();
        self.context.published_status.saw_head(Some(head.clone()));
        let (workers, slots) = (self.attempt.workers, self.context.config.slots);
        let before = self
            .attempt
            .lineage
            .as_ref()
            .map(|lineage| lineage.records_before);
        let (mut read, mut written) = (0, 0);
        for (_, heartbeat) in self.context.worker_registry.heartbeats(self.attempt.number) {
            read += heartbeat.records_in.values().sum::<u64>();
            written += heartbeat.records_out.values().sum::<u64>();
        }
        let counted = self.manifest.as_ref().map_or((0, 0), |manifest| {
            (manifest.records_in, manifest.records_out)
        });
        let list = self.context.worker_registry.report(workers);
        let pauses = self.context.pauses.report();
        let restarts = self.context.restarts;
        self.context.published_status.update(|report| {
            report.attempt = Some(self.attempt.number);
            report.phase = phase;
            report.parallelism = workers * slots;
            report.workers = list;
            report.last_checkpoint = last_checkpoint(&head, self.attempt.committed);
            report.checkpoint_failures = self.failed_checkpoints.told().clone();
            report.restored_from = self.attempt.restored_from;
            report.restarts = restarts;
            report.pauses = pauses;
            report.records_in_attempt = read;
            report.checkpoints_in_attempt = self.attempt.checkpoints;
            report.plan_hash = Some(self.job.plan_hash.clone());
            if let Some((read_before, written_before)) = before {
                // Heartbeats lag behind barriers: a job that has just ended said its last in a
                // checkpoint.
                let (read_then, written_then) = counted;
                report.records_in = read_then.max(read_before + read);
                report.records_out = written_then.max(written_before + written);
            }
        });
        self.context.liveness.metrics.observe(
            &self.context.published_status.report(),
            self.context.worker_registry.heartbeats(self.attempt.number),
        );
    }

    /// Tells of a write of HEAD that the store does not settle.
    pub(crate) fn show_store_trouble(&mut self) {
        let error = self.head_writer.trouble().map(|error| JobError {
            reason: storage_reason(&error).to_owned(),
            message: format!("writing HEAD: {error}"),
        });
        if error.is_some() {
            self.context.show_error(error);
        }
    }
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
