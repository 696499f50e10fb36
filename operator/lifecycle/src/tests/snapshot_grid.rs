//! Every phase of a snapshot with every class of what is seen of its job, of the call and of its
//! folder.

use std::{sync::LazyLock, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use streamkeeper_api::{
    condition::{self, kind},
    names::{SNAPSHOT_FINALIZER, VERIFY},
    v1alpha1::{DeletionPolicy, SnapshotPhase, StreamSnapshot, StreamSnapshotStatus},
};
use streamkeeper_protocol::{
    head::{OperationKind, OperationResult},
    job_api::Operation,
};

use crate::{
    Fact, ResolvedStorage, Settings,
    plan::units::time,
    snapshots::{
        Content, SnapshotAction, SnapshotInput, SnapshotJob, SnapshotPlan, Trouble, TroubleKind,
        Work, WorkState, plan_snapshot,
    },
};

static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_second(1_772_366_400).unwrap());
const URI: &str = "s3://streams/prod/flights/delays/savepoints/monday-6a1f0c1e";

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "every combination is a case")]
struct Case {
    phase: Option<SnapshotPhase>,
    started: bool,
    late: bool,
    policy: DeletionPolicy,
    deleting: bool,
    import: bool,
    verify: bool,
    job: Option<SnapshotJob>,
    operation: Fact<Option<Operation>>,
    work: WorkState,
    needed: bool,
    /// Whether the operator may act in the store.
    allowed: bool,
}

fn settings(allowed: bool) -> Settings {
    Settings {
        storage: Some(streamkeeper_api::v1alpha1::S3 {
            uri: if allowed {
                "s3://streams/prod"
            } else {
                "s3://others"
            }
            .to_owned(),
            region: None,
            endpoint: None,
            ..streamkeeper_api::v1alpha1::S3::default()
        }),
        ..Settings::default()
    }
}

fn job() -> SnapshotJob {
    SnapshotJob {
        name: "delays".to_owned(),
        namespace: "flights".to_owned(),
        uid: "of-the-job".to_owned(),
        current: Some(1),
        deleting: false,
        suspended: false,
        completed: false,
        storage: Ok(storage()),
    }
}

fn storage() -> ResolvedStorage {
    ResolvedStorage {
        uri: "s3://streams/prod".to_owned(),
        bucket: "streams".to_owned(),
        prefix: "prod".to_owned(),
        region: None,
        endpoint: None,
        ..ResolvedStorage::default()
    }
}

fn jobs() -> Vec<Option<SnapshotJob>> {
    vec![
        None,
        Some(job()),
        Some(SnapshotJob {
            deleting: true,
            ..job()
        }),
        Some(SnapshotJob {
            suspended: true,
            ..job()
        }),
        Some(SnapshotJob {
            completed: true,
            ..job()
        }),
        Some(SnapshotJob {
            current: None,
            ..job()
        }),
        Some(SnapshotJob {
            storage: Err("no storage".to_owned()),
            ..job()
        }),
    ]
}

fn operations() -> Vec<Fact<Option<Operation>>> {
    let known = |result| {
        Fact::Known(Some(Operation {
            key: "snapshot-6a1f0c1e-0".to_owned(),
            kind: OperationKind::Savepoint,
            result,
        }))
    };
    vec![
        Fact::unknown("no answer"),
        Fact::Known(None),
        known(OperationResult::Running),
        known(OperationResult::Done {
            checkpoint: Some(7),
            uri: Some(URI.to_owned()),
        }),
        known(OperationResult::Failed {
            why: "SlowDown".to_owned(),
        }),
    ]
}

fn works() -> Vec<WorkState> {
    let content = Content {
        checkpoint: 7,
        completed_ms: 0,
        total_bytes: 5 << 20,
        revision: 1,
        job_uid: "of-the-job".to_owned(),
    };
    let trouble = |kind| Trouble {
        kind,
        message: "GetObject s3://streams/x".to_owned(),
    };
    let mut all = vec![WorkState::None];
    for work in [Work::Inspect, Work::Verify, Work::Remove] {
        all.push(WorkState::Running {
            work,
            done: 1,
            total: 2,
        });
        all.push(WorkState::Done {
            work,
            result: Ok(Some(content.clone())),
        });
        for kind in [
            TroubleKind::Missing,
            TroubleKind::Damaged,
            TroubleKind::NotOurs,
            TroubleKind::TooLarge,
            TroubleKind::Denied,
            TroubleKind::Down,
        ] {
            all.push(WorkState::Done {
                work,
                result: Err(trouble(kind)),
            });
        }
    }
    all
}

impl Case {
    fn snapshot(&self, status: &StreamSnapshotStatus) -> StreamSnapshot {
        let mut snapshot: StreamSnapshot = serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot",
            "metadata": {"name": "monday", "namespace": "flights", "uid": "6a1f0c1e", "generation": 1},
            "spec": {"jobRef": {"name": "delays"}, "ttl": "1h"},
        }))
        .unwrap();
        snapshot.spec.deletion_policy = self.policy;
        if self.import {
            snapshot.spec.import_from = Some(streamkeeper_api::v1alpha1::ImportFrom {
                uri: URI.to_owned(),
            });
        }
        if self.policy == DeletionPolicy::Delete {
            snapshot.metadata.finalizers = Some(vec![SNAPSHOT_FINALIZER.to_owned()]);
        }
        if self.verify {
            snapshot.metadata.annotations = Some([(VERIFY.to_owned(), "again".to_owned())].into());
        }
        if self.deleting {
            snapshot.metadata.deletion_timestamp = Some(time(*NOW));
        }
        snapshot.status = Some(status.clone());
        snapshot
    }

    fn status(&self) -> StreamSnapshotStatus {
        let since = *NOW - Duration::from_secs(if self.late { 7200 } else { 5 });
        let ended = matches!(
            self.phase,
            Some(SnapshotPhase::Completed | SnapshotPhase::Failed | SnapshotPhase::Verifying)
        );
        StreamSnapshotStatus {
            phase: self.phase,
            uri: (self.started || ended).then(|| URI.to_owned()),
            start_time: self.phase.map(|_| time(since)),
            completion_time: ended.then(|| time(since)),
            ..StreamSnapshotStatus::default()
        }
    }

    fn plan(&self, status: &StreamSnapshotStatus) -> SnapshotPlan {
        let snapshot = self.snapshot(status);
        let settings = settings(self.allowed);
        plan_snapshot(&SnapshotInput {
            snapshot: &snapshot,
            job: self.job.as_ref(),
            settings: &settings,
            operation: &self.operation,
            work: &self.work,
            refusal: None,
            needed_by: self.needed.then_some("delays"),
            now: *NOW,
        })
    }
}

fn cases() -> Vec<Case> {
    let phases = [
        None,
        Some(SnapshotPhase::Pending),
        Some(SnapshotPhase::InProgress),
        Some(SnapshotPhase::Verifying),
        Some(SnapshotPhase::Completed),
        Some(SnapshotPhase::Failed),
        Some(SnapshotPhase::Deleting),
    ];
    let mut all = Vec::new();
    for phase in phases {
        for bits in 0..=u8::MAX {
            let bit = |n: u8| bits & (1 << n) != 0;
            for job in jobs() {
                for operation in operations() {
                    for work in works() {
                        all.push(Case {
                            phase,
                            started: bit(0),
                            late: bit(1),
                            policy: if bit(2) {
                                DeletionPolicy::Delete
                            } else {
                                DeletionPolicy::Retain
                            },
                            deleting: bit(3),
                            import: bit(4),
                            verify: bit(5),
                            needed: bit(6),
                            allowed: bit(7),
                            job: job.clone(),
                            operation: operation.clone(),
                            work,
                        });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn in_every_case_the_rules_hold() {
    let mut seen = 0;
    for case in cases() {
        seen += 1;
        let status = case.status();
        let (planned, again) = (case.plan(&status), case.plan(&status));
        assert_eq!(
            planned, again,
            "the same facts give the same plan: {case:#?}"
        );
        let held = |name| condition::is_true(&planned.status.conditions, name);
        let (ready, under_way, stuck) = (
            held(kind::READY),
            held(kind::RECONCILING),
            held(kind::STALLED),
        );
        assert!(
            !(under_way && stuck) && ready == (!under_way && !stuck),
            "kstatus: {planned:#?} {case:#?}"
        );
        let asks = planned
            .actions
            .iter()
            .any(|action| matches!(action, SnapshotAction::Ask { .. }));
        assert!(
            !asks || status.uri.is_some(),
            "asked before it was written down where: {case:#?}"
        );
        let removes = planned.actions.iter().any(|action| {
            matches!(
                action,
                SnapshotAction::Begin {
                    work: Work::Remove,
                    ..
                }
            )
        });
        let works = |action: &SnapshotAction| matches!(action, SnapshotAction::Begin { .. });
        assert!(
            case.allowed || !planned.actions.iter().any(works),
            "the operator acts where it may not: {case:#?}"
        );
        assert!(
            !removes || (case.deleting && case.policy == DeletionPolicy::Delete && !case.needed),
            "a folder is removed: {case:#?}"
        );
        let lets_go = planned.actions.contains(&SnapshotAction::RemoveFinalizer);
        assert!(!lets_go || case.deleting, "the finalizer goes: {case:#?}");
        if case.phase == Some(SnapshotPhase::Failed) && !case.deleting {
            assert_eq!(
                planned.status.phase,
                Some(SnapshotPhase::Failed),
                "it failed for good: {case:#?}"
            );
        }
        assert!(!planned.requeue.is_zero(), "a busy loop");
    }
    assert!(seen > 100_000, "only {seen} cases");
}

#[test]
fn a_quiet_world_comes_to_rest() {
    for case in cases().into_iter().step_by(7) {
        let mut status = case.status();
        let rests = (0..6).any(|_| {
            // A failed savepoint is asked for again under another key, of which nothing is known.
            let spent = Case {
                operation: match &case.operation {
                    Fact::Known(Some(operation))
                        if status.retries > 0
                            && matches!(operation.result, OperationResult::Failed { .. }) =>
                    {
                        Fact::Known(None)
                    }
                    Fact::Known(_) | Fact::Unknown(_) => case.operation.clone(),
                },
                ..case.clone()
            };
            let next = spent.plan(&status).status;
            let same = next == status;
            status = next;
            same
        });
        assert!(rests, "{status:#?} {case:#?}");
    }
}

/// What is done about a snapshot that is deleted, and what people are told.
fn deletion(spec: &serde_json::Value, uri: &str, job: Option<&SnapshotJob>) -> (bool, String) {
    let snapshot: StreamSnapshot = serde_json::from_value(json!({
        "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot",
        "metadata": {
            "name": "monday", "namespace": "flights", "uid": "6a1f0c1e-77", "finalizers": [SNAPSHOT_FINALIZER],
            "deletionTimestamp": "2026-03-01T12:00:00Z",
        },
        "spec": spec,
        "status": { "phase": "Failed", "uri": uri },
    }))
    .unwrap();
    let plan = plan_snapshot(&SnapshotInput {
        snapshot: &snapshot,
        job,
        settings: &settings(true),
        operation: &Fact::Known(None),
        work: &WorkState::None,
        refusal: None,
        needed_by: None,
        now: *NOW,
    });
    let removes = plan.actions.iter().any(|action| {
        matches!(action, SnapshotAction::Begin { work: Work::Remove, place, .. } if format!("s3://streams/{}", place.key()) == uri)
    });
    let blindly = plan
        .actions
        .iter()
        .any(|action| matches!(action, SnapshotAction::Begin { job_uid: None, .. }));
    assert!(!blindly || spec.get("importFrom").is_none(), "{plan:#?}");
    let lets_go = plan.actions.contains(&SnapshotAction::RemoveFinalizer);
    assert!(removes != lets_go, "{plan:#?}");
    (
        removes,
        plan.events.iter().map(|event| event.note.clone()).collect(),
    )
}

#[test]
pub(crate) fn only_a_folder_that_the_job_of_the_snapshot_has_written_is_removed() {
    let import = |job: &str, uri: &str| json!({ "jobRef": { "name": job }, "importFrom": { "uri": uri }, "deletionPolicy": "Delete" });
    let own = job();
    for (name, uri, removed) in [
        (
            "delays",
            "s3://streams/prod/flights/delays/savepoints/monday",
            true,
        ),
        // Another tenant's live state, and its savepoints.
        ("delays", "s3://streams/prod/victims/victim", false),
        (
            "victim",
            "s3://streams/prod/victims/victim/savepoints/x",
            false,
        ),
        // Below another tenant's prefix, with the right names behind.
        (
            "delays",
            "s3://streams/prod/victims/flights/delays/savepoints/x",
            false,
        ),
        // The job's own live state, and another job's savepoint.
        ("delays", "s3://streams/prod/flights/delays", false),
        (
            "delays",
            "s3://streams/prod/flights/delays/savepoints",
            false,
        ),
        (
            "delays",
            "s3://streams/prod/flights/delays/savepoints/x/data",
            false,
        ),
        (
            "delays",
            "s3://streams/prod/flights/other/savepoints/x",
            false,
        ),
        (
            "delays",
            "s3://streams/prod/flights/delays/savepoints/..",
            false,
        ),
    ] {
        let (removes, told) = deletion(&import(name, uri), uri, Some(&own));
        assert_eq!(removes, removed, "{uri}");
        assert_eq!(told.contains("was left as it is"), !removed, "{told}");
    }
    // Whose savepoint it is cannot be known any more.
    let uri = "s3://streams/prod/flights/delays/savepoints/monday";
    let mut kept = import("delays", uri);
    kept["deletionPolicy"] = json!("Retain");
    assert!(!deletion(&kept, uri, Some(&own)).0);
    assert!(!deletion(&import("delays", uri), uri, None).0);
}

#[test]
pub(crate) fn a_status_does_not_say_what_is_removed() {
    let taken = json!({ "jobRef": { "name": "delays" }, "deletionPolicy": "Delete" });
    for (uri, removed) in [
        (
            "s3://streams/prod/flights/delays/savepoints/monday-6a1f0c1e",
            true,
        ),
        (
            "s3://streams/prod/flights/delays/savepoints/sunday-00000000",
            false,
        ),
        ("s3://streams/prod/flights/delays", false),
        (
            "s3://streams/prod/victims/flights/delays/savepoints/monday-6a1f0c1e",
            false,
        ),
        (
            "s3://streams/prod/victims/victim/savepoints/monday-6a1f0c1e",
            false,
        ),
        (
            "s3://streams/prod/xflights/delays/savepoints/monday-6a1f0c1e",
            false,
        ),
    ] {
        assert_eq!(deletion(&taken, uri, None).0, removed, "{uri}");
    }
}
