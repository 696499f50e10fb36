//! A plan for a StreamSnapshot while it is made.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::{
    condition::{self, State},
    names::{SNAPSHOT_FINALIZER, VERIFY},
    v1alpha1::{SnapshotPhase, StreamSnapshot, StreamSnapshotStatus},
};

use crate::plan::units::bytes;
use crate::{
    plan::{
        action::{Event, EventKind},
        input::passed,
        units::time,
    },
    snapshots::{action::SnapshotAction, folder_work::Trouble, input::SnapshotInput},
};

/// Reason of a snapshot in whose folder the operator may not look.
pub(super) const NOT_VERIFIED: &str = "NotVerified";

/// How soon to look again while something is under way.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// How seldom to look at a job that a snapshot waits for: its watch tells of most of what happens
/// to it.
pub(super) const SELDOM: Duration = Duration::from_secs(30);
/// How soon to look again when nothing is, and nothing is due.
pub(super) const QUIET: Duration = Duration::from_hours(1);

/// The value of the annotation that asks for another look at all its objects.
pub(super) fn wish(snapshot: &StreamSnapshot) -> Option<&String> {
    snapshot.metadata.annotations.as_ref()?.get(VERIFY)
}

/// What the pass comes to.
pub(super) enum Verdict {
    Reconciling(&'static str, String),
    Stalled(&'static str, String),
    Ready(String),
}

/// A plan for a snapshot while it is made.
pub(super) struct SnapshotPlanBuilder<'a> {
    pub(super) input: SnapshotInput<'a>,
    pub(super) status: StreamSnapshotStatus,
    pub(super) actions: Vec<SnapshotAction>,
    pub(super) events: Vec<Event>,
    pub(super) requeue: Duration,
}

/// The verdict that a snapshot waits for something.
pub(super) fn waiting(message: impl Into<String>) -> Verdict {
    Verdict::Reconciling("Waiting", message.into())
}

impl SnapshotPlanBuilder<'_> {
    pub(super) fn holds_finalizer(&self) -> bool {
        let all = &self.input.snapshot.metadata.finalizers;
        all.iter().flatten().any(|name| name == SNAPSHOT_FINALIZER)
    }

    pub(super) fn passed(&self, since: Timestamp, limit: Duration) -> bool {
        passed(self.input.now, since, limit)
    }

    /// How long to wait for something that has not happened for so long already: a tenth of that,
    /// within limits.
    pub(super) fn pace(&self, since: Timestamp, least: Duration, most: Duration) -> Duration {
        let so_far = Duration::try_from(self.input.now.duration_since(since));
        (so_far.unwrap_or_default() / 10).clamp(least, most)
    }

    pub(super) fn emit_event(&mut self, kind: EventKind, reason: &'static str, note: String) {
        self.events.push(Event { kind, reason, note });
    }

    /// Conditions keep the rules of kstatus, as those of a job do.
    pub(super) fn write(&mut self, verdict: &Verdict) {
        let generation = self.input.snapshot.metadata.generation;
        self.status.observed_generation = generation;
        if self.input.snapshot.metadata.deletion_timestamp.is_some() {
            self.status.phase = Some(SnapshotPhase::Deleting);
        }
        let now = time(self.input.now).0;
        let (state, reason, message) = match verdict {
            Verdict::Ready(message) => (State::Ready, "Completed", message),
            Verdict::Reconciling(reason, message) => (State::Reconciling, *reason, message),
            Verdict::Stalled(reason, message) => (State::Stalled, *reason, message),
        };
        let conditions = &mut self.status.conditions;
        condition::settle(conditions, state, reason, message, generation, now);
    }
}

/// Why the work on a folder has no result yet, or a bad one.
pub(super) enum WorkWait {
    Running(String),
    /// The operator may not do it with its own credentials, or cannot: others have to.
    NotAllowed(String),
    Trouble(Trouble),
}

/// How far, for a message.
pub(super) fn progress(done: u64, total: u64) -> String {
    if total == 0 {
        String::new()
    } else {
        format!(": {} of {}", bytes(done), bytes(total))
    }
}

/// What is left of a time that began then.
pub(super) fn time_left(now: Timestamp, begun: Timestamp, limit: Duration) -> Duration {
    let so_far = Duration::try_from(now.duration_since(begun));
    limit.saturating_sub(so_far.unwrap_or_default())
}
