//! No transition is in progress: is everything as asked, and if not, which one begins?

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_api::{
    condition::{Reconciling, Stalled},
    v1alpha1::TransitionKind,
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::job_api::JobPhase;

use crate::plan::preparation;
use crate::plan::reasons::{Problem, Settled, WaitingFor};
use crate::plan::units::time;
use crate::snapshots::automatic;
use crate::transitions::standby;
use crate::{
    plan::{
        action::{Action, EventKind},
        ownership::{Desired, Ownership},
        plan_builder::{PlanBuilder, Verdict},
        spec_change::{Change, classify},
    },
    status::health::{health, paused},
    transitions::{deploy, rescale, restore},
};

/// Contents of revisions kept without pods.
const REVISIONS_KEPT: usize = 10;
/// How soon to ask a job that runs as asked how it does; what happens to its pods is seen at once.
const QUIET: Duration = Duration::from_secs(30);
/// How soon to look at a job that runs nowhere.
const AT_REST: Duration = Duration::from_mins(1);
/// How soon to look at a job that waits for a person.
const STALLED: Duration = Duration::from_secs(5);

pub(crate) fn plan(plan: &mut PlanBuilder<'_>) -> Verdict {
    let verdict = if plan.input.job.spec.suspend {
        suspended(plan)
    } else {
        match plan.current() {
            None => first_start(plan),
            Some(current) => ran_before(plan, current),
        }
    };
    forget_old_revisions(plan);
    let verdict = save(plan, verdict);
    if plan.status.transition.is_none() {
        plan.requeue = match &verdict {
            Verdict::Ready(_) => QUIET,
            Verdict::Suspended(_) | Verdict::Completed(_) => AT_REST,
            Verdict::Stalled(..) => STALLED,
            Verdict::Reconciling(..) => plan.requeue,
        };
    }
    verdict
}

/// Takes the snapshot that is due and drops old ones, while the job runs and nothing else is under
/// way.
fn save(plan: &mut PlanBuilder<'_>, verdict: Verdict) -> Verdict {
    let flows = plan
        .current()
        .and_then(|current| plan.input.report(current))
        .is_some_and(|report| report.phase == JobPhase::Running);
    if !flows || plan.status.transition.is_some() || plan.input.job.spec.suspend {
        return verdict;
    }
    automatic::drop_old_snapshots(plan);
    match (automatic::save_by_schedule(plan), verdict) {
        (Err(why), Verdict::Ready(_)) => {
            Verdict::Stalled(Stalled::InvalidSpec, Problem::Reported(why))
        }
        (_, verdict) => verdict,
    }
}

fn suspended(plan: &mut PlanBuilder<'_>) -> Verdict {
    if plan
        .input
        .observed
        .revisions
        .values()
        .all(|facts| guard!("suspended means that no pod is left": facts.is_gone()))
    {
        let state = match &plan.status.last_checkpoint {
            Some(last) => Settled::SuspendedAt {
                checkpoint: last.id,
            },
            None => Settled::SuspendedEmpty,
        };
        return Verdict::Suspended(state);
    }
    plan.begin(TransitionKind::Suspend, plan.current(), plan.current());
    Verdict::Reconciling(Reconciling::Suspending, WaitingFor::Stopping)
}

/// Nothing ever ran, as far as the status knows. Starts from nothing only when the store said that
/// there is nothing.
fn first_start(plan: &mut PlanBuilder<'_>) -> Verdict {
    match &plan.wanted {
        Desired::Known(_) => {}
        Desired::Invalid(why) => {
            return Verdict::Stalled(Stalled::InvalidSpec, Problem::Reported(why.clone()));
        }
        Desired::Unknown(why) => {
            return Verdict::Reconciling(
                Reconciling::Provisioning,
                WaitingFor::SqlText { why: why.clone() },
            );
        }
    }
    let restores = match restore::requested(plan) {
        None => None,
        Some(Ok(folder)) => Some(folder),
        Some(Err(verdict)) => return verdict,
    };
    match plan.ownership.clone() {
        // Its pods stand by, and find out; whether it starts from nothing is decided by the write
        // that claims HEAD.
        Ownership::Unknown { .. } if plan.input.observed.not_looked.is_some() => {}
        Ownership::Unknown {
            why,
            denied: Some(reason),
        } => {
            return Verdict::Stalled(reason, Problem::StorageUnread { why: why.clone() });
        }
        Ownership::Unknown { why, denied: None } => {
            return Verdict::Reconciling(
                Reconciling::Provisioning,
                WaitingFor::StateKnown { why: why.clone() },
            );
        }
        Ownership::Nothing if standby::ran_before(plan) && restores.is_none() => {
            return standby::state_is_gone(plan);
        }
        Ownership::Foreign { uid, running, .. } => {
            if let Err(verdict) = standby::take_over(
                plan,
                TransitionKind::Deploy,
                restores.is_some(),
                &uid,
                running,
            ) {
                return verdict;
            }
        }
        // HEAD with our own uid makes the revision in it the current one before it comes to this.
        Ownership::Nothing
        | Ownership::Runs { .. }
        | Ownership::HandingOver { .. }
        | Ownership::Stopped { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. } => {}
    }
    let to = plan.next_revision();
    let mut transition = plan.begin(TransitionKind::Deploy, None, Some(to));
    transition.restores = restores;
    plan.set_transition(transition);
    Verdict::Reconciling(Reconciling::Provisioning, WaitingFor::FirstStart { to })
}

fn ran_before(plan: &mut PlanBuilder<'_>, current: u64) -> Verdict {
    let stalled = |message: Problem| Verdict::Stalled(Stalled::StateInUse, message);
    let unseen = standby::nobody_comes_to_tell(plan, current);
    let restorable = unseen
        || !matches!(
            plan.ownership,
            Ownership::Foreign { .. } | Ownership::Unknown { .. }
        );
    let unfound = match restore::requested(plan) {
        Some(Ok(folder)) if restorable => return restore::begin(plan, current, folder),
        Some(Err(verdict)) => Some(verdict),
        Some(Ok(_)) | None => None,
    };
    match plan.ownership.clone() {
        Ownership::Completed { .. } => return completed(plan),
        Ownership::Foreign { uid, .. } => {
            return stalled(Problem::StateTaken { uid });
        }
        Ownership::Nothing => return standby::state_is_gone(plan),
        Ownership::HandingOver { to, .. } if guard!("a successor that cannot come is not waited for": may_take_over(plan, to)) =>
        {
            return Verdict::Reconciling(Reconciling::HandingOver, WaitingFor::TakeOver { to });
        }
        Ownership::Stopped { .. } | Ownership::Released { .. } | Ownership::HandingOver { .. } => {
            return resume(plan, current);
        }
        Ownership::Runs { .. } => {
            // It may not know yet, and a start beside it would be taken back at once.
            let before = deploy::runs_elsewhere(plan, current);
            if let Some(other) =
                guard!("nobody is started beside an answer from before": before, else None)
            {
                return Verdict::Reconciling(
                    Reconciling::Restoring,
                    WaitingFor::OldAnswer { other, current },
                );
            }
            if !plan.input.revision(current).is_complete() {
                return restore_children(plan, current);
            }
        }
        // Pods that stand by tell what HEAD holds, and nothing runs before they have.
        Ownership::Unknown { .. } if unseen => return restore_children(plan, current),
        // A missing fact starts nothing and stops nothing.
        Ownership::Unknown { why, denied } => {
            if plan.input.revision(current).pods.is_empty() {
                let message = WaitingFor::StateReadIdle { why };
                return match denied {
                    Some(reason) => Verdict::Stalled(reason, Problem::Waits(message)),
                    None => Verdict::Reconciling(Reconciling::Restoring, message),
                };
            }
        }
    }
    changed(plan, current)
        .or(unfound)
        .unwrap_or_else(|| health(plan, current))
}

/// All input was read. The pods go soon, the object when its time is up.
fn completed(plan: &mut PlanBuilder<'_>) -> Verdict {
    let since = plan
        .status
        .completion_time
        .get_or_insert_with(|| time(plan.input.now))
        .0;
    let mut message = Settled::Done;
    if let Some(ttl) = plan.input.job.spec.ttl_after_completion {
        message = Settled::DoneUntil {
            ttl: ttl.to_string(),
        };
        if plan.input.passed(since, ttl.to_std()) {
            plan.push_action(Action::DeleteJob);
        }
    }
    Verdict::Completed(message)
}

/// Whether a named successor is worth waiting for: it is there, nothing is wrong with it, and it is
/// what is asked for.
fn may_take_over(plan: &PlanBuilder<'_>, to: u64) -> bool {
    let facts = plan.input.revision(to);
    let failed = plan
        .input
        .report(to)
        .is_some_and(|report| report.phase == JobPhase::Failed || report.error.is_some());
    let sick = preparation::problem(&plan.input, to, Timestamp::UNIX_EPOCH)
        .is_some_and(|problem| problem.lasting);
    let outdated = match (plan.wanted.record(), &facts.record) {
        (Some(wanted), Some(held)) => wanted.content != held.content,
        (None, _) | (_, None) => false,
    };
    facts.is_complete() && !failed && !sick && !outdated
}

/// Objects of the running revision are missing. What is left of it keeps its content; with nothing
/// left, what is asked for now starts.
fn restore_children(plan: &mut PlanBuilder<'_>, current: u64) -> Verdict {
    let facts = plan.input.revision(current);
    if facts.is_gone() {
        return resume(plan, current);
    }
    if facts.record.is_none() {
        return resume(plan, current);
    }
    if facts.stateful_set.is_some_and(|set| set.deleting) {
        return Verdict::Reconciling(
            Reconciling::Restoring,
            WaitingFor::StatefulSetDeletion { revision: current },
        );
    }
    standby::repair(plan, current);
    Verdict::Reconciling(
        Reconciling::Restoring,
        WaitingFor::MissingObjects { revision: current },
    )
}

/// Goes on where nothing runs: as the same revision if that is still what is asked for, else as a
/// new one.
fn resume(plan: &mut PlanBuilder<'_>, current: u64) -> Verdict {
    let same = match &plan.wanted {
        Desired::Known(wanted) => plan
            .current_record()
            .is_some_and(|held| held.content == wanted.content),
        Desired::Invalid(why) => {
            return Verdict::Stalled(Stalled::InvalidSpec, Problem::Reported(why.clone()));
        }
        Desired::Unknown(why) => {
            return Verdict::Reconciling(
                Reconciling::Resuming,
                WaitingFor::SqlText { why: why.clone() },
            );
        }
    };
    // A revision that has handed over never runs again.
    let may_run_again = match &plan.ownership {
        Ownership::Runs { revision } | Ownership::Stopped { revision } => *revision == current,
        Ownership::Unknown { .. }
        | Ownership::Nothing
        | Ownership::Foreign { .. }
        | Ownership::HandingOver { .. }
        | Ownership::Completed { .. }
        | Ownership::Released { .. } => false,
    };
    let to = if same && guard!("who handed over never runs again": may_run_again) {
        current
    } else {
        plan.next_revision()
    };
    plan.begin(TransitionKind::Resume, Some(current), Some(to));
    Verdict::Reconciling(Reconciling::Resuming, WaitingFor::Resume { to })
}

/// What the spec asks for that is not so, if anything.
fn changed(plan: &mut PlanBuilder<'_>, current: u64) -> Option<Verdict> {
    if let (Desired::Known(wanted), Some(held)) = (plan.wanted.clone(), plan.current_record()) {
        let rejected = plan.is_rejected(&wanted);
        if let Some(message) = restore::not_restored(plan, &wanted)
            && wanted.content != held.content
        {
            return Some(Verdict::Stalled(
                Stalled::RestoreFailed,
                Problem::Reported(message),
            ));
        }
        match classify(&wanted, held) {
            Change::None if paused(plan, current).is_some() => {}
            Change::None => plan.status.rejected = None,
            Change::Reject { why } => {
                return Some(Verdict::Stalled(
                    Stalled::InvalidSpec,
                    Problem::Reported(why),
                ));
            }
            Change::Upgrade { .. } if guard!("what was given up is not tried again": rejected, else false) =>
                {}
            Change::Upgrade { parts } => {
                plan.status.rejected = None;
                let to = plan.next_revision();
                plan.begin(TransitionKind::Upgrade, Some(current), Some(to));
                let what = parts.join(", ");
                plan.emit_event(
                    EventKind::Normal,
                    "UpgradeStarted",
                    WaitingFor::Upgrade {
                        what: what.clone(),
                        to,
                        current,
                    },
                );
                return Some(Verdict::Reconciling(
                    Reconciling::Preparing,
                    WaitingFor::Upgrade {
                        what: what.clone(),
                        to,
                        current,
                    },
                ));
            }
        }
    }
    if plan.ownership != (Ownership::Runs { revision: current }) {
        return None;
    }
    let (target, active) = (plan.replicas(), plan.input.active_workers(current)?);
    let pods = plan.input.revision(current).stateful_set?.replicas;
    let phase = plan.input.report(current).map(|report| report.phase);
    // A job that waits for a worker that finds no room can do with fewer.
    let may_move = match phase {
        Some(
            JobPhase::Running
            | JobPhase::WaitingForWorkers
            | JobPhase::Restoring
            | JobPhase::BackingOff,
        ) => true,
        Some(
            JobPhase::Standby
            | JobPhase::Rescaling
            | JobPhase::Stopping
            | JobPhase::Stopped
            | JobPhase::Completed
            | JobPhase::Fenced
            | JobPhase::Failed,
        )
        | None => false,
    };
    if may_move && target != active {
        return Some(rescale::begin(plan, current, active));
    }
    // The pods do not follow the job: a crash between the two, or an edit of the StatefulSet. Too
    // many are removed only when the job is sure not to be on its way to them.
    if pods < active
        || (pods > active
            && guard!("a job on its way keeps its pods": phase == Some(JobPhase::Running)))
    {
        plan.push_action(Action::ScaleRevision {
            revision: current,
            replicas: active,
        });
    }
    None
}

/// Forgets the content of the oldest revisions that have no pods.
fn forget_old_revisions(plan: &mut PlanBuilder<'_>) {
    let keep: Vec<Option<u64>> = match &plan.status.transition {
        Some(transition) => vec![transition.from, transition.to, plan.current()],
        None => vec![plan.current()],
    };
    let bare: Vec<u64> = plan
        .input
        .observed
        .revisions
        .iter()
        .filter(|(number, facts)| {
            facts.is_gone()
                && guard!("content that may be needed is kept": !keep.contains(&Some(**number)))
        })
        .map(|(&number, _)| number)
        .collect();
    for &revision in bare.iter().rev().skip(REVISIONS_KEPT) {
        plan.push_action(Action::ForgetRevision { revision });
    }
}
