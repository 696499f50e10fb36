//! How a StreamSnapshot is taken, imported, verified, kept and removed: one pure function,
//! [`plan_snapshot`], as [`super::plan`] is for jobs.
//!
//! * `take`: until it is complete.
//! * `keep`: afterwards.
//! * `place`: where its folder is, and whether the operator may act there.
//! * `needs`: for whose sake a folder stays.

#[cfg(test)]
pub(super) mod grid;
mod keep;
pub(super) mod needs;
mod place;
mod take;

use std::time::Duration;

use jiff::Timestamp;
use streamkeeper_api::{
    condition::{self, State},
    names::{SNAPSHOT_FINALIZER, VERIFY},
    v1alpha1::{DeletionPolicy, SnapshotPhase, StreamSnapshot, StreamSnapshotStatus},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::{Operation, SavepointRequest};

use super::{
    action::{Event, EventKind},
    grant::Grant,
    observed::{Fact, Refusal},
    ownership::passed,
    plan_builder::time,
    record::bytes,
    revision::ResolvedStorage,
    settings::Settings,
};

pub use needs::{Place, needs};

/// Reason of a snapshot that is not as it was written.
pub(super) const DAMAGED: &str = "SnapshotDamaged";
/// Reason of a snapshot in whose folder the operator may not look.
const NOT_VERIFIED: &str = "NotVerified";

/// How soon to look again while something is under way.
const SOON: Duration = Duration::from_secs(1);
/// How seldom to look at a job that a snapshot waits for: its watch tells of most of what happens
/// to it.
const SELDOM: Duration = Duration::from_secs(30);
/// How soon to look again when nothing is, and nothing is due.
const QUIET: Duration = Duration::from_hours(1);

/// Everything that a decision about a snapshot may depend on.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotInput<'a> {
    /// The snapshot as the API server has it.
    pub snapshot: &'a StreamSnapshot,
    /// Its job; none when no StreamJob of that name exists in its namespace.
    pub job: Option<&'a SnapshotJob>,
    /// The operator's settings: the storage of an import that names no job, and where it may look
    /// at all.
    pub settings: &'a Settings,
    /// The operation of [`key`] as the job's coordinator knows it; `Known(None)` when it does not.
    pub operation: &'a Fact<Option<Operation>>,
    /// What became of the work on the folder that was asked for last.
    pub work: &'a WorkState,
    /// The last refusal of a call, while the operator remembers it.
    pub refusal: Option<&'a Refusal>,
    /// Name of a job that needs this snapshot, if one does; see [`needs`].
    pub needed_by: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// A job, as a decision about its snapshot sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotJob {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Uid.
    pub uid: String,
    /// The revision that runs, or ran last.
    pub current: Option<u64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is to be suspended.
    pub suspended: bool,
    /// Whether all its input was read.
    pub completed: bool,
    /// Where its state lies, or why that is not known.
    pub storage: Result<ResolvedStorage, String>,
}

/// Work on the folder of a snapshot that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Read what it is.
    Inspect,
    /// Read all of it and compare checksums.
    Verify,
    /// Remove it.
    Remove,
}

/// What became of the work on a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WorkState {
    /// Nothing was asked for, or the operator was restarted since.
    #[default]
    None,
    /// It is under way.
    Running {
        /// What.
        work: Work,
        /// Bytes, or objects, done so far.
        done: u64,
        /// Of so many; 0 when that is not known yet.
        total: u64,
    },
    /// It is done.
    Done {
        /// What.
        work: Work,
        /// How it went.
        result: Result<Option<Content>, Trouble>,
    },
}

/// What a snapshot is, as its own folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Checkpoint it holds.
    pub checkpoint: u64,
    /// When that was complete, milliseconds since the epoch.
    pub completed_ms: i64,
    /// Bytes that a restore reads.
    pub total_bytes: u64,
    /// Revision that took it.
    pub revision: u64,
    /// Uid of the StreamJob that it was taken of.
    pub job_uid: String,
}

/// Why work on a folder failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// What was tried, on what.
    pub message: String,
}

/// Kinds of trouble with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// There is no snapshot in it.
    Missing,
    /// Something in it is not as it was written.
    Damaged,
    /// It belongs to another job.
    NotOurs,
    /// It names more than the operator can hold; whether it is whole is not known.
    TooLarge,
    /// The storage refuses.
    Denied,
    /// The storage does not answer.
    Down,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotPlan {
    /// The status to write, if it differs, before anything else is done.
    pub status: StreamSnapshotStatus,
    /// What to do then, in order; stop at the first failure.
    pub actions: Vec<SnapshotAction>,
    /// What to tell people, once the status is written.
    pub events: Vec<Event>,
    /// When to look again if nothing happens before.
    pub requeue: Duration,
}

/// One effect. Each is idempotent.
#[derive(Debug, Clone, PartialEq)]
pub enum SnapshotAction {
    /// Add [`SNAPSHOT_FINALIZER`].
    AddFinalizer,
    /// Remove it.
    RemoveFinalizer,
    /// Ask the coordinator of a revision for the savepoint.
    Ask {
        /// The revision.
        revision: u64,
        /// The call.
        request: SavepointRequest,
    },
    /// Begin work on a folder; nothing if it is under way.
    Begin {
        /// What.
        work: Work,
        /// The folder.
        place: Grant,
        /// Uid of the StreamJob that it must be of, to be removed.
        job_uid: Option<String>,
    },
    /// Forget what became of the last work.
    ForgetWork,
    /// Delete the StreamSnapshot; its time is up.
    DeleteObject,
}

/// Idempotency key of the savepoint of a snapshot.
pub fn key(snapshot: &StreamSnapshot) -> String {
    let uid = snapshot.metadata.uid.as_deref().unwrap_or_default();
    let retries = snapshot.status.as_ref().map_or(0, |status| status.retries);
    format!("snapshot-{uid}-{retries}")
}

/// Whether something hangs on the job that is not taken back: where the snapshot lies, or that it
/// has failed. A late cache of it will not do then.
pub fn is_decided_by(snapshot: &StreamSnapshot, job: Option<&SnapshotJob>) -> bool {
    let status = snapshot.status.as_ref();
    let phase = status.and_then(|status| status.phase);
    let ended = matches!(
        phase,
        Some(SnapshotPhase::Completed | SnapshotPhase::Verifying | SnapshotPhase::Failed)
    );
    if ended || snapshot.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let begun = status.is_some_and(|status| status.uri.is_some());
    if snapshot.spec.import_from.is_some() {
        return !begun;
    }
    job.map_or(begun, |job| {
        let runs = job.current.is_some() && !job.suspended;
        job.deleting || job.completed || (runs && !begun)
    })
}

/// Whether a snapshot is complete, or has failed, and nobody asks for anything: then its job does
/// not matter to it.
pub fn is_at_rest(snapshot: &StreamSnapshot) -> bool {
    let ended = snapshot.status.as_ref().is_some_and(|status| {
        matches!(
            status.phase,
            Some(SnapshotPhase::Completed | SnapshotPhase::Failed)
        ) && wish(snapshot).is_none_or(|wish| status.verified_for.as_ref() == Some(wish))
    });
    ended && snapshot.metadata.deletion_timestamp.is_none()
}

/// The value of the annotation that asks for another look at all its objects.
fn wish(snapshot: &StreamSnapshot) -> Option<&String> {
    snapshot.metadata.annotations.as_ref()?.get(VERIFY)
}

/// What the pass comes to.
enum Verdict {
    Reconciling(&'static str, String),
    Stalled(&'static str, String),
    Ready(String),
}

struct SnapshotPlanBuilder<'a> {
    input: SnapshotInput<'a>,
    status: StreamSnapshotStatus,
    actions: Vec<SnapshotAction>,
    events: Vec<Event>,
    requeue: Duration,
}

/// What to do next about a snapshot. Total and deterministic.
pub fn plan_snapshot(input: &SnapshotInput<'_>) -> SnapshotPlan {
    let mut plan = SnapshotPlanBuilder {
        input: *input,
        status: input.snapshot.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        events: Vec::new(),
        requeue: SOON,
    };
    let verdict = plan.decide();
    plan.write(&verdict);
    SnapshotPlan {
        status: plan.status,
        actions: plan.actions,
        events: plan.events,
        requeue: plan.requeue,
    }
}

fn waiting(message: impl Into<String>) -> Verdict {
    Verdict::Reconciling("Waiting", message.into())
}

impl SnapshotPlanBuilder<'_> {
    fn holds_finalizer(&self) -> bool {
        let all = &self.input.snapshot.metadata.finalizers;
        all.iter().flatten().any(|name| name == SNAPSHOT_FINALIZER)
    }

    fn decide(&mut self) -> Verdict {
        let spec = &self.input.snapshot.spec;
        if self.input.snapshot.metadata.deletion_timestamp.is_some() {
            return keep::delete(self);
        }
        if spec.deletion_policy == DeletionPolicy::Delete && !self.holds_finalizer() {
            self.actions.push(SnapshotAction::AddFinalizer);
            return waiting("the StreamSnapshot was seen");
        }
        match self.status.phase {
            // It was never seen complete.
            Some(SnapshotPhase::Verifying) if self.status.completion_time.is_none() => {
                take::take(self)
            }
            Some(SnapshotPhase::Completed | SnapshotPhase::Verifying) => keep::keep(self),
            Some(SnapshotPhase::Failed) => keep::failed_before(self),
            None
            | Some(SnapshotPhase::Pending | SnapshotPhase::InProgress | SnapshotPhase::Deleting) => {
                take::take(self)
            }
        }
    }

    /// Begins work on the folder, or says what became of it.
    fn work(&mut self, wanted: Work) -> Result<Option<Content>, WorkWait> {
        match self.input.work {
            WorkState::Done { work, result } if *work == wanted => {
                result.clone().map_err(|trouble| match trouble.kind {
                    TroubleKind::TooLarge => WorkWait::NotAllowed(trouble.message),
                    TroubleKind::Missing
                    | TroubleKind::Damaged
                    | TroubleKind::NotOurs
                    | TroubleKind::Denied
                    | TroubleKind::Down => WorkWait::Trouble(trouble),
                })
            }
            WorkState::Running { work, done, total } if *work == wanted => {
                Err(WorkWait::Running(progress(*done, *total)))
            }
            WorkState::None | WorkState::Done { .. } => {
                match place::place(self) {
                    Ok(place) => self.actions.push(SnapshotAction::Begin {
                        work: wanted,
                        place,
                        job_uid: guard!("a folder is compared with its job": place::owner(self, wanted), else None),
                    }),
                    Err(why) => return Err(WorkWait::NotAllowed(why)),
                }
                Err(WorkWait::Running(String::new()))
            }
            WorkState::Running { .. } => Err(WorkWait::Running(String::new())),
        }
    }

    fn passed(&self, since: Timestamp, limit: Duration) -> bool {
        passed(self.input.now, since, limit)
    }

    /// How long to wait for something that has not happened for so long already: a tenth of that,
    /// within limits.
    fn pace(&self, since: Timestamp, least: Duration, most: Duration) -> Duration {
        let so_far = Duration::try_from(self.input.now.duration_since(since));
        (so_far.unwrap_or_default() / 10).clamp(least, most)
    }

    fn emit_event(&mut self, kind: EventKind, reason: &'static str, note: String) {
        self.events.push(Event { kind, reason, note });
    }

    /// Conditions keep the rules of kstatus, as those of a job do.
    fn write(&mut self, verdict: &Verdict) {
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
enum WorkWait {
    Running(String),
    /// The operator may not do it with its own credentials, or cannot: others have to.
    NotAllowed(String),
    Trouble(Trouble),
}

impl TroubleKind {
    const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "SnapshotNotFound",
            Self::Damaged => DAMAGED,
            Self::NotOurs | Self::TooLarge | Self::Denied => "StorageAccessDenied",
            Self::Down => "StorageUnreachable",
        }
    }
}

/// How far, for a message.
fn progress(done: u64, total: u64) -> String {
    if total == 0 {
        String::new()
    } else {
        format!(": {} of {}", bytes(done), bytes(total))
    }
}

/// What is left of a time that began then.
fn time_left(now: Timestamp, begun: Timestamp, limit: Duration) -> Duration {
    let so_far = Duration::try_from(now.duration_since(begun));
    limit.saturating_sub(so_far.unwrap_or_default())
}
