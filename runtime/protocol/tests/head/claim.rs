//! Who may run a job, state by state.

use crate::records::{claimant, first, ids, with_checkpoint};
use streamkeeper_protocol::{
    head::{ClaimDecision, Claimant, Head, OperationKind, OperationResult, Order, RunState, claim},
    job_api::PromoteFrom,
};

/// The answer in one word: `create`, `replace`, `stand by`, or the code of a refusal.
fn word(decision: &ClaimDecision) -> &'static str {
    match decision {
        ClaimDecision::Create(_) => "create",
        ClaimDecision::Replace(_) => "replace",
        ClaimDecision::StandBy { .. } => "stand by",
        ClaimDecision::Refuse { code, .. } => code,
    }
}

fn ask(head: Option<&Head>, claimant: &Claimant<'_>, from: Option<&PromoteFrom>) -> ClaimDecision {
    let order = from.map_or(Order::None, |from| Order::Promoted { key: "order", from });
    claim(head, claimant, order, ids())
}

/// HEAD of revision 3 of StreamJob `a` in this state.
fn head_in(state: RunState) -> Head {
    Head {
        revision: 3,
        state,
        ..with_checkpoint()
    }
}

#[test]
fn the_whole_table_of_claims() {
    use RunState::{Completed, HandingOver, Released, Running, Stopped};
    let (empty, from_head, take_over) =
        (PromoteFrom::Empty, PromoteFrom::Head, PromoteFrom::TakeOver);
    let orders = [None, Some(&empty), Some(&from_head), Some(&take_over)];
    // Columns: by itself, promoted from Empty, from Head, TakeOver.
    let no_head: [&str; 4] = ["stand by", "create", "HeadMissing", "HeadMissing"];
    for (from, expected) in orders.iter().zip(no_head) {
        assert_eq!(
            word(&ask(None, &claimant("a", 1), *from)),
            expected,
            "no HEAD, {from:?}"
        );
    }
    let older = ["stand by", "HeadExists", "WrongRevision", "WrongRevision"];
    let ended = ["stand by", "HeadExists", "NotRunning", "replace"];
    let stopped = ["stand by", "HeadExists", "replace", "replace"];
    let given = ["replace", "HeadExists", "replace", "replace"];
    let foreign_live = ["stand by", "HeadExists", "StateInUse", "StateInUse"];
    let foreign_ended = ["stand by", "HeadExists", "StateInUse", "replace"];
    let over_to_5 = HandingOver { to: 5 };
    #[rustfmt::skip]
    let table: [(RunState, &str, u64, [&str; 4]); 26] = [
        (Running,   "a", 2, older), (Running,   "a", 3, given),   (Running,   "a", 4, stopped),
        (over_to_5, "a", 2, older), (over_to_5, "a", 3, older),   (over_to_5, "a", 4, stopped),
        (over_to_5, "a", 5, given), (over_to_5, "a", 6, stopped),
        (Stopped,   "a", 2, older), (Stopped,   "a", 3, stopped), (Stopped,   "a", 4, stopped),
        (Completed, "a", 2, older), (Completed, "a", 3, ended),   (Completed, "a", 4, ended),
        (Released,  "a", 2, older), (Released,  "a", 3, ended),   (Released,  "a", 4, ended),
        (Running,   "b", 3, foreign_live),  (Running,   "b", 9, foreign_live),
        (over_to_5, "b", 5, foreign_live),  (over_to_5, "b", 9, foreign_live),
        (Stopped,   "b", 1, foreign_ended), (Stopped,   "b", 9, foreign_ended),
        (Completed, "b", 1, foreign_ended), (Released,  "b", 1, foreign_ended),
        (Released,  "b", 9, foreign_ended),
    ];
    for (state, uid, revision, expected) in table {
        let head = head_in(state);
        for (from, expected) in orders.iter().zip(expected) {
            let decision = ask(Some(&head), &claimant(uid, revision), *from);
            let case = format!("{state:?}, revision {revision} of {uid}, {from:?}: {decision:?}");
            assert_eq!(word(&decision), expected, "{case}");
            match decision {
                ClaimDecision::StandBy { why } | ClaimDecision::Refuse { why, .. } => {
                    assert!(why.len() > 10, "{case}");
                }
                ClaimDecision::Replace(next) => {
                    assert_eq!(
                        (next.attempt, next.seq, next.state),
                        (head.attempt + 1, head.seq + 1, Running),
                        "{case}"
                    );
                    assert_eq!(
                        (next.job_uid.as_str(), next.revision),
                        (uid, revision),
                        "{case}"
                    );
                    assert_eq!(
                        (&next.nonce, &next.token),
                        (&"nonce-2".to_owned(), &"token-2".to_owned()),
                        "{case}"
                    );
                    // What the state belongs to does not change hands with it.
                    assert_eq!(
                        (&next.lineage, &next.last, next.next_checkpoint),
                        (&head.lineage, &head.last, 2),
                        "{case}"
                    );
                }
                ClaimDecision::Create(_) => panic!("{case}"),
            }
        }
    }
}

#[test]
fn a_first_claim_starts_from_nothing_with_a_new_lineage() {
    let head = first();
    assert_eq!(
        (head.seq, head.attempt, head.revision, head.next_checkpoint),
        (1, 1, 1, 1)
    );
    assert_eq!(
        (head.lineage.as_str(), head.token.as_str(), head.state),
        ("lineage-1", "token-1", RunState::Running)
    );
    assert_eq!(
        (head.last, head.workers, head.max_parallelism),
        (None, 2, 128)
    );
    assert_eq!(head.operations[0].key, "start");
}

#[test]
fn an_order_that_was_followed_already_is_no_new_order() {
    // Promoted once, then superseded: the same call again must not bring the old revision back.
    let head = Head {
        revision: 1,
        state: RunState::Stopped,
        ..first()
    };
    let from = PromoteFrom::Head;
    let order = Order::Promoted {
        key: "start",
        from: &from,
    };
    assert_eq!(
        word(&claim(Some(&head), &claimant("a", 1), order, ids())),
        "stand by"
    );
    // While the revision still is the running one, a restart is what it comes to.
    let head = Head {
        state: RunState::Running,
        ..head
    };
    assert_eq!(
        word(&claim(Some(&head), &claimant("a", 1), order, ids())),
        "replace"
    );
    let stopped = head.change().begin_operation("k", OperationKind::Stop);
    let streamkeeper_protocol::head::Begun::New(change) = stopped.unwrap() else {
        panic!()
    };
    let head = change.seal("n").unwrap();
    let order = Order::Promoted {
        key: "k",
        from: &from,
    };
    assert_eq!(
        word(&claim(Some(&head), &claimant("a", 1), order, ids())),
        "KeyReused"
    );
}

#[test]
fn other_key_groups_are_refused_once_there_is_state() {
    let other = Claimant {
        max_parallelism: 64,
        plan_hash: "plan-2",
        ..claimant("a", 1)
    };
    match claim(Some(&first()), &other, Order::None, ids()) {
        ClaimDecision::Replace(next) => assert_eq!(
            (next.max_parallelism, next.plan_hash.as_str()),
            (64, "plan-2")
        ),
        decision => panic!("{decision:?}"),
    }
    match claim(Some(&with_checkpoint()), &other, Order::None, ids()) {
        ClaimDecision::StandBy { why } => assert!(
            why.contains("128 key groups") && why.contains("64"),
            "{why}"
        ),
        decision => panic!("{decision:?}"),
    }
    let from = PromoteFrom::Head;
    let order = Order::Promoted {
        key: "order",
        from: &from,
    };
    assert_eq!(
        word(&claim(Some(&with_checkpoint()), &other, order, ids())),
        "StateIncompatible"
    );
}

#[test]
fn a_restart_keeps_the_workers_of_a_rescale_and_a_new_revision_brings_its_own() {
    let head = with_checkpoint().change().on_workers(5).seal("n").unwrap();
    let workers = |claimant: &Claimant<'_>, from: Option<&PromoteFrom>| match ask(
        Some(&head),
        claimant,
        from,
    ) {
        ClaimDecision::Replace(next) => next.workers,
        decision => panic!("{decision:?}"),
    };
    assert_eq!(workers(&claimant("a", 1), None), 5);
    assert_eq!(workers(&claimant("a", 2), Some(&PromoteFrom::Head)), 2);
}

#[test]
fn what_a_dead_coordinator_was_doing_has_failed_but_a_named_savepoint_goes_on() {
    let mut change = with_checkpoint().change();
    for (key, kind) in [
        ("rescale", OperationKind::Rescale),
        ("save", OperationKind::Savepoint),
    ] {
        let streamkeeper_protocol::head::Begun::New(next) =
            change.begin_operation(key, kind).unwrap()
        else {
            panic!()
        };
        change = next;
    }
    let head = change
        .add_savepoint("s", "save", "root/savepoints/s")
        .unwrap()
        .seal("n")
        .unwrap();
    let ClaimDecision::Replace(next) = claim(Some(&head), &claimant("a", 1), Order::None, ids())
    else {
        panic!()
    };
    let result = |key: &str| next.operation(key).unwrap().result.clone();
    assert_eq!(result("save"), OperationResult::Running);
    assert!(
        matches!(result("rescale"), OperationResult::Failed { why } if why.contains("coordinator"))
    );
    assert!(matches!(result("start"), OperationResult::Done { .. }));
    assert!(!next.savepoints[0].complete);
}
