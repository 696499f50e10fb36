//! Rollback: the content of the revision before takes over again, as a new revision.
//!
//! Promoting a new, greater revision fences the failed one wherever it still runs. It goes on from HEAD's restore point: the savepoint of the hand-over as long as the failed
//! revision completed no checkpoint, else its newest one, if the old query can read it; the preflight says so.

use super::{
    action::{Action, EventKind},
    draft::{Draft, Verdict},
    preparation::Preparation,
    situation::Wanted,
    standby::Promotion,
};
use crate::api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{Outcome, Step, Transition, TransitionKind},
};

/// Gives up on revision `failed` and begins to go back to the content of `source`.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    upgrade: &Transition,
    source: u64,
    failed: u64,
    why: &str,
) -> Verdict {
    if draft.input.revision(source).record.is_none() {
        return Verdict::Stalled(
            Stalled::RestoreFailed,
            format!(
                "revision {failed} failed ({why}) and cannot be rolled back: the content of revision {source} is gone; correct the spec"
            ),
        );
    }
    let message = format!(
        "revision {failed} was rolled back to what revision {source} ran: {why}; correct the spec, or set it back"
    );
    draft.reject(failed, Stalled::UpgradeRolledBack, &message);
    draft.finish(upgrade, Outcome::Failed, why);
    let to = draft.allot();
    draft.begin(TransitionKind::Rollback, Some(source), Some(to));
    draft.tell(EventKind::Warning, "UpgradeRolledBack", message);
    Verdict::Reconciling(
        Reconciling::RollingBack,
        format!(
            "revision {failed} failed ({why}): going back to what revision {source} ran, as revision {to}"
        ),
    )
}

pub(super) fn plan(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let (Some(source), Some(to)) = (transition.from, transition.to) else {
        return draft.start_over(transition, Reconciling::RollingBack);
    };
    match transition.step {
        Step::Preparing => preparing(draft, transition, source, to),
        Step::Promoting => promoting(draft, transition, to),
        Step::Retiring => retiring(draft, transition, source, to),
        Step::HandingOver
        | Step::Verifying
        | Step::Scaling
        | Step::Moving
        | Step::Shrinking
        | Step::Stopping
        | Step::Removing => draft.start_over(transition, Reconciling::RollingBack),
    }
}

fn preparing(draft: &mut Draft<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    let workers = workers(draft);
    let preparation = draft.input.preparation(to, transition.step_since.0);
    match preparation {
        Preparation::Missing => {
            // Always the content of the source, never what is asked for: that is what failed.
            let held = draft.input.revision(to).record.as_ref().or(draft
                .input
                .revision(source)
                .record
                .as_ref());
            let Some(record) = held.cloned() else {
                draft.finish(
                    transition,
                    Outcome::Failed,
                    format!("the content of revision {source} is gone"),
                );
                return Verdict::Stalled(
                    Stalled::RestoreFailed,
                    format!("the content of revision {source} is gone; correct the spec"),
                );
            };
            draft.act(Action::ApplyRevision {
                revision: to,
                record: Box::new(record),
                replicas: workers,
            });
            Verdict::Reconciling(
                Reconciling::RollingBack,
                format!("creating revision {to} with the content of revision {source}"),
            )
        }
        Preparation::Ready => {
            draft.go(transition, Step::Promoting);
            Verdict::Reconciling(
                Reconciling::RollingBack,
                format!("revision {to} is ready to take over"),
            )
        }
        Preparation::Waiting { message, .. } => Verdict::Reconciling(
            Reconciling::RollingBack,
            format!("revision {to}: {message}"),
        ),
        Preparation::Broken { reason, message } => {
            if corrected(draft, source) {
                draft.finish(transition, Outcome::Cancelled, "the spec was corrected");
                return Verdict::Reconciling(
                    Reconciling::Preparing,
                    "the spec was corrected: that comes first".to_owned(),
                );
            }
            Verdict::Stalled(
                reason,
                format!("the rollback as revision {to} does not come up: {message}"),
            )
        }
    }
}

/// Whether the spec asks for something new: neither what failed nor what is being gone back to.
fn corrected(draft: &Draft<'_>, source: u64) -> bool {
    let Wanted::Known(wanted) = &draft.wanted else {
        return false;
    };
    let rejected = draft
        .status
        .rejected
        .as_ref()
        .is_some_and(|rejected| rejected.hash == wanted.content.hash());
    let going_back = draft
        .input
        .revision(source)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    !rejected && !going_back
}

fn workers(draft: &Draft<'_>) -> u32 {
    draft
        .current()
        .and_then(|current| draft.input.active_workers(current))
        .unwrap_or_else(|| draft.replicas())
        .max(1)
}

fn promoting(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Verdict {
    let workers = draft
        .input
        .revision(to)
        .stateful_set
        .map_or_else(|| workers(draft), |set| set.replicas.max(1));
    match draft.promote(transition, to, workers) {
        Promotion::Done => {
            draft.go(transition, Step::Retiring);
            Verdict::Reconciling(Reconciling::RollingBack, format!("revision {to} runs"))
        }
        Promotion::Pending(verdict) | Promotion::Refused(verdict) => verdict,
    }
}

fn retiring(draft: &mut Draft<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    if draft.others_gone(to) {
        draft.finish(
            transition,
            Outcome::Succeeded,
            format!("back to what revision {source} ran"),
        );
        return Verdict::Reconciling(
            Reconciling::RollingBack,
            format!("revision {to} runs; the old pods are gone"),
        );
    }
    Verdict::Reconciling(
        Reconciling::RollingBack,
        format!("revision {to} runs; removing the old pods"),
    )
}
