//! Complete, failed or deleted: what becomes of a snapshot afterwards.

use std::time::Duration;

use jiff::Timestamp;
use streamkeeper_api::{
    condition::{self, kind, sentence},
    names::SNAPSHOT_FINALIZER,
    v1alpha1::SnapshotPhase,
};
use streamkeeper_protocol::head::OperationResult;

use super::{
    DAMAGED, QUIET, SELDOM, SOON, SnapshotAction, SnapshotJob, SnapshotPlanBuilder, TroubleKind,
    Verdict, Work, WorkWait, time_left, wish,
};
use crate::{action::EventKind, observed::Fact, plan_builder::time};

/// How seldom to try to remove a folder again.
const AT_LEAST_EVERY: Duration = Duration::from_mins(5);
/// How long a coordinator that does not answer may be copying.
const SILENCE: Duration = Duration::from_mins(1);

impl SnapshotPlanBuilder<'_> {
    /// It is being deleted.
    pub(super) fn delete(&mut self) -> Verdict {
        if !self.holds_finalizer() {
            return Verdict::Reconciling("Deleting", "it holds nothing of ours".to_owned());
        }
        let since = self.input.snapshot.metadata.deletion_timestamp.as_ref();
        let since = since.map_or(self.input.now, |since| since.0);
        if let Some(job) = self.input.needed_by {
            self.requeue = self.pace(since, SOON, SELDOM);
            let message = format!(
                "StreamJob {job} is to go on from it (spec.restoreFrom); it is removed after, or once that is taken back"
            );
            return Verdict::Reconciling("Deleting", message);
        }
        if self.status.uri.is_none() {
            self.actions.push(SnapshotAction::RemoveFinalizer);
            return Verdict::Reconciling("Deleting", "it has no folder".to_owned());
        }
        if let Some(why) = self.must_stay() {
            return self.left(&why);
        }
        if let Some(why) = self.is_written_to(since) {
            return Verdict::Reconciling("Deleting", format!("{why}; its folder is removed after"));
        }
        match self.work(Work::Remove) {
            Ok(_) => self.removed(),
            Err(WorkWait::Trouble(trouble)) if trouble.kind == TroubleKind::Missing => {
                self.removed()
            }
            Err(WorkWait::Trouble(trouble)) if trouble.kind == TroubleKind::NotOurs => {
                self.left(&trouble.message)
            }
            Err(WorkWait::NotAllowed(why)) => self.left(&why),
            Err(WorkWait::Trouble(trouble)) => {
                self.actions.push(SnapshotAction::ForgetWork);
                self.requeue = self.pace(since, Duration::from_secs(10), AT_LEAST_EVERY);
                let message = format!(
                    "its folder could not be removed and is tried again: {} To leave the folder, remove the finalizer {SNAPSHOT_FINALIZER}",
                    sentence(&trouble.message)
                );
                Verdict::Stalled(trouble.kind.reason(), message)
            }
            Err(WorkWait::Running(progress)) => {
                Verdict::Reconciling("Deleting", format!("removing its folder{progress}"))
            }
        }
    }

    /// Whether its coordinator still copies: what it writes after the folder is removed would be
    /// nobody's. That is not waited for without end, for it may never be told.
    fn is_written_to(&self, since: Timestamp) -> Option<String> {
        let timeout = self.input.snapshot.spec.timeout.to_std();
        let runs = |job: &SnapshotJob| job.current.is_some() && !job.suspended && !job.completed;
        let (why, limit) = match self.input.operation {
            Fact::Known(Some(operation)) if operation.result == OperationResult::Running => {
                ("the job is still copying to it".to_owned(), timeout)
            }
            Fact::Unknown(unknown)
                if self.status.checkpoint.is_none()
                    && self.input.snapshot.spec.import_from.is_none()
                    && self.input.job.is_some_and(runs) =>
            {
                let why = format!("waiting for whoever may be copying to it: {}", unknown.why);
                (why, timeout.min(SILENCE))
            }
            Fact::Known(_) | Fact::Unknown(_) => return None,
        };
        (!self.passed(since, limit)).then_some(why)
    }

    pub(super) fn removed(&mut self) -> Verdict {
        self.actions.push(SnapshotAction::RemoveFinalizer);
        let uri = self.status.uri.clone().unwrap_or_default();
        self.emit_event(
            EventKind::Normal,
            "SnapshotDeleted",
            format!("{uri} was removed"),
        );
        Verdict::Reconciling("Deleting", "its folder is gone".to_owned())
    }

    /// The object goes and the folder stays.
    fn left(&mut self, why: &str) -> Verdict {
        self.actions.push(SnapshotAction::RemoveFinalizer);
        let uri = self.status.uri.clone().unwrap_or_default();
        let message = format!(
            "{uri} was left as it is: {why}; remove the folder yourself if nothing needs it"
        );
        self.emit_event(EventKind::Normal, "SnapshotFolderKept", message);
        Verdict::Reconciling("Deleting", "its folder stays".to_owned())
    }

    /// It is complete: is it to be verified again, is its time up?
    pub(super) fn keep(&mut self) -> Verdict {
        self.expire();
        let wish = wish(self.input.snapshot).cloned();
        let complete = self.status.checkpoint.as_ref().map_or_else(
            || "it is complete".to_owned(),
            |held| format!("it holds checkpoint {}", held.id),
        );
        if wish.is_none() || wish == self.status.verified_for {
            self.status.phase = Some(SnapshotPhase::Completed);
            return match condition::get(&self.status.conditions, kind::STALLED) {
                Some(known) if known.reason == DAMAGED => {
                    Verdict::Stalled(DAMAGED, known.message.clone())
                }
                Some(_) | None => Verdict::Ready(complete),
            };
        }
        self.requeue = SOON;
        self.status.phase = Some(SnapshotPhase::Verifying);
        match self.work(Work::Verify) {
            Ok(_) => {
                self.status.verified_for = wish;
                self.status.verified_time = Some(time(self.input.now));
                self.status.phase = Some(SnapshotPhase::Completed);
                self.actions.push(SnapshotAction::ForgetWork);
                condition::clear(&mut self.status.conditions, kind::STALLED);
                Verdict::Ready(format!("{complete}, and all its checksums are right"))
            }
            Err(WorkWait::Trouble(trouble)) => {
                self.actions.push(SnapshotAction::ForgetWork);
                if matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Damaged) {
                    self.status.verified_for = wish;
                    self.status.phase = Some(SnapshotPhase::Completed);
                    let message = format!(
                        "{}; do not restore from it, take another one",
                        trouble.message
                    );
                    self.emit_event(EventKind::Warning, "SnapshotFailed", message.clone());
                    return Verdict::Stalled(DAMAGED, message);
                }
                self.requeue = Duration::from_secs(10);
                Verdict::Stalled(trouble.kind.reason(), trouble.message)
            }
            Err(WorkWait::NotAllowed(why)) => {
                self.actions.push(SnapshotAction::ForgetWork);
                self.status.verified_for = wish;
                self.status.phase = Some(SnapshotPhase::Completed);
                Verdict::Ready(format!(
                    "{complete}; its checksums were not compared: {why}"
                ))
            }
            Err(WorkWait::Running(progress)) => {
                Verdict::Reconciling("Verifying", format!("comparing checksums{progress}"))
            }
        }
    }

    pub(super) fn failed_before(&mut self) -> Verdict {
        self.expire();
        match condition::get(&self.status.conditions, kind::STALLED) {
            Some(known) => Verdict::Stalled("SnapshotFailed", known.message.clone()),
            None => Verdict::Stalled("SnapshotFailed", "it failed".to_owned()),
        }
    }

    /// Deletes the object when its time is up, and looks again then.
    pub(super) fn expire(&mut self) {
        self.requeue = QUIET;
        let ended = self.status.completion_time.as_ref();
        if let (Some(ttl), Some(ended)) = (self.input.snapshot.spec.ttl, ended) {
            let ttl = ttl.to_std();
            if self.passed(ended.0, ttl) {
                self.actions.push(SnapshotAction::DeleteObject);
            } else {
                let left = time_left(self.input.now, ended.0, ttl);
                self.requeue = left.clamp(SOON, QUIET);
            }
        }
    }
}
