//! Rollback: the content of the revision before takes over again, as a new revision.
//!
//! Promoting a new, greater revision fences the failed one wherever it still runs. It goes on from HEAD's restore point: the savepoint of the hand-over as long as the failed
//! revision completed no checkpoint, else its newest one, if the old query can read it; the preflight says so.

use super::{
    action::EventKind,
    draft::{Draft, Verdict},
    preparation::Preparation,
    situation::Wanted,
    standby::Promotion,
};
use crate::api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{Outcome, Standby, Step, Transition, TransitionKind},
};

/// Gives up on revision `failed` and begins to go back to the content of `source`.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    upgrade: &Transition,
    source: u64,
    failed: u64,
    why: &str,
) -> Verdict {
    if !guard!("a rollback has a content to go back to": draft.input.revision(source).record.is_some())
    {
        // Nothing is in progress then, so that a corrected spec is rolled out.
        let message = format!(
            "revision {failed} failed ({why}) and cannot be rolled back: the content of revision {source} is gone; correct the spec"
        );
        draft.reject(failed, Stalled::RestoreFailed, &message);
        draft.finish(upgrade, Outcome::Failed, message.clone());
        return Verdict::Stalled(Stalled::RestoreFailed, message);
    }
    let message = format!(
        "revision {failed} was rolled back to what revision {source} ran: {why}; correct the spec, or set it back"
    );
    draft.reject(failed, Stalled::UpgradeRolledBack, &message);
    draft.finish(upgrade, Outcome::Failed, why);
    let to = draft.allot();
    let no_room = draft.stands_by_with_less(failed);
    let mut transition = draft.begin(TransitionKind::Rollback, Some(source), Some(to));
    transition.standby = no_room.then_some(Standby::First);
    draft.place(transition);
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
        Step::Promoting => promoting(draft, transition, source, to),
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
    let rolling_back = |message: String| Verdict::Reconciling(Reconciling::RollingBack, message);
    if let Some(verdict) = bring_up(draft, transition, source, to) {
        return verdict;
    }
    match draft.preparation(transition, to) {
        Preparation::Missing => rolling_back(format!(
            "creating revision {to} with the content of revision {source}"
        )),
        Preparation::Ready => {
            draft.go(transition, Step::Promoting);
            rolling_back(format!("revision {to} is ready to take over"))
        }
        Preparation::Waiting {
            trouble: Some(reason @ (Stalled::ImagePullFailed | Stalled::InvalidSpec)),
            message,
        }
        | Preparation::Broken { reason, message } => {
            let message = format!("the rollback as revision {to} does not come up: {message}");
            reconsider(draft, transition, source).unwrap_or(Verdict::Stalled(reason, message))
        }
        Preparation::Waiting { message, .. } => rolling_back(format!("revision {to}: {message}")),
    }
}

/// Creates what is missing of revision `to`, always with the content of the source, never with what is asked for: that is what failed. Answers when there is none.
fn bring_up(
    draft: &mut Draft<'_>,
    transition: &Transition,
    source: u64,
    to: u64,
) -> Option<Verdict> {
    let facts = draft.input.revision(to);
    if facts.is_complete() {
        return None;
    }
    let of_source = guard!("a rollback never takes what is asked for": draft.input.revision(source).record.as_ref(), else draft.wanted.record());
    let Some(record) = facts.record.as_ref().or(of_source) else {
        let why = format!("the content of revision {source} is gone");
        let message = format!("{why}; correct the spec");
        draft.finish(transition, Outcome::Failed, why);
        return Some(Verdict::Stalled(Stalled::RestoreFailed, message));
    };
    let (record, workers) = (record.clone(), workers(draft));
    draft.create_beside(transition, to, record, workers);
    None
}

/// Ends a rollback that does not get on, when it is not what is asked for any more.
fn reconsider(draft: &mut Draft<'_>, transition: &Transition, source: u64) -> Option<Verdict> {
    let why = if draft.input.job.spec.suspend {
        "spec.suspend was set"
    } else if corrected(draft, source) {
        "the spec was corrected"
    } else {
        return None;
    };
    draft.finish(transition, Outcome::Cancelled, why);
    draft.take_back();
    Some(Verdict::Reconciling(
        Reconciling::RollingBack,
        format!("the rollback was cancelled: {why}"),
    ))
}

/// Whether the spec asks for something new: neither what failed nor what is being gone back to.
fn corrected(draft: &Draft<'_>, source: u64) -> bool {
    let Wanted::Known(wanted) = &draft.wanted else {
        return false;
    };
    let going_back = draft
        .input
        .revision(source)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    !draft.is_rejected(wanted) && !going_back
}

fn workers(draft: &Draft<'_>) -> u32 {
    draft
        .current()
        .and_then(|current| draft.input.active_workers(current))
        .unwrap_or_else(|| draft.replicas())
        .max(1)
}

fn promoting(draft: &mut Draft<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    let rolling_back = |message: String| Verdict::Reconciling(Reconciling::RollingBack, message);
    if !draft.standing.is_run_by(to) {
        if let Some(verdict) = bring_up(draft, transition, source, to) {
            return verdict;
        }
        match draft.preparation(transition, to) {
            Preparation::Missing => {
                return rolling_back(format!("creating missing objects of revision {to}"));
            }
            Preparation::Waiting {
                trouble: Some(reason @ (Stalled::ImagePullFailed | Stalled::InvalidSpec)),
                message,
            }
            | Preparation::Broken { reason, message } => {
                let message = format!("the rollback as revision {to} does not come up: {message}");
                return reconsider(draft, transition, source)
                    .unwrap_or(Verdict::Stalled(reason, message));
            }
            Preparation::Waiting { .. } | Preparation::Ready => {}
        }
    }
    let workers = workers(draft);
    match draft.promote(transition, to, workers) {
        Promotion::Done => {
            draft.go(transition, Step::Retiring);
            rolling_back(format!("revision {to} runs"))
        }
        // It is refused: what is asked for now comes first.
        Promotion::Pending(verdict @ Verdict::Stalled(..)) | Promotion::Refused(verdict) => {
            reconsider(draft, transition, source).unwrap_or(verdict)
        }
        Promotion::Pending(verdict) => verdict,
    }
}

fn retiring(draft: &mut Draft<'_>, transition: &Transition, source: u64, to: u64) -> Verdict {
    let workers = workers(draft);
    draft.fill_up(to, workers);
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
