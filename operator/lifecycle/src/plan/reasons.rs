//! Typed reasons of a decision, and their sentences.
//!
//! A decision names a reason; this file alone renders it. [`WaitingFor`] says what a job waits for,
//! [`Problem`] what needs help from a person, [`Settled`] why nothing is left to do. Texts that
//! coordinators, the kubelet or the API server report are part of a reason as they are.

use std::fmt;

use streamkeeper_api::names::TAKE_OVER;

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WaitingFor {
    /// The finalizer is added.
    Finalizer,
    /// A transition begins again.
    Start,
    /// The job stops before it is deleted.
    Stop,
    /// A coordinator does not answer.
    Coordinator { revision: u64, why: String },
    /// A coordinator does not answer yet.
    CoordinatorAnswer { revision: u64 },
    /// The job moves to another number of workers.
    Move,
    /// A coordinator ends, and its successor goes on.
    NextCoordinator,
    /// The spec cannot be compared with the revision that runs.
    SpecOfRunning { revision: u64, why: String },
    /// The job was suspended before it ran.
    SuspendBeforeStart,
    /// Another revision runs the job.
    OtherRevision { revision: u64 },
    /// A revision runs.
    Runs { revision: u64 },
    /// A revision took the job without being told.
    TakenByItself { to: u64 },
    /// `spec.restoreFrom` changed.
    RestoreFrom,
    /// Another revision is prepared, because the spec changed.
    ChangedSpec { next: u64, to: u64 },
    /// A greater revision is prepared.
    GreaterRevision { why: String, next: u64, to: u64 },
    /// A revision is ready to run.
    ReadyToRun { to: u64 },
    /// The pods of a revision are created.
    Pods { to: u64 },
    /// A revision is prepared.
    Preparation { to: u64, why: String },
    /// The coordinator that has the job does not answer yet.
    OwnerAnswer { to: u64 },
    /// A revision runs, from a checkpoint or from nothing.
    Started { to: u64, from: String },
    /// The number of workers changes.
    Workers { active: u32, target: u32 },
    /// A revision does not run any more.
    NoLongerRuns { revision: u64 },
    /// All workers are up.
    AllWorkersUp { target: u32 },
    /// Some workers are not up.
    WorkersUp { up: usize, target: u32 },
    /// The spec changed before the job moved.
    ChangedBeforeMove,
    /// The job runs on its new number of workers.
    RunsOn { target: u32 },
    /// The last try failed.
    NextTry { failed: String },
    /// The job did not move.
    MoveFailed { why: String },
    /// The job moves.
    MoveTo { target: u32, failed: String },
    /// The coordinator does not move the job yet.
    MoveRefused { why: String },
    /// Workers that are not needed are removed.
    SparePods { target: u32 },
    /// A StreamSnapshot cannot be read.
    Snapshot { name: String, why: String },
    /// A StreamSnapshot is not complete.
    SnapshotComplete { name: String },
    /// The SQL text cannot be read.
    SqlText { why: String },
    /// The job goes to a snapshot.
    Restore { folder: String, to: u64 },
    /// A restore was cancelled.
    RestoreCancelled { to: u64, why: String },
    /// A revision is being prepared.
    Prepared { to: u64, why: String },
    /// A revision is ready to go to a snapshot.
    ReadyToRestore { to: u64 },
    /// A revision went on from a snapshot.
    Restored { to: u64, folder: String },
    /// A revision runs from a snapshot.
    RestoredRuns { to: u64, folder: String },
    /// Pods of old revisions are removed.
    OldPods { to: u64 },
    /// Pods of old revisions are gone.
    OldPodsGone { to: u64 },
    /// A rollback begins.
    Rollback {
        failed: u64,
        why: String,
        source: u64,
        to: u64,
    },
    /// A revision of a rollback is created.
    RollbackPods { to: u64, source: u64 },
    /// A revision is ready to take over.
    ReadyToTakeOver { to: u64 },
    /// A rollback was cancelled.
    RollbackCancelled { why: String },
    /// Missing objects of a revision are created.
    MissingObjects { revision: u64 },
    /// A revision was told to run.
    ToldToRun { to: u64 },
    /// The job stops with a savepoint.
    Stopping,
    /// Whether there is state is not known.
    StateKnown { why: String },
    /// The first revision starts.
    FirstStart { to: u64 },
    /// A named successor has not taken over.
    TakeOver { to: u64 },
    /// A named successor has not taken over, which comes first.
    TakeOverFirst { to: u64 },
    /// A revision does not know yet that it lost the job.
    OldAnswer { other: u64, current: u64 },
    /// A StatefulSet is being deleted.
    StatefulSetDeletion { revision: u64 },
    /// The job goes on.
    Resume { to: u64 },
    /// An upgrade begins.
    Upgrade { what: String, to: u64, current: u64 },
    /// The job has stopped.
    Stopped,
    /// The job is not running.
    HasStopped,
    /// No pod of the job can run it.
    NoPodCanRun { why: String },
    /// Which revision has the job is not known.
    Owner { why: String },
    /// `spec.suspend` was taken back.
    SuspendTakenBack,
    /// A revision runs the job.
    RunsJob { revision: u64 },
    /// A revision cannot take a savepoint.
    NoSavepoint { revision: u64, why: String },
    /// The pods are gone.
    PodsGone,
    /// The pods are removed.
    PodsRemoved,
    /// The state is released.
    Released,
    /// The job could not be stopped.
    StopAgain { failed: String, wait: u64 },
    /// The last stop failed.
    StopFailed { why: String },
    /// The job takes its last checkpoint.
    LastCheckpoint { revision: u64, failed: String },
    /// A revision read all input.
    AllInputRead { to: u64 },
    /// A revision takes over.
    TakesOver { to: u64 },
    /// Another revision has the job.
    OtherHasJob { revision: u64, to: u64 },
    /// How a revision does is not known.
    State { to: u64, why: String },
    /// A revision reads input and completed a checkpoint.
    Proved { to: u64 },
    /// A revision has not shown that it gets on.
    Proof { to: u64, missing: String },
    /// An upgrade was cancelled.
    UpgradeCancelled { to: u64, why: String },
    /// A revision has taken over.
    HasTakenOver { to: u64 },
    /// A revision is created beside the running one.
    PodsBeside { to: u64, from: u64 },
    /// There is no room for all pods.
    FirstPodOnly {
        to: u64,
        from: u64,
        why: String,
        next: u64,
    },
    /// A revision handed over.
    HandedOver { from: u64, to: u64 },
    /// A revision cannot hand over.
    NoHandOver { revision: u64, why: String, to: u64 },
    /// The job completed before it was handed over.
    CompletedFirst,
    /// A revision does not run, so nothing is handed over.
    WithoutHandOver { from: u64, to: u64 },
    /// The next try to hand over has its time.
    NextHandOver { to: u64 },
    /// The former revision runs on.
    FormerRunsOn { from: u64 },
    /// A revision takes a savepoint and hands over.
    HandOver { from: u64, to: u64 },
    /// The coordinator does not hand over yet.
    HandOverRefused { from: u64, why: String },
    /// The state of the job cannot be read, and a revision waits for it.
    StateRead { to: u64, why: String },
    /// The state of the job cannot be read, and nothing runs.
    StateReadIdle { why: String },
    /// The coordinator of a revision refuses to run.
    RunRefused { to: u64, why: String },
    /// As another part reports it.
    Reported(String),
    /// The last try failed.
    Again { what: Box<WaitingFor>, why: String },
    /// The job comes back.
    Recovery { state: String, missing: String },
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finalizer => write!(f, "the StreamJob was seen"),
            Self::Start => write!(f, "starting over"),
            Self::Stop => write!(f, "stopping the job"),
            Self::Coordinator { revision, why } => write!(
                f,
                "the coordinator of revision {revision} does not answer: {why}"
            ),
            Self::CoordinatorAnswer { revision } => write!(
                f,
                "waiting for the coordinator of revision {revision} to answer"
            ),
            Self::Move => write!(f, "the job moves to another number of workers"),
            Self::NextCoordinator => write!(f, "the coordinator is ending; its successor goes on"),
            Self::SpecOfRunning { revision, why } => write!(
                f,
                "revision {revision} runs; whether the spec asks for another is not known yet: {why}"
            ),
            Self::SuspendBeforeStart => write!(f, "spec.suspend was set before the job ran"),
            Self::OtherRevision { revision } | Self::Runs { revision } => {
                write!(f, "revision {revision} runs")
            }
            Self::TakenByItself { to } => write!(f, "revision {to} has taken the job by itself"),
            Self::RestoreFrom => write!(f, "spec.restoreFrom changed"),
            Self::ChangedSpec { next, to } => write!(
                f,
                "the spec changed: preparing revision {next} instead of {to}"
            ),
            Self::GreaterRevision { why, next, to } => {
                write!(f, "{why}: preparing revision {next} instead of {to}")
            }
            Self::ReadyToRun { to } => write!(f, "revision {to} is ready to run"),
            Self::Pods { to } => write!(f, "creating the pods of revision {to}"),
            Self::Preparation { to, why } => write!(f, "revision {to}: {why}"),
            Self::OwnerAnswer { to } => write!(
                f,
                "revision {to} owns the job; waiting for its coordinator to answer"
            ),
            Self::Started { to, from } => write!(f, "revision {to} runs, {from}"),
            Self::Workers { active, target } => write!(f, "from {active} to {target} workers"),
            Self::NoLongerRuns { revision } => {
                write!(f, "revision {revision} does not run any more")
            }
            Self::AllWorkersUp { target } => write!(f, "all {target} workers are up"),
            Self::WorkersUp { up, target } => write!(f, "{up} of {target} workers are up"),
            Self::ChangedBeforeMove => write!(f, "the spec changed before the job moved"),
            Self::RunsOn { target } => write!(f, "the job runs on {target} workers"),
            Self::NextTry { failed } => write!(f, "waiting before the next try{failed}"),
            Self::MoveFailed { why } => write!(f, "the job runs on as before: {why}"),
            Self::MoveTo { target, failed } => {
                write!(f, "the job moves to {target} workers{failed}")
            }
            Self::MoveRefused { why } => write!(f, "the job does not move yet: {why}"),
            Self::SparePods { target } => {
                write!(f, "the job runs on {target} workers; removing the others")
            }
            Self::Snapshot { name, why } => write!(f, "waiting for StreamSnapshot {name}: {why}"),
            Self::SnapshotComplete { name } => {
                write!(f, "waiting for StreamSnapshot {name} to be complete")
            }
            Self::SqlText { why } => write!(f, "waiting for the SQL text: {why}"),
            Self::Restore { folder, to } => {
                write!(f, "going to the snapshot in {folder}, as revision {to}")
            }
            Self::RestoreCancelled { to, why } => {
                write!(f, "the restore as revision {to} was cancelled: {why}")
            }
            Self::Prepared { to, why } => write!(f, "revision {to} is being prepared: {why}"),
            Self::ReadyToRestore { to } => {
                write!(f, "revision {to} is ready to go to the snapshot")
            }
            Self::Restored { to, folder } => {
                write!(f, "revision {to} went on from the snapshot in {folder}")
            }
            Self::RestoredRuns { to, folder } => {
                write!(f, "revision {to} runs, from the snapshot in {folder}")
            }
            Self::OldPods { to } => write!(f, "revision {to} runs; removing the old pods"),
            Self::OldPodsGone { to } => write!(f, "revision {to} runs; the old pods are gone"),
            Self::Rollback {
                failed,
                why,
                source,
                to,
            } => write!(
                f,
                "revision {failed} failed ({why}): going back to what revision {source} ran, as revision {to}"
            ),
            Self::RollbackPods { to, source } => write!(
                f,
                "creating revision {to} with the content of revision {source}"
            ),
            Self::ReadyToTakeOver { to } => write!(f, "revision {to} is ready to take over"),
            Self::RollbackCancelled { why } => write!(f, "the rollback was cancelled: {why}"),
            Self::MissingObjects { revision } => {
                write!(f, "creating missing objects of revision {revision}")
            }
            Self::ToldToRun { to } => write!(f, "revision {to} was told to run"),
            Self::Stopping => write!(f, "the job is being stopped with a savepoint"),
            Self::StateKnown { why } => write!(
                f,
                "waiting to find out whether there is state to go on from: {why}"
            ),
            Self::FirstStart { to } => write!(f, "starting revision {to}"),
            Self::TakeOver { to } => write!(f, "waiting for revision {to} to take over"),
            Self::TakeOverFirst { to } => write!(f, "waiting for revision {to} to take over first"),
            Self::OldAnswer { other, current } => write!(
                f,
                "revision {other} says that it runs although revision {current} took over from it; waiting for it to find out"
            ),
            Self::StatefulSetDeletion { revision } => write!(
                f,
                "the StatefulSet of revision {revision} is being deleted; it is created again after"
            ),
            Self::Resume { to } => write!(f, "going on as revision {to}"),
            Self::Upgrade { what, to, current } => write!(
                f,
                "{what} changed: preparing revision {to} beside revision {current}"
            ),
            Self::Stopped => write!(f, "the job has stopped with everything committed"),
            Self::HasStopped => write!(f, "the job has stopped"),
            Self::NoPodCanRun { why } => write!(
                f,
                "no pod of the job can run it ({why}): its state stays as it is"
            ),
            Self::Owner { why } => write!(f, "waiting to find out who runs the job: {why}"),
            Self::SuspendTakenBack => write!(f, "spec.suspend was taken back: the job runs on"),
            Self::RunsJob { revision } => write!(f, "revision {revision} runs the job"),
            Self::NoSavepoint { revision, why } => write!(
                f,
                "revision {revision} cannot take a savepoint ({why}): the last checkpoint stays the restore point"
            ),
            Self::PodsGone => write!(f, "the pods are gone"),
            Self::PodsRemoved => write!(f, "removing the pods"),
            Self::Released => write!(f, "the state is released; the pods go with the StreamJob"),
            Self::StopAgain { failed, wait } => write!(
                f,
                "the job could not be stopped{failed}; trying again after {wait} s"
            ),
            Self::StopFailed { why } => write!(f, "the job could not be stopped: {why}"),
            Self::LastCheckpoint { revision, failed } => write!(
                f,
                "revision {revision} takes its last checkpoint and commits{failed}"
            ),
            Self::AllInputRead { to } => write!(f, "revision {to} read all input"),
            Self::TakesOver { to } => write!(f, "revision {to} takes over"),
            Self::OtherHasJob { revision, to } => write!(
                f,
                "revision {revision} has the job; waiting for revision {to}"
            ),
            Self::State { to, why } => {
                write!(f, "waiting to find out how revision {to} does: {why}")
            }
            Self::Proved { to } => {
                write!(f, "revision {to} reads input and completed a checkpoint")
            }
            Self::Proof { to, missing } => write!(f, "revision {to} runs; waiting for {missing}"),
            Self::UpgradeCancelled { to, why } => {
                write!(f, "the upgrade to revision {to} was cancelled: {why}")
            }
            Self::HasTakenOver { to } => write!(f, "revision {to} has taken over"),
            Self::PodsBeside { to, from } => write!(
                f,
                "creating revision {to} beside revision {from}, which runs on"
            ),
            Self::FirstPodOnly {
                to,
                from,
                why,
                next,
            } => write!(
                f,
                "there is no room for all pods of revision {to} beside revision {from} ({why}): preparing revision {next} with its first pod only"
            ),
            Self::HandedOver { from, to } => write!(
                f,
                "revision {from} took its savepoint and gave the job to revision {to}"
            ),
            Self::NoHandOver { revision, why, to } => write!(
                f,
                "revision {revision} cannot take a savepoint ({why}): revision {to} goes on from the last checkpoint"
            ),
            Self::CompletedFirst => write!(f, "the job completed before it was handed over"),
            Self::WithoutHandOver { from, to } => write!(
                f,
                "revision {from} does not run any more: revision {to} goes on from the last checkpoint"
            ),
            Self::NextHandOver { to } => write!(
                f,
                "waiting before the next try to hand over to revision {to}"
            ),
            Self::FormerRunsOn { from } => write!(f, "revision {from} runs on"),
            Self::HandOver { from, to } => write!(
                f,
                "revision {from} takes a savepoint and hands over to revision {to}"
            ),
            Self::HandOverRefused { from, why } => {
                write!(f, "revision {from} does not hand over yet: {why}")
            }
            Self::StateRead { to, why } => write!(
                f,
                "revision {to} waits: where the job's state stands could not be read: {why}"
            ),
            Self::StateReadIdle { why } => write!(
                f,
                "nothing runs, and where the job's state stands could not be read: {why}"
            ),
            Self::RunRefused { to, why } => write!(f, "revision {to} cannot run: {why}"),
            Self::Reported(text) => f.write_str(text),
            Self::Again { what, why } => write!(f, "{what} (the last try failed: {why})"),
            Self::Recovery { state, missing } => write!(f, "{state}{missing}"),
        }
    }
}

impl From<WaitingFor> for String {
    fn from(reason: WaitingFor) -> Self {
        reason.to_string()
    }
}

/// What keeps a job from going on by itself, and what a person can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The coordinator failed without a reason.
    CannotGoOn,
    /// The spec is invalid beside a revision that runs.
    SpecBesideRunning { why: String, revision: u64 },
    /// A revision will not become ready.
    NotReady { to: u64, why: String },
    /// The snapshot before a rescale failed.
    RescaleSnapshot { sentence: String },
    /// Workers of a rescale do not come up.
    WorkersMissing { sentence: String },
    /// The job fails while it moves.
    WhileMoving { why: String, target: u32 },
    /// The snapshot of `spec.restoreFrom` does not exist.
    NoSnapshot { name: String },
    /// The snapshot lies in another store than the state.
    SnapshotElsewhere {
        name: String,
        there: String,
        here: String,
    },
    /// The snapshot of `spec.restoreFrom` failed.
    SnapshotFailed { name: String, why: String },
    /// The snapshot of `spec.restoreFrom` is being deleted.
    SnapshotDeleted { name: String },
    /// A revision could not go to the snapshot.
    NotRestored { to: u64, sentence: String },
    /// A revision failed and cannot be rolled back.
    NoRollback {
        failed: u64,
        why: String,
        source: u64,
    },
    /// A revision was rolled back.
    RolledBack {
        failed: u64,
        source: u64,
        why: String,
    },
    /// A rollback does not come up.
    RollbackStuck { to: u64, why: String },
    /// The content of a revision is gone.
    ContentGone { why: String },
    /// Something that may pass is tried again.
    TriedAgain { why: String, deadline: String },
    /// HEAD is missing although the job ran.
    HeadGone { last: String },
    /// Another job runs on the state.
    StateInUse { uid: String },
    /// Another job took the state over.
    StateTaken { uid: String },
    /// Another job left state, and the policy is Fail.
    StateLeft { uid: String },
    /// The storage cannot be read before the first start.
    StorageUnread { why: String },
    /// A revision failed and stays.
    Paused { to: u64, why: String },
    /// A revision was given up.
    GivenUp {
        to: u64,
        sentence: String,
        from: u64,
    },
    /// The savepoint before an upgrade fails again and again.
    SavepointFails {
        times: u32,
        sentence: String,
        from: u64,
    },
    /// The snapshot before an upgrade failed.
    UpgradeSnapshot { sentence: String, from: u64 },
    /// As another part reports it.
    Reported(String),
    /// What the job waits for does not come without help.
    Waits(WaitingFor),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotGoOn => write!(f, "the job cannot go on; read the log of its first pod"),
            Self::SpecBesideRunning { why, revision } => {
                write!(f, "{why}; revision {revision} runs on")
            }
            Self::NotReady { to, why } => write!(f, "revision {to}: {why}"),
            Self::RescaleSnapshot { sentence } => write!(
                f,
                "{sentence} The job runs on as before; delete that StreamSnapshot to try again, or set spec.rescale.strategy to Auto"
            ),
            Self::WorkersMissing { sentence } => write!(
                f,
                "{sentence} The job runs on with the workers it has; lower spec.workers.replicas to cancel"
            ),
            Self::WhileMoving { why, target } => {
                write!(f, "{why} (while the job moves to {target} workers)")
            }
            Self::NoSnapshot { name } => write!(
                f,
                "StreamSnapshot {name} of spec.restoreFrom does not exist in this namespace; create it, or correct the name"
            ),
            Self::SnapshotElsewhere { name, there, here } => write!(
                f,
                "StreamSnapshot {name} of spec.restoreFrom lies in the store {there}, and the state of the job in {here}; copy its folder there and name that in spec.restoreFrom.uri, or choose the same spec.storage.s3.endpoint"
            ),
            Self::SnapshotFailed { name, why } => write!(
                f,
                "StreamSnapshot {name} of spec.restoreFrom has failed: {why}; name another one"
            ),
            Self::SnapshotDeleted { name } => write!(
                f,
                "StreamSnapshot {name} of spec.restoreFrom is being deleted; name another one"
            ),
            Self::NotRestored { to, sentence } => write!(
                f,
                "revision {to} could not go to the snapshot: {sentence} Nothing was changed; correct spec.restoreFrom, or remove it"
            ),
            Self::NoRollback {
                failed,
                why,
                source,
            } => write!(
                f,
                "revision {failed} failed ({why}) and cannot be rolled back: the content of revision {source} is gone; correct the spec"
            ),
            Self::RolledBack {
                failed,
                source,
                why,
            } => write!(
                f,
                "revision {failed} was rolled back to what revision {source} ran: {why}; correct the spec, or set it back"
            ),
            Self::RollbackStuck { to, why } => {
                write!(f, "the rollback as revision {to} does not come up: {why}")
            }
            Self::ContentGone { why } => write!(f, "{why}; correct the spec"),
            Self::TriedAgain { why, deadline } => write!(
                f,
                "{why}; it is tried again for {deadline} (spec.upgrade.progressDeadline)"
            ),
            Self::HeadGone { last } => write!(
                f,
                "HEAD.json of this job is gone from its storage although it ran before{last}; put it back, name a snapshot in spec.restoreFrom, or delete the StreamJob and create it anew to start from nothing"
            ),
            Self::StateInUse { uid } => write!(
                f,
                "the state at this place is in use by the StreamJob with uid {uid}; delete or suspend that one, or choose another spec.storage.s3.uri. If that one is gone and nothing of it runs any more, confirm it with the annotation {TAKE_OVER}: {uid}"
            ),
            Self::StateTaken { uid } => write!(
                f,
                "the state was taken over by the StreamJob with uid {uid}; delete one of the two"
            ),
            Self::StateLeft { uid } => write!(
                f,
                "the StreamJob with uid {uid} left state at this place, and spec.storage.onExistingState is Fail; set it to Resume to go on from there, to Ignore to start from nothing, or choose another spec.storage.s3.uri"
            ),
            Self::StorageUnread { why } => write!(
                f,
                "{why}; nothing is started before the storage can be read"
            ),
            Self::Paused { to, why } => write!(
                f,
                "revision {to} failed after it took over ({why}) and stays, because spec.upgrade.onFailure is Pause; correct the spec, or set it back"
            ),
            Self::GivenUp { to, sentence, from } => write!(
                f,
                "revision {to} was given up: {sentence} Revision {from} was not touched"
            ),
            Self::SavepointFails {
                times,
                sentence,
                from,
            } => write!(
                f,
                "the savepoint before the upgrade failed {times} times: {sentence} Revision {from} runs on, and it is tried again; change the spec back to cancel"
            ),
            Self::UpgradeSnapshot { sentence, from } => write!(
                f,
                "{sentence} Revision {from} runs on; delete that StreamSnapshot to try again, or set spec.snapshots.onUpgrade to Skip"
            ),
            Self::Reported(text) => f.write_str(text),
            Self::Waits(what) => write!(f, "{what}"),
        }
    }
}

impl From<Problem> for String {
    fn from(reason: Problem) -> Self {
        reason.to_string()
    }
}

/// Why nothing is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// A revision runs.
    Runs { revision: u64 },
    /// A revision runs, and its SQL text cannot be read.
    RunsSqlUnread { revision: u64, why: String },
    /// All input was read.
    InputRead,
    /// All input was read, and the job has ended.
    Done,
    /// Suspended with state.
    SuspendedAt { checkpoint: u64 },
    /// Suspended without state.
    SuspendedEmpty,
    /// All input was read; the object is deleted later.
    DoneUntil { ttl: String },
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs { revision } => write!(f, "revision {revision} runs"),
            Self::RunsSqlUnread { revision, why } => write!(
                f,
                "revision {revision} runs; whether its SQL text changed since is not known: {why}"
            ),
            Self::InputRead => write!(f, "all input was read and its output committed"),
            Self::Done => write!(
                f,
                "all input was read and its output committed; create a new StreamJob to run it again"
            ),
            Self::SuspendedAt { checkpoint } => {
                write!(f, "suspended; its state is kept at checkpoint {checkpoint}")
            }
            Self::SuspendedEmpty => write!(f, "suspended before it had any state"),
            Self::DoneUntil { ttl } => write!(
                f,
                "{}. It is deleted {ttl} after its completion",
                Self::Done
            ),
        }
    }
}

impl From<Settled> for String {
    fn from(reason: Settled) -> Self {
        reason.to_string()
    }
}
