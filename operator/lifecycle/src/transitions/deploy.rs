//! Deploy and Resume: a revision starts where none runs.
//!
//! Deploy is the first start. Resume goes on after a suspension, or when all pods of the running
//! revision are gone. Neither has anything to hurt, so a problem is shown and waited out, and a
//! corrected spec replaces what is being prepared.

use streamkeeper_api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{Outcome, Step, Transition, TransitionKind},
};
use streamkeeper_guard::guard;
use streamkeeper_protocol::{head::RunState, job_api::JobPhase};

use crate::plan::reasons::{Problem, WaitingFor};
use crate::transitions::restore;
use crate::transitions::standby;
use crate::{
    plan::{
        action::EventKind,
        ownership::{Desired, Ownership},
        plan_builder::{PlanBuilder, Verdict},
        preparation::Preparation,
    },
    transitions::standby::Promotion,
};

pub(crate) fn plan(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Verdict {
    let Some(to) = transition.to else {
        return plan.start_over(transition, Reconciling::Provisioning);
    };
    let runs = has_started(plan, to);
    if plan.input.job.spec.suspend && !runs {
        plan.finish(transition, Outcome::Cancelled, "spec.suspend was set");
        return Verdict::Reconciling(Reconciling::Suspending, WaitingFor::SuspendBeforeStart);
    }
    if let Some(other) = runs_elsewhere(plan, to) {
        // It was thought to be gone. What is asked for reaches it as it reaches every running job.
        let why = WaitingFor::OtherRevision { revision: other };
        plan.finish(transition, Outcome::Cancelled, why.clone());
        return Verdict::Reconciling(Reconciling::Provisioning, why);
    }
    if !runs && let Some(verdict) = redirect(plan, transition) {
        return verdict;
    }
    if !runs && let Some(verdict) = replace(plan, transition, to) {
        return verdict;
    }
    if !runs && let Some(verdict) = renumber(plan, transition, to) {
        return verdict;
    }
    match transition.step {
        Step::Preparing if runs => {
            plan.advance(transition, Step::Promoting);
            provisioning(WaitingFor::TakenByItself { to })
        }
        Step::Preparing => preparing(plan, transition, to),
        Step::Promoting if runs => done(plan, transition, to),
        Step::Promoting => promoting(plan, transition, to),
        Step::HandingOver
        | Step::Verifying
        | Step::Retiring
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking
        | Step::Stopping
        | Step::Removing => plan.start_over(transition, Reconciling::Provisioning),
    }
}

fn provisioning(message: WaitingFor) -> Verdict {
    Verdict::Reconciling(Reconciling::Provisioning, message)
}

/// Whether a revision has the job and says so itself, or has even finished it.
fn has_started(plan: &PlanBuilder<'_>, to: u64) -> bool {
    match plan.ownership {
        Ownership::Runs { revision } => {
            revision == to
                && plan
                    .input
                    .report(to)
                    .is_some_and(|report| report.attempt.is_some())
        }
        Ownership::Completed { revision } => revision == to,
        Ownership::Unknown { .. }
        | Ownership::Nothing
        | Ownership::Foreign { .. }
        | Ownership::HandingOver { .. }
        | Ownership::Stopped { .. }
        | Ownership::Released { .. } => false,
    }
}

/// Another revision through which records flow.
pub(crate) fn runs_elsewhere(plan: &PlanBuilder<'_>, to: u64) -> Option<u64> {
    let Ownership::Runs { revision } = plan.ownership else {
        return None;
    };
    let report = plan.input.report(revision)?;
    let other = guard!("a start pushes nobody aside": revision != to, else false);
    (other && report.phase == JobPhase::Running).then_some(revision)
}

/// Starts from elsewhere when `spec.restoreFrom` is not any more what it was.
fn redirect(plan: &mut PlanBuilder<'_>, transition: &Transition) -> Option<Verdict> {
    let asked = match restore::requested(plan) {
        None => None,
        Some(Ok(folder)) => Some(folder),
        Some(Err(_)) => return None,
    };
    if asked == transition.restores {
        return None;
    }
    let mut redirected = plan.advance(transition, transition.step);
    redirected.restores = asked;
    plan.set_transition(redirected);
    Some(provisioning(WaitingFor::RestoreFrom))
}

/// Prepares another revision when the spec is not any more what is being prepared.
fn replace(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Option<Verdict> {
    match &plan.wanted {
        Desired::Known(wanted) => {
            let facts = plan.input.revision(to);
            let held = facts.record.as_ref()?;
            // Defaults of the operator count only while nothing ever ran with the old ones.
            let same = held.makes_the_same_pods(wanted)
                || (standby::ran_before(plan) && held.content == wanted.content);
            // Workers are told how many they are when they start.
            let as_many = facts
                .stateful_set
                .is_none_or(|set| set.deleting || set.replicas == plan.replicas());
            if same && as_many {
                return None;
            }
            let next = plan.next_revision();
            let mut transition = plan.advance(transition, Step::Preparing);
            transition.to = Some(next);
            plan.set_transition(transition);
            Some(Verdict::Reconciling(
                Reconciling::Preparing,
                WaitingFor::ChangedSpec { next, to },
            ))
        }
        Desired::Invalid(why) => Some(Verdict::Stalled(
            Stalled::InvalidSpec,
            Problem::Reported(why.clone()),
        )),
        Desired::Unknown(why) if plan.input.revision(to).record.is_none() => {
            Some(provisioning(WaitingFor::Reported(why.clone())))
        }
        Desired::Unknown(_) => None,
    }
}

/// Prepares a greater revision where HEAD turns out to be beyond this one. Where the operator does
/// not look, that is known only once pods have read it.
fn renumber(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Option<Verdict> {
    plan.input.observed.not_looked.as_ref()?;
    let head = plan.input.observed.head.known()?.as_ref()?;
    let goes_on = head.revision == to
        && head.job_uid == plan.input.uid()
        && !matches!(head.state, RunState::HandingOver { .. });
    if head.revision < to || goes_on {
        return None;
    }
    let why = format!("revision {} has had the state of this place", head.revision);
    let next = plan.next_revision();
    let mut transition = plan.advance(transition, Step::Preparing);
    transition.to = Some(next);
    plan.set_transition(transition);
    Some(provisioning(WaitingFor::GreaterRevision {
        why: why.clone(),
        next,
        to,
    }))
}

fn preparing(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Verdict {
    let workers = plan.replicas();
    standby::bring_up(plan, to, workers);
    if let Some(verdict) = shown(plan, transition, to) {
        return verdict;
    }
    plan.advance(transition, Step::Promoting);
    provisioning(WaitingFor::ReadyToRun { to })
}

/// What keeps a revision from being ready, if something does.
fn shown(plan: &PlanBuilder<'_>, transition: &Transition, to: u64) -> Option<Verdict> {
    match standby::preparation(plan, transition, to) {
        Preparation::Ready => None,
        Preparation::Missing => Some(provisioning(WaitingFor::Pods { to })),
        Preparation::Waiting {
            trouble: Some(reason),
            message,
        }
        | Preparation::Broken { reason, message } => Some(Verdict::Stalled(
            reason,
            Problem::NotReady {
                to,
                why: message.clone(),
            },
        )),
        Preparation::Waiting {
            trouble: None,
            message,
        } => Some(provisioning(WaitingFor::Preparation {
            to,
            why: message.clone(),
        })),
    }
}

fn promoting(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Verdict {
    let workers = plan.replicas();
    if !plan.input.revision(to).is_complete() {
        standby::bring_up(plan, to, workers);
        return shown(plan, transition, to)
            .unwrap_or_else(|| provisioning(WaitingFor::Pods { to }));
    }
    let verdict = match standby::promote(plan, transition, to, workers) {
        Promotion::Refused(verdict) | Promotion::Pending(verdict) => verdict,
        Promotion::Done => provisioning(WaitingFor::OwnerAnswer { to }),
    };
    // A pod that cannot start explains more than a call that is not answered.
    match (standby::preparation(plan, transition, to), &verdict) {
        (Preparation::Broken { reason, message }, Verdict::Reconciling(..)) => Verdict::Stalled(
            reason,
            Problem::NotReady {
                to,
                why: message.clone(),
            },
        ),
        (
            Preparation::Broken { .. }
            | Preparation::Ready
            | Preparation::Missing
            | Preparation::Waiting { .. },
            _,
        ) => verdict,
    }
}

fn done(plan: &mut PlanBuilder<'_>, transition: &Transition, to: u64) -> Verdict {
    plan.finish(transition, Outcome::Succeeded, "");
    if let Some(folder) = &transition.restores {
        let message = format!("revision {to} started from the snapshot in {folder}");
        restore::acted_on_restore(plan, Outcome::Succeeded, &message);
    }
    let restored = plan
        .input
        .report(to)
        .and_then(|report| report.restored_from);
    let from = restored.map_or_else(
        || "from nothing".to_owned(),
        |checkpoint| format!("from checkpoint {checkpoint}"),
    );
    let (reason, reconciling) = match transition.kind {
        TransitionKind::Resume => ("JobResumed", Reconciling::Resuming),
        TransitionKind::Deploy
        | TransitionKind::Upgrade
        | TransitionKind::Rescale
        | TransitionKind::Suspend
        | TransitionKind::Restore
        | TransitionKind::Rollback
        | TransitionKind::Delete => ("JobStarted", Reconciling::Provisioning),
    };
    plan.emit_event(
        EventKind::Normal,
        reason,
        WaitingFor::Started {
            to,
            from: from.clone(),
        },
    );
    Verdict::Reconciling(
        reconciling,
        WaitingFor::Started {
            to,
            from: from.clone(),
        },
    )
}
