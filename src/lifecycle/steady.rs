//! No transition is in progress: is everything as asked, and if not, which one begins?

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use streamkeeper_protocol::job_api::JobPhase;

use super::{
    action::{Action, EventKind},
    change::{Change, classify},
    deploy,
    draft::{Draft, Verdict, time},
    health::{health, paused},
    rescale, restore,
    situation::{Standing, Wanted},
};
use crate::api::{
    condition::{Reconciling, Stalled},
    v1alpha1::TransitionKind,
};

/// Contents of revisions kept without pods.
const REVISIONS_KEPT: usize = 10;
/// How soon to ask a job that runs as asked how it does; what happens to its pods is seen at once.
const QUIET: Duration = Duration::from_secs(30);
/// How soon to look at a job that runs nowhere.
const AT_REST: Duration = Duration::from_mins(1);
/// How soon to look at a job that waits for a person.
const STALLED: Duration = Duration::from_secs(5);

pub(super) fn plan(draft: &mut Draft<'_>) -> Verdict {
    let verdict = if draft.input.job.spec.suspend {
        suspended(draft)
    } else {
        match draft.current() {
            None => first_start(draft),
            Some(current) => ran_before(draft, current),
        }
    };
    forget_old_revisions(draft);
    let verdict = save(draft, verdict);
    if draft.status.transition.is_none() {
        draft.requeue = match &verdict {
            Verdict::Ready(_) => QUIET,
            Verdict::Suspended(_) | Verdict::Completed(_) => AT_REST,
            Verdict::Stalled(..) => STALLED,
            Verdict::Reconciling(..) => draft.requeue,
        };
    }
    verdict
}

/// Takes the snapshot that is due and drops old ones, while the job runs and nothing else is under way.
fn save(draft: &mut Draft<'_>, verdict: Verdict) -> Verdict {
    let flows = draft
        .current()
        .and_then(|current| draft.input.report(current))
        .is_some_and(|report| report.phase == JobPhase::Running);
    if !flows || draft.status.transition.is_some() || draft.input.job.spec.suspend {
        return verdict;
    }
    draft.drop_old_snapshots();
    match (draft.save_by_schedule(), verdict) {
        (Err(why), Verdict::Ready(_)) => Verdict::Stalled(Stalled::InvalidSpec, why),
        (_, verdict) => verdict,
    }
}

fn suspended(draft: &mut Draft<'_>) -> Verdict {
    if draft
        .input
        .observed
        .revisions
        .values()
        .all(|facts| guard!("suspended means that no pod is left": facts.is_gone()))
    {
        let state = match &draft.status.last_checkpoint {
            Some(last) => format!("suspended; its state is kept at checkpoint {}", last.id),
            None => "suspended before it had any state".to_owned(),
        };
        return Verdict::Suspended(state);
    }
    draft.begin(TransitionKind::Suspend, draft.current(), draft.current());
    Verdict::Reconciling(
        Reconciling::Suspending,
        "the job is being stopped with a savepoint".to_owned(),
    )
}

/// Nothing ever ran, as far as the status knows. Starts from nothing only when the store said that there is nothing.
fn first_start(draft: &mut Draft<'_>) -> Verdict {
    match &draft.wanted {
        Wanted::Known(_) => {}
        Wanted::Invalid(why) => return Verdict::Stalled(Stalled::InvalidSpec, why.clone()),
        Wanted::Unknown(why) => {
            return Verdict::Reconciling(
                Reconciling::Provisioning,
                format!("waiting for the SQL text: {why}"),
            );
        }
    }
    let restores = match draft.requested() {
        None => None,
        Some(Ok(folder)) => Some(folder),
        Some(Err(verdict)) => return verdict,
    };
    match draft.standing.clone() {
        // Its pods stand by, and find out; whether it starts from nothing is decided by the write
        // that claims HEAD.
        Standing::Unknown { .. } if draft.input.observed.not_looked.is_some() => {}
        Standing::Unknown {
            why,
            denied: Some(reason),
        } => {
            return Verdict::Stalled(
                reason,
                format!("{why}; nothing is started before the storage can be read"),
            );
        }
        Standing::Unknown { why, denied: None } => {
            return Verdict::Reconciling(
                Reconciling::Provisioning,
                format!("waiting to find out whether there is state to go on from: {why}"),
            );
        }
        Standing::Nothing if draft.ran_before() && restores.is_none() => {
            return draft.state_is_gone();
        }
        Standing::Foreign { uid, running, .. } => {
            if let Err(verdict) =
                draft.take_over(TransitionKind::Deploy, restores.is_some(), &uid, running)
            {
                return verdict;
            }
        }
        // HEAD with our own uid makes the revision in it the current one before it comes to this.
        Standing::Nothing
        | Standing::Runs { .. }
        | Standing::HandingOver { .. }
        | Standing::Stopped { .. }
        | Standing::Completed { .. }
        | Standing::Released { .. } => {}
    }
    let to = draft.allot();
    let mut transition = draft.begin(TransitionKind::Deploy, None, Some(to));
    transition.restores = restores;
    draft.place(transition);
    Verdict::Reconciling(Reconciling::Provisioning, format!("starting revision {to}"))
}

fn ran_before(draft: &mut Draft<'_>, current: u64) -> Verdict {
    let stalled = |message: String| Verdict::Stalled(Stalled::StateInUse, message);
    let unseen = draft.nobody_comes_to_tell(current);
    let restorable = unseen
        || !matches!(
            draft.standing,
            Standing::Foreign { .. } | Standing::Unknown { .. }
        );
    let unfound = match draft.requested() {
        Some(Ok(folder)) if restorable => return restore::begin(draft, current, folder),
        Some(Err(verdict)) => Some(verdict),
        Some(Ok(_)) | None => None,
    };
    match draft.standing.clone() {
        Standing::Completed { .. } => return completed(draft),
        Standing::Foreign { uid, .. } => {
            return stalled(format!(
                "the state was taken over by the StreamJob with uid {uid}; delete one of the two"
            ));
        }
        Standing::Nothing => return draft.state_is_gone(),
        Standing::HandingOver { to, .. } if guard!("a successor that cannot come is not waited for": may_take_over(draft, to)) =>
        {
            return Verdict::Reconciling(
                Reconciling::HandingOver,
                format!("waiting for revision {to} to take over"),
            );
        }
        Standing::Stopped { .. } | Standing::Released { .. } | Standing::HandingOver { .. } => {
            return resume(draft, current);
        }
        Standing::Runs { .. } => {
            // It may not know yet, and a start beside it would be taken back at once.
            let before = deploy::runs_elsewhere(draft, current);
            if let Some(other) =
                guard!("nobody is started beside an answer from before": before, else None)
            {
                return Verdict::Reconciling(
                    Reconciling::Restoring,
                    format!(
                        "revision {other} says that it runs although revision {current} took over from it; waiting for it to find out"
                    ),
                );
            }
            if !draft.input.revision(current).is_complete() {
                return restore_children(draft, current);
            }
        }
        // Pods that stand by tell what HEAD holds, and nothing runs before they have.
        Standing::Unknown { .. } if unseen => return restore_children(draft, current),
        // A missing fact starts nothing and stops nothing.
        Standing::Unknown { why, denied } => {
            if draft.input.revision(current).pods.is_empty() {
                let message = format!(
                    "nothing runs, and where the job's state stands could not be read: {why}"
                );
                return match denied {
                    Some(reason) => Verdict::Stalled(reason, message),
                    None => Verdict::Reconciling(Reconciling::Restoring, message),
                };
            }
        }
    }
    changed(draft, current)
        .or(unfound)
        .unwrap_or_else(|| health(draft, current))
}

/// All input was read. The pods go soon, the object when its time is up.
fn completed(draft: &mut Draft<'_>) -> Verdict {
    let since = draft
        .status
        .completion_time
        .get_or_insert_with(|| time(draft.input.now))
        .0;
    let mut message =
        "all input was read and its output committed; create a new StreamJob to run it again"
            .to_owned();
    if let Some(ttl) = draft.input.job.spec.ttl_after_completion {
        message = format!("{message}. It is deleted {ttl} after its completion");
        if draft.input.passed(since, ttl.to_std()) {
            draft.act(Action::DeleteJob);
        }
    }
    Verdict::Completed(message)
}

/// Whether a named successor is worth waiting for: it is there, nothing is wrong with it, and it is what is asked for.
fn may_take_over(draft: &Draft<'_>, to: u64) -> bool {
    let facts = draft.input.revision(to);
    let failed = draft
        .input
        .report(to)
        .is_some_and(|report| report.phase == JobPhase::Failed || report.error.is_some());
    let sick = draft
        .input
        .ailment(to, Timestamp::UNIX_EPOCH)
        .is_some_and(|ailment| ailment.lasting);
    let outdated = match (draft.wanted.record(), &facts.record) {
        (Some(wanted), Some(held)) => wanted.content != held.content,
        (None, _) | (_, None) => false,
    };
    facts.is_complete() && !failed && !sick && !outdated
}

/// Objects of the running revision are missing. What is left of it keeps its content; with nothing left, what is asked for now starts.
fn restore_children(draft: &mut Draft<'_>, current: u64) -> Verdict {
    let facts = draft.input.revision(current);
    if facts.is_gone() {
        return resume(draft, current);
    }
    if facts.record.is_none() {
        return resume(draft, current);
    }
    if facts.stateful_set.is_some_and(|set| set.deleting) {
        return Verdict::Reconciling(
            Reconciling::Restoring,
            format!(
                "the StatefulSet of revision {current} is being deleted; it is created again after"
            ),
        );
    }
    draft.repair(current);
    Verdict::Reconciling(
        Reconciling::Restoring,
        format!("creating missing objects of revision {current}"),
    )
}

/// Goes on where nothing runs: as the same revision if that is still what is asked for, else as a new one.
fn resume(draft: &mut Draft<'_>, current: u64) -> Verdict {
    let same = match &draft.wanted {
        Wanted::Known(wanted) => draft
            .current_record()
            .is_some_and(|held| held.content == wanted.content),
        Wanted::Invalid(why) => return Verdict::Stalled(Stalled::InvalidSpec, why.clone()),
        Wanted::Unknown(why) => {
            return Verdict::Reconciling(
                Reconciling::Resuming,
                format!("waiting for the SQL text: {why}"),
            );
        }
    };
    // A revision that has handed over never runs again.
    let may_run_again = match &draft.standing {
        Standing::Runs { revision } | Standing::Stopped { revision } => *revision == current,
        Standing::Unknown { .. }
        | Standing::Nothing
        | Standing::Foreign { .. }
        | Standing::HandingOver { .. }
        | Standing::Completed { .. }
        | Standing::Released { .. } => false,
    };
    let to = if same && guard!("who handed over never runs again": may_run_again) {
        current
    } else {
        draft.allot()
    };
    draft.begin(TransitionKind::Resume, Some(current), Some(to));
    Verdict::Reconciling(Reconciling::Resuming, format!("going on as revision {to}"))
}

/// What the spec asks for that is not so, if anything.
fn changed(draft: &mut Draft<'_>, current: u64) -> Option<Verdict> {
    if let (Wanted::Known(wanted), Some(held)) = (draft.wanted.clone(), draft.current_record()) {
        let rejected = draft.is_rejected(&wanted);
        if let Some(message) = draft.not_restored(&wanted)
            && wanted.content != held.content
        {
            return Some(Verdict::Stalled(Stalled::RestoreFailed, message));
        }
        match classify(&wanted, held) {
            Change::None if paused(draft, current).is_some() => {}
            Change::None => draft.status.rejected = None,
            Change::Reject { why } => return Some(Verdict::Stalled(Stalled::InvalidSpec, why)),
            Change::Upgrade { .. } if guard!("what was given up is not tried again": rejected, else false) =>
                {}
            Change::Upgrade { parts } => {
                draft.status.rejected = None;
                let to = draft.allot();
                draft.begin(TransitionKind::Upgrade, Some(current), Some(to));
                let what = parts.join(", ");
                draft.tell(
                    EventKind::Normal,
                    "UpgradeStarted",
                    format!("{what} changed: preparing revision {to} beside revision {current}"),
                );
                return Some(Verdict::Reconciling(
                    Reconciling::Preparing,
                    format!("{what} changed: preparing revision {to} beside revision {current}"),
                ));
            }
        }
    }
    if draft.standing != (Standing::Runs { revision: current }) {
        return None;
    }
    let (target, active) = (draft.replicas(), draft.input.active_workers(current)?);
    let pods = draft.input.revision(current).stateful_set?.replicas;
    let phase = draft.input.report(current).map(|report| report.phase);
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
        return Some(rescale::begin(draft, current, active));
    }
    // The pods do not follow the job: a crash between the two, or somebody else's hand. Too many are removed only when the job is sure not to be on its way to them.
    if pods < active
        || (pods > active
            && guard!("a job on its way keeps its pods": phase == Some(JobPhase::Running)))
    {
        draft.act(Action::ScaleRevision {
            revision: current,
            replicas: active,
        });
    }
    None
}

/// Forgets the content of the oldest revisions that have no pods.
fn forget_old_revisions(draft: &mut Draft<'_>) {
    let keep: Vec<Option<u64>> = match &draft.status.transition {
        Some(transition) => vec![transition.from, transition.to, draft.current()],
        None => vec![draft.current()],
    };
    let bare: Vec<u64> = draft
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
        draft.act(Action::ForgetRevision { revision });
    }
}
