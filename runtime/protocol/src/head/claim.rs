//! Decides which process may run a job.

use streamkeeper_guard::guard;

use super::{
    DISPLACED_KEPT, HEAD_FORMAT, Head, Import, OperationKind, OperationRecord, OperationResult,
    RunState, change::remember_operation, import::retire_restore_point,
};
use crate::job_api::PromoteFrom;

/// A process that could run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant<'a> {
    /// Uid of its StreamJob.
    pub job_uid: &'a str,
    /// Its revision.
    pub revision: u64,
    /// Hash of the plan it compiled.
    pub plan_hash: &'a str,
    /// Key groups it would run with.
    pub max_parallelism: u16,
    /// Workers it would run on. A restart without an order keeps the number that HEAD remembers.
    pub workers: u32,
    /// Uid of its pod; empty outside of Kubernetes.
    pub pod: &'a str,
}

/// Longest uid of a pod that HEAD keeps, in bytes; those of Kubernetes have 36.
const POD_LIMIT: usize = 64;

/// Why a process claims the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'a> {
    /// It started, or it watches HEAD.
    None,
    /// The operator promoted it.
    Promoted {
        /// Idempotency key of the call; a key that HEAD already knows is not a new order.
        key: &'a str,
        /// Where to start from.
        from: &'a PromoteFrom,
        /// Uid of another StreamJob whose HEAD may be taken over although that HEAD is not stopped.
        running_owner: Option<&'a str>,
    },
}

/// Fresh identifiers for the record that a claim would write. The caller provides the randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids<'a> {
    /// Unique per write.
    pub nonce: &'a str,
    /// Unique per attempt.
    pub token: &'a str,
    /// Used only when a lineage begins: with HEAD, or where a job starts over beside another one's
    /// HEAD.
    pub lineage: &'a str,
}

/// Decision about a process that could run a job.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimDecision {
    /// There is no HEAD: write this one with `If-None-Match: *`.
    Create(Head),
    /// Write this one with `If-Match`; only after that anything may be restored or committed.
    Replace(Head),
    /// Copy the ordered savepoint to the place that the import names, then write the record that
    /// [`Import::with`] returns. Before that write nothing has happened.
    Import(Import),
    /// Run nothing and watch HEAD.
    StandBy {
        /// For people.
        why: String,
    },
    /// The operator's order cannot be followed.
    Refuse {
        /// Code of [`crate::job_api::ApiError`].
        code: &'static str,
        /// For people.
        why: String,
    },
}

/// Ruling about one HEAD and one claimant, before the new record is built.
enum Ruling {
    Take,
    Not { code: &'static str, why: String },
}

/// Decides whether `claimant` may run the job whose record is `head` (none: there is no such
/// object; a HEAD that could not be read is not a missing one).
///
/// By itself a process claims only what HEAD gives it: as the running revision (a restart) or as
/// the named successor. Everything else needs an order. Every claim has a greater attempt than all
/// before.
pub fn claim(
    head: Option<&Head>,
    claimant: &Claimant<'_>,
    order: Order<'_>,
    ids: Ids<'_>,
) -> ClaimDecision {
    let Some(head) = head else {
        return first_claim(claimant, order, ids);
    };
    if !guard!("a displaced pod never claims": !head.displaced.iter().any(|pod| pod == claimant.pod))
    {
        let why = format!(
            "pod {} was displaced: another pod took the job from it, so this one never runs it again",
            claimant.pod
        );
        return match order {
            Order::None => ClaimDecision::StandBy { why },
            Order::Promoted { .. } => ClaimDecision::Refuse {
                code: "WrongRevision",
                why,
            },
        };
    }
    let order = match order {
        Order::Promoted { key, .. } => match head.operation(key) {
            Some(known) if !guard!("a key stands for one order": known.kind == OperationKind::Promote) =>
            {
                let why = format!("idempotency key '{key}' was used for another call");
                return ClaimDecision::Refuse {
                    code: "KeyReused",
                    why,
                };
            }
            Some(_) => guard!("an order is followed once": Order::None, else order),
            None => order,
        },
        Order::None => order,
    };
    let ruling = match order {
        Order::None => unordered(head, claimant),
        Order::Promoted {
            from,
            running_owner,
            ..
        } => promoted(head, claimant, from, running_owner),
    };
    let goes_on = head.last.is_some() && !starts_over(order);
    let ruling = match ruling {
        Ruling::Take
            if goes_on
                && !guard!("key groups stay once there is state": head.max_parallelism == claimant.max_parallelism) =>
        {
            refuse(
                "StateIncompatible",
                format!(
                    "the state has {} key groups, this revision wants {}: maxParallelism cannot \
                     change while there is state",
                    head.max_parallelism, claimant.max_parallelism
                ),
            )
        }
        other => other,
    };
    match (ruling, order) {
        (Ruling::Take, _) => {
            let next = taken(head, claimant, order, ids);
            if brings_savepoint(order) {
                ClaimDecision::Import(Import::into_head(next))
            } else {
                ClaimDecision::Replace(next)
            }
        }
        (Ruling::Not { why, .. }, Order::None) => ClaimDecision::StandBy { why },
        (Ruling::Not { code, why }, Order::Promoted { .. }) => ClaimDecision::Refuse { code, why },
    }
}

fn first_claim(claimant: &Claimant<'_>, order: Order<'_>, ids: Ids<'_>) -> ClaimDecision {
    let Order::Promoted { key, from, .. } = order else {
        let why = "the job has no HEAD yet: waiting to be promoted".to_owned();
        return ClaimDecision::StandBy { why };
    };
    match from {
        PromoteFrom::Empty => ClaimDecision::Create(first_head(claimant, key, ids)),
        PromoteFrom::Savepoint { .. } => {
            ClaimDecision::Import(Import::with_new_head(first_head(claimant, key, ids)))
        }
        PromoteFrom::Head | PromoteFrom::TakeOver | PromoteFrom::Fresh => {
            let why =
                "there is no HEAD to start from; a first start is promoted from Empty".to_owned();
            ClaimDecision::Refuse {
                code: "HeadMissing",
                why,
            }
        }
    }
}

fn first_head(claimant: &Claimant<'_>, key: &str, ids: Ids<'_>) -> Head {
    Head {
        v: HEAD_FORMAT,
        min_reader: HEAD_FORMAT,
        seq: 1,
        nonce: ids.nonce.to_owned(),
        lineage: ids.lineage.to_owned(),
        job_uid: claimant.job_uid.to_owned(),
        revision: claimant.revision,
        attempt: 1,
        token: ids.token.to_owned(),
        pod: remembered(claimant.pod).to_owned(),
        displaced: Vec::new(),
        state: RunState::Running,
        plan_hash: claimant.plan_hash.to_owned(),
        max_parallelism: claimant.max_parallelism,
        workers: claimant.workers,
        next_checkpoint: 1,
        last: None,
        retained: Vec::new(),
        left: None,
        savepoints: Vec::new(),
        operations: vec![promotion(key, None)],
    }
}

/// Whether the order retires HEAD's restore point.
fn starts_over(order: Order<'_>) -> bool {
    matches!(
        order,
        Order::Promoted {
            from: PromoteFrom::Savepoint { .. } | PromoteFrom::Fresh,
            ..
        }
    )
}

fn brings_savepoint(order: Order<'_>) -> bool {
    matches!(
        order,
        Order::Promoted {
            from: PromoteFrom::Savepoint { .. },
            ..
        }
    )
}

fn refuse(code: &'static str, why: String) -> Ruling {
    Ruling::Not { code, why }
}

/// Decides for a process without an order.
fn unordered(head: &Head, claimant: &Claimant<'_>) -> Ruling {
    if !guard!("the state of another job gives nothing": head.job_uid == claimant.job_uid) {
        return refuse("StateInUse", another_job(head));
    }
    match head.state {
        RunState::Running if guard!("only who runs restarts by itself": claimant.revision == head.revision) => {
            Ruling::Take
        }
        RunState::HandingOver { to } if guard!("only the named successor claims by itself": claimant.revision == to) => {
            Ruling::Take
        }
        state => refuse(
            "NotRunning",
            format!("revision {} is {}", head.revision, state.describe()),
        ),
    }
}

/// Decides for a process with an order.
fn promoted(
    head: &Head,
    claimant: &Claimant<'_>,
    from: &PromoteFrom,
    running_owner: Option<&str>,
) -> Ruling {
    if !guard!("what exists is not started from nothing": *from != PromoteFrom::Empty) {
        let why =
            "HEAD exists: a start from nothing would lose its state; promote from Head".to_owned();
        return refuse("HeadExists", why);
    }
    if head.job_uid != claimant.job_uid {
        return promoted_over_another(head, from, running_owner);
    }
    if !guard!("what is one's own is not left behind unasked": *from != PromoteFrom::Fresh) {
        let why = "HEAD is this job's own: a start from nothing would lose its state; promote from \
                   Head, or from a savepoint";
        return refuse("HeadExists", why.to_owned());
    }
    if !guard!("a revision never comes back": claimant.revision >= head.revision) {
        let why = format!(
            "revision {} is older than revision {}, which ran already; a rollback is a new revision",
            claimant.revision, head.revision
        );
        return refuse("WrongRevision", why);
    }
    let same_revision = claimant.revision == head.revision;
    match head.state {
        RunState::HandingOver { to } if !guard!("who handed over never runs again": !same_revision) =>
        {
            let why = format!(
                "revision {} has handed over to revision {to}; a rollback is a new revision",
                head.revision
            );
            refuse("WrongRevision", why)
        }
        RunState::Running
            if matches!(from, PromoteFrom::Savepoint { .. })
                && !guard!("a job that runs is restored as another revision": !same_revision) =>
        {
            let why = format!(
                "HEAD says that revision {} runs the job; a restore of a running job is a new revision",
                head.revision
            );
            refuse("WrongRevision", why)
        }
        state @ (RunState::Completed | RunState::Released) if !guard!("only a take-over goes on from an end": *from != PromoteFrom::Head) => {
            refuse(
                "NotRunning",
                format!(
                    "the job is {}; only TakeOver goes on from it",
                    state.describe()
                ),
            )
        }
        RunState::Running
        | RunState::Stopped
        | RunState::HandingOver { .. }
        | RunState::Completed
        | RunState::Released => Ruling::Take,
    }
}

/// Like `promoted`, for a HEAD that another StreamJob left.
fn promoted_over_another(head: &Head, from: &PromoteFrom, running_owner: Option<&str>) -> Ruling {
    let running = matches!(head.state, RunState::Running | RunState::HandingOver { .. });
    match from {
        PromoteFrom::Empty | PromoteFrom::Head => refuse(
            "StateInUse",
            format!("{}: only TakeOver may claim it", another_job(head)),
        ),
        PromoteFrom::TakeOver | PromoteFrom::Savepoint { .. } | PromoteFrom::Fresh
            if running
                && !guard!("what another job runs is taken only by name": running_owner == Some(head.job_uid.as_str())) =>
        {
            refuse(
                "StateInUse",
                format!("{}, and is not stopped", another_job(head)),
            )
        }
        PromoteFrom::TakeOver | PromoteFrom::Savepoint { .. } | PromoteFrom::Fresh => Ruling::Take,
    }
}

fn another_job(head: &Head) -> String {
    format!(
        "this state belongs to the StreamJob with uid {}",
        head.job_uid
    )
}

fn promotion(key: &str, checkpoint: Option<u64>) -> OperationRecord {
    OperationRecord {
        key: key.to_owned(),
        kind: OperationKind::Promote,
        result: OperationResult::Done {
            checkpoint,
            uri: None,
        },
        release: false,
    }
}

/// The uid of a pod as HEAD holds it; a text that is too long is treated as no uid.
fn remembered(pod: &str) -> &str {
    if pod.len() > POD_LIMIT { "" } else { pod }
}

/// Records the pod that claims, and the one before it as displaced. A pod that claims again after a
/// restart of its container displaces nothing. Pods of a revision that is `outrun` by a greater one
/// never claim again, so none of them takes a place in the list.
fn displace(head: &mut Head, pod: &str, outrun: bool) {
    let before = std::mem::replace(&mut head.pod, pod.to_owned());
    if guard!("a pod of an older revision takes no place in the list": outrun, else false) {
        head.displaced.clear();
    } else if !before.is_empty() && before != pod {
        head.displaced.insert(0, before);
        head.displaced.truncate(DISPLACED_KEPT);
    }
}

/// The record of a new owner: next attempt, same restore point, or none where the order starts
/// over.
fn taken(head: &Head, claimant: &Claimant<'_>, order: Order<'_>, ids: Ids<'_>) -> Head {
    let mut next = head.clone();
    next.v = HEAD_FORMAT;
    next.min_reader = HEAD_FORMAT;
    next.seq += 1;
    ids.nonce.clone_into(&mut next.nonce);
    let restart = matches!(order, Order::None) && claimant.revision == head.revision;
    if !guard!("a restart keeps its workers": restart, else false) || head.workers == 0 {
        next.workers = claimant.workers;
    }
    if starts_over(order) {
        if claimant.job_uid != head.job_uid {
            ids.lineage.clone_into(&mut next.lineage);
        }
        retire_restore_point(&mut next);
    }
    let outrun = claimant.job_uid == head.job_uid && claimant.revision > head.revision;
    claimant.job_uid.clone_into(&mut next.job_uid);
    next.revision = claimant.revision;
    next.attempt += guard!("every claim is a new attempt": 1, else 0);
    ids.token.clone_into(&mut next.token);
    displace(&mut next, remembered(claimant.pod), outrun);
    next.state = RunState::Running;
    if next.last.is_none() {
        claimant.plan_hash.clone_into(&mut next.plan_hash);
        next.max_parallelism = claimant.max_parallelism;
    }
    for operation in &mut next.operations {
        // Any owner can finish a savepoint that HEAD names. A stop that requested one can be
        // finished only by a restart of the revision that was to stop. All other operations ended
        // with their process.
        let named = next
            .savepoints
            .iter()
            .any(|savepoint| savepoint.key == operation.key);
        let survives = named
            && (operation.kind != OperationKind::Stop
                || guard!("a stop ends only what it was asked to end": restart));
        let open = operation.result == OperationResult::Running;
        if guard!("what died with its process has failed": open, else false)
            && guard!("a named savepoint goes on": !survives)
        {
            let why = "its coordinator ended before it was finished; the job restarted".to_owned();
            operation.result = OperationResult::Failed { why };
        }
    }
    if let Order::Promoted { key, .. } = order {
        let checkpoint = next.last.as_ref().map(|last| last.checkpoint);
        // No operation is in progress that could fill the list: the loop above ended all of them.
        let _ = remember_operation(&mut next.operations, promotion(key, checkpoint));
    }
    next
}
