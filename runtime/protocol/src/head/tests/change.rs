//! The next record of an owner: what it keeps, what it refuses, how large it gets.

use super::records::{checkpoint, first, with_checkpoint};
use streamkeeper_protocol::head::{
    Begun, HEAD_LIMIT, Head, HeadChange, HeadError, OPERATIONS_KEPT, OperationKind,
    OperationResult, RETAINED_KEPT, RunState, SAVEPOINTS_KEPT, SwapOutcome, after_lost_swap,
};

fn begin(change: HeadChange, key: &str, kind: OperationKind) -> HeadChange {
    match change.begin_operation(key, kind).unwrap() {
        Begun::New(change) => change,
        Begun::Known(record) => panic!("{record:?}"),
    }
}

fn done(checkpoint: u64) -> OperationResult {
    OperationResult::Done {
        checkpoint: Some(checkpoint),
        uri: None,
    }
}

#[test]
fn a_checkpoint_is_committed_once_head_says_so_or_names_a_later_one() {
    let publish = |head: &Head, number, needs_commit| {
        let change = head.change();
        let (change, _) = change
            .publish(checkpoint(number, needs_commit), "plan-1", 3)
            .unwrap();
        change.seal("nonce").unwrap()
    };
    assert!(!first().is_committed(1));
    let open = publish(&first(), 1, true);
    assert!(!open.is_committed(1));
    let confirmed = open.change().committed(1).unwrap().seal("nonce").unwrap();
    assert!(confirmed.is_committed(1) && !confirmed.is_committed(2));
    let later = publish(&confirmed, 2, true);
    assert!(later.is_committed(1) && !later.is_committed(2));
    assert!(publish(&first(), 1, false).is_committed(1));
}

#[test]
pub(super) fn a_checkpoint_replaces_the_restore_point_and_the_oldest_is_dropped() {
    let mut head = first();
    let mut dropped = Vec::new();
    for number in 1..=6 {
        let (change, gone) = head
            .change()
            .publish(checkpoint(number, false), "plan-2", 2)
            .unwrap();
        head = change.seal(&format!("n{number}")).unwrap();
        dropped.extend(gone.into_iter().map(|kept| kept.checkpoint));
    }
    assert_eq!(
        (
            head.last.as_ref().unwrap().checkpoint,
            head.next_checkpoint,
            head.seq
        ),
        (6, 7, 7)
    );
    let retained: Vec<u64> = head.retained.iter().map(|kept| kept.checkpoint).collect();
    assert_eq!((retained, dropped), (vec![5, 4], vec![1, 2, 3]));
    assert_eq!(head.plan_hash, "plan-2");
    assert_eq!(head.pinned_manifests().len(), 3);
    // A number may be skipped by a checkpoint that failed, but never used again.
    let (change, _) = head
        .change()
        .publish(checkpoint(9, false), "plan-2", 99)
        .unwrap();
    assert_eq!(change.head().next_checkpoint, 10);
    let behind = HeadError::CheckpointBehind {
        checkpoint: 6,
        next: 7,
    };
    assert_eq!(
        head.change()
            .publish(checkpoint(6, false), "plan-2", 2)
            .unwrap_err(),
        behind
    );
}

#[test]
pub(super) fn nothing_goes_on_before_the_sinks_have_committed() {
    let (change, _) = first()
        .change()
        .publish(checkpoint(1, true), "plan-1", 2)
        .unwrap();
    let head = change.seal("n").unwrap();
    assert!(head.has_open_commits());
    let pending = |action| HeadError::CommitPending {
        action,
        checkpoint: 1,
    };
    assert_eq!(
        head.change()
            .publish(checkpoint(2, true), "p", 2)
            .unwrap_err(),
        pending("publish a checkpoint")
    );
    assert_eq!(
        head.change().hand_over(2).unwrap_err(),
        pending("hand over")
    );
    assert_eq!(head.change().stop(false).unwrap_err(), pending("stop"));
    assert_eq!(head.change().complete().unwrap_err(), pending("complete"));
    assert_eq!(
        head.change().committed(2).unwrap_err(),
        HeadError::NotLast { checkpoint: 2 }
    );
    let head = head
        .change()
        .committed(1)
        .unwrap()
        .committed(1)
        .unwrap()
        .seal("n2")
        .unwrap();
    assert!(!head.has_open_commits());
    assert_eq!(
        head.change().hand_over(2).unwrap().head().state,
        RunState::HandingOver { to: 2 }
    );
    assert_eq!(
        head.change().complete().unwrap().head().state,
        RunState::Completed
    );
}

// Elsewhere: FLINK-38033.
#[test]
pub(super) fn a_hand_over_needs_a_restore_point_and_a_greater_revision() {
    assert_eq!(
        first().change().hand_over(2).unwrap_err(),
        HeadError::NothingToRestore {
            action: "hand over"
        }
    );
    let same = HeadError::NotASuccessor { to: 1, revision: 1 };
    assert_eq!(with_checkpoint().change().hand_over(1).unwrap_err(), same);
}

#[test]
pub(super) fn a_job_that_does_not_run_changes_nothing_but_may_be_released() {
    let stopped = first().change().stop(false).unwrap().seal("n").unwrap();
    assert_eq!(stopped.state, RunState::Stopped);
    let change = || stopped.change();
    let errors = [
        change().publish(checkpoint(1, false), "p", 1).map(|_| ()),
        change().hand_over(2).map(|_| ()),
        change().stop(false).map(|_| ()),
        change().complete().map(|_| ()),
        change().new_attempt("t").map(|_| ()),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().contains("stopped")),
            ("NotRunning", true),
            "{error}"
        );
    }
    assert_eq!(
        stopped.change().stop(true).unwrap().head().state,
        RunState::Released
    );
    assert_eq!(
        first().change().stop(true).unwrap().head().state,
        RunState::Released
    );
}

#[test]
pub(super) fn an_idempotency_key_stands_for_one_call_only() {
    let head = begin(with_checkpoint().change(), "k", OperationKind::Rescale)
        .seal("n")
        .unwrap();
    match head
        .change()
        .begin_operation("k", OperationKind::Rescale)
        .unwrap()
    {
        Begun::Known(record) => assert_eq!(record.result, OperationResult::Running),
        Begun::New(_) => panic!("begun twice"),
    }
    let error = head
        .change()
        .begin_operation("k", OperationKind::Stop)
        .unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().contains("'k'")),
        ("KeyReused", true)
    );
    let head = head
        .change()
        .finish_operation("k", done(1))
        .unwrap()
        .seal("n")
        .unwrap();
    // The first result stays.
    let late = OperationResult::Failed { why: "late".into() };
    let head = head
        .change()
        .finish_operation("k", late)
        .unwrap()
        .seal("n")
        .unwrap();
    assert_eq!(head.operation("k").unwrap().result, done(1));
    assert_eq!(
        head.change()
            .finish_operation("x", done(1))
            .unwrap_err()
            .code(),
        "BadRequest"
    );
    let long = "k".repeat(129);
    assert!(matches!(
        head.change().begin_operation(&long, OperationKind::Stop),
        Err(HeadError::TooLong { length: 129, .. })
    ));
}

#[test]
pub(super) fn a_savepoint_pins_its_checkpoint_until_it_is_complete() {
    assert_eq!(
        first()
            .change()
            .add_savepoint("s", "k", "f")
            .unwrap_err()
            .code(),
        "Busy"
    );
    let head = with_checkpoint()
        .change()
        .add_savepoint("s", "k", "root/savepoints/s")
        .unwrap()
        .seal("n")
        .unwrap();
    let again = head.change().add_savepoint("s", "k", "elsewhere").unwrap();
    assert_eq!(again.head().savepoints, head.savepoints);
    let (moved, _) = head.change().publish(checkpoint(2, false), "p", 1).unwrap();
    assert_eq!(
        moved.add_savepoint("s", "k", "f").unwrap_err().code(),
        "KeyReused",
        "it holds an older checkpoint"
    );
    assert_eq!(
        head.change()
            .add_savepoint("s", "other", "f")
            .unwrap_err()
            .code(),
        "KeyReused"
    );
    let mut later = head.clone();
    for number in 2..=9 {
        later = later
            .change()
            .publish(checkpoint(number, false), "p", 1)
            .unwrap()
            .0
            .seal("n")
            .unwrap();
    }
    let pinned = checkpoint(1, false).manifest;
    assert!(later.pinned_manifests().contains(&pinned.as_str()));
    let complete = later
        .change()
        .finish_savepoint("s")
        .unwrap()
        .seal("n")
        .unwrap();
    assert!(
        complete.savepoints[0].complete && !complete.pinned_manifests().contains(&pinned.as_str())
    );
    assert_eq!(
        complete
            .change()
            .abandon_savepoint("s")
            .head()
            .savepoints
            .len(),
        1
    );
    assert!(
        later
            .change()
            .abandon_savepoint("s")
            .head()
            .savepoints
            .is_empty()
    );
    assert_eq!(
        later.change().finish_savepoint("t").unwrap_err().code(),
        "BadRequest"
    );
}

#[test]
pub(super) fn head_stays_small_and_never_forgets_what_is_in_progress() {
    let mut head = Head {
        job_uid: "u".repeat(36),
        ..with_checkpoint()
    };
    let key = |number: usize| format!("{number:0>128}");
    for number in 2..200_usize {
        let manifest = format!("{}/chk/{number:012}/1/manifest.json", "p".repeat(400));
        let last = streamkeeper_protocol::head::LastCheckpoint {
            manifest,
            ..checkpoint(number as u64, false)
        };
        let (change, _) = head.change().publish(last, "plan-1", usize::MAX).unwrap();
        let change = begin(change, &key(number), OperationKind::Savepoint);
        let folder = format!("{}/{}", "f".repeat(380), key(number));
        let mut change = change
            .add_savepoint(&key(number), &key(number), &folder)
            .unwrap();
        // Every tenth is never finished, until there are a few.
        if number % 10 != 0 || number > 50 {
            change = change.finish_savepoint(&key(number)).unwrap();
            let result = if number % 2 == 0 {
                OperationResult::Failed {
                    why: "é".repeat(5000),
                }
            } else {
                OperationResult::Done {
                    checkpoint: Some(number as u64),
                    uri: Some(folder),
                }
            };
            change = change.finish_operation(&key(number), result).unwrap();
        }
        head = change.seal(&format!("nonce-{number}")).unwrap();
        assert!(
            head.encode().len() <= HEAD_LIMIT,
            "{} bytes after {number}",
            head.encode().len()
        );
        assert!(
            head.operations.len() <= OPERATIONS_KEPT && head.savepoints.len() <= SAVEPOINTS_KEPT
        );
        assert!(head.retained.len() <= RETAINED_KEPT);
        assert_eq!(Head::parse(&head.encode()).unwrap(), head);
    }
    for number in [10, 20, 30, 40, 50] {
        assert_eq!(
            head.operation(&key(number)).unwrap().result,
            OperationResult::Running
        );
        assert!(
            head.savepoints
                .iter()
                .any(|savepoint| savepoint.name == key(number) && !savepoint.complete)
        );
    }
}

#[test]
pub(super) fn ordinary_records_keep_all_their_lists_within_the_limit() {
    let mut head = with_checkpoint();
    for number in 2..60_u64 {
        let uid = "2f0c1a52-6d0e-4f6e-9a54-0d4a6f3b7c11";
        let manifest =
            format!("prod/streaming/flights/delays-per-hour/chk/{number:012}/41/manifest.json");
        let last = streamkeeper_protocol::head::LastCheckpoint {
            manifest,
            ..checkpoint(number, false)
        };
        let key = format!("{uid}-r12-save-{number}");
        let folder = format!("prod/streaming/flights/delays-per-hour/savepoints/{key}");
        let (change, _) = head.change().publish(last, "0123456789abcdef", 10).unwrap();
        let change = begin(change, &key, OperationKind::Savepoint);
        let change = change
            .add_savepoint(&key, &key, &folder)
            .unwrap()
            .finish_savepoint(&key)
            .unwrap();
        let result = OperationResult::Done {
            checkpoint: Some(number),
            uri: Some(format!("s3://bucket/{folder}")),
        };
        head = change
            .finish_operation(&key, result)
            .unwrap()
            .seal("01JABCDEFGHJKMNPQRSTVWXYZ0")
            .unwrap();
    }
    let lists = (
        head.operations.len(),
        head.savepoints.len(),
        head.retained.len(),
    );
    assert_eq!(
        lists,
        (OPERATIONS_KEPT, SAVEPOINTS_KEPT, RETAINED_KEPT),
        "{} bytes",
        head.encode().len()
    );
}

#[test]
pub(super) fn too_many_operations_in_progress_are_refused_as_busy() {
    let mut change = with_checkpoint().change();
    for number in 0..SAVEPOINTS_KEPT {
        change = change
            .add_savepoint(&format!("s{number}"), "k", "f")
            .unwrap();
    }
    assert_eq!(
        change.clone().add_savepoint("more", "k", "f").unwrap_err(),
        HeadError::Busy { what: "savepoints" }
    );
    let mut change = first().change();
    for number in 1..=OPERATIONS_KEPT {
        change = begin(change, &format!("o{number}"), OperationKind::Rescale);
    }
    assert!(
        change.head().operation("start").is_none(),
        "the finished one made room"
    );
    let error = change
        .begin_operation("more", OperationKind::Rescale)
        .unwrap_err();
    assert_eq!(error, HeadError::Busy { what: "operations" });
}

#[test]
pub(super) fn a_refused_write_is_ours_again_or_a_fence() {
    let found = with_checkpoint();
    let fenced = |ours: &Head| matches!(after_lost_swap(ours, &found), SwapOutcome::Fenced { by } if by.attempt == found.attempt);
    let ours = |change: HeadChange| change.seal("ours").unwrap();
    // The owner's next write, and the owner's lost response.
    assert_eq!(
        after_lost_swap(&ours(found.change().new_attempt("t").unwrap()), &found),
        SwapOutcome::Retry
    );
    assert_eq!(after_lost_swap(&found, &found), SwapOutcome::Won);
    assert_eq!(
        after_lost_swap(&ours(found.change()), &found),
        SwapOutcome::Retry
    );
    // Another process: by attempt, by token, by lineage.
    assert!(fenced(&Head {
        attempt: found.attempt - 1,
        ..ours(found.change())
    }));
    assert!(fenced(&Head {
        token: "other".into(),
        ..ours(found.change())
    }));
    assert!(fenced(&Head {
        lineage: "other".into(),
        attempt: 99,
        ..ours(found.change())
    }));
}
