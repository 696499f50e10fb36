//! Restore: the job goes back, or over, to a snapshot that `spec.restoreFrom` asks for, as a new
//! revision of what the spec asks for now.
//!
//! Nothing is stopped first: the new, greater revision reads and checks the snapshot while it
//! stands by, and only the write of HEAD that names it as the restore point fences the revision
//! before. A snapshot that will not do is refused before anything is asked for, and the job runs
//! on. A value is acted on once.

use streamkeeper_api::{
    condition::{Reconciling, Stalled, sentence},
    v1alpha1::{Outcome, RestoreRequest, SnapshotPhase, Step, Transition, TransitionKind},
};

use crate::plan::reasons::{Problem, WaitingFor};
use crate::plan::units::time;
use crate::transitions::standby;
use crate::upkeep::cleanup;
use crate::{
    observed::facts::{Fact, SnapshotFacts},
    plan::{
        action::EventKind,
        ownership::{Desired, Ownership},
        plan_builder::{PlanBuilder, Verdict},
        preparation::Preparation,
    },
    revision::record::RevisionRecord,
    transitions::standby::Promotion,
};

/// What became of what `spec.restoreFrom` asks for, if that was tried and failed.
pub(crate) fn failed_restore<'a>(plan: &'a PlanBuilder<'_>) -> Option<&'a RestoreRequest> {
    let asked = plan.input.job.spec.restore_from.as_ref()?;
    let done = plan.status.restore_from.as_ref()?;
    (done.result == Outcome::Failed && done.value == asked.value()).then_some(done)
}

/// Why this content did not go on from where `spec.restoreFrom` says. It is not rolled out on
/// the state that was to be left.
pub(crate) fn not_restored(plan: &PlanBuilder<'_>, wanted: &RevisionRecord) -> Option<String> {
    let failed = failed_restore(plan)?;
    (failed.content == Some(wanted.try_hash())).then(|| failed.message.clone())
}

/// With other content, a restore that failed is tried again.
fn is_another_try(plan: &PlanBuilder<'_>) -> bool {
    let failed = failed_restore(plan).and_then(|failed| failed.content.as_ref());
    let wanted = plan.wanted.record().map(RevisionRecord::try_hash);
    failed
        .zip(wanted)
        .is_some_and(|(failed, wanted)| *failed != wanted)
}

/// Where the snapshot lies that `spec.restoreFrom` asks for and that was not acted on yet, or
/// why that is not known.
pub(crate) fn requested(plan: &PlanBuilder<'_>) -> Option<Result<String, Verdict>> {
    let asked = plan.input.job.spec.restore_from.as_ref()?;
    let done = plan.status.restore_from.as_ref();
    if done.is_some_and(|done| done.value == asked.value()) && !is_another_try(plan) {
        return None;
    }
    if let Some(uri) = &asked.uri {
        return Some(Ok(uri.clone()));
    }
    let name = asked
        .snapshot_ref
        .as_ref()
        .map_or("", |snapshot| &snapshot.name);
    let stalled = |message: Problem| Err(Verdict::Stalled(Stalled::SnapshotNotFound, message));
    let waiting = |message: WaitingFor| Err(Verdict::Reconciling(Reconciling::Restoring, message));
    Some(match &plan.input.observed.restore_source {
        Fact::Unknown(unknown) => waiting(WaitingFor::Snapshot {
            name: name.to_owned(),
            why: unknown.why.clone(),
        }),
        Fact::Known(None) => stalled(Problem::NoSnapshot {
            name: name.to_owned(),
        }),
        Fact::Known(Some(found)) => match (found.phase, &found.uri) {
            (Some(SnapshotPhase::Completed | SnapshotPhase::Verifying), Some(uri)) => {
                match other_store(plan, found) {
                    None => Ok(uri.clone()),
                    Some([there, here]) => stalled(Problem::SnapshotElsewhere {
                        name: name.to_owned(),
                        there,
                        here,
                    }),
                }
            }
            (Some(SnapshotPhase::Failed), _) => stalled(Problem::SnapshotFailed {
                name: name.to_owned(),
                why: found.message.clone(),
            }),
            (Some(SnapshotPhase::Deleting), _) => stalled(Problem::SnapshotDeleted {
                name: name.to_owned(),
            }),
            (
                None
                | Some(
                    SnapshotPhase::Pending
                    | SnapshotPhase::InProgress
                    | SnapshotPhase::Completed
                    | SnapshotPhase::Verifying,
                ),
                _,
            ) => waiting(WaitingFor::SnapshotComplete {
                name: name.to_owned(),
            }),
        },
    })
}

/// The store that a snapshot lies in, and the job's, if that is another one: workers know one
/// endpoint.
fn other_store(plan: &PlanBuilder<'_>, found: &SnapshotFacts) -> Option<[String; 2]> {
    let storage = &plan.wanted.record()?.storage;
    let told = |endpoint: Option<&String>| endpoint.map_or("Amazon S3", String::as_str).to_owned();
    (!storage.is_in_store(found.endpoint.as_deref()))
        .then(|| [found.endpoint.as_ref(), storage.endpoint.as_ref()].map(told))
}

/// Notes that the value of `spec.restoreFrom` was acted on, so that it is not acted on again.
pub(crate) fn acted_on_restore(plan: &mut PlanBuilder<'_>, result: Outcome, message: &str) {
    if let Some(asked) = &plan.input.job.spec.restore_from {
        plan.status.restore_from = Some(RestoreRequest {
            value: asked.value(),
            result,
            time: time(plan.input.now),
            message: message.to_owned(),
            content: plan.wanted.record().map(RevisionRecord::try_hash),
        });
    }
}

/// Begins to go to the snapshot in `folder`.
pub(crate) fn begin(plan: &mut PlanBuilder<'_>, current: u64, folder: String) -> Verdict {
    if let Desired::Invalid(why) = &plan.wanted {
        return Verdict::Stalled(Stalled::InvalidSpec, Problem::Reported(why.clone()));
    }
    if let Desired::Unknown(why) = &plan.wanted {
        return restoring(WaitingFor::SqlText { why: why.clone() });
    }
    let to = plan.next_revision();
    let mut transition = plan.begin(TransitionKind::Restore, Some(current), Some(to));
    let message = WaitingFor::Restore {
        folder: folder.clone(),
        to,
    };
    transition.restores = Some(folder);
    plan.set_transition(transition);
    restoring(message)
}

pub(crate) fn plan(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let (Some(from), Some(to), Some(folder)) =
        (transition.from, transition.to, transition.restores.clone())
    else {
        return plan.start_over(transition, Reconciling::Restoring);
    };
    match transition.step {
        Step::Preparing => preparing(plan, transition, from, to, &folder),
        Step::Promoting => promoting(plan, transition, to, &folder),
        Step::Retiring => retiring(plan, transition, to),
        Step::HandingOver
        | Step::Verifying
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking
        | Step::Stopping
        | Step::Removing => plan.start_over(transition, Reconciling::Restoring),
    }
}

fn restoring(message: WaitingFor) -> Verdict {
    Verdict::Reconciling(Reconciling::Restoring, message)
}

/// Ends a restore that is not what is asked for any more; nothing has changed yet.
fn reconsider(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
    folder: &str,
) -> Option<Verdict> {
    let other_place = match requested(plan) {
        Some(Ok(asked)) => asked != folder,
        // It was there when this began, and its objects decide.
        Some(Err(_)) => false,
        None => true,
    };
    let other_spec = match (plan.wanted.record(), &plan.input.revision(to).record) {
        (Some(wanted), Some(prepared)) => !prepared.is_same_try(wanted),
        (None, _) | (_, None) => false,
    };
    let why = if plan.input.job.spec.suspend {
        "spec.suspend was set"
    } else if other_place {
        "spec.restoreFrom changed"
    } else if other_spec {
        "the spec changed"
    } else {
        return None;
    };
    plan.finish(transition, Outcome::Cancelled, why);
    Some(restoring(WaitingFor::RestoreCancelled {
        to,
        why: why.to_owned(),
    }))
}

fn give_up(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
    reason: Stalled,
    why: &str,
) -> Verdict {
    let message = Problem::NotRestored {
        to,
        sentence: sentence(why),
    };
    acted_on_restore(plan, Outcome::Failed, &message.to_string());
    plan.finish(transition, Outcome::Failed, message.clone());
    Verdict::Stalled(reason, message)
}

/// What keeps the new revision from being ready, if something does. A runtime from before it could
/// be asked about a snapshot checks the newest checkpoint only; there the promotion finds out.
fn unready(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Option<Verdict> {
    let workers = plan.replicas();
    match standby::preparation(plan, transition, to) {
        Preparation::Ready => None,
        Preparation::Broken {
            reason: Stalled::StateIncompatible,
            ..
        } if !is_about_a_snapshot(plan, to) => None,
        Preparation::Missing => {
            standby::bring_up(plan, to, workers);
            Some(restoring(WaitingFor::Pods { to }))
        }
        Preparation::Waiting { trouble, message } => {
            standby::bring_up(plan, to, workers);
            let message = WaitingFor::Prepared {
                to,
                why: message.clone(),
            };
            Some(standby::not_ready(
                plan,
                trouble,
                Reconciling::Restoring,
                message,
            ))
        }
        Preparation::Broken { reason, message } => {
            Some(give_up(plan, transition, to, reason, &message))
        }
    }
}

fn is_about_a_snapshot(plan: &PlanBuilder<'_>, to: u64) -> bool {
    let preflight = plan.input.revision(to).preflight.known();
    preflight.is_some_and(|preflight| preflight.from.is_some())
}

fn preparing(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
    folder: &str,
) -> Verdict {
    if let Some(verdict) = reconsider(plan, transition, to, folder) {
        return verdict;
    }
    standby::repair(plan, from);
    if let Some(verdict) = unready(plan, transition, to) {
        return verdict;
    }
    plan.advance(transition, Step::Promoting);
    restoring(WaitingFor::ReadyToRestore { to })
}

fn promoting(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    to: u64,
    folder: &str,
) -> Verdict {
    let undecided = matches!(plan.ownership, Ownership::Unknown { .. });
    if !undecided && !plan.ownership.is_run_by(to) {
        if let Some(verdict) = reconsider(plan, transition, to, folder) {
            return verdict;
        }
        if let Some(verdict) = unready(plan, transition, to) {
            return verdict;
        }
    }
    let workers = plan
        .input
        .revision(to)
        .stateful_set
        .map_or_else(|| plan.replicas(), |set| set.replicas.max(1));
    match standby::promote(plan, transition, to, workers) {
        Promotion::Done => {
            let message = WaitingFor::Restored {
                to,
                folder: folder.to_owned(),
            };
            acted_on_restore(plan, Outcome::Succeeded, &message.to_string());
            plan.advance(transition, Step::Retiring);
            restoring(message)
        }
        Promotion::Refused(Verdict::Stalled(reason, why))
        | Promotion::Pending(Verdict::Stalled(
            reason @ (Stalled::StateIncompatible
            | Stalled::InvalidSql
            | Stalled::SnapshotNotFound
            | Stalled::RestoreFailed),
            why,
        )) => give_up(plan, transition, to, reason, &why.to_string()),
        Promotion::Refused(verdict) | Promotion::Pending(verdict) => verdict,
    }
}

fn retiring(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Verdict {
    if !cleanup::others_gone(plan, to) {
        return restoring(WaitingFor::OldPods { to });
    }
    let folder = transition.restores.as_deref().unwrap_or_default();
    let message = WaitingFor::RestoredRuns {
        to,
        folder: folder.to_owned(),
    };
    plan.finish(transition, Outcome::Succeeded, message.clone());
    plan.emit_event(EventKind::Normal, "JobRestored", message.clone());
    restoring(message)
}
