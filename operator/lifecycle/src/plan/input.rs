//! What a decision about a StreamJob may depend on.

use std::{sync::LazyLock, time::Duration};

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::v1alpha1::StreamJob;
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::{JobPhase, Report};

use crate::{
    observed::facts::{Observed, RevisionFacts},
    settings::Settings,
};

/// Everything that a decision may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The job as the API server has it: spec, metadata, status.
    pub job: &'a StreamJob,
    /// What was seen of it.
    pub observed: &'a Observed,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

static ABSENT: LazyLock<RevisionFacts> = LazyLock::new(RevisionFacts::default);

impl<'a> Input<'a> {
    /// Facts about a revision; nothing is known of one that was not seen.
    pub(crate) fn revision(&self, number: u64) -> &'a RevisionFacts {
        self.observed.revisions.get(&number).unwrap_or(&ABSENT)
    }

    /// What a revision's coordinator reports, if it answers.
    pub(crate) fn report(&self, number: u64) -> Option<&'a Report> {
        self.revision(number).report.known().filter(|report| {
            guard!("a report speaks of its own revision": report.revision == number)
                && guard!("a report speaks of this job": report.job_uid == self.uid())
        })
    }

    /// Uid of the job.
    pub(crate) fn uid(&self) -> &'a str {
        self.job.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Workers that a revision runs on: as its coordinator says, else as HEAD says.
    pub(crate) fn active_workers(&self, number: u64) -> Option<u32> {
        let record = self.revision(number).record.as_ref();
        let report = self.report(number).filter(|report| has_job(report));
        let reported = record
            .zip(report)
            .map(|(record, report)| report.parallelism / record.content.slots.max(1));
        let remembered = self
            .observed
            .head
            .known()
            .and_then(Option::as_ref)
            .filter(|head| head.revision == number)
            .map(|head| head.workers);
        reported.or(remembered).filter(|workers| *workers > 0)
    }

    /// Whether a whole number of seconds went by since `since`.
    pub(crate) fn passed(&self, since: Timestamp, limit: Duration) -> bool {
        passed(self.now, since, limit)
    }
}

/// Whether so much time went by between `since` and `now`.
pub(crate) fn passed(now: Timestamp, since: Timestamp, limit: Duration) -> bool {
    let elapsed = now.as_millisecond().saturating_sub(since.as_millisecond());
    u64::try_from(elapsed).unwrap_or(0) >= u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a coordinator that reports this owns HEAD, or has ended with it.
fn has_job(report: &Report) -> bool {
    match report.phase {
        JobPhase::WaitingForWorkers
        | JobPhase::Restoring
        | JobPhase::Running
        | JobPhase::Rescaling
        | JobPhase::Stopping
        | JobPhase::BackingOff
        | JobPhase::Completed => true,
        JobPhase::Standby | JobPhase::Stopped | JobPhase::Fenced | JobPhase::Failed => false,
    }
}
