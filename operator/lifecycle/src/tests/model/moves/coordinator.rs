//! Coordinators claim, run and end as the real rules of HEAD let them.

use streamkeeper_protocol::{
    head::{
        Begun, ClaimDecision, Claimant, Head, HeadChange, HeadError, Ids, OperationResult, Order,
        claim,
    },
    job_api::PromoteFrom,
};

use crate::tests::model::{
    Rules, Step,
    moves::{Claims, Moved, Who},
    translate::{self, UID, last_checkpoint},
    world::{
        Call, Key, Kind, Origin, Outcome, Pod, Process, Record, Role, Stands, World, compiles,
        works,
    },
};

/// Whether the workers that a coordinator needs are there.
fn staffed(world: &World, who: Who, revision: u8, workers: u8) -> bool {
    match who {
        Who::InPod(_) => world.revisions[usize::from(revision) - 1].pods[..usize::from(workers)]
            .iter()
            .all(|pod| *pod == Pod::Up),
        Who::Zombie => workers == 1,
    }
}

pub(super) fn coordinator(
    world: &World,
    who: Who,
    rules: Rules,
    claims: &mut Claims,
    out: &mut Vec<(Step, Moved)>,
) {
    let Some((revision, process)) = world.process(who) else {
        return;
    };
    let Some(content) = world.used[usize::from(revision) - 1].checked_sub(1) else {
        return;
    };
    if !compiles(content) || world.storage_down {
        return;
    }
    let own = world
        .head
        .is_some_and(|head| head.attempt == process.attempt);
    let change = |step: Step, process: Process| {
        let mut next = world.clone();
        next.put(who, process);
        (step, Ok(next))
    };
    match process.role {
        Role::Standby | Role::Stopped => {
            let workers = world.revisions[usize::from(revision) - 1].set.unwrap_or(1);
            let taken = *claims
                .entry((world.head, revision, workers))
                .or_insert_with(|| {
                    let head = world.head.as_ref().map(translate::head);
                    match asks(head.as_ref(), revision, workers, Order::None) {
                        ClaimDecision::Create(next) | ClaimDecision::Replace(next) => {
                            Some(translate::record(&next))
                        }
                        ClaimDecision::StandBy { .. }
                        | ClaimDecision::Refuse { .. }
                        | ClaimDecision::Import(_) => None,
                    }
                });
            if let Some(record) = taken {
                let step = Step::Claims(who);
                out.push((step, leads(world, who, process, record)));
            }
        }
        Role::Waiting | Role::Running | Role::Failed if !own => {
            let (step, mut fenced) = change(Step::Fenced(who), Process::NEW);
            if let (Who::Zombie, Ok(next)) = (who, &mut fenced) {
                next.zombie = None;
            }
            out.push((step, fenced));
            if !rules.fence && process.role == Role::Running && world.head.is_some() {
                let mut next = world.clone();
                let written = next.write(Record {
                    revision,
                    attempt: process.attempt,
                    state: Stands::Running,
                    workers: process.workers,
                    saved: true,
                    operations: [None; crate::tests::model::world::REMEMBERED],
                });
                out.push((Step::Checkpoint(who), written.map(|()| next)));
            }
        }
        Role::Waiting if staffed(world, who, revision, process.workers) => {
            let role = if works(content) {
                Role::Running
            } else {
                Role::Failed
            };
            out.push(change(Step::Runs(who), Process { role, ..process }));
            ends(world, who, revision, process, false, out);
        }
        Role::Waiting => ends(world, who, revision, process, false, out),
        Role::Running if !staffed(world, who, revision, process.workers) => {
            out.push((
                Step::Restarts(who),
                restarts(world, who, process, process.workers, None),
            ));
        }
        Role::Running => {
            let saved = world.head.is_some_and(|head| head.saved);
            if !process.saved || !saved {
                let written = owner(world).and_then(|change| publish(change).map_err(say));
                out.push((
                    Step::Checkpoint(who),
                    written.and_then(|change| {
                        let mut next = world.clone();
                        next.put(
                            who,
                            Process {
                                saved: true,
                                ..process
                            },
                        );
                        next.write(sealed(change)?)?;
                        Ok(next)
                    }),
                ));
            }
            ends(world, who, revision, process, true, out);
        }
        Role::Failed => {}
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err calls it")]
fn say(error: HeadError) -> String {
    format!("an owner may not: {error}")
}

fn owner(world: &World) -> Result<HeadChange, String> {
    let head = world.head.as_ref().ok_or("no HEAD")?;
    Ok(translate::head(head).change())
}

fn publish(change: HeadChange) -> Result<HeadChange, HeadError> {
    let checkpoint = change.head().next_checkpoint;
    let last = streamkeeper_protocol::head::LastCheckpoint {
        committed: false,
        ..last_checkpoint(checkpoint)
    };
    let (change, _) = change.publish(last, "plan", 1)?;
    change.committed(checkpoint)
}

fn sealed(change: HeadChange) -> Result<Record, String> {
    Ok(translate::record(&change.seal("n").map_err(say)?))
}

fn asks(head: Option<&Head>, revision: u8, workers: u8, order: Order<'_>) -> ClaimDecision {
    let claimant = Claimant {
        job_uid: UID,
        revision: revision.into(),
        plan_hash: "plan",
        max_parallelism: 128,
        workers: workers.into(),
        pod: "",
    };
    let ids = Ids {
        nonce: "n",
        token: "t",
        lineage: "l",
    };
    claim(head, &claimant, order, ids)
}

fn leads(world: &World, who: Who, process: Process, record: Record) -> Moved {
    let mut next = world.clone();
    next.put(
        who,
        Process {
            role: Role::Waiting,
            attempt: record.attempt,
            workers: record.workers,
            saved: false,
            asked: None,
            ..process
        },
    );
    next.write(record)?;
    Ok(next)
}

/// No record flows: HEAD names another number of workers, and the attempt waits for those instead.
fn rescales_at_rest(world: &World, who: Who, process: Process, workers: u8, key: Key) -> Moved {
    let change = owner(world)?.on_workers(workers.into());
    let record = sealed(noted(change, key, Kind::Rescale).map_err(say)?)?;
    let mut next = world.clone();
    next.put(
        who,
        Process {
            workers,
            operation: Some((key, Outcome::Done)),
            asked: None,
            ..process
        },
    );
    next.write(record)?;
    Ok(next)
}

/// The graph starts again under the next attempt, perhaps on other workers.
fn restarts(
    world: &World,
    who: Who,
    process: Process,
    workers: u8,
    done: Option<(Key, Kind)>,
) -> Moved {
    let mut change = owner(world)?;
    if done.is_some() {
        change = publish(change).map_err(say)?.on_workers(workers.into());
    }
    let mut change = change.new_attempt("t").map_err(say)?;
    if let Some((key, kind)) = done {
        change = noted(change, key, kind).map_err(say)?;
    }
    let record = sealed(change)?;
    let mut next = world.clone();
    let (operation, asked) = match done {
        Some((key, _)) => (Some((key, Outcome::Done)), None),
        // What it was asked for, it still has to do.
        None => (process.operation, process.asked),
    };
    next.put(
        who,
        Process {
            role: Role::Waiting,
            attempt: record.attempt,
            workers,
            saved: false,
            operation,
            asked,
        },
    );
    next.write(record)?;
    Ok(next)
}

fn noted(change: HeadChange, key: Key, kind: Kind) -> Result<HeadChange, HeadError> {
    let text = translate::word(key);
    let result = OperationResult::Done {
        checkpoint: Some(5),
        uri: None,
    };
    match change.clone().begin_operation(&text, kind.kind())? {
        Begun::New(change) => change.finish_operation(&text, result),
        Begun::Known(_) => Ok(change),
    }
}

/// Does what it was asked for; it may fail.
fn ends(
    world: &World,
    who: Who,
    revision: u8,
    process: Process,
    flows: bool,
    out: &mut Vec<(Step, Moved)>,
) {
    let (Some(asked), Some((key, _))) = (process.asked, process.operation) else {
        return;
    };
    let failed = || {
        let mut next = world.clone();
        next.put(
            who,
            Process {
                operation: Some((key, Outcome::Failed)),
                asked: None,
                ..process
            },
        );
        next
    };
    let change = || {
        let change = owner(world)?;
        if flows {
            publish(change).map_err(say)
        } else {
            Ok(change)
        }
    };
    match asked {
        Call::Rescale { workers } => {
            if flows && staffed(world, who, revision, workers) {
                let done = Some((key, Kind::Rescale));
                out.push((
                    Step::Does(who),
                    restarts(world, who, process, workers, done),
                ));
            } else if flows {
                // They do not register in time.
                out.push((Step::Fails(who), Ok(failed())));
            } else {
                out.push((
                    Step::Does(who),
                    rescales_at_rest(world, who, process, workers, key),
                ));
            }
        }
        Call::HandOver { .. } | Call::Stop { .. } => {
            let (kind, ended) = match asked {
                Call::HandOver { to } => (
                    Kind::HandOver,
                    change().map(|change| change.hand_over(to.into())),
                ),
                Call::Stop { release } => (Kind::Stop, change().map(|change| change.stop(release))),
                Call::Promote { .. } | Call::Rescale { .. } => return,
            };
            let moved = match ended {
                Err(why) => Err(why),
                // Refused by the rules: it runs on.
                Ok(Err(_)) => Ok(failed()),
                Ok(Ok(change)) => noted(change, key, kind).map_err(say).and_then(|change| {
                    let mut next = world.clone();
                    next.put(
                        who,
                        Process {
                            role: Role::Stopped,
                            attempt: 0,
                            operation: Some((key, Outcome::Done)),
                            asked: None,
                            ..process
                        },
                    );
                    next.write(sealed(change)?)?;
                    Ok(next)
                }),
            };
            out.push((Step::Does(who), moved));
            if world.faults > 0 && flows {
                let mut next = failed();
                next.faults -= 1;
                out.push((Step::Fails(who), Ok(next)));
            }
        }
        Call::Promote { .. } => {}
    }
}

/// What a coordinator makes of a call; none when no coordinator takes it. The flag: whether it
/// was refused.
pub(in crate::tests::model) fn command(
    world: &World,
    revision: u8,
    key: Key,
    call: Call,
) -> Result<Option<(World, bool)>, String> {
    let who = Who::InPod(revision);
    let Some((_, process)) = world.process(who) else {
        return Ok(None);
    };
    let mut next = world.clone();
    let in_head = world.head.iter().flat_map(|head| head.operations);
    let known = in_head.flatten().any(|(known, _, _)| known == key)
        || process.operation.is_some_and(|(known, _)| known == key);
    if known {
        return Ok(Some((next, false)));
    }
    let content = world.used[usize::from(revision) - 1].saturating_sub(1);
    if !compiles(content) || (world.storage_down && !process.leads()) {
        return Ok(Some((next, true)));
    }
    match call {
        Call::Promote { from, workers } if !process.leads() => {
            let from = match from {
                Origin::Empty => PromoteFrom::Empty,
                Origin::Head => PromoteFrom::Head,
                Origin::TakeOver => PromoteFrom::TakeOver,
            };
            let text = translate::word(key);
            let order = Order::Promoted {
                key: &text,
                from: &from,
                running_owner: None,
            };
            let head = world.head.as_ref().map(translate::head);
            match asks(head.as_ref(), revision, workers, order) {
                ClaimDecision::Create(taken) | ClaimDecision::Replace(taken) => {
                    let next = leads(world, who, process, translate::record(&taken))?;
                    Ok(Some((next, false)))
                }
                ClaimDecision::StandBy { .. }
                | ClaimDecision::Refuse { .. }
                | ClaimDecision::Import(_) => Ok(Some((next, true))),
            }
        }
        Call::Promote { from, .. } => Ok(Some((next, from == Origin::Empty))),
        Call::HandOver { .. } | Call::Stop { .. } | Call::Rescale { .. } => {
            let refused = !process.leads()
                || process.asked.is_some()
                || matches!(call, Call::HandOver { to } if to <= revision);
            if !refused {
                let process = Process {
                    operation: Some((key, Outcome::Running)),
                    asked: Some(call),
                    ..process
                };
                next.put(who, process);
            }
            Ok(Some((next, refused)))
        }
    }
}
