//! What holds in single steps: each rule here is what some guard is for.

use streamkeeper_api::{
    condition::{self, kind},
    v1alpha1::{
        Outcome, Step,
        TransitionKind::{self, Delete, Deploy, Rescale, Resume, Rollback, Suspend, Upgrade},
    },
};
use streamkeeper_protocol::{
    head::RunState,
    job_api::{JobPhase, PromoteFrom},
};

use crate::{
    plan::action::{Action, JobCall, Plan},
    tests::grid::{
        cases::{Asked, CROWD, Case, NEW, OLD, RECORDS},
        facts::{CurrentRevision, HeadClass, NewRevision},
        position,
        rules::demand,
    },
};

/// Whether the old revision has the job, and no fact says otherwise.
fn old_has_it(case: &Case) -> bool {
    case.head.is_run_by(OLD) && !case.new.leads()
}

fn goes(case: &Case, planned: &Plan, from: (TransitionKind, Step), to: Step) -> bool {
    case.position() == Some(from) && position(&planned.status) == Some((from.0, to))
}

fn calls(planned: &Plan) -> impl Iterator<Item = (u64, &JobCall)> {
    planned.actions.iter().filter_map(|action| match action {
        Action::Call { revision, call } => Some((*revision, call)),
        Action::AddFinalizer
        | Action::RemoveFinalizer
        | Action::ApplyRevision { .. }
        | Action::ScaleRevision { .. }
        | Action::DeleteRevision { .. }
        | Action::ForgetRevision { .. }
        | Action::ApplyNetworkPolicy
        | Action::DeleteNetworkPolicy
        | Action::ApplyBudget { .. }
        | Action::DeleteBudget { .. }
        | Action::ForceDeletePod { .. }
        | Action::CreateSnapshot { .. }
        | Action::DeleteSnapshot { .. }
        | Action::DeleteJob => None,
    })
}

fn deletes(planned: &Plan, revision: u64) -> bool {
    planned
        .actions
        .contains(&Action::DeleteRevision { revision })
}

fn begins_rollback(case: &Case, planned: &Plan) -> bool {
    case.position() != Some((Rollback, Step::Preparing))
        && position(&planned.status) == Some((Rollback, Step::Preparing))
}

fn shown(planned: &Plan) -> String {
    format!("{:?}", planned.actions)
}

pub(super) fn what_only_others_hold_is_left_alone(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let alone = planned.status == case.status() && planned.actions.is_empty();
    demand(!(case.deleting && case.loose) || alone, || shown(planned))
}

pub(super) fn nothing_is_begun_before_the_finalizer_is_there(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let first = planned.actions.first() == Some(&Action::AddFinalizer)
        && planned.status.transition == case.status().transition;
    demand(!case.loose || case.deleting || first, || shown(planned))
}

pub(super) fn numbers_of_revisions_only_grow(case: &Case, planned: &Plan) -> Result<(), String> {
    let before = case.status();
    let say = || format!("{:?} after {:?}", planned.status.revision, before.revision);
    let numbers = |status: &streamkeeper_api::v1alpha1::StreamJobStatus| {
        let revision = status.revision.as_ref();
        (
            revision.map_or(0, |revision| revision.latest),
            revision.and_then(|revision| revision.current).unwrap_or(0),
        )
    };
    let ((latest, current), (latest_before, current_before)) =
        (numbers(&planned.status), numbers(&before));
    demand(
        latest >= latest_before && current >= current_before && latest >= current,
        say,
    )?;
    let to = |transition: Option<&streamkeeper_api::v1alpha1::Transition>| transition?.to;
    let next = to(planned.status.transition.as_ref());
    let new = next != to(before.transition.as_ref()) && next.is_some_and(|next| next != current);
    if !new {
        return Ok(());
    }
    let head = case.head.record().map_or(0, |head| head.revision);
    let seen = match (case.new, case.crowded) {
        (_, true) => *CROWD.end(),
        (NewRevision::Gone, false) if case.fresh => 0,
        (NewRevision::Gone, false) => OLD,
        (_, false) => NEW,
    };
    demand(
        next.is_some_and(|next| next > latest_before && next > head && next > seen),
        || format!("{next:?} was used before: {}", say()),
    )
}

pub(super) fn a_call_that_failed_rests_before_the_next(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let rests = case.retries > 0 && !case.late;
    demand(!rests || calls(planned).count() == 0, || shown(planned))
}

pub(super) fn a_start_pushes_aside_nobody_through_whom_records_flow(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let starts = matches!(case.position(), Some((Deploy | Resume, _)));
    let flows = case
        .old
        .seen()
        .is_some_and(|(phase, _)| phase == JobPhase::Running);
    let pushes = calls(planned).any(|(_, call)| matches!(call, JobCall::Promote(_)));
    demand(!(starts && flows && old_has_it(case) && pushes), || {
        shown(planned)
    })
}

pub(super) fn the_state_of_another_job_is_taken_only_by_a_first_start_and_after_its_end(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let HeadClass::Foreign(state) = case.head else {
        return Ok(());
    };
    // A coordinator of ours with a later attempt than the HEAD that was read knows better.
    if case.old.leads() || case.new.leads() {
        return Ok(());
    }
    let first = matches!(case.position(), Some((Deploy, _))) && state == RunState::Released;
    let wrong = calls(planned).any(|(_, call)| match call {
        JobCall::Promote(request) => !(first && request.from == PromoteFrom::TakeOver),
        JobCall::Savepoint(_) | JobCall::HandOver(_) | JobCall::Stop(_) | JobCall::Rescale(_) => {
            true
        }
    });
    demand(!wrong, || shown(planned))
}

pub(super) fn a_call_goes_to_whom_the_status_names(_: &Case, planned: &Plan) -> Result<(), String> {
    let transition = planned.status.transition.as_ref();
    let wrong = calls(planned).find(|(revision, call)| {
        let named = match call {
            JobCall::HandOver(_) | JobCall::Stop(_) => transition.and_then(|known| known.from),
            JobCall::Promote(_) | JobCall::Rescale(_) => transition.and_then(|known| known.to),
            // The controller of snapshots makes these.
            JobCall::Savepoint(_) => None,
        };
        named != Some(*revision)
    });
    demand(wrong.is_none(), || {
        format!("{wrong:?} while {transition:?}")
    })
}

pub(super) fn whoever_has_a_part_in_a_transition_keeps_his_pods(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let (Some((kind, step)), Some(transition)) =
        (case.position(), planned.status.transition.as_ref())
    else {
        return Ok(());
    };
    let parts = match (kind, step) {
        (Upgrade, Step::Preparing | Step::HandingOver | Step::Promoting | Step::Verifying)
        | (Resume, _) => [transition.from, transition.to],
        (Deploy | Rollback | Upgrade, _) => [None, transition.to],
        _ => return Ok(()),
    };
    let same = case.status().transition.is_some_and(|before| {
        (before.kind, before.step, before.to, before.from)
            == (
                transition.kind,
                transition.step,
                transition.to,
                transition.from,
            )
    });
    let lost = parts
        .into_iter()
        .flatten()
        .find(|revision| deletes(planned, *revision));
    demand(!same || lost.is_none(), || format!("{lost:?} is deleted"))
}

pub(super) fn a_transition_ends_well_only_when_the_old_pods_are_gone(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let retiring = matches!(case.position(), Some((Upgrade | Rollback, Step::Retiring)));
    let well = planned.status.transition.is_none()
        && planned
            .status
            .history
            .first()
            .is_some_and(|entry| entry.result == Outcome::Succeeded);
    demand(!(retiring && well) || case.old.is_gone(), || {
        "the old revision is still there".to_owned()
    })
}

pub(super) fn a_pod_is_removed_by_force_only_from_a_node_that_was_lost_for_long(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let forced = planned
        .actions
        .iter()
        .any(|action| matches!(action, Action::ForceDeletePod { .. }));
    let lost = case.late && case.old == CurrentRevision::NodeLost && !(case.deleting && case.loose);
    demand(forced == lost, || shown(planned))
}

pub(super) fn a_successor_is_ready_before_it_takes_over(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let has_it = case.new.leads()
        || case.head.is_run_by(NEW)
        || case.head == HeadClass::Ours(RunState::HandingOver { to: NEW }, OLD);
    let ready = case.new.fits() || has_it;
    let goes = goes(case, planned, (Upgrade, Step::Preparing), Step::HandingOver);
    let asked = calls(planned).any(|(_, call)| matches!(call, JobCall::HandOver(_)));
    demand(!(goes || asked) || ready, || planned.why.clone())
}

pub(super) fn what_another_revision_or_job_says_counts_for_nothing(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let misleads = matches!(case.new, NewRevision::Mistaken | NewRevision::Stranger);
    let known = |status: &streamkeeper_api::v1alpha1::StreamJobStatus| {
        status.revision.as_ref().and_then(|known| known.current)
    };
    let in_head = case
        .head
        .record()
        .filter(|head| head.job_uid == crate::tests::grid::cases::UID)
        .map(|head| head.revision);
    let now = known(&planned.status);
    let justified = now == known(&case.status()) || now == in_head || now == Some(OLD);
    demand(!misleads || justified, || {
        format!("revision {now:?} is taken for the one that runs")
    })
}

pub(super) fn suspended_means_that_nothing_is_left(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let suspended = condition::is_true(&planned.status.conditions, kind::SUSPENDED);
    // Of a revision without pods the content may be left.
    let left = (!case.fresh && !case.old.is_gone()) || case.new != NewRevision::Gone;
    demand(!(suspended && left), || planned.why.clone())
}

pub(super) fn where_nobody_can_run_a_start_is_begun(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let nobody = case.position().is_none()
        && case.head == HeadClass::Ours(RunState::HandingOver { to: NEW }, OLD)
        && case.new == NewRevision::Gone
        && !case.old.leads();
    let asked = case.asked == Asked::Same && !case.deleting && !case.loose;
    demand(
        !(nobody && asked) || planned.status.transition.is_some(),
        || planned.why.clone(),
    )
}

/// Its pods find out what the operator may not read. Until they have, nothing is told to run.
pub(super) fn where_the_operator_does_not_look_pods_are_started_and_nothing_runs_unseen(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    if case.head != HeadClass::NotLooked || case.old.leads() || case.new.leads() {
        return Ok(());
    }
    let promoted = planned.actions.iter().any(|action| {
        matches!(
            action,
            Action::Call {
                call: JobCall::Promote(_),
                ..
            }
        )
    });
    demand(!promoted, || format!("{:?}", planned.actions))?;
    let asked = case.asked == Asked::Same && !case.deleting && !case.loose;
    let nobody = case.position().is_none() && (case.fresh || case.old.is_gone()) && !case.moved;
    demand(
        !(nobody && asked) || planned.status.transition.is_some(),
        || planned.why.clone(),
    )
}

pub(super) fn a_revision_that_handed_over_does_not_run_again(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let again = planned
        .status
        .transition
        .as_ref()
        .is_some_and(|transition| {
            case.position().is_none() && transition.kind == Resume && transition.to == Some(OLD)
        });
    let may = matches!(
        case.head,
        HeadClass::Ours(RunState::Running | RunState::Stopped, OLD)
    ) || case.old.leads();
    demand(!again || may, || planned.why.clone())
}

pub(super) fn no_pod_is_taken_from_a_job_on_its_way_to_it(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let taken = planned.actions.iter().any(|action| {
        matches!(action, Action::ScaleRevision { revision: OLD, replicas } if *replicas < case.old.pods())
    });
    let on_its_way = case.position().is_none() && case.old == CurrentRevision::Rescales;
    demand(!(taken && on_its_way), || shown(planned))
}

pub(super) fn what_is_being_handed_over_is_not_reconsidered(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let position_now = Some((Upgrade, Step::HandingOver));
    let under_way = case.position() == position_now
        && case.retries == 0
        && !case.deleting
        && old_has_it(case)
        && case.old == CurrentRevision::Running
        && case.new == NewRevision::Ready;
    demand(
        !under_way || position(&planned.status) == position_now,
        || planned.why.clone(),
    )
}

pub(super) fn a_savepoint_is_given_up_only_for_a_lost_cause(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let given_up = goes(case, planned, (Upgrade, Step::HandingOver), Step::Promoting)
        || goes(case, planned, (Suspend, Step::Stopping), Step::Removing);
    demand(
        !(given_up && old_has_it(case)) || is_lost_cause(case.old),
        || planned.why.clone(),
    )
}

fn is_lost_cause(old: CurrentRevision) -> bool {
    match old {
        CurrentRevision::Gone
        | CurrentRevision::Forgotten
        | CurrentRevision::CrashLoops
        | CurrentRevision::BacksOff
        | CurrentRevision::Stopped
        | CurrentRevision::Completed
        | CurrentRevision::Barred
        | CurrentRevision::Failed => true,
        CurrentRevision::Running
        | CurrentRevision::Deaf
        | CurrentRevision::Outside
        | CurrentRevision::Waits
        | CurrentRevision::Grown
        | CurrentRevision::Moved
        | CurrentRevision::Lowered
        | CurrentRevision::Short
        | CurrentRevision::Flaps
        | CurrentRevision::NodeLost
        | CurrentRevision::Rescales
        | CurrentRevision::Arrives => false,
    }
}

pub(super) fn a_revision_proves_itself_before_the_old_one_goes(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let goes = goes(case, planned, (Upgrade, Step::Verifying), Step::Retiring);
    let proved = case.new == NewRevision::Proved
        || (case.new == NewRevision::Silent && case.late)
        || case.head == HeadClass::Ours(RunState::Completed, NEW);
    demand(!goes || proved, || planned.why.clone())
}

pub(super) fn nobody_is_rolled_back_before_his_time(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let healthy = matches!(
        case.new,
        NewRevision::Ready | NewRevision::Leads | NewRevision::Silent | NewRevision::Proved
    );
    let early = begins_rollback(case, planned) && healthy && !case.late;
    demand(!early, || planned.why.clone())
}

pub(super) fn with_head_unreadable_nobody_is_rolled_back_for_being_late(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let unreadable = matches!(
        case.head,
        HeadClass::Unknown | HeadClass::Denied | HeadClass::NotLooked
    );
    let late = case.new == NewRevision::Leads;
    demand(
        !(begins_rollback(case, planned) && unreadable && late),
        || planned.why.clone(),
    )
}

pub(super) fn a_rollback_has_a_content_to_go_back_to(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let empty = case.old == CurrentRevision::Forgotten;
    demand(!(begins_rollback(case, planned) && empty), || {
        planned.why.clone()
    })
}

pub(super) fn what_failed_is_remembered(case: &Case, planned: &Plan) -> Result<(), String> {
    let given_up = case.position() == Some((Upgrade, Step::Preparing))
        && planned
            .status
            .history
            .first()
            .is_some_and(|entry| entry.result == Outcome::Failed);
    let failed = given_up || begins_rollback(case, planned);
    // Of a revision without a content nothing can be remembered.
    let nameless = matches!(case.new, NewRevision::Gone);
    demand(
        !failed || nameless || planned.status.rejected.is_some(),
        || planned.why.clone(),
    )
}

pub(super) fn a_rollback_brings_back_the_content_before(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let other = planned.actions.iter().any(|action| {
        matches!(action, Action::ApplyRevision { revision: NEW, record, .. } if **record != RECORDS[0])
    });
    let rolls_back =
        matches!(case.position(), Some((Rollback, _))) && case.new == NewRevision::Gone;
    demand(!(rolls_back && other), || shown(planned))
}

pub(super) fn workers_are_up_before_the_job_moves(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let goes = goes(case, planned, (Rescale, Step::Scaling), Step::Moving);
    demand(!goes || case.old.pods() >= case.target(), || {
        planned.why.clone()
    })
}

pub(super) fn the_job_has_arrived_before_pods_go(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let goes = goes(case, planned, (Rescale, Step::Moving), Step::Shrinking);
    let arrived = case.old.seen() == Some((JobPhase::Running, case.target()));
    demand(!goes || arrived, || planned.why.clone())
}

pub(super) fn a_named_successor_comes_before_a_suspension(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let goes = goes(case, planned, (Suspend, Step::Stopping), Step::Removing);
    let named = case.head == HeadClass::Ours(RunState::HandingOver { to: NEW }, OLD)
        && case.new.has_pods()
        && !case.late;
    demand(!(goes && named), || planned.why.clone())
}

pub(super) fn a_deletion_stops_the_job_first(case: &Case, planned: &Plan) -> Result<(), String> {
    let goes = goes(case, planned, (Delete, Step::Stopping), Step::Removing);
    let runs = case.head.is_run_by(OLD) || case.head.is_run_by(NEW);
    let nobody = case.old.is_gone() && !case.new.has_pods();
    // One that completed says so before HEAD is read again.
    let over = case.old == CurrentRevision::Completed;
    demand(
        !(goes && runs) || nobody || case.late || over || is_hopeless(case),
        || planned.why.clone(),
    )
}

/// Whether who has the job says that it will not take it up.
fn is_hopeless(case: &Case) -> bool {
    let old = matches!(case.old, CurrentRevision::Failed | CurrentRevision::Barred);
    (case.head.is_run_by(OLD) && !case.new.leads() && old)
        || (case.head.is_run_by(NEW) && case.new == NewRevision::Failed)
}

pub(super) fn a_deletion_does_not_wait_for_a_job_that_cannot_stop(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let stopping = case.position() == Some((Delete, Step::Stopping));
    let ends = position(&planned.status) == Some((Delete, Step::Removing));
    demand(!(stopping && is_hopeless(case)) || ends, || {
        planned.why.clone()
    })
}

pub(super) fn content_that_may_be_needed_is_kept(_: &Case, planned: &Plan) -> Result<(), String> {
    let known = planned.status.revision.as_ref();
    let mut needed = vec![known.and_then(|known| known.current)];
    needed.extend(
        planned
            .status
            .transition
            .iter()
            .flat_map(|transition| [transition.from, transition.to]),
    );
    let lost = planned.actions.iter().any(|action| {
        matches!(action, Action::ForgetRevision { revision } if needed.contains(&Some(*revision)))
    });
    demand(!lost, || shown(planned))
}

pub(super) fn an_edit_back_cancels(case: &Case, planned: &Plan) -> Result<(), String> {
    let back = case.position() == Some((Upgrade, Step::Preparing))
        && case.asked == Asked::Same
        && !case.deleting
        && !case.loose
        && case.head.is_run_by(OLD)
        && !case.new.leads()
        && case.old != CurrentRevision::Forgotten;
    demand(!back || position(&planned.status).is_none(), || {
        planned.why.clone()
    })
}
