//! Between the few bytes of the model and what `plan` and `claim` take and give.

mod observed;

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::json;
use streamkeeper_protocol::{
    head::{Head, LastCheckpoint, OperationRecord, OperationResult},
    job_api::PromoteFrom,
};

use self::observed::observed;

pub(super) use self::observed::outcome;
use crate::{
    Action, JobCall, RevisionRecord, Settings,
    decide::plan,
    plan::input::Input,
    tests::model::world::{
        Act, CONTENTS, Call, Job, Key, Kind, Origin, Outcome, PODS, REVISIONS, Record, Revision,
        Role, Said, Spec, Stands, Status, Underway, small,
    },
};
use streamkeeper_api::{
    condition::{self, Truth, kind},
    names::FINALIZER,
    v1alpha1::{
        CheckpointStatus, Rejected, RevisionStatus, S3, StreamJob, StreamJobStatus, Transition,
    },
};

pub(super) const UID: &str = "6a1f0c1e-0000-4000-8000-000000000001";
/// The id of a transition that this pass begins; the world gives it a number.
pub(super) const NEW: u8 = u8::MAX;

static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_second(1_772_366_400).unwrap());
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    storage: Some(S3 {
        uri: "s3://streams/prod".to_owned(),
        region: None,
        endpoint: None,
        ..S3::default()
    }),
    ..Settings::default()
});
static RECORDS: LazyLock<Vec<RevisionRecord>> = LazyLock::new(|| {
    (0..CONTENTS)
        .map(|content| {
            let spec = Spec {
                content,
                workers: 1,
                suspended: false,
            };
            RevisionRecord::of(&bare(spec), SQL, &SETTINGS, None).unwrap()
        })
        .collect()
});
static HASHES: LazyLock<Vec<String>> =
    LazyLock::new(|| RECORDS.iter().map(|record| record.content.hash()).collect());
static JOBS: LazyLock<BTreeMap<(u8, u8, bool), StreamJob>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    for content in 0..CONTENTS {
        for workers in 1..=small(PODS as u64) {
            for suspended in [false, true] {
                let spec = Spec {
                    content,
                    workers,
                    suspended,
                };
                all.insert((content, workers, suspended), bare(spec));
            }
        }
    }
    all
});
/// The words of keys behind the name of their transition.
static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const SQL: &str = "SELECT 1";

fn bare(spec: Spec) -> StreamJob {
    serde_json::from_value(json!({
        "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
        "metadata": { "name": "delays", "namespace": "flights", "uid": UID, "generation": 1 },
        "spec": {
            "sql": { "text": SQL }, "image": format!("runtime:{}", spec.content), "maxParallelism": 128,
            "workers": { "replicas": spec.workers }, "suspend": spec.suspended,
        },
    }))
    .unwrap()
}

fn ago(late: bool) -> Time {
    let by = if late {
        Duration::from_hours(24)
    } else {
        Duration::from_secs(2)
    };
    Time(Timestamp::from_second((*NOW - by).as_second()).unwrap())
}

fn is_late(time: &Time) -> bool {
    NOW.as_second() - time.0.as_second() > 3600
}

fn number(revision: u8) -> Option<u64> {
    (revision > 0).then_some(revision.into())
}

/// A key in words.
pub(super) fn word(key: Key) -> String {
    let words = WORDS.lock().unwrap();
    format!("k{}-{}", key.transition, words[usize::from(key.rest)])
}

fn key(text: &str) -> Key {
    // Keys of this model are `k7-...`; one that a plan made up is `6a1f0c1e-1772366400000-...`.
    let (transition, rest) = match text.strip_prefix('k').and_then(|rest| rest.split_once('-')) {
        Some((number, rest)) => (number.parse().unwrap(), rest),
        None => (NEW, text.splitn(3, '-').nth(2).unwrap_or_default()),
    };
    let mut words = WORDS.lock().unwrap();
    let at = words.iter().position(|known| known == rest);
    let at = at.unwrap_or_else(|| {
        words.push(rest.to_owned());
        words.len() - 1
    });
    Key {
        transition,
        rest: u16::try_from(at).unwrap(),
    }
}

/// What the operator sees of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Answer {
    pub(super) role: Role,
    pub(super) attempt: u8,
    pub(super) workers: u8,
    pub(super) saved: bool,
    pub(super) compiles: bool,
    pub(super) operation: Option<(Key, Outcome)>,
}

/// Everything that a pass depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sight {
    pub(super) job: Job,
    pub(super) revisions: [Revision; REVISIONS],
    pub(super) answers: [Option<Answer>; REVISIONS],
    /// None: it cannot be read.
    #[expect(
        clippy::option_option,
        reason = "not read, and read that there is none"
    )]
    pub(super) head: Option<Option<Record>>,
    /// Whether it is what pods tell: the operator does not look.
    pub(super) told: bool,
    pub(super) refusal: Option<(Key, bool)>,
}

/// What a pass comes to.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    pub(super) status: Status,
    pub(super) acts: Vec<Act>,
    pub(super) why: String,
}

/// A pass of the real `plan` over the answers to the real `required_reads`.
pub(super) fn pass(sight: &Sight) -> Passed {
    let job = job(&sight.job);
    let observed = observed(&job, sight);
    let planned = plan(&Input {
        job: &job,
        observed: &observed,
        settings: &SETTINGS,
        now: *NOW,
    });
    Passed {
        status: status_of(&planned.status),
        acts: planned.actions.iter().map(act_of).collect(),
        why: planned.why,
    }
}

fn job(job: &Job) -> StreamJob {
    let spec = (job.spec.content, job.spec.workers, job.spec.suspended);
    let mut real = JOBS[&spec].clone();
    if job.finalizer {
        real.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    }
    if job.deleting {
        real.metadata.deletion_timestamp = Some(ago(false));
    }
    real.status = Some(status(&job.status));
    real
}

fn status(status: &Status) -> StreamJobStatus {
    let mut real = StreamJobStatus {
        transition: status.transition.map(transition),
        revision: (status.latest > 0).then(|| RevisionStatus {
            current: number(status.current),
            target: None,
            latest: status.latest.into(),
            summary: String::new(),
        }),
        last_checkpoint: status.checkpoint.then(|| CheckpointStatus {
            id: 5,
            completion_time: ago(false),
            duration: None,
            size: None,
            uri: None,
        }),
        rejected: status.rejected.map(|content| Rejected {
            hash: HASHES[usize::from(content)].clone(),
            revision: 1,
            reason: "UpgradeRolledBack".to_owned(),
            message: "it was rolled back; correct the spec".to_owned(),
        }),
        ..StreamJobStatus::default()
    };
    let (truth, reason) = match status.said {
        Said::Nothing => return real,
        Said::Running => (Truth::True, "Running"),
        Said::Suspended => (Truth::True, "Suspended"),
        Said::Completed => (Truth::True, "Completed"),
        Said::Reconciling | Said::Stalled => (Truth::False, "Unready"),
    };
    let mut set = |kind, truth| {
        let now = ago(false).0;
        condition::set(&mut real.conditions, kind, truth, reason, "", Some(1), now);
    };
    set(kind::READY, truth);
    if status.said == Said::Stalled {
        set(kind::STALLED, Truth::True);
    }
    real
}

fn transition(known: Underway) -> Transition {
    Transition {
        kind: known.kind,
        key: format!("k{}", known.id),
        from: number(known.from),
        to: number(known.to),
        workers: (known.workers > 0).then_some(known.workers.into()),
        step: known.step,
        since: ago(known.late),
        step_since: ago(known.step_late),
        checked: None,
        retries: known.retries.into(),
        last_error: (known.retries > 0).then(|| "the store did not answer".to_owned()),
        restores: None,
        standby: None,
    }
}

fn status_of(real: &StreamJobStatus) -> Status {
    let said =
        condition::get(&real.conditions, kind::READY).map_or(Said::Nothing, |ready| {
            match (ready.status.as_str(), ready.reason.as_str()) {
                ("True", "Running") => Said::Running,
                ("True", "Suspended") => Said::Suspended,
                ("True", _) => Said::Completed,
                _ if condition::is_true(&real.conditions, kind::STALLED) => Said::Stalled,
                _ => Said::Reconciling,
            }
        });
    Status {
        transition: real.transition.as_ref().map(|known| Underway {
            kind: known.kind,
            step: known.step,
            id: key(&format!("{}-", known.key)).transition,
            from: known.from.map_or(0, small),
            to: known.to.map_or(0, small),
            workers: known.workers.map_or(0, |workers| small(workers.into())),
            retries: small(known.retries.into()),
            late: is_late(&known.since),
            step_late: is_late(&known.step_since),
        }),
        current: real
            .revision
            .as_ref()
            .and_then(|known| known.current)
            .map_or(0, small),
        latest: real
            .revision
            .as_ref()
            .map_or(0, |known| small(known.latest)),
        checkpoint: real.last_checkpoint.is_some(),
        rejected: real
            .rejected
            .as_ref()
            .map(|rejected| content_of_hash(&rejected.hash)),
        said,
    }
}

fn content_of_hash(hash: &str) -> u8 {
    small(HASHES.iter().position(|known| known == hash).unwrap() as u64)
}

fn content_of(record: &RevisionRecord) -> u8 {
    small(RECORDS.iter().position(|known| known == record).unwrap() as u64)
}

fn act_of(action: &Action) -> Act {
    match action {
        Action::AddFinalizer => Act::AddFinalizer,
        Action::RemoveFinalizer => Act::RemoveFinalizer,
        Action::ApplyRevision {
            revision,
            record,
            replicas,
            ..
        } => Act::Apply {
            revision: small(*revision),
            content: content_of(record),
            workers: small((*replicas).into()),
        },
        Action::ScaleRevision { revision, replicas } => Act::Scale {
            revision: small(*revision),
            workers: small((*replicas).into()),
        },
        Action::DeleteRevision { revision } => Act::Delete {
            revision: small(*revision),
        },
        Action::ForgetRevision { revision } => Act::Forget {
            revision: small(*revision),
        },
        Action::ForceDeletePod { name, .. } => {
            let (rest, pod) = name.rsplit_once('-').unwrap();
            Act::Force {
                revision: rest.rsplit_once('r').unwrap().1.parse().unwrap(),
                pod: pod.parse().unwrap(),
            }
        }
        Action::CreateSnapshot { .. }
        | Action::DeleteSnapshot { .. }
        | Action::ApplyNetworkPolicy
        | Action::DeleteNetworkPolicy
        | Action::ApplyBudget { .. }
        | Action::DeleteBudget { .. }
        | Action::DeleteJob => {
            panic!("nothing in this model asks for {action:?}")
        }
        Action::Call { revision, call } => Act::Call {
            revision: small(*revision),
            key: key(call.key()),
            call: match call {
                JobCall::Promote(request) => Call::Promote {
                    from: match &request.from {
                        PromoteFrom::Empty => Origin::Empty,
                        PromoteFrom::Head => Origin::Head,
                        PromoteFrom::TakeOver => Origin::TakeOver,
                        other => panic!("this model knows no start from {other:?}"),
                    },
                    workers: small(request.workers.unwrap_or(1).into()),
                },
                JobCall::Savepoint(_) => panic!("nothing in this model asks for {action:?}"),
                JobCall::HandOver(request) => Call::HandOver {
                    to: small(request.to_revision),
                },
                JobCall::Stop(request) => Call::Stop {
                    release: request.release,
                },
                JobCall::Rescale(request) => Call::Rescale {
                    workers: small(request.workers.into()),
                },
            },
        },
    }
}

/// HEAD as the real rules take it.
pub(super) fn head(record: &Record) -> Head {
    let checkpoint = if record.saved { 5 } else { 0 };
    Head {
        v: 1,
        min_reader: 1,
        seq: 1,
        nonce: "n".to_owned(),
        lineage: "l".to_owned(),
        job_uid: UID.to_owned(),
        revision: record.revision.into(),
        attempt: record.attempt.into(),
        token: format!("t{}", record.attempt),
        pod: String::new(),
        displaced: Vec::new(),
        state: record.state.state(),
        plan_hash: "plan".to_owned(),
        max_parallelism: 128,
        workers: record.workers.into(),
        next_checkpoint: checkpoint + 1,
        last: record.saved.then(|| last_checkpoint(checkpoint)),
        retained: Vec::new(),
        left: None,
        savepoints: Vec::new(),
        operations: record
            .operations
            .iter()
            .flatten()
            .map(|(key, kind, result)| OperationRecord {
                key: word(*key),
                kind: kind.kind(),
                result: outcome(*result),
                release: false,
            })
            .collect(),
    }
}

pub(super) fn last_checkpoint(checkpoint: u64) -> LastCheckpoint {
    LastCheckpoint {
        checkpoint,
        manifest: format!("chk/{checkpoint}/manifest"),
        needs_commit: true,
        committed: true,
        completed_ms: ago(false).0.as_millisecond(),
        written_bytes: 1,
        total_bytes: 1,
        duration_ms: 1,
    }
}

/// And back.
pub(super) fn record(head: &Head) -> Record {
    let mut operations = [None; crate::tests::model::world::REMEMBERED];
    for (slot, known) in operations.iter_mut().zip(&head.operations) {
        let result = match known.result {
            OperationResult::Running => Outcome::Running,
            OperationResult::Done { .. } => Outcome::Done,
            OperationResult::Failed { .. } => Outcome::Failed,
        };
        *slot = Some((key(&known.key), Kind::of(known.kind), result));
    }
    Record {
        revision: small(head.revision),
        attempt: small(head.attempt),
        state: Stands::of(head.state),
        workers: small(head.workers.into()),
        saved: head.last.is_some(),
        operations,
    }
}

/// An effect in words, for traces.
pub(super) fn say(act: Act) -> String {
    match act {
        Act::Call {
            revision,
            key,
            call,
        } => format!("call revision {revision}: {call:?}, key {}", word(key)),
        other => format!("{other:?}"),
    }
}
