//! Deploy and Resume: a revision starts where none runs.
//!
//! Deploy is the first start. Resume goes on after a suspension, or when all pods of the running revision are gone. Neither has anything to hurt, so a problem is shown and
//! waited out, and a corrected spec replaces what is being prepared.

use super::{
    action::{EventKind, JobCall},
    draft::{Draft, Verdict},
    preparation::Preparation,
    situation::{Standing, Wanted},
    standby::Promotion,
};
use crate::api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{Outcome, Step, Transition, TransitionKind},
};

pub(super) fn plan(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let Some(to) = transition.to else {
        return draft.start_over(transition, Reconciling::Provisioning);
    };
    let runs = draft.standing == Standing::Runs { revision: to }
        && draft
            .input
            .report(to)
            .is_some_and(|report| report.attempt.is_some());
    if draft.input.job.spec.suspend && !runs {
        draft.finish(transition, Outcome::Cancelled, "spec.suspend was set");
        return Verdict::Reconciling(
            Reconciling::Suspending,
            "spec.suspend was set before the job ran".to_owned(),
        );
    }
    if !runs && let Some(verdict) = replace(draft, transition, to) {
        return verdict;
    }
    match transition.step {
        Step::Preparing => preparing(draft, transition, to),
        Step::Promoting => promoting(draft, transition, to),
        Step::HandingOver
        | Step::Verifying
        | Step::Retiring
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking
        | Step::Stopping
        | Step::Removing => draft.start_over(transition, Reconciling::Provisioning),
    }
}

/// Prepares another revision when the spec is not any more what is being prepared.
fn replace(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Option<Verdict> {
    match &draft.wanted {
        Wanted::Known(wanted) => {
            let held = draft.input.revision(to).record.as_ref()?;
            if *held == **wanted {
                return None;
            }
            // Defaults of the operator count only while nothing ever ran with the old ones.
            if draft.ran_before() && held.content == wanted.content {
                return None;
            }
            let next = draft.allot();
            let mut transition = draft.go(transition, Step::Preparing);
            transition.to = Some(next);
            draft.place(transition);
            Some(Verdict::Reconciling(
                Reconciling::Preparing,
                format!("the spec changed: preparing revision {next} instead of {to}"),
            ))
        }
        Wanted::Invalid(why) => Some(Verdict::Stalled(Stalled::InvalidSpec, why.clone())),
        Wanted::Unknown(why) if draft.input.revision(to).record.is_none() => {
            Some(Verdict::Reconciling(Reconciling::Provisioning, why.clone()))
        }
        Wanted::Unknown(_) => None,
    }
}

fn preparing(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Verdict {
    let workers = draft.replicas();
    match draft.prepare(transition, workers) {
        Preparation::Missing => Verdict::Reconciling(
            Reconciling::Provisioning,
            format!("creating the pods of revision {to}"),
        ),
        Preparation::Waiting {
            trouble: Some(reason),
            message,
        } => Verdict::Stalled(reason, format!("revision {to}: {message}")),
        Preparation::Waiting {
            trouble: None,
            message,
        } => Verdict::Reconciling(
            Reconciling::Provisioning,
            format!("revision {to}: {message}"),
        ),
        Preparation::Broken { reason, message } => {
            Verdict::Stalled(reason, format!("revision {to}: {message}"))
        }
        Preparation::Ready => {
            draft.go(transition, Step::Promoting);
            Verdict::Reconciling(
                Reconciling::Provisioning,
                format!("revision {to} is ready to run"),
            )
        }
    }
}

fn promoting(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Verdict {
    let workers = draft.replicas();
    let verdict = match draft.promote(transition, to, workers) {
        Promotion::Refused(verdict) | Promotion::Pending(verdict) => verdict,
        Promotion::Done
            if draft
                .input
                .report(to)
                .is_some_and(|report| report.attempt.is_some()) =>
        {
            return done(draft, transition, to);
        }
        Promotion::Done => Verdict::Reconciling(
            Reconciling::Provisioning,
            format!("revision {to} owns the job; waiting for its coordinator to answer"),
        ),
    };
    // A pod that cannot start explains more than a call that is not answered.
    match (
        draft.input.preparation(to, transition.step_since.0),
        &verdict,
    ) {
        (Preparation::Broken { reason, message }, Verdict::Reconciling(..)) => {
            Verdict::Stalled(reason, format!("revision {to}: {message}"))
        }
        (Preparation::Missing, _) => {
            draft.actions.retain(|action| {
                !matches!(
                    action,
                    super::Action::Call {
                        call: JobCall::Promote(_),
                        ..
                    }
                )
            });
            let _ = draft.prepare(transition, workers);
            verdict
        }
        (Preparation::Broken { .. } | Preparation::Ready | Preparation::Waiting { .. }, _) => {
            verdict
        }
    }
}

fn done(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Verdict {
    draft.finish(transition, Outcome::Succeeded, "");
    let restored = draft
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
    draft.tell(
        EventKind::Normal,
        reason,
        format!("revision {to} runs, {from}"),
    );
    Verdict::Reconciling(reconciling, format!("revision {to} runs, {from}"))
}
