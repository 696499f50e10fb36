//! Classes of what is seen of HEAD and of the two revisions.

use std::sync::LazyLock;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_protocol::{
    head::{Head, LastCheckpoint, RunState},
    job_api::{
        CheckpointFailures, JobError, JobPhase, Preflight, PreflightVerdict, Report, WorkerReport,
    },
};

use crate::{
    Fact, PodFacts, RevisionFacts, RevisionRecord, StatefulSetFacts, Terminated, Waiting,
    tests::grid::cases::{NEW, OLD, RECORDS, UID, WORKERS},
};

pub(super) static NOW: LazyLock<Timestamp> =
    LazyLock::new(|| Timestamp::from_second(1_772_366_400).unwrap());

/// What is read where HEAD should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum HeadClass {
    #[default]
    Unknown,
    Denied,
    /// The operator does not look there, and no pod tells.
    NotLooked,
    Missing,
    Ours(RunState, u64),
    Foreign(RunState),
}

pub(super) fn heads() -> Vec<HeadClass> {
    let mut all = vec![
        HeadClass::Unknown,
        HeadClass::Denied,
        HeadClass::NotLooked,
        HeadClass::Missing,
        HeadClass::Foreign(RunState::Running),
        HeadClass::Foreign(RunState::Released),
        HeadClass::Ours(RunState::HandingOver { to: NEW }, OLD),
    ];
    for state in [
        RunState::Running,
        RunState::Stopped,
        RunState::Completed,
        RunState::Released,
    ] {
        all.extend([OLD, NEW].map(|revision| HeadClass::Ours(state, revision)));
    }
    all
}

impl HeadClass {
    pub(super) fn is_known_to_be_missing(self) -> bool {
        self == Self::Missing
    }

    pub(super) fn is_run_by(self, revision: u64) -> bool {
        self == Self::Ours(RunState::Running, revision)
    }

    /// The record that was read.
    pub(super) fn record(self) -> Option<Head> {
        let (state, revision, uid) = match self {
            Self::Unknown | Self::Denied | Self::NotLooked | Self::Missing => return None,
            Self::Ours(state, revision) => (state, revision, UID),
            Self::Foreign(state) => (state, OLD, "another-uid"),
        };
        Some(Head {
            v: 1,
            min_reader: 1,
            seq: 9,
            nonce: "nonce".to_owned(),
            lineage: "lineage".to_owned(),
            job_uid: uid.to_owned(),
            revision,
            attempt: revision,
            token: "token".to_owned(),
            pod: String::new(),
            displaced: Vec::new(),
            state,
            plan_hash: "plan".to_owned(),
            max_parallelism: 128,
            workers: WORKERS,
            next_checkpoint: 6,
            last: Some(LastCheckpoint {
                checkpoint: 5,
                manifest: "chk/5/manifest".to_owned(),
                needs_commit: true,
                committed: true,
                completed_ms: NOW.as_millisecond() - 3000,
                written_bytes: 1,
                total_bytes: 1,
                duration_ms: 1,
            }),
            retained: Vec::new(),
            left: None,
            savepoints: Vec::new(),
            operations: Vec::new(),
        })
    }

    pub(super) fn fact(self) -> Fact<Option<Head>> {
        match self {
            Self::Unknown => Fact::unknown("reading HEAD: no answer"),
            Self::Denied => Fact::denied("reading HEAD of s3://streams/prod: AccessDenied"),
            Self::NotLooked => Fact::unknown("no pod of the job answers"),
            Self::Missing => Fact::Known(None),
            Self::Ours(..) | Self::Foreign(_) => Fact::Known(self.record()),
        }
    }
}

/// What is seen of the old revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CurrentRevision {
    #[default]
    Running,
    Gone,
    Deaf,
    CrashLoops,
    Waits,
    BacksOff,
    Stopped,
    Completed,
    Failed,
    /// HEAD says that it runs, but it finds that it cannot go on.
    Barred,
    /// It started and cannot reach the store.
    Outside,
    /// Runs as before, with pods for one more.
    Grown,
    /// Runs on one more.
    Moved,
    /// Runs on one less, its pods still there.
    Lowered,
    /// Its StatefulSet was scaled down by hand.
    Short,
    /// Its coordinator crashed once and does not answer.
    Flaps,
    /// It runs on a node that is lost.
    NodeLost,
    /// It is about to move to one more.
    Rescales,
    /// It moved to one more and restores there.
    Arrives,
    /// Nothing is left of it, not even its content.
    Forgotten,
}

pub(super) const OLD_CLASSES: [CurrentRevision; 20] = [
    CurrentRevision::Running,
    CurrentRevision::Gone,
    CurrentRevision::Deaf,
    CurrentRevision::CrashLoops,
    CurrentRevision::Waits,
    CurrentRevision::BacksOff,
    CurrentRevision::Stopped,
    CurrentRevision::Completed,
    CurrentRevision::Failed,
    CurrentRevision::Barred,
    CurrentRevision::Outside,
    CurrentRevision::Grown,
    CurrentRevision::Moved,
    CurrentRevision::Lowered,
    CurrentRevision::Short,
    CurrentRevision::Flaps,
    CurrentRevision::NodeLost,
    CurrentRevision::Rescales,
    CurrentRevision::Arrives,
    CurrentRevision::Forgotten,
];

impl CurrentRevision {
    /// Whether its coordinator says that it has the job.
    pub(super) fn leads(self) -> bool {
        self.seen().is_some_and(|(phase, _)| {
            !matches!(
                phase,
                JobPhase::Stopped | JobPhase::Failed | JobPhase::Standby
            )
        })
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(self) -> bool {
        matches!(self, Self::Gone | Self::Forgotten)
    }

    /// Phase and workers in its report.
    pub(super) fn seen(self) -> Option<(JobPhase, u32)> {
        match self {
            Self::Gone
            | Self::Forgotten
            | Self::Deaf
            | Self::CrashLoops
            | Self::Flaps
            | Self::NodeLost => None,
            Self::Rescales => Some((JobPhase::Rescaling, WORKERS)),
            Self::Arrives => Some((JobPhase::Restoring, WORKERS + 1)),
            Self::Running | Self::Grown => Some((JobPhase::Running, WORKERS)),
            Self::Waits | Self::Short => Some((JobPhase::WaitingForWorkers, WORKERS)),
            Self::BacksOff => Some((JobPhase::BackingOff, WORKERS)),
            Self::Stopped => Some((JobPhase::Stopped, WORKERS)),
            Self::Completed => Some((JobPhase::Completed, WORKERS)),
            Self::Failed => Some((JobPhase::Failed, WORKERS)),
            Self::Barred | Self::Outside => Some((JobPhase::Standby, WORKERS)),
            Self::Moved => Some((JobPhase::Running, WORKERS + 1)),
            Self::Lowered => Some((JobPhase::Running, WORKERS - 1)),
        }
    }

    /// What is seen of it; its node, if it is lost, is so since then.
    pub(super) fn facts(self, since: Timestamp) -> RevisionFacts {
        if self.is_gone() {
            return RevisionFacts {
                record: (self == Self::Gone).then(|| RECORDS[0].clone()),
                ..RevisionFacts::default()
            };
        }
        let mut facts = standing(&RECORDS[0], OLD, self.pods());
        if matches!(self, Self::CrashLoops | Self::Flaps) {
            facts.pods[0].waiting = Some(waiting("CrashLoopBackOff"));
            facts.pods[0].restarts = if self == Self::Flaps { 1 } else { 5 };
        }
        if self == Self::NodeLost {
            facts.pods[0].node_lost_since = Some(since);
        }
        if let Some((phase, workers)) = self.seen() {
            let mut report = report(OLD, phase, workers);
            if let Some((reason, message)) = self.error() {
                report.error = Some(JobError {
                    reason: reason.to_owned(),
                    message: message.to_owned(),
                });
            }
            facts.report = Fact::Known(report);
        }
        facts
    }

    /// How many pods it has.
    pub(super) fn pods(self) -> u32 {
        match self {
            Self::Grown | Self::Moved | Self::Rescales | Self::Arrives => WORKERS + 1,
            Self::Short => WORKERS - 1,
            Self::Gone | Self::Forgotten => 0,
            Self::Running
            | Self::Deaf
            | Self::CrashLoops
            | Self::Flaps
            | Self::NodeLost
            | Self::Waits
            | Self::BacksOff
            | Self::Stopped
            | Self::Completed
            | Self::Failed
            | Self::Barred
            | Self::Outside
            | Self::Lowered => WORKERS,
        }
    }

    /// What it says while it stands outside.
    fn error(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Barred => Some(("StateIncompatible", "the key of a window changed")),
            Self::Outside => Some(("StorageUnreachable", "reading HEAD: no answer")),
            Self::Running
            | Self::Gone
            | Self::Deaf
            | Self::CrashLoops
            | Self::Waits
            | Self::BacksOff
            | Self::Stopped
            | Self::Completed
            | Self::Failed
            | Self::Grown
            | Self::Moved
            | Self::Lowered
            | Self::Short
            | Self::Flaps
            | Self::NodeLost
            | Self::Rescales
            | Self::Arrives
            | Self::Forgotten => None,
        }
    }
}

/// What is seen of the new revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NewRevision {
    #[default]
    Gone,
    /// Its StatefulSet was refused.
    Refused,
    Starting,
    NoImage,
    InvalidSql,
    Ready,
    /// It has the job.
    Leads,
    /// It has the job, completed a checkpoint and read input.
    Proved,
    /// It had the job and cannot go on.
    Failed,
    /// It stands by, and is what is asked for.
    OtherContent,
    /// It has the job and completed a checkpoint; nothing came in.
    Silent,
    /// What answers at its address is another revision.
    Mistaken,
    /// What answers at its address belongs to another job.
    Stranger,
}

pub(super) const NEW_CLASSES: [NewRevision; 13] = [
    NewRevision::Gone,
    NewRevision::Refused,
    NewRevision::Starting,
    NewRevision::NoImage,
    NewRevision::InvalidSql,
    NewRevision::Ready,
    NewRevision::Leads,
    NewRevision::Proved,
    NewRevision::Failed,
    NewRevision::OtherContent,
    NewRevision::Silent,
    NewRevision::Mistaken,
    NewRevision::Stranger,
];

impl NewRevision {
    /// Whether its coordinator says that it has the job.
    pub(super) fn leads(self) -> bool {
        matches!(self, Self::Leads | Self::Proved | Self::Silent)
    }

    /// Whether its own preflight found that it fits.
    pub(super) fn fits(self) -> bool {
        matches!(
            self,
            Self::Ready
                | Self::Leads
                | Self::Proved
                | Self::Silent
                | Self::Failed
                | Self::OtherContent
        )
    }

    pub(super) fn has_pods(self) -> bool {
        !matches!(self, Self::Gone | Self::Refused)
    }

    pub(super) fn facts(self) -> Option<RevisionFacts> {
        let mut facts = standing(&RECORDS[1], NEW, WORKERS);
        let verdict = match self {
            Self::Gone => return None,
            Self::Refused => {
                facts.stateful_set = None;
                facts.pods.clear();
                return Some(facts);
            }
            Self::Starting => {
                facts.pods[0].ready = false;
                return Some(facts);
            }
            Self::NoImage => {
                facts.pods[0].ready = false;
                facts.pods[0].waiting = Some(waiting("ImagePullBackOff"));
                return Some(facts);
            }
            Self::InvalidSql => PreflightVerdict::InvalidSql,
            Self::OtherContent => {
                facts.record = Some(RECORDS[0].clone());
                PreflightVerdict::Compatible
            }
            Self::Ready
            | Self::Leads
            | Self::Proved
            | Self::Silent
            | Self::Failed
            | Self::Mistaken => PreflightVerdict::Compatible,
            Self::Stranger => PreflightVerdict::Pending,
        };
        let answers = if self == Self::Mistaken { NEW + 7 } else { NEW };
        facts.preflight = Fact::Known(Preflight {
            verdict,
            revision: answers,
            message: "line 1, column 8: what the check found".to_owned(),
            checked_against: Some(5),
            from: None,
            states: Vec::new(),
            checked_bytes: None,
        });
        let phase = match self {
            Self::Leads | Self::Proved | Self::Silent | Self::Mistaken | Self::Stranger => {
                JobPhase::Running
            }
            Self::Failed => JobPhase::Failed,
            Self::Gone
            | Self::Refused
            | Self::Starting
            | Self::NoImage
            | Self::InvalidSql
            | Self::Ready
            | Self::OtherContent => JobPhase::Standby,
        };
        let mut report = report(answers, phase, WORKERS);
        if matches!(self, Self::Proved | Self::Silent) {
            report.checkpoints_in_attempt = 1;
        }
        if self == Self::Proved {
            report.records_in_attempt = 100;
        }
        if self == Self::Stranger {
            "another-uid".clone_into(&mut report.job_uid);
        }
        facts.report = Fact::Known(report);
        Some(facts)
    }
}

fn report(revision: u64, phase: JobPhase, workers: u32) -> Report {
    let leads = !matches!(phase, JobPhase::Standby | JobPhase::Stopped);
    let error = (phase == JobPhase::Failed).then(|| JobError {
        reason: "RestoreFailed".to_owned(),
        message: "checkpoint 5 cannot be read: chk/5/data is missing".to_owned(),
    });
    Report {
        job_uid: UID.to_owned(),
        revision,
        attempt: leads.then_some(revision),
        phase,
        parallelism: workers,
        workers: (0..workers)
            .map(|index| WorkerReport {
                index,
                registered: true,
                memory_bytes: 1,
            })
            .collect(),
        last_checkpoint: None,
        checkpoint_failures: CheckpointFailures::default(),
        restored_from: Some(5),
        restarts: 0,
        last_failure: None,
        pauses: Vec::new(),
        records_in: 1,
        records_out: 1,
        records_in_attempt: 0,
        checkpoints_in_attempt: 0,
        error,
        plan_hash: None,
        version: "0.1.0".to_owned(),
    }
}

fn waiting(reason: &str) -> Waiting {
    Waiting {
        reason: reason.to_owned(),
        message: "back-off".to_owned(),
    }
}

/// A revision with all its objects and pods.
fn standing(record: &RevisionRecord, revision: u64, pods: u32) -> RevisionFacts {
    RevisionFacts {
        record: Some(record.clone()),
        stateful_set: Some(StatefulSetFacts {
            replicas: pods,
            deleting: false,
        }),
        service: true,
        config_map: true,
        pods: (0..pods)
            .map(|ordinal| PodFacts {
                name: format!("delays-r{revision}-{ordinal}"),
                uid: format!("pod-{revision}-{ordinal}"),
                ordinal,
                ready: true,
                terminated: (ordinal == 0).then(|| Terminated {
                    reason: "Error".to_owned(),
                    exit_code: 1,
                    message: "panicked".to_owned(),
                    at: None,
                }),
                ..PodFacts::default()
            })
            .collect(),
        ..RevisionFacts::default()
    }
}
