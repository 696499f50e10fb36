//! Not complete yet: taking it of a running job, or reading one that lies in a bucket.

use std::time::Duration;

use streamkeeper_api::{
    names::TRIGGER_LABEL,
    v1alpha1::{CheckpointStatus, SnapshotPhase},
};
use streamkeeper_protocol::{head::OperationResult, job_api::SavepointRequest, paths::StatePaths};

use super::{
    Content, NOT_VERIFIED, SELDOM, SOON, SnapshotAction, SnapshotJob, SnapshotPlanBuilder, Trouble,
    TroubleKind, Verdict, Work, WorkWait, key, time_left, waiting,
};
use crate::{
    action::EventKind,
    observed::Fact,
    plan_builder::{back_off, time},
    record::{bytes, millis_at, seconds},
    revision::ResolvedStorage,
};

impl SnapshotPlanBuilder<'_> {
    /// It is not complete yet.
    pub(super) fn take(&mut self) -> Verdict {
        let spec = &self.input.snapshot.spec;
        let now = self.input.now;
        let begun = self.status.start_time.get_or_insert_with(|| time(now)).0;
        if self.status.phase.is_none() {
            self.status.phase = Some(SnapshotPhase::Pending);
        }
        let verdict = match &spec.import_from {
            Some(import) => self.import(&import.uri),
            None => self.save(),
        };
        if let Verdict::Reconciling(_, why) | Verdict::Stalled(_, why) = &verdict
            && !matches!(
                self.status.phase,
                Some(SnapshotPhase::Failed | SnapshotPhase::Verifying)
            )
            && self.passed(begun, spec.timeout.to_std())
        {
            let message = format!("it was not complete within {}: {why}", spec.timeout);
            return self.last_look().unwrap_or_else(|| self.fail(message));
        }
        if matches!(verdict, Verdict::Reconciling("Waiting", _)) && self.status.uri.is_none() {
            let left = time_left(now, begun, spec.timeout.to_std());
            self.requeue = self.pace(begun, SOON, SELDOM).min(left.max(SOON));
        }
        verdict
    }

    /// Its time is over, which may have passed while nobody looked: the folder says whether it is
    /// complete. None if it is not.
    fn last_look(&mut self) -> Option<Verdict> {
        self.status.uri.as_ref()?;
        // Nothing is asked for any more.
        self.actions.clear();
        let imported = self.input.snapshot.spec.import_from.is_some();
        let work = if imported {
            self.reading()
        } else {
            Work::Inspect
        };
        let saved = matches!(
            self.input.operation,
            Fact::Known(Some(operation)) if matches!(operation.result, OperationResult::Done { .. })
        );
        match self.work(work) {
            Ok(content) => Some(self.complete(content, !imported || work == Work::Verify)),
            Err(WorkWait::Running(progress)) => Some(Verdict::Reconciling(
                "InProgress",
                format!("its time is over; looking at what there is{progress}"),
            )),
            // The coordinator has said that it is complete.
            Err(WorkWait::Trouble(trouble)) if saved => Some(self.trouble(trouble)),
            Err(WorkWait::NotAllowed(why)) if saved => Some(self.unseen(&why)),
            Err(WorkWait::Trouble(_) | WorkWait::NotAllowed(_)) => None,
        }
    }

    /// How the folder of an import is read: the coordinator that wrote it has compared the
    /// checksums of its own savepoint.
    fn reading(&self) -> Work {
        let labels = self.input.snapshot.metadata.labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key(TRIGGER_LABEL)) {
            Work::Inspect
        } else {
            Work::Verify
        }
    }

    pub(super) fn fail(&mut self, message: String) -> Verdict {
        // What was begun is not begun again.
        self.actions.clear();
        self.actions.push(SnapshotAction::ForgetWork);
        self.status.phase = Some(SnapshotPhase::Failed);
        self.status.completion_time = Some(time(self.input.now));
        self.emit_event(EventKind::Warning, "SnapshotFailed", message.clone());
        Verdict::Stalled("SnapshotFailed", message)
    }

    /// It lies in a bucket already.
    pub(super) fn import(&mut self, uri: &str) -> Verdict {
        let named = self.input.snapshot.spec.job_ref.as_ref();
        let settings = match (named, self.input.job) {
            (Some(named), None) => {
                // The snapshot outlives the job that it was made of.
                match self.default_storage() {
                    Some(default) => Some(default.clone()),
                    None => return waiting(format!("StreamJob {} does not exist", named.name)),
                }
            }
            (_, Some(job)) => match &job.storage {
                Ok(storage) => Some(storage.clone()),
                Err(why) => return waiting(why.clone()),
            },
            (None, None) => self.default_storage(),
        };
        if self.status.uri.is_none() {
            self.status.uri = Some(uri.trim_end_matches('/').to_owned());
            let settings = settings.as_ref();
            self.status.endpoint = settings.and_then(|storage| storage.endpoint.clone());
            self.status.region = settings.and_then(|storage| storage.region.clone());
            self.status.phase = Some(SnapshotPhase::InProgress);
            self.emit_event(
                EventKind::Normal,
                "SnapshotStarted",
                format!("importing {uri}"),
            );
            return Verdict::Reconciling("InProgress", format!("reading {uri}"));
        }
        let work = self.reading();
        match self.work(work) {
            Ok(content) => self.complete(content, work == Work::Verify),
            Err(WorkWait::Running(progress)) => {
                Verdict::Reconciling("InProgress", format!("reading {uri}{progress}"))
            }
            // The job's own pods have written it, as the object says. Nobody has looked.
            Err(WorkWait::NotAllowed(why))
                if self.reading() == Work::Inspect && self.is_own_savepoint() =>
            {
                self.status.phase = Some(SnapshotPhase::Verifying);
                self.requeue = SELDOM;
                let message = format!(
                    "whether it is there and complete was not looked at: {why}. A job that is to go on from it (spec.restoreFrom) reads and checks all of it before that"
                );
                Verdict::Stalled(NOT_VERIFIED, message)
            }
            Err(WorkWait::NotAllowed(why)) => {
                self.requeue = SELDOM;
                let message = format!(
                    "{why}; to start a job from this folder with the job's own credentials, name it in \
                     spec.restoreFrom.uri of the StreamJob"
                );
                Verdict::Stalled(TroubleKind::Denied.reason(), message)
            }
            Err(WorkWait::Trouble(trouble)) => self.trouble(trouble),
        }
    }

    fn default_storage(&self) -> Option<ResolvedStorage> {
        self.input.settings.default_storage().ok()
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) -> Verdict {
        if matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Damaged) {
            return self.fail(trouble.message);
        }
        self.actions.push(SnapshotAction::ForgetWork);
        self.requeue = Duration::from_secs(10);
        Verdict::Stalled(trouble.kind.reason(), trouble.message)
    }

    /// It is taken of a running job.
    pub(super) fn save(&mut self) -> Verdict {
        let spec = &self.input.snapshot.spec;
        let name = spec.job_ref.as_ref().map_or("", |job| job.name.as_str());
        let Some(job) = self.input.job else {
            if self.status.phase == Some(SnapshotPhase::InProgress) {
                return self.fail(format!(
                    "StreamJob {name} was deleted before it was complete"
                ));
            }
            return waiting(format!(
                "waiting for StreamJob {name}, which does not exist in this namespace"
            ));
        };
        if job.deleting {
            return self.fail(format!("StreamJob {name} is being deleted"));
        }
        if job.completed {
            return self.fail(format!(
                "StreamJob {name} has read all its input: there is nothing to go on from"
            ));
        }
        let storage = match &job.storage {
            Ok(storage) => storage,
            Err(why) => return waiting(why.clone()),
        };
        let Some(revision) = job.current else {
            return waiting(format!("waiting for StreamJob {name} to run"));
        };
        if job.suspended {
            return waiting(format!(
                "StreamJob {name} is suspended; the snapshot is taken when it runs again"
            ));
        }
        if self.status.uri.is_none() {
            let folder = self.folder(job, storage);
            self.status.uri = Some(format!("s3://{}/{folder}", storage.bucket));
            self.status.endpoint.clone_from(&storage.endpoint);
            self.status.region.clone_from(&storage.region);
            self.status.phase = Some(SnapshotPhase::InProgress);
            self.emit_event(
                EventKind::Normal,
                "SnapshotStarted",
                format!("of StreamJob {name}, revision {revision}"),
            );
            return Verdict::Reconciling(
                "InProgress",
                format!("asking revision {revision} for a savepoint"),
            );
        }
        self.status.revision = Some(revision);
        match self.input.operation {
            Fact::Unknown(unknown) => waiting(format!(
                "waiting for the coordinator of StreamJob {name}: {}",
                unknown.why
            )),
            Fact::Known(Some(operation)) => self.asked(&operation.result.clone()),
            Fact::Known(None) => self.ask(revision),
        }
    }

    pub(super) fn folder(&self, job: &SnapshotJob, storage: &ResolvedStorage) -> String {
        StatePaths::new(&storage.prefix, &job.namespace, &job.name).savepoint(&self.folder_name())
    }

    pub(super) fn ask(&mut self, revision: u64) -> Verdict {
        let last = self.status.last_try.as_ref();
        if let Some(last) = last
            && !self.passed(last.0, back_off(self.status.retries))
        {
            return Verdict::Reconciling(
                "InProgress",
                format!(
                    "the savepoint failed {} times; it is tried again",
                    self.status.retries
                ),
            );
        }
        let key = key(self.input.snapshot);
        let refused = self.input.refusal.filter(|refusal| refusal.key == key);
        if let Some(refusal) = refused
            && refusal.code == "BadRequest"
        {
            return self.fail(refusal.message.clone());
        }
        let message = refused.map_or_else(
            || format!("revision {revision} was asked for a savepoint"),
            |refusal| {
                format!(
                    "revision {revision} takes no savepoint yet: {}",
                    refusal.message
                )
            },
        );
        let uri = self.status.uri.as_deref();
        let folder =
            uri.and_then(|uri| Some(uri.strip_prefix("s3://")?.split_once('/')?.1.to_owned()));
        self.actions.push(SnapshotAction::Ask {
            revision,
            request: SavepointRequest { key, uri: folder },
        });
        Verdict::Reconciling("InProgress", message)
    }

    pub(super) fn asked(&mut self, result: &OperationResult) -> Verdict {
        match result {
            OperationResult::Running => Verdict::Reconciling(
                "InProgress",
                "the job takes a checkpoint and copies it".to_owned(),
            ),
            OperationResult::Failed { why } => {
                self.status.retries += 1;
                self.status.last_try = Some(time(self.input.now));
                Verdict::Reconciling(
                    "InProgress",
                    format!("the savepoint failed and is tried again: {why}"),
                )
            }
            OperationResult::Done { .. } => match self.work(Work::Inspect) {
                Ok(content) => self.complete(content, true),
                Err(WorkWait::Running(_)) => {
                    Verdict::Reconciling("InProgress", "reading what was saved".to_owned())
                }
                Err(WorkWait::NotAllowed(why)) => self.unseen(&why),
                Err(WorkWait::Trouble(trouble)) => self.trouble(trouble),
            },
        }
    }

    /// It is complete, as its job says: the operator may not look.
    fn unseen(&mut self, why: &str) -> Verdict {
        self.status.phase = Some(SnapshotPhase::Completed);
        self.status.completion_time = Some(time(self.input.now));
        let said = match self.input.operation {
            Fact::Known(Some(operation)) => match &operation.result {
                OperationResult::Done { checkpoint, .. } => *checkpoint,
                OperationResult::Running | OperationResult::Failed { .. } => None,
            },
            Fact::Known(None) | Fact::Unknown(_) => None,
        };
        let uri = self.status.uri.clone();
        let now = time(self.input.now);
        self.status.checkpoint = said.map(|id| CheckpointStatus {
            id,
            completion_time: now,
            duration: None,
            size: None,
            uri: uri.clone(),
        });
        let message = format!("it is complete, as its job says; the operator did not look: {why}");
        let note = format!("{}: {message}", uri.unwrap_or_default());
        self.emit_event(EventKind::Normal, "SnapshotCompleted", note);
        Verdict::Ready(message)
    }

    /// Whether an import lies where its own job writes savepoints.
    fn is_own_savepoint(&self) -> bool {
        let storage = self
            .input
            .job
            .and_then(|job| Some((job, job.storage.as_ref().ok()?)));
        let import = self.input.snapshot.spec.import_from.as_ref();
        storage.zip(import).is_some_and(|((job, storage), import)| {
            let folder = StatePaths::new(&storage.prefix, &job.namespace, &job.name).savepoint("");
            let name = import
                .uri
                .trim_end_matches('/')
                .strip_prefix(&format!("s3://{}/{folder}", storage.bucket));
            name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
        })
    }

    pub(super) fn complete(&mut self, content: Option<Content>, verified: bool) -> Verdict {
        let Some(content) = content else {
            return self.fail("its folder does not say what it holds".to_owned());
        };
        self.actions.push(SnapshotAction::ForgetWork);
        self.status.phase = Some(SnapshotPhase::Completed);
        self.status.completion_time = Some(time(self.input.now));
        if verified {
            self.status.verified_time = Some(time(self.input.now));
        }
        self.status.revision = Some(content.revision);
        let job = self.input.job;
        if job.is_some_and(|job| job.uid == content.job_uid) {
            self.status.job_uid = Some(content.job_uid);
        }
        let took = self.status.start_time.as_ref().map(|begun| {
            let millis = self.input.now.as_millisecond() - begun.0.as_millisecond();
            seconds(u64::try_from(millis).unwrap_or(0))
        });
        self.status.checkpoint = Some(CheckpointStatus {
            id: content.checkpoint,
            completion_time: millis_at(content.completed_ms),
            duration: took,
            size: Some(bytes(content.total_bytes)),
            uri: self.status.uri.clone(),
        });
        let uri = self.status.uri.clone().unwrap_or_default();
        let message = format!("it holds checkpoint {}", content.checkpoint);
        self.emit_event(
            EventKind::Normal,
            "SnapshotCompleted",
            format!("checkpoint {} in {uri}", content.checkpoint),
        );
        Verdict::Ready(message)
    }
}
