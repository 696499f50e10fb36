//! Upgrade: a new revision is prepared beside the old one, takes over with its savepoint, proves itself; then the old one goes.
//!
//! The old revision is not touched before the new one is ready, and not removed before the new one has proved itself.

use streamkeeper_protocol::{
    head::OperationResult,
    job_api::{HandOverRequest, JOB_API_PORT, JobPhase},
};

use super::{
    action::{EventKind, JobCall, Trigger},
    draft::{Draft, Verdict, call_key},
    observed::Fact,
    preparation::Preparation,
    rollback,
    saving::Saved,
    situation::{Standing, Wanted},
    standby::Promotion,
};
use crate::api::{
    condition::{Reconciling, Stalled, sentence},
    names::pod_address,
    v1alpha1::{OnFailure, OnSavepointFailure, OnTransition, Outcome, Standby, Step, Transition},
};

/// Savepoints that must fail in a row before a person is asked for help; trying goes on.
const SAVEPOINT_FAILURES: u32 = 3;

pub(super) fn plan(draft: &mut Draft<'_>, transition: &Transition) -> Verdict {
    let (Some(from), Some(to)) = (transition.from, transition.to) else {
        return draft.start_over(transition, Reconciling::Preparing);
    };
    match transition.step {
        Step::Preparing => preparing(draft, transition, from, to),
        Step::HandingOver => handing_over(draft, transition, from, to),
        Step::Promoting => promoting(draft, transition, from, to),
        Step::Verifying => verifying(draft, transition, from, to),
        Step::Retiring => retiring(draft, transition, to),
        Step::Scaling | Step::Moving | Step::Shrinking | Step::Stopping | Step::Removing => {
            draft.start_over(transition, Reconciling::Preparing)
        }
    }
}

/// Ends or replaces an upgrade that is not what is asked for any more. Only while the old revision has not been asked to stop, or cannot be.
fn reconsider(
    draft: &mut Draft<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
) -> Option<Verdict> {
    let cancel = |draft: &mut Draft<'_>, why: &str| {
        draft.finish(transition, Outcome::Cancelled, why);
        Some(Verdict::Reconciling(
            Reconciling::Preparing,
            format!("the upgrade to revision {to} was cancelled: {why}"),
        ))
    };
    if draft.input.job.spec.suspend {
        return cancel(draft, "spec.suspend was set");
    }
    if let Standing::Completed { .. } = draft.standing {
        return cancel(draft, "the job completed first");
    }
    let Wanted::Known(wanted) = &draft.wanted else {
        return None;
    };
    let runs = draft
        .input
        .revision(from)
        .record
        .as_ref()
        .is_some_and(|held| held.content == wanted.content);
    if guard!("an edit back cancels": runs, else false) {
        return cancel(draft, "the spec is again what runs");
    }
    let prepared = draft.input.revision(to).record.as_ref()?;
    if prepared.is_same_try(wanted) {
        return None;
    }
    let next = draft.allot();
    let mut replaced = draft.go(transition, Step::Preparing);
    replaced.to = Some(next);
    draft.place(replaced);
    Some(Verdict::Reconciling(
        Reconciling::Preparing,
        format!("the spec changed: preparing revision {next} instead of {to}"),
    ))
}

fn preparing(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    if draft.standing.is_run_by(to) {
        // A call of an operator before us was taken in late.
        draft.go(transition, Step::HandingOver);
        return Verdict::Reconciling(
            Reconciling::HandingOver,
            format!("revision {to} has taken over"),
        );
    }
    if let Some(verdict) = reconsider(draft, transition, from, to) {
        return verdict;
    }
    draft.repair(from);
    if let Some(verdict) =
        guard!("the successor is ready first": ready(draft, transition, from, to), else None)
    {
        return verdict;
    }
    draft.go(transition, Step::HandingOver);
    Verdict::Reconciling(
        Reconciling::HandingOver,
        format!("revision {to} is ready to take over"),
    )
}

/// What keeps the new revision from being ready, if something does; one that will not be is given up.
fn ready(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Option<Verdict> {
    let preparing = |message: String| Some(Verdict::Reconciling(Reconciling::Preparing, message));
    match draft.preparation(transition, to) {
        Preparation::Ready => None,
        Preparation::Missing => {
            let workers = draft
                .input
                .active_workers(from)
                .or(draft
                    .input
                    .revision(from)
                    .stateful_set
                    .map(|set| set.replicas))
                .unwrap_or_else(|| draft.replicas());
            draft.bring_up_beside(transition, to, workers.max(1));
            preparing(format!(
                "creating revision {to} beside revision {from}, which runs on"
            ))
        }
        Preparation::Waiting { message, .. } => {
            let workers = draft.input.active_workers(from);
            draft.bring_up_beside(transition, to, workers.unwrap_or_else(|| draft.replicas()));
            preparing(format!("revision {to} is being prepared: {message}"))
        }
        Preparation::Broken {
            reason: Stalled::Unschedulable | Stalled::QuotaExceeded,
            message,
        } if may_stand_by_with_less(draft, transition, to) => {
            let next = draft.allot();
            let mut smaller = draft.go(transition, Step::Preparing);
            smaller.to = Some(next);
            smaller.standby = Some(Standby::First);
            draft.place(smaller);
            preparing(format!(
                "there is no room for all pods of revision {to} beside revision {from} ({message}): preparing revision {next} with its first pod only"
            ))
        }
        Preparation::Broken { reason, message } => {
            let message = format!(
                "revision {to} was given up: {} Revision {from} was not touched",
                sentence(&message)
            );
            draft.reject(to, reason, &message);
            draft.finish(transition, Outcome::Failed, message.clone());
            Some(Verdict::Stalled(reason, message))
        }
    }
}

/// Whether a revision that finds no room asked for more than its first pod.
fn may_stand_by_with_less(draft: &Draft<'_>, transition: &Transition, to: u64) -> bool {
    let facts = draft.input.revision(to);
    let asked = facts.stateful_set.map_or(2, |set| set.replicas);
    transition.standby.is_none()
        && asked > 1
        && facts
            .record
            .as_ref()
            .is_some_and(|record| record.standby == Standby::Full)
}

fn handing_over(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let waiting = |message: String| Verdict::Reconciling(Reconciling::HandingOver, message);
    match draft.standing.clone() {
        Standing::Runs { revision }
        | Standing::HandingOver { to: revision, .. }
        | Standing::Completed { revision }
            if revision == to =>
        {
            draft.go(transition, Step::Verifying);
            waiting(format!(
                "revision {from} took its savepoint and gave the job to revision {to}"
            ))
        }
        Standing::Runs { revision } => {
            if draft.follow(transition, revision) {
                return waiting(format!("revision {revision} runs the job"));
            }
            let refused = cannot_hand_over(draft, revision)
                .or_else(|| goes_on_without_savepoint(draft, transition, revision));
            if let Some(why) = refused {
                draft.go(transition, Step::Promoting);
                return waiting(format!(
                    "revision {revision} cannot take a savepoint ({why}): revision {to} goes on from the last checkpoint"
                ));
            }
            ask_to_hand_over(draft, transition, revision, to)
        }
        Standing::Completed { .. } => {
            draft.finish(transition, Outcome::Cancelled, "the job completed first");
            waiting("the job completed before it was handed over".to_owned())
        }
        Standing::Stopped { .. }
        | Standing::Released { .. }
        | Standing::HandingOver { .. }
        | Standing::Foreign { .. }
        | Standing::Nothing => {
            draft.go(transition, Step::Promoting);
            waiting(format!(
                "revision {from} does not run any more: revision {to} goes on from the last checkpoint"
            ))
        }
        Standing::Unknown { why, .. } => {
            waiting(format!("waiting to find out who runs the job: {why}"))
        }
    }
}

fn ask_to_hand_over(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let verdict = |transition: &Transition, message: String| match &transition.last_error {
        Some(why) if transition.retries >= SAVEPOINT_FAILURES => Verdict::Stalled(
            Stalled::SavepointFailed,
            format!(
                "the savepoint before the upgrade failed {} times: {} Revision {from} runs on, and it is tried again; change the spec back to cancel",
                transition.retries,
                sentence(why)
            ),
        ),
        Some(why) => Verdict::Reconciling(
            Reconciling::HandingOver,
            format!("{message} (the last try failed: {why})"),
        ),
        None => Verdict::Reconciling(Reconciling::HandingOver, message),
    };
    if guard!("what is being handed over is not reconsidered": !draft.may_call(transition)) {
        // The last try failed for good and the next has not begun: the old revision is sure to run on.
        return match reconsider(draft, transition, from, to) {
            Some(verdict) => verdict,
            None => verdict(
                transition,
                format!("waiting before the next try to hand over to revision {to}"),
            ),
        };
    }
    let key = call_key(transition, "handover");
    let asked = match &draft.input.observed.operation {
        Fact::Known(Some(operation)) if operation.key == key => Some(&operation.result),
        Fact::Known(_) => None,
        Fact::Unknown(_) => {
            return verdict(
                transition,
                format!("waiting for the coordinator of revision {from} to answer"),
            );
        }
    };
    if let Some(OperationResult::Failed { why }) = asked {
        let transition = draft.retry(transition, why);
        return verdict(&transition, format!("revision {from} runs on"));
    }
    // What was ready may have broken since.
    if guard!("the successor is still ready": asked.is_none(), else false)
        && let Some(verdict) = ready(draft, transition, from, to)
    {
        return verdict;
    }
    if asked.is_none() && draft.input.job.spec.snapshots.on_upgrade == OnTransition::Take {
        match draft.save(transition, Trigger::Upgrade, None) {
            Saved::Done => {}
            Saved::Begun(message) | Saved::Waiting(message) => {
                return verdict(transition, message);
            }
            Saved::Failed(why) => {
                return match reconsider(draft, transition, from, to) {
                    Some(verdict) => verdict,
                    None => Verdict::Stalled(
                        Stalled::SavepointFailed,
                        format!(
                            "{} Revision {from} runs on; delete that StreamSnapshot to try again, or set spec.snapshots.onUpgrade to Skip",
                            sentence(&why)
                        ),
                    ),
                };
            }
        }
    }
    if draft.input.report(from).is_none() {
        return verdict(
            transition,
            format!("waiting for the coordinator of revision {from} to answer"),
        );
    }
    let refusal = draft
        .input
        .observed
        .refusal
        .as_ref()
        .filter(|refusal| refusal.key == key)
        .map(|refusal| refusal.message.clone());
    let job = draft.input.job;
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let to_address = Some(format!(
        "{}:{JOB_API_PORT}",
        pod_address(name, namespace, to, 0)
    ));
    draft.call(
        from,
        JobCall::HandOver(HandOverRequest {
            key,
            to_revision: to,
            to_address,
        }),
    );
    let asked = format!("revision {from} takes a savepoint and hands over to revision {to}");
    verdict(
        transition,
        refusal.map_or(asked, |why| {
            format!("revision {from} does not hand over yet: {why}")
        }),
    )
}

/// Why the savepoint is not waited for any longer, if the spec allows that: it failed too often, and the last checkpoint is new enough.
fn goes_on_without_savepoint(
    draft: &Draft<'_>,
    transition: &Transition,
    revision: u64,
) -> Option<String> {
    let policy = &draft.input.job.spec.upgrade;
    let why = transition.last_error.as_ref()?;
    let last = draft.input.report(revision)?.last_checkpoint.as_ref()?;
    let age = draft
        .input
        .now
        .as_millisecond()
        .saturating_sub(last.completed_ms);
    let limit = policy.checkpoint_age_limit();
    let young = u64::try_from(age).unwrap_or(0) <= limit.as_millis();
    (policy.on_savepoint_failure == OnSavepointFailure::UseLastCheckpoint
        && transition.retries >= SAVEPOINT_FAILURES
        && young)
        .then(|| {
            format!(
                "it failed {} times: {why}; spec.upgrade.onSavepointFailure is UseLastCheckpoint",
                transition.retries
            )
        })
}

/// Why a revision cannot take a savepoint, if it cannot.
fn cannot_hand_over(draft: &Draft<'_>, revision: u64) -> Option<String> {
    let facts = draft.input.revision(revision);
    if facts.stateful_set.is_none() && facts.pods.is_empty() {
        return Some("its pods are gone".to_owned());
    }
    if let Some(report) = draft.input.report(revision) {
        let error = report.error.as_ref().map(|error| error.message.clone());
        return match report.phase {
            JobPhase::Failed => Some(error.unwrap_or_else(|| "it failed".to_owned())),
            JobPhase::BackingOff => report
                .last_failure
                .as_ref()
                .map(|failure| failure.message.clone()),
            JobPhase::Standby
            | JobPhase::WaitingForWorkers
            | JobPhase::Restoring
            | JobPhase::Running
            | JobPhase::Rescaling
            | JobPhase::Stopping
            | JobPhase::Stopped
            | JobPhase::Completed
            | JobPhase::Fenced => None,
        };
    }
    let since = draft
        .status
        .transition
        .as_ref()
        .map_or(draft.input.now, |transition| transition.since.0);
    draft
        .input
        .ailment(revision, since)
        .filter(|ailment| guard!("a savepoint is given up only for a lost cause": ailment.settled))
        .map(|ailment| ailment.message)
}

/// The old revision could not hand over: the new one takes the job from the last checkpoint.
fn promoting(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    if draft.standing.is_run_by(to) {
        draft.go(transition, Step::Verifying);
        return Verdict::Reconciling(Reconciling::Verifying, format!("revision {to} runs"));
    }
    let undecided = matches!(draft.standing, Standing::Unknown { .. });
    if !undecided && let Some(verdict) = reconsider(draft, transition, from, to) {
        return verdict;
    }
    if let Some(verdict) = ready(draft, transition, from, to) {
        return verdict;
    }
    let standing_by = draft.input.revision(to).stateful_set;
    let workers = draft
        .input
        .active_workers(from)
        .or(standing_by.map(|set| set.replicas))
        .unwrap_or(1)
        .max(1);
    match draft.promote(transition, to, workers) {
        Promotion::Done => {
            draft.go(transition, Step::Verifying);
            Verdict::Reconciling(Reconciling::Verifying, format!("revision {to} runs"))
        }
        Promotion::Pending(verdict) => verdict,
        // Nobody can have the job as things are, with this revision or another: what was wrong decides what comes next.
        Promotion::Refused(verdict) => {
            draft.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} could not take the job"),
            );
            verdict
        }
    }
}

fn verifying(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let waiting = |message: String| Verdict::Reconciling(Reconciling::Verifying, message);
    let since = transition.step_since.0;
    match draft.standing.clone() {
        Standing::Completed { revision } if revision == to => {
            draft.go(transition, Step::Retiring);
            waiting(format!("revision {to} read all input"))
        }
        Standing::Runs { revision } if revision == to => {
            if let Some(workers) = draft.input.active_workers(to) {
                draft.fill_up(to, workers);
            }
            proving(draft, transition, from, to)
        }
        Standing::HandingOver { to: successor, .. } if successor == to => {
            let late = draft
                .input
                .passed(since, draft.input.settings.hand_over_timeout);
            if guard!("a successor has time to come": late) {
                let message = draft.input.ailment(to, since).map_or_else(
                    || {
                        format!(
                            "it did not claim the job within {} s",
                            draft.input.settings.hand_over_timeout.as_secs()
                        )
                    },
                    |ailment| ailment.message,
                );
                return failed(draft, transition, from, to, &message);
            }
            waiting(format!("revision {to} takes over"))
        }
        // Somebody stopped it or took it; the end of this transition lets the facts speak.
        Standing::Stopped { .. }
        | Standing::Released { .. }
        | Standing::Foreign { .. }
        | Standing::Nothing
        | Standing::Completed { .. } => {
            draft.finish(
                transition,
                Outcome::Failed,
                format!("revision {to} does not run any more"),
            );
            waiting(format!("revision {to} does not run any more"))
        }
        Standing::Runs { revision } | Standing::HandingOver { from: revision, .. } => waiting(
            format!("revision {revision} has the job; waiting for revision {to}"),
        ),
        Standing::Unknown { why, .. } => {
            waiting(format!("waiting to find out how revision {to} does: {why}"))
        }
    }
}

fn proving(draft: &mut Draft<'_>, transition: &Transition, from: u64, to: u64) -> Verdict {
    let since = transition.step_since.0;
    let deadline = draft.input.job.spec.upgrade.progress_deadline;
    let late = draft.input.passed(since, deadline.to_std());
    let mut missing = "its first checkpoint".to_owned();
    if let Some(report) = draft.input.report(to) {
        let steady = report.phase == JobPhase::Running;
        let checkpointed = report.checkpoints_in_attempt > 0;
        // A source may be silent for hours: at the deadline a checkpoint and a quiet run are proof enough.
        if guard!("it proves itself by a checkpoint": checkpointed)
            && guard!("it proves itself by input": report.records_in_attempt > 0 || (late && steady))
        {
            draft.go(transition, Step::Retiring);
            return Verdict::Reconciling(
                Reconciling::Verifying,
                format!("revision {to} reads input and completed a checkpoint"),
            );
        }
        if report.phase == JobPhase::Failed {
            let why = report
                .error
                .as_ref()
                .map_or("it failed", |error| error.message.as_str())
                .to_owned();
            return failed(draft, transition, from, to, &why);
        }
        if checkpointed {
            "input".clone_into(&mut missing);
        }
        if let Some(failure) = &report.last_failure {
            missing = format!("{missing} (it failed: {})", failure.message);
        }
    }
    if let Some(ailment) = draft.input.ailment(to, since)
        && (ailment.settled || late)
    {
        return failed(draft, transition, from, to, &ailment.message);
    }
    // With HEAD unreadable the trouble is most likely the storage's, and a rollback would not help.
    let readable = draft.input.observed.head.known().is_some();
    if guard!("it has time to prove itself": late)
        && guard!("a storage that does not answer is nobody's fault": readable)
    {
        let why = format!("within {deadline} it did not show {missing}");
        return failed(draft, transition, from, to, &why);
    }
    Verdict::Reconciling(
        Reconciling::Verifying,
        format!("revision {to} runs; waiting for {missing}"),
    )
}

/// The new revision has the job and does not get on with it.
fn failed(
    draft: &mut Draft<'_>,
    transition: &Transition,
    from: u64,
    to: u64,
    why: &str,
) -> Verdict {
    if draft.input.job.spec.upgrade.on_failure == OnFailure::Rollback {
        return rollback::begin(draft, transition, from, to, why);
    }
    let message = format!(
        "revision {to} failed after it took over ({why}) and stays, because spec.upgrade.onFailure is Pause; correct the spec, or set it back"
    );
    draft.finish(transition, Outcome::Failed, message.clone());
    Verdict::Stalled(Stalled::ProgressDeadlineExceeded, message)
}

fn retiring(draft: &mut Draft<'_>, transition: &Transition, to: u64) -> Verdict {
    if draft.others_gone(to) {
        draft.finish(transition, Outcome::Succeeded, "");
        draft.tell(
            EventKind::Normal,
            "UpgradeCompleted",
            format!("revision {to} runs"),
        );
        return Verdict::Reconciling(
            Reconciling::Verifying,
            format!("revision {to} runs; the old pods are gone"),
        );
    }
    Verdict::Reconciling(
        Reconciling::Verifying,
        format!("revision {to} runs; removing the old pods"),
    )
}
