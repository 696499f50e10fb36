//! What a job is asked, and what it tells.

use serde::Serialize;
use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{
        JobPhase, Operation, Preflight, PreflightVerdict, PromoteFrom, PromoteRequest, Report,
        SavepointRequest,
    },
};

use super::{
    job::Job,
    pods::{PodName, pod},
    wait::until,
};

impl Job {
    /// What a coordinator reports.
    pub(crate) async fn report(&self, name: PodName) -> Result<Report, String> {
        self.caller().get(&self.api_of(name), "/v1/report").await
    }

    /// Waits for a report that says what `look` wants to see; its answer.
    pub(crate) async fn reported<T>(
        &self,
        name: PodName,
        what: &str,
        mut look: impl FnMut(&Report) -> Option<T>,
    ) -> T {
        until(&format!("{name} reports {what}"), async || {
            let report = self.report(name).await?;
            look(&report).ok_or_else(|| format!("{report:?}"))
        })
        .await
    }

    /// Waits until records flow and some checkpoints of this attempt are complete.
    pub(crate) async fn flows(&self, name: PodName, checkpoints: u64) -> Report {
        let what = format!("records and {checkpoints} checkpoints");
        self.reported(name, &what, |report| {
            let flows = report.phase == JobPhase::Running && report.records_in_attempt > 0;
            (flows && report.checkpoints_in_attempt >= checkpoints).then(|| report.clone())
        })
        .await
    }

    /// Waits until a revision that stands by says that it could take over.
    pub(crate) async fn compatible(&self, name: PodName) {
        until(&format!("{name} is fit to take over"), async || {
            let address = self.api_of(name);
            let preflight: Preflight = self.caller().get(&address, "/v1/preflight").await?;
            match preflight.verdict {
                PreflightVerdict::Compatible => Ok(()),
                _ => Err(format!("{preflight:?}")),
            }
        })
        .await;
    }

    /// Asks for something; the operation as it was accepted.
    pub(crate) async fn ask(
        &self,
        name: PodName,
        call: &str,
        request: &impl Serialize,
    ) -> Result<Operation, String> {
        self.caller()
            .post(&self.api_of(name), &format!("/v1/{call}"), request)
            .await
    }

    /// Asks, and waits for the result.
    pub(crate) async fn carry_out(
        &self,
        name: PodName,
        call: &str,
        request: &impl Serialize,
    ) -> OperationResult {
        let asked = self.ask(name, call, request).await;
        let key = asked.unwrap_or_else(|refused| panic!("{refused}")).key;
        until(&format!("{call} '{key}' has a result"), async || {
            let path = format!("/v1/operations/{key}");
            let operation: Operation = self.caller().get(&self.api_of(name), &path).await?;
            match operation.result {
                OperationResult::Running => Err("it runs".to_owned()),
                result => Ok(result),
            }
        })
        .await
    }

    /// Promotes a revision, as soon as its coordinator answers.
    pub(crate) async fn promote(&self, revision: u64, from: PromoteFrom) {
        let key = format!("promote-{revision}-{}", ulid::Ulid::generate());
        self.promote_as(&key, revision, from).await;
    }

    /// The same under this key; the operation.
    pub(crate) async fn promote_as(
        &self,
        key: &str,
        revision: u64,
        from: PromoteFrom,
    ) -> Operation {
        let name = pod(revision, 0);
        let request = PromoteRequest {
            key: key.to_owned(),
            revision,
            from,
            workers: None,
            running_owner: None,
        };
        until(&format!("{name} is promoted"), async || {
            self.ask(name, "promote", &request).await
        })
        .await
    }

    /// Takes a savepoint into a folder of this name among the job's own; the checkpoint it holds,
    /// and its URI.
    pub(crate) async fn save(&self, name: PodName, folder: &str) -> (u64, String) {
        let own = self.paths.savepoint(folder);
        let request = SavepointRequest {
            key: folder.to_owned(),
            uri: Some(format!("s3://{}/{own}", self.bucket.name)),
        };
        match self.carry_out(name, "savepoint", &request).await {
            OperationResult::Done {
                checkpoint: Some(checkpoint),
                uri: Some(uri),
            } => (checkpoint, uri),
            other => panic!("{other:?}"),
        }
    }
}
