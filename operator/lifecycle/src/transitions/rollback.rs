//! Rollback: the content of the revision before takes over again, as a new revision.
//!
//! Promoting a new, greater revision fences the failed one wherever it still runs. It goes on from
//! HEAD's restore point: the savepoint of the hand-over as long as the failed revision completed no
//! checkpoint, else its newest one, if the old query can read it; the preflight says so.

use streamkeeper_api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{Outcome, Standby, Step, Transition, TransitionKind},
};
use streamkeeper_guard::guard;

use crate::plan::reasons::{Problem, WaitingFor};
use crate::transitions::standby;
use crate::upkeep::cleanup;
use crate::{
    plan::{
        action::EventKind,
        ownership::Desired,
        plan_builder::{PlanBuilder, Verdict},
        preparation::Preparation,
    },
    transitions::standby::Promotion,
};

/// Gives up on revision `failed` and begins to go back to the content of `source`.
pub(crate) fn begin(
    plan: &mut PlanBuilder<'_>,
    upgrade: &Transition,
    source: u64,
    failed: u64,
    why: &str,
) -> Verdict {
    if !guard!("a rollback has a content to go back to": plan.input.revision(source).record.is_some())
    {
        // Nothing is in progress then, so that a corrected spec is rolled out.
        let message = Problem::NoRollback {
            failed,
            why: why.to_owned(),
            source,
        };
        plan.reject(failed, Stalled::RestoreFailed, &message.to_string());
        plan.finish(upgrade, Outcome::Failed, message.clone());
        return Verdict::Stalled(Stalled::RestoreFailed, message);
    }
    let message = Problem::RolledBack {
        failed,
        source,
        why: why.to_owned(),
    };
    plan.reject(failed, Stalled::UpgradeRolledBack, &message.to_string());
    plan.finish(upgrade, Outcome::Failed, why);
    let to = plan.next_revision();
    let no_room = cleanup::stands_by_with_less(plan, failed);
    let mut transition = plan.begin(TransitionKind::Rollback, Some(source), Some(to));
    transition.standby = no_room.then_some(Standby::First);
    plan.set_transition(transition);
    plan.emit_event(EventKind::Warning, "UpgradeRolledBack", message);
    Verdict::Reconciling(
        Reconciling::RollingBack,
        WaitingFor::Rollback {
            failed,
            why: why.to_owned(),
            source,
            to,
        },
    )
}

pub(crate) fn plan(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let (Some(source), Some(to)) = (transition.from, transition.to) else {
        return plan.start_over(transition, Reconciling::RollingBack);
    };
    match transition.step {
        Step::Preparing => preparing(plan, transition, source, to),
        Step::Promoting => promoting(plan, transition, source, to),
        Step::Retiring => retiring(plan, transition, source, to),
        Step::HandingOver
        | Step::Verifying
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking
        | Step::Stopping
        | Step::Removing => plan.start_over(transition, Reconciling::RollingBack),
    }
}

fn preparing(plan: &mut PlanBuilder<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    let rolling_back =
        |message: WaitingFor| Verdict::Reconciling(Reconciling::RollingBack, message);
    if let Some(verdict) = bring_up(plan, transition, source, to) {
        return verdict;
    }
    match standby::preparation(plan, transition, to) {
        Preparation::Missing => rolling_back(WaitingFor::RollbackPods { to, source }),
        Preparation::Ready => {
            plan.advance(transition, Step::Promoting);
            rolling_back(WaitingFor::ReadyToTakeOver { to })
        }
        Preparation::Waiting {
            trouble: Some(reason @ (Stalled::ImagePullFailed | Stalled::InvalidSpec)),
            message,
        }
        | Preparation::Broken { reason, message } => {
            let message = Problem::RollbackStuck {
                to,
                why: message.clone(),
            };
            reconsider(plan, transition, source).unwrap_or(Verdict::Stalled(reason, message))
        }
        Preparation::Waiting { message, .. } => rolling_back(WaitingFor::Preparation {
            to,
            why: message.clone(),
        }),
    }
}

/// Creates what is missing of revision `to`, always with the content of the source, never with what
/// is asked for: that is what failed. Returns a verdict when there is none.
fn bring_up(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    source: u64,
    to: u64,
) -> Option<Verdict> {
    let facts = plan.input.revision(to);
    if facts.is_complete() {
        return None;
    }
    let of_source = guard!("a rollback never takes what is asked for": plan.input.revision(source).record.as_ref(), else plan.wanted.record());
    let Some(record) = facts.record.as_ref().or(of_source) else {
        let why = format!("the content of revision {source} is gone");
        let message = Problem::ContentGone { why: why.clone() };
        plan.finish(transition, Outcome::Failed, why);
        return Some(Verdict::Stalled(Stalled::RestoreFailed, message));
    };
    let (record, workers) = (record.clone(), workers(plan));
    standby::create_beside(plan, transition, to, record, workers);
    None
}

/// Ends a rollback that does not get on, when it is not what is asked for any more.
fn reconsider(plan: &mut PlanBuilder<'_>, transition: &Transition, source: u64) -> Option<Verdict> {
    let why = if plan.input.job.spec.suspend {
        "spec.suspend was set"
    } else if corrected(plan, source) {
        "the spec was corrected"
    } else {
        return None;
    };
    plan.finish(transition, Outcome::Cancelled, why);
    plan.take_back();
    Some(Verdict::Reconciling(
        Reconciling::RollingBack,
        WaitingFor::RollbackCancelled {
            why: why.to_owned(),
        },
    ))
}

/// Whether the spec asks for something new: neither what failed nor what is being gone back to.
fn corrected(plan: &PlanBuilder<'_>, source: u64) -> bool {
    let Desired::Known(wanted) = &plan.wanted else {
        return false;
    };
    let going_back = plan
        .input
        .revision(source)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    !plan.is_rejected(wanted) && !going_back
}

fn workers(plan: &PlanBuilder<'_>) -> u32 {
    plan.current()
        .and_then(|current| plan.input.active_workers(current))
        .unwrap_or_else(|| plan.replicas())
        .max(1)
}

fn promoting(plan: &mut PlanBuilder<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    let rolling_back =
        |message: WaitingFor| Verdict::Reconciling(Reconciling::RollingBack, message);
    if !plan.ownership.is_run_by(to) {
        if let Some(verdict) = bring_up(plan, transition, source, to) {
            return verdict;
        }
        match standby::preparation(plan, transition, to) {
            Preparation::Missing => {
                return rolling_back(WaitingFor::MissingObjects { revision: to });
            }
            Preparation::Waiting {
                trouble: Some(reason @ (Stalled::ImagePullFailed | Stalled::InvalidSpec)),
                message,
            }
            | Preparation::Broken { reason, message } => {
                let message = Problem::RollbackStuck {
                    to,
                    why: message.clone(),
                };
                return reconsider(plan, transition, source)
                    .unwrap_or(Verdict::Stalled(reason, message));
            }
            Preparation::Waiting { .. } | Preparation::Ready => {}
        }
    }
    let workers = workers(plan);
    match standby::promote(plan, transition, to, workers) {
        Promotion::Done => {
            plan.advance(transition, Step::Retiring);
            rolling_back(WaitingFor::Runs { revision: to })
        }
        // It is refused: what is asked for now comes first.
        Promotion::Pending(verdict @ Verdict::Stalled(..)) | Promotion::Refused(verdict) => {
            reconsider(plan, transition, source).unwrap_or(verdict)
        }
        Promotion::Pending(verdict) => verdict,
    }
}

fn retiring(plan: &mut PlanBuilder<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    let workers = workers(plan);
    standby::fill_up(plan, to, workers);
    if cleanup::others_gone(plan, to) {
        plan.finish(
            transition,
            Outcome::Succeeded,
            format!("back to what revision {source} ran"),
        );
        return Verdict::Reconciling(Reconciling::RollingBack, WaitingFor::OldPodsGone { to });
    }
    Verdict::Reconciling(Reconciling::RollingBack, WaitingFor::OldPods { to })
}
