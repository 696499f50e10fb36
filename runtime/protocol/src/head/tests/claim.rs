//! Which process may run a job, state by state.

use super::records::{checkpoint, claimant, first, ids, with_checkpoint};
use streamkeeper_protocol::{
    head::{
        ClaimDecision, Claimant, DISPLACED_KEPT, Head, Import, OperationKind, OperationResult,
        Order, RETAINED_KEPT, RunState, claim,
    },
    job_api::{PromoteFrom, PromoteRequest},
};

/// The decision in one word: `create`, `replace`, `import`, `stand by`, or the code of a refusal.
fn word(decision: &ClaimDecision) -> &'static str {
    match decision {
        ClaimDecision::Create(_) => "create",
        ClaimDecision::Replace(_) => "replace",
        ClaimDecision::Import(_) => "import",
        ClaimDecision::StandBy { .. } => "stand by",
        ClaimDecision::Refuse { code, .. } => code,
    }
}

fn ask(head: Option<&Head>, claimant: &Claimant<'_>, from: Option<&PromoteFrom>) -> ClaimDecision {
    claim(head, claimant, from.map_or(Order::None, promoted), ids())
}

/// A new order of the operator.
fn promoted(from: &PromoteFrom) -> Order<'_> {
    Order::Promoted {
        key: "order",
        from,
        running_owner: None,
    }
}

fn savepoint() -> PromoteFrom {
    PromoteFrom::Savepoint {
        uri: "s3://bucket/saved".to_owned(),
    }
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
pub(super) fn the_whole_table_of_claims() {
    use RunState::{Completed, HandingOver, Released, Running, Stopped};
    let (empty, from_head, take_over) =
        (PromoteFrom::Empty, PromoteFrom::Head, PromoteFrom::TakeOver);
    let (saved, fresh) = (savepoint(), PromoteFrom::Fresh);
    let orders = [
        None,
        Some(&empty),
        Some(&from_head),
        Some(&take_over),
        Some(&saved),
        Some(&fresh),
    ];
    // Columns: by itself, promoted from Empty, from Head, TakeOver, from a savepoint, Fresh.
    let no_head: [&str; 6] = [
        "stand by",
        "create",
        "HeadMissing",
        "HeadMissing",
        "import",
        "HeadMissing",
    ];
    for (from, expected) in orders.iter().zip(no_head) {
        assert_eq!(
            word(&ask(None, &claimant("a", 1), *from)),
            expected,
            "no HEAD, {from:?}"
        );
    }
    #[rustfmt::skip]
    let [older, given, named, runs_on, stopped, ended, foreign_live, foreign_ended] = [
        ["stand by", "HeadExists", "WrongRevision", "WrongRevision", "WrongRevision", "HeadExists"],
        // The running revision itself: a restart, which a restore is not.
        ["replace",  "HeadExists", "replace",       "replace",       "WrongRevision", "HeadExists"],
        // The successor that HEAD names.
        ["replace",  "HeadExists", "replace",       "replace",       "import",        "HeadExists"],
        ["stand by", "HeadExists", "replace",       "replace",       "import",        "HeadExists"],
        ["stand by", "HeadExists", "replace",       "replace",       "import",        "HeadExists"],
        ["stand by", "HeadExists", "NotRunning",    "replace",       "import",        "HeadExists"],
        ["stand by", "HeadExists", "StateInUse",    "StateInUse",    "StateInUse",    "StateInUse"],
        ["stand by", "HeadExists", "StateInUse",    "replace",       "import",        "replace"],
    ];
    let over_to_5 = HandingOver { to: 5 };
    #[rustfmt::skip]
    let table: [(RunState, &str, u64, [&str; 6]); 26] = [
        (Running,   "a", 2, older), (Running,   "a", 3, given),   (Running,   "a", 4, runs_on),
        (over_to_5, "a", 2, older), (over_to_5, "a", 3, older),   (over_to_5, "a", 4, runs_on),
        (over_to_5, "a", 5, named), (over_to_5, "a", 6, runs_on),
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
                ClaimDecision::Import(import) => {
                    assert!(!import.creates(), "{case}");
                    is_of_the_claimant(&head, import.head(), (uid, revision), &case);
                }
                ClaimDecision::Replace(next) => {
                    is_of_the_claimant(&head, &next, (uid, revision), &case);
                    if *from == Some(&fresh) {
                        assert_eq!((next.lineage.as_str(), next.last), ("lineage-2", None));
                    } else {
                        // What the state belongs to does not change hands with it.
                        assert_eq!(
                            (&next.lineage, &next.last),
                            (&head.lineage, &head.last),
                            "{case}"
                        );
                    }
                }
                ClaimDecision::Create(_) => panic!("{case}"),
            }
        }
    }
}

/// A new owner with a greater attempt, and numbers that go on.
fn is_of_the_claimant(head: &Head, next: &Head, (uid, revision): (&str, u64), case: &str) {
    assert_eq!(
        (next.attempt, next.seq, next.state),
        (head.attempt + 1, head.seq + 1, RunState::Running),
        "{case}"
    );
    assert_eq!(
        (next.job_uid.as_str(), next.revision, next.next_checkpoint),
        (uid, revision, 2),
        "{case}"
    );
    assert_eq!(
        (&next.nonce, &next.token),
        (&"nonce-2".to_owned(), &"token-2".to_owned()),
        "{case}"
    );
}

#[test]
pub(super) fn a_live_head_of_another_job_changes_hands_only_if_a_person_named_its_owner() {
    let starts = [PromoteFrom::TakeOver, savepoint(), PromoteFrom::Fresh];
    for state in [RunState::Running, RunState::HandingOver { to: 5 }] {
        let head = head_in(state);
        for from in &starts {
            let with = |running_owner: Option<&str>| {
                let order = Order::Promoted {
                    key: "order",
                    from,
                    running_owner,
                };
                let decision = claim(Some(&head), &claimant("b", 1), order, ids());
                word(&decision).to_owned()
            };
            assert_eq!(with(None), "StateInUse");
            assert_eq!(with(Some("b")), "StateInUse", "its own name opens nothing");
            let taken = with(Some("a"));
            assert!(taken == "replace" || taken == "import", "{taken}");
        }
        let order = Order::Promoted {
            key: "order",
            from: &PromoteFrom::Head,
            running_owner: Some("a"),
        };
        let decision = claim(Some(&head), &claimant("b", 1), order, ids());
        assert_eq!(word(&decision), "StateInUse", "Head is one's own");
    }
}

fn import(head: Option<&Head>, uid: &str, max_parallelism: u16) -> Import {
    let claimant = Claimant {
        max_parallelism,
        ..claimant(uid, 4)
    };
    match ask(head, &claimant, Some(&savepoint())) {
        ClaimDecision::Import(import) => import,
        decision => panic!("{decision:?}"),
    }
}

#[test]
pub(super) fn a_savepoint_becomes_an_ordinary_checkpoint_and_numbers_go_on() {
    let head = Head {
        next_checkpoint: 9,
        ..head_in(RunState::Running)
    };
    let own = import(Some(&head), "a", 128);
    assert_eq!((own.checkpoint(), own.head().last.as_ref()), (9, None));
    let next = own.with(checkpoint(9, false), "saved-plan").unwrap();
    assert_eq!(
        (next.next_checkpoint, next.plan_hash.as_str()),
        (10, "saved-plan")
    );
    assert_eq!(
        (next.lineage.as_str(), next.last.unwrap().checkpoint),
        ("lineage-1", 9)
    );
    // What was left behind is kept beside the older checkpoints.
    assert_eq!(next.left.as_ref().unwrap().checkpoint, 1);
    let result = &next.operations[0].result;
    let done = OperationResult::Done {
        checkpoint: Some(9),
        uri: None,
    };
    assert_eq!(
        (&next.operations[0].key, result),
        (&"order".to_owned(), &done)
    );
}

#[test]
pub(super) fn the_newest_state_that_was_left_behind_is_pinned_until_another_is() {
    let published = |mut head: Head, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            let (change, _) = head
                .change()
                .publish(checkpoint(number, false), "plan-1", RETAINED_KEPT)
                .unwrap();
            head = change.seal(&format!("n{number}")).unwrap();
        }
        head
    };
    let head = head_in(RunState::Running);
    let abandoned = head.last.clone().unwrap().manifest;
    let restored = import(Some(&head), "a", 128);
    let restored = restored.with(checkpoint(2, false), "p").unwrap();
    // One more than are retained.
    let head = published(restored, 3..=13);
    assert!(head.retained.iter().all(|kept| kept.manifest != abandoned));
    assert!(head.pinned_manifests().contains(&abandoned.as_str()));
    // The next one that is left behind takes its place.
    let newer = head.last.clone().unwrap().manifest;
    let from = savepoint();
    let order = Order::Promoted {
        key: "another",
        from: &from,
        running_owner: None,
    };
    let claimant = claimant("a", head.revision + 1);
    let ClaimDecision::Import(restored) = claim(Some(&head), &claimant, order, ids()) else {
        panic!()
    };
    let restored = restored.with(checkpoint(14, false), "p").unwrap();
    let head = published(restored, 15..=25);
    let pinned = head.pinned_manifests();
    assert!(pinned.contains(&newer.as_str()) && !pinned.contains(&abandoned.as_str()));
}

#[test]
pub(super) fn a_copy_under_another_number_is_refused() {
    for number in [1, 3] {
        let import = import(Some(&head_in(RunState::Stopped)), "a", 128);
        assert_eq!(import.checkpoint(), 2);
        assert!(import.with(checkpoint(number, false), "p").is_err());
    }
}

#[test]
pub(super) fn a_savepoint_in_another_job_begins_a_lineage_and_brings_its_key_groups() {
    let beside = import(Some(&head_in(RunState::Stopped)), "b", 64);
    assert_eq!(
        (beside.creates(), beside.checkpoint(), beside.head().attempt),
        (false, 2, 2)
    );
    let next = beside.with(checkpoint(2, false), "p").unwrap();
    assert_eq!(
        (next.lineage.as_str(), next.max_parallelism),
        ("lineage-2", 64)
    );
    let first = import(None, "b", 64);
    assert_eq!(
        (first.creates(), first.checkpoint(), first.head().attempt),
        (true, 1, 1)
    );
    let next = first.with(checkpoint(1, false), "p").unwrap();
    assert_eq!((next.seq, next.next_checkpoint), (1, 2));
}

#[test]
pub(super) fn a_restore_that_was_carried_out_is_not_carried_out_again() {
    let import = import(Some(&head_in(RunState::Stopped)), "a", 128);
    let head = import.with(checkpoint(2, false), "p").unwrap();
    let again = ask(Some(&head), &claimant("a", 4), Some(&savepoint()));
    // The process died after its write: this is its restart, from where the restore led.
    assert_eq!(word(&again), "replace");
    let ClaimDecision::Replace(next) = again else {
        panic!()
    };
    assert_eq!(next.last, head.last);
}

#[test]
pub(super) fn a_start_over_beside_another_jobs_state_keeps_what_it_left_behind() {
    let ClaimDecision::Replace(next) = ask(
        Some(&head_in(RunState::Released)),
        &Claimant {
            max_parallelism: 64,
            plan_hash: "plan-2",
            ..claimant("b", 1)
        },
        Some(&PromoteFrom::Fresh),
    ) else {
        panic!()
    };
    assert_eq!(
        (next.max_parallelism, next.plan_hash.as_str()),
        (64, "plan-2")
    );
    assert_eq!((next.last, next.left.unwrap().checkpoint), (None, 1));
}

#[test]
pub(super) fn promotions_of_older_operators_are_read_as_they_were() {
    for (from, expected) in [
        ("\"Empty\"", PromoteFrom::Empty),
        ("\"Head\"", PromoteFrom::Head),
        ("\"TakeOver\"", PromoteFrom::TakeOver),
        ("\"Fresh\"", PromoteFrom::Fresh),
        (r#"{"Savepoint":{"uri":"s3://bucket/saved"}}"#, savepoint()),
    ] {
        let text = format!(r#"{{"key":"k","revision":3,"from":{from}}}"#);
        let request: PromoteRequest = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (request.from, request.workers, request.running_owner),
            (expected, None, None)
        );
    }
}

#[test]
pub(super) fn a_first_claim_starts_from_nothing_with_a_new_lineage() {
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
pub(super) fn an_order_that_was_followed_already_is_no_new_order() {
    // Promoted once, then superseded: a repeat of that call must not bring the old revision back.
    let head = Head {
        revision: 1,
        state: RunState::Stopped,
        ..first()
    };
    let from = PromoteFrom::Head;
    let order = Order::Promoted {
        key: "start",
        from: &from,
        running_owner: None,
    };
    assert_eq!(
        word(&claim(Some(&head), &claimant("a", 1), order, ids())),
        "stand by"
    );
    // While the revision is still the running one, the call amounts to a restart.
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
        running_owner: None,
    };
    assert_eq!(
        word(&claim(Some(&head), &claimant("a", 1), order, ids())),
        "KeyReused"
    );
}

#[test]
pub(super) fn other_key_groups_are_refused_once_there_is_state() {
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
        running_owner: None,
    };
    assert_eq!(
        word(&claim(Some(&with_checkpoint()), &other, order, ids())),
        "StateIncompatible"
    );
}

#[test]
pub(super) fn a_restart_keeps_the_workers_of_a_rescale_and_a_new_revision_brings_its_own() {
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
pub(super) fn what_a_dead_coordinator_was_doing_has_failed_but_a_named_savepoint_goes_on() {
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

#[test]
pub(super) fn a_stop_with_its_savepoint_goes_on_after_a_restart_and_fails_for_another_revision() {
    let head = with_checkpoint()
        .change()
        .add_savepoint("stop", "stop", "root/savepoints/stop")
        .and_then(|change| change.begin_stop("stop", true))
        .unwrap()
        .seal("n")
        .unwrap();
    let claimed = |revision, from: Option<&PromoteFrom>| match ask(
        Some(&head),
        &claimant("a", revision),
        from,
    ) {
        ClaimDecision::Replace(next) => next,
        decision => panic!("{decision:?}"),
    };
    let restarted = claimed(1, None);
    let open = restarted.open_stop().unwrap();
    assert_eq!((open.key.as_str(), open.release), ("stop", true));
    let replaced = claimed(2, Some(&PromoteFrom::Head));
    assert_eq!(replaced.open_stop(), None);
    assert!(matches!(
        replaced.operation("stop").unwrap().result,
        OperationResult::Failed { .. }
    ));
}

#[test]
pub(super) fn a_displaced_pod_never_claims_again_and_a_restarted_container_does() {
    fn of_pod(pod: &str) -> Claimant<'_> {
        Claimant {
            pod,
            ..claimant("a", 1)
        }
    }
    let take = |head: &Head, pod: &str| match claim(Some(head), &of_pod(pod), Order::None, ids()) {
        ClaimDecision::Replace(next) => next,
        decision => panic!("{decision:?}"),
    };
    let cut_off = take(&with_checkpoint(), "cut-off");
    let restarted = take(&cut_off, "cut-off");
    assert!(restarted.displaced.is_empty(), "the same pod again");
    let replaced = take(&restarted, "replacement");
    assert_eq!(
        (replaced.pod.as_str(), replaced.displaced.as_slice()),
        ("replacement", &["cut-off".to_owned()][..])
    );
    match claim(Some(&replaced), &of_pod("cut-off"), Order::None, ids()) {
        ClaimDecision::StandBy { why } => assert!(why.contains("displaced"), "{why}"),
        decision => panic!("{decision:?}"),
    }
    let from = PromoteFrom::Head;
    let order = Order::Promoted {
        key: "order",
        from: &from,
        running_owner: None,
    };
    assert_eq!(
        word(&claim(Some(&replaced), &of_pod("cut-off"), order, ids())),
        "WrongRevision"
    );
    let mut head = replaced;
    for number in 0..100 {
        head = take(&head, &format!("{number:0>36}"));
    }
    assert_eq!(head.displaced.len(), DISPLACED_KEPT);
    assert!(take(&head, &"x".repeat(65)).pod.is_empty(), "no uid");
    // A greater revision outruns all of them: they take no place any more, and claim nothing still.
    let upgraded = Claimant {
        pod: "of-revision-2",
        ..claimant("a", 2)
    };
    let head = match claim(Some(&head), &upgraded, order, ids()) {
        ClaimDecision::Replace(next) => next,
        decision => panic!("{decision:?}"),
    };
    assert!(head.displaced.is_empty(), "{:?}", head.displaced);
    let again = Order::Promoted {
        key: "again",
        from: &from,
        running_owner: None,
    };
    for order in [Order::None, again] {
        let decision = claim(Some(&head), &of_pod("cut-off"), order, ids());
        assert!(
            !matches!(decision, ClaimDecision::Replace(_)),
            "{decision:?}"
        );
    }
    // Outside of Kubernetes pods have no uid, and nothing is displaced.
    let bare = take(&take(&with_checkpoint(), ""), "");
    assert!(bare.pod.is_empty() && bare.displaced.is_empty());
}
