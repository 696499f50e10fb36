//! The cases: what a status says, what is seen of two revisions and of HEAD, what the spec asks
//! for.
//!
//! The job ran as revision [`OLD`]; [`NEW`] is the one on its way in transitions that have one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Value, json};
use streamkeeper_api::{
    names::FINALIZER,
    v1alpha1::{
        CheckpointStatus, RevisionStatus, S3, Step, StreamJob, StreamJobStatus, Transition,
        TransitionKind,
    },
};
use streamkeeper_protocol::{
    head::{OperationKind, OperationResult},
    job_api::Operation,
};

use crate::{
    Fact, Observed, Plan, Refusal, RevisionFacts, RevisionRecord, Settings, Unapplied,
    decide::plan,
    plan::{input::Input, plan_builder::call_key, required_reads::required_reads},
    tests::grid::facts::{
        CurrentRevision, HeadClass, NEW_CLASSES, NOW, NewRevision, OLD_CLASSES, heads,
    },
    transitions::edges::{EDGES, Position},
};

/// The revision that runs, or ran.
pub(super) const OLD: u64 = 1;
/// The revision on its way.
pub(super) const NEW: u64 = 2;
/// Uid of the StreamJob.
pub(super) const UID: &str = "6a1f0c1e-0000-4000-8000-000000000001";
/// Generation of its spec.
pub(super) const GENERATION: i64 = 7;
/// Workers that the spec asked for when the old revision started.
pub(super) const WORKERS: u32 = 2;

/// What the spec asks for, against what the old revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Asked {
    #[default]
    Same,
    Upgrade,
    Another,
    Impossible,
    More,
    Fewer,
    Suspended,
    NoSqlYet,
    NoSql,
    Restore,
}

const ASKED: [Asked; 10] = [
    Asked::Same,
    Asked::Upgrade,
    Asked::Another,
    Asked::Impossible,
    Asked::More,
    Asked::Fewer,
    Asked::Suspended,
    Asked::NoSqlYet,
    Asked::NoSql,
    Asked::Restore,
];
/// Folder of the snapshot that is asked for.
const FOLDER: &str = "s3://streams/prod/savepoints/monday";

/// What a coordinator says about the call that a transition makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Called {
    #[default]
    Unknown,
    NotYet,
    Failed,
    Refused,
}

/// A case. The default is a job that runs as asked, with HEAD not read.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a circumstance of its own"
)]
pub(super) struct Case {
    pub(super) position: Position,
    pub(super) head: HeadClass,
    pub(super) old: CurrentRevision,
    pub(super) new: NewRevision,
    pub(super) asked: Asked,
    pub(super) called: Called,
    /// Calls that failed before.
    pub(super) retries: u32,
    /// Whether every deadline is over.
    pub(super) late: bool,
    pub(super) deleting: bool,
    /// Whether nothing ever ran.
    pub(super) fresh: bool,
    /// Whether the finalizer is not there.
    pub(super) loose: bool,
    /// Whether the status says that the new revision has the job.
    pub(super) moved: bool,
    /// Whether contents of many more revisions are kept.
    pub(super) crowded: bool,
}

/// Revisions whose content is kept in crowded cases.
pub(super) const CROWD: std::ops::RangeInclusive<u64> = 11..=24;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    storage: Some(S3 {
        uri: "s3://streams/prod".to_owned(),
        region: None,
        endpoint: None,
        ..S3::default()
    }),
    ..Settings::default()
});
/// Contents of the old and the new revision.
pub(super) static RECORDS: LazyLock<[RevisionRecord; 2]> = LazyLock::new(|| {
    [Asked::Same, Asked::Upgrade]
        .map(|asked| RevisionRecord::of(&spec(asked), "SELECT 1", &SETTINGS, None).unwrap())
});
static JOBS: LazyLock<Vec<StreamJob>> = LazyLock::new(|| ASKED.map(spec).to_vec());

/// A job that asks for this.
fn spec(asked: Asked) -> StreamJob {
    let mut spec = json!({
        "sql": {"text": "SELECT 1"}, "image": "runtime:1", "maxParallelism": 128,
        "workers": {"replicas": WORKERS}, "suspend": asked == Asked::Suspended,
    });
    let (field, value) = match asked {
        Asked::Same | Asked::Suspended | Asked::NoSqlYet | Asked::NoSql => {
            ("engine", "Native".into())
        }
        Asked::Restore => ("restoreFrom", json!({ "uri": FOLDER })),
        Asked::Upgrade => ("image", "runtime:2".into()),
        Asked::Another => ("image", "runtime:3".into()),
        Asked::Impossible => ("maxParallelism", 256.into()),
        Asked::More => ("workers", json!({"replicas": WORKERS + 1})),
        Asked::Fewer => ("workers", json!({"replicas": WORKERS - 1})),
    };
    let value: Value = value;
    spec[field] = value;
    serde_json::from_value(json!({
        "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
        "metadata": {
            "name": "delays", "namespace": "flights", "uid": UID, "generation": GENERATION, "finalizers": [FINALIZER],
        },
        "spec": spec,
    }))
    .unwrap()
}

fn ago(by: Duration) -> Time {
    let then = *NOW - by;
    Time(Timestamp::from_second(then.as_second()).unwrap())
}

/// All places, the one without a transition included.
pub(super) fn positions() -> BTreeSet<Position> {
    EDGES.iter().flat_map(|(from, to)| [*from, *to]).collect()
}

/// Steps that their transitions do not have.
pub(super) fn impossible_places() -> Vec<(TransitionKind, Step)> {
    use TransitionKind::{Delete, Deploy, Rescale, Restore, Resume, Rollback, Suspend, Upgrade};
    let steps: BTreeSet<Step> = positions()
        .iter()
        .flatten()
        .map(|(_, step)| *step)
        .collect();
    let kinds = [
        Deploy, Upgrade, Rescale, Suspend, Resume, Restore, Rollback, Delete,
    ];
    kinds
        .into_iter()
        .flat_map(|kind| steps.iter().map(move |step| (kind, *step)))
        .filter(|position| !positions().contains(&Some(*position)))
        .collect()
}

impl Case {
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Workers that a rescale moves to.
    pub(super) fn target(&self) -> u32 {
        if self.asked == Asked::Fewer {
            WORKERS - 1
        } else {
            WORKERS + 1
        }
    }

    /// When everything began.
    fn since(&self) -> Time {
        ago(if self.late {
            Duration::from_hours(24)
        } else {
            Duration::from_secs(2)
        })
    }

    fn transition(&self) -> Option<Transition> {
        let (kind, step) = self.position?;
        let (from, to) = match kind {
            TransitionKind::Deploy => (None, Some(NEW)),
            TransitionKind::Rescale | TransitionKind::Suspend => (Some(OLD), Some(OLD)),
            TransitionKind::Delete => (Some(OLD), None),
            TransitionKind::Resume
            | TransitionKind::Upgrade
            | TransitionKind::Rollback
            | TransitionKind::Restore => (Some(OLD), Some(NEW)),
        };
        let workers = self.target();
        let since = self.since();
        Some(Transition {
            kind,
            key: "key".to_owned(),
            from,
            to,
            standby: None,
            restores: (kind == TransitionKind::Restore).then(|| FOLDER.to_owned()),
            workers: (kind == TransitionKind::Rescale).then_some(workers),
            step,
            since: since.clone(),
            step_since: since,
            checked: None,
            retries: self.retries,
            last_error: (self.retries > 0).then(|| "the store did not answer".to_owned()),
        })
    }

    /// The status that the case begins with.
    pub(super) fn status(&self) -> StreamJobStatus {
        let ran = !self.fresh;
        StreamJobStatus {
            transition: self.transition(),
            revision: ran.then(|| RevisionStatus {
                current: Some(if self.moved { NEW } else { OLD }),
                target: Some(OLD),
                latest: if self.crowded { *CROWD.end() } else { NEW },
                summary: OLD.to_string(),
            }),
            last_checkpoint: ran.then(|| CheckpointStatus {
                id: 5,
                completion_time: ago(Duration::from_secs(3)),
                duration: None,
                size: None,
                uri: None,
            }),
            ..StreamJobStatus::default()
        }
    }

    fn job(&self, status: StreamJobStatus) -> StreamJob {
        let position = ASKED.iter().position(|asked| *asked == self.asked).unwrap();
        let mut job = JOBS[position].clone();
        job.status = Some(status);
        if self.loose {
            // Another finalizer holds it.
            job.metadata.finalizers = Some(vec!["example.com/other".to_owned()]);
        }
        if self.deleting {
            job.metadata.deletion_timestamp = Some(ago(Duration::from_secs(2)));
        }
        job
    }

    fn observed(&self, job: &StreamJob) -> Observed {
        let key = job
            .status
            .as_ref()
            .and_then(|status| status.transition.as_ref())
            .filter(|transition| transition.step == Step::Promoting)
            .map(|transition| call_key(transition, "promote-head"));
        let operation = match (self.called, required_reads(job).operation) {
            (Called::Unknown, _) | (_, None) => Fact::unknown("not asked"),
            (Called::NotYet | Called::Refused, Some(_)) => Fact::Known(None),
            (Called::Failed, Some((_, key))) => Fact::Known(Some(Operation {
                key,
                kind: OperationKind::Stop,
                result: OperationResult::Failed {
                    why: "the store did not answer".to_owned(),
                },
            })),
        };
        let sql = match self.asked {
            Asked::NoSql => Fact::denied("ConfigMap queries does not exist; create it"),
            Asked::NoSqlYet => Fact::unknown("ConfigMap queries could not be read"),
            Asked::Same
            | Asked::Upgrade
            | Asked::Another
            | Asked::Impossible
            | Asked::More
            | Asked::Fewer
            | Asked::Restore
            | Asked::Suspended => Fact::Known("SELECT 1".to_owned()),
        };
        let mut revisions = BTreeMap::new();
        if !self.fresh {
            revisions.insert(OLD, self.old.facts(self.since().0));
        }
        if self.crowded {
            revisions.extend(CROWD.map(|number| {
                let content = Some(RECORDS[1].clone());
                let bare = RevisionFacts {
                    record: content,
                    ..RevisionFacts::default()
                };
                (number, bare)
            }));
        }
        if let Some(facts) = self.new.facts() {
            revisions.insert(NEW, facts);
        }
        Observed {
            sql,
            revisions,
            head: self.head.fact(),
            not_looked: (self.head == HeadClass::NotLooked)
                .then(|| "the operator does not look into s3://elsewhere".to_owned()),
            operation,
            refusal: key
                .filter(|_| self.called == Called::Refused)
                .map(|key| Refusal {
                    key,
                    code: "StateIncompatible".to_owned(),
                    message: "the key of a window changed".to_owned(),
                }),
            unapplied: (self.new == NewRevision::Refused).then(|| Unapplied {
                revision: NEW,
                message: "cannot create StatefulSet delays-r2: exceeded quota".to_owned(),
                invalid: !self.late,
            }),
            ..Observed::default()
        }
    }

    /// Calls `act` with the case as an input.
    pub(super) fn with_input<R>(&self, act: impl FnOnce(&Input<'_>) -> R) -> R {
        let job = self.job(self.status());
        let observed = self.observed(&job);
        act(&Input {
            job: &job,
            observed: &observed,
            settings: &SETTINGS,
            now: *NOW,
        })
    }

    /// The next plan with this status written and nothing else changed; and whether it is at rest
    /// there.
    pub(super) fn after(&self, status: &StreamJobStatus) -> (bool, Plan) {
        let job = self.job(status.clone());
        // What a coordinator said of the call of a step, it does not say of another.
        let spent = Self {
            called: Called::Unknown,
            ..*self
        };
        let observed = spent.observed(&job);
        let next = plan(&Input {
            job: &job,
            observed: &observed,
            settings: &SETTINGS,
            now: *NOW,
        });
        (next.status == *status, next)
    }
}

/// Classes with which every class of the other revision is seen; the rest is seen with these only.
const PLAIN_OLD: [CurrentRevision; 2] = [CurrentRevision::Running, CurrentRevision::Gone];
const PLAIN_NEW: [NewRevision; 2] = [NewRevision::Gone, NewRevision::Ready];

/// Every case of these contexts.
pub(super) fn all(contexts: &[Case], mut each: impl FnMut(&Case)) {
    for case in contexts {
        for head in heads() {
            for old in OLD_CLASSES {
                // What never was cannot be seen.
                if case.fresh && !old.is_gone() {
                    continue;
                }
                for new in NEW_CLASSES {
                    if PLAIN_OLD.contains(&old) || PLAIN_NEW.contains(&new) {
                        each(&Case {
                            head,
                            old,
                            new,
                            ..*case
                        });
                    }
                }
            }
        }
    }
}

/// What may be said of the call of a step, and after how many that failed.
fn answers(position: Position) -> &'static [(Called, u32)] {
    match position {
        Some((_, Step::HandingOver | Step::Moving | Step::Stopping)) => &[
            (Called::Unknown, 0),
            (Called::NotYet, 0),
            (Called::Failed, 0),
            (Called::NotYet, 4),
        ],
        Some((_, Step::Promoting)) => &[(Called::Unknown, 0), (Called::Refused, 0)],
        _ => &[(Called::Unknown, 0)],
    }
}

/// Everything but what is seen of HEAD and the revisions.
pub(super) fn contexts() -> Vec<Case> {
    let mut all = Vec::new();
    for position in positions() {
        let begins = matches!(position, None | Some((TransitionKind::Deploy, _)));
        let deletes = matches!(position, Some((TransitionKind::Delete, _)));
        for &(called, retries) in answers(position) {
            for late in [false, true] {
                for fresh in [false, true] {
                    for deleting in [false, true] {
                        for asked in ASKED {
                            if (fresh && !begins)
                                || (deletes && !deleting)
                                || (deleting && asked != Asked::Same)
                            {
                                continue;
                            }
                            all.push(Case {
                                position,
                                asked,
                                called,
                                retries,
                                late,
                                deleting,
                                fresh,
                                ..Case::default()
                            });
                        }
                    }
                }
            }
        }
    }
    // A user removed the finalizer, or it is not there yet.
    for position in [None, Some((TransitionKind::Upgrade, Step::Preparing))] {
        for (asked, deleting) in [
            (Asked::Same, true),
            (Asked::Same, false),
            (Asked::Upgrade, false),
        ] {
            all.push(Case {
                position,
                asked,
                deleting,
                loose: true,
                ..Case::default()
            });
        }
    }
    // What is read is older than what the status knows.
    for asked in ASKED {
        all.push(Case {
            asked,
            moved: true,
            ..Case::default()
        });
    }
    for asked in [Asked::Same, Asked::Upgrade, Asked::Suspended] {
        all.push(Case {
            asked,
            crowded: true,
            ..Case::default()
        });
    }
    all
}
