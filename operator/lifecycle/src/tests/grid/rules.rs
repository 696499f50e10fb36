//! What holds in every case.

use streamkeeper_api::{
    condition::{self, kind},
    v1alpha1::{
        Step,
        TransitionKind::{self, Delete},
    },
};
use streamkeeper_protocol::{head::RunState, job_api::PromoteFrom};

use crate::{
    plan::action::{Action, JobCall, Plan},
    tests::grid::{
        cases::{self, Asked, Case, NEW, OLD},
        position, steps,
    },
    transitions::edges::is_legal,
};

/// A job comes to rest within this many passes.
const PASSES: usize = 8;

type Rule = fn(&Case, &Plan) -> Result<(), String>;

/// Calls a macro with the names of all rules: those of this file, then those of [`steps`].
macro_rules! every_rule {
    ($macro:ident) => {
        $macro! {
            only_edges_that_are_drawn_are_taken,
            conditions_keep_the_rules_of_kstatus,
            an_edit_that_was_not_looked_at_is_not_in_force,
            what_cannot_be_undone_is_written_down_a_pass_before,
            nothing_is_started_from_nothing_unless_the_store_said_that_there_is_nothing,
            the_pods_of_whoever_has_the_job_are_deleted_only_by_a_suspension,
            an_unknown_owner_costs_nobody_his_pods,
            a_running_revision_is_not_touched_before_its_successor_is_ready,
            a_revision_that_was_given_up_is_not_tried_again,
            a_quiet_world_comes_to_rest,
            deletion_ends_once_nobody_is_left_to_ask_or_time_is_up;
            what_only_others_hold_is_left_alone,
            nothing_is_begun_before_the_finalizer_is_there,
            numbers_of_revisions_only_grow,
            a_call_that_failed_rests_before_the_next,
            a_start_pushes_aside_nobody_through_whom_records_flow,
            the_state_of_another_job_is_taken_only_by_a_first_start_and_after_its_end,
            a_call_goes_to_whom_the_status_names,
            whoever_has_a_part_in_a_transition_keeps_his_pods,
            a_transition_ends_well_only_when_the_old_pods_are_gone,
            a_pod_is_removed_by_force_only_from_a_node_that_was_lost_for_long,
            a_successor_is_ready_before_it_takes_over,
            what_another_revision_or_job_says_counts_for_nothing,
            suspended_means_that_nothing_is_left,
            where_nobody_can_run_a_start_is_begun,
            where_the_operator_does_not_look_pods_are_started_and_nothing_runs_unseen,
            a_revision_that_handed_over_does_not_run_again,
            no_pod_is_taken_from_a_job_on_its_way_to_it,
            what_is_being_handed_over_is_not_reconsidered,
            a_savepoint_is_given_up_only_for_a_lost_cause,
            a_revision_proves_itself_before_the_old_one_goes,
            nobody_is_rolled_back_before_his_time,
            with_head_unreadable_nobody_is_rolled_back_for_being_late,
            a_rollback_has_a_content_to_go_back_to,
            what_failed_is_remembered,
            a_rollback_brings_back_the_content_before,
            workers_are_up_before_the_job_moves,
            the_job_has_arrived_before_pods_go,
            a_named_successor_comes_before_a_suspension,
            a_deletion_stops_the_job_first,
            a_deletion_does_not_wait_for_a_job_that_cannot_stop,
            content_that_may_be_needed_is_kept,
            an_edit_back_cancels,
        }
    };
}
pub(super) use every_rule;

macro_rules! table {
    ($($name:ident),+ $(,)? ; $($step:ident),+ $(,)?) => {
        /// Every rule, by its name.
        pub(super) const ALL: &[(&str, Rule)] =
            &[$((stringify!($name), $name)),+, $((stringify!($step), steps::$step)),+];
    };
}

every_rule!(table);

pub(super) fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn only_edges_that_are_drawn_are_taken(case: &Case, planned: &Plan) -> Result<(), String> {
    let (from, to) = (case.position(), position(&planned.status));
    demand(is_legal(from, to), || format!("{from:?} -> {to:?}"))
}

fn conditions_keep_the_rules_of_kstatus(case: &Case, planned: &Plan) -> Result<(), String> {
    if case.deleting && case.loose {
        // Not ours any more.
        return Ok(());
    }
    let all = &planned.status.conditions;
    let say = |what: &str| format!("{what}: {all:#?}");
    let present = |name| condition::get(all, name).is_some();
    let held = |name| condition::is_true(all, name);
    for name in [kind::RECONCILING, kind::STALLED] {
        demand(present(name) == held(name), || {
            say("Reconciling and Stalled are present only when True")
        })?;
    }
    let (under_way, stuck) = (held(kind::RECONCILING), held(kind::STALLED));
    demand(!(under_way && stuck), || {
        say("Reconciling and Stalled at once")
    })?;
    demand(held(kind::READY) == (!under_way && !stuck), || {
        say("Ready says when there is nothing left to do")
    })?;
    for name in [
        kind::READY,
        kind::RUNNING,
        kind::CHECKPOINTS_HEALTHY,
        kind::SUSPENDED,
    ] {
        demand(present(name), || say(name))?;
    }
    let current = Some(cases::GENERATION);
    demand(planned.status.observed_generation == current, || {
        say("observedGeneration is behind")
    })?;
    for condition in all {
        demand(condition.observed_generation == current, || {
            say("a condition speaks of an old generation")
        })?;
        let word = condition.reason.chars().all(|c| c.is_ascii_alphanumeric());
        demand(word && !condition.reason.is_empty(), || say("no reason"))?;
    }
    let help = condition::get(all, kind::STALLED);
    demand(
        help.is_none_or(|stalled| stalled.message.len() > 20),
        || say("nobody can help with that"),
    )?;
    demand(!planned.requeue.is_zero(), || say("a busy loop"))
}

fn an_edit_that_was_not_looked_at_is_not_in_force(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let ready = condition::get(&planned.status.conditions, kind::READY);
    let in_force = ready.is_some_and(|ready| ready.status == "True" && ready.reason == "Running");
    demand(!(case.asked == Asked::NoSqlYet && in_force), || {
        planned.why.clone()
    })
}

fn what_cannot_be_undone_is_written_down_a_pass_before(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let moved = case.status().transition != planned.status.transition;
    let calls = planned
        .actions
        .iter()
        .any(|action| matches!(action, Action::Call { .. }));
    demand(!(moved && calls), || {
        format!("a call in the pass that decides it: {:?}", planned.actions)
    })?;
    let finalizer = planned.actions.contains(&Action::RemoveFinalizer);
    let removing = case.deleting && case.position() == Some((Delete, Step::Removing));
    demand(!finalizer || removing, || {
        "the finalizer goes too early".to_owned()
    })
}

fn nothing_is_started_from_nothing_unless_the_store_said_that_there_is_nothing(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let from_nothing = planned.actions.iter().any(|action| {
        matches!(
            action,
            Action::Call { call: JobCall::Promote(request), .. } if request.from == PromoteFrom::Empty
        )
    });
    demand(
        !from_nothing || (case.head.is_known_to_be_missing() && case.fresh),
        || format!("{:?}", planned.actions),
    )
}

fn the_pods_of_whoever_has_the_job_are_deleted_only_by_a_suspension(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let owner = match case.head.record() {
        Some(head) if head.job_uid == cases::UID => match head.state {
            RunState::Running => head.revision,
            RunState::HandingOver { to } => to,
            RunState::Stopped | RunState::Completed | RunState::Released => return Ok(()),
        },
        // Of two that say they have it, the one with the later attempt has it.
        None if case.new.leads() && !case.head.is_known_to_be_missing() => NEW,
        Some(_) | None => return Ok(()),
    };
    let suspending = case.position() == Some((TransitionKind::Suspend, Step::Removing));
    // A coordinator with a later attempt than the HEAD that was read knows better.
    let outdated = case.new.leads() && owner != NEW;
    let deleted = planned
        .actions
        .contains(&Action::DeleteRevision { revision: owner });
    demand(!deleted || suspending || outdated, || {
        format!("{:?}", planned.actions)
    })
}

fn an_unknown_owner_costs_nobody_his_pods(case: &Case, planned: &Plan) -> Result<(), String> {
    let unknown = case.head.record().is_none() && !case.head.is_known_to_be_missing();
    let nobody_says = !case.old.leads() && !case.new.leads();
    let suspending = case.position() == Some((TransitionKind::Suspend, Step::Removing));
    let deletes = planned
        .actions
        .iter()
        .any(|action| matches!(action, Action::DeleteRevision { .. }));
    demand(!(unknown && nobody_says && deletes) || suspending, || {
        format!("{:?}", planned.actions)
    })
}

// Elsewhere: FLINK-40119, spotify/flink-on-k8s-operator#590.
fn a_running_revision_is_not_touched_before_its_successor_is_ready(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    if case.position() != Some((TransitionKind::Upgrade, Step::Preparing)) || case.deleting {
        return Ok(());
    }
    let touches = |action: &Action| match action {
        Action::Call { .. } => true,
        Action::ScaleRevision { revision, .. } | Action::DeleteRevision { revision } => {
            *revision == OLD && case.head.is_run_by(OLD) && !case.new.leads()
        }
        Action::AddFinalizer
        | Action::RemoveFinalizer
        | Action::CreateSnapshot { .. }
        | Action::DeleteSnapshot { .. }
        | Action::DeleteJob
        | Action::ApplyRevision { .. }
        | Action::ForgetRevision { .. }
        | Action::ApplyNetworkPolicy
        | Action::DeleteNetworkPolicy
        | Action::ApplyBudget { .. }
        | Action::DeleteBudget { .. }
        | Action::ForceDeletePod { .. } => false,
    };
    demand(!planned.actions.iter().any(touches), || {
        format!("{:?}", planned.actions)
    })
}

fn a_revision_that_was_given_up_is_not_tried_again(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let given_up = case.position() == Some((TransitionKind::Upgrade, Step::Preparing))
        && planned.status.transition.is_none()
        && planned.status.rejected.is_some();
    // Where nothing runs, nothing is lost by trying.
    let runs = case.head.is_run_by(OLD) && case.old.leads();
    if !given_up || !runs || case.asked != Asked::Upgrade {
        return Ok(());
    }
    let (_, next) = case.after(&planned.status);
    let again = next
        .actions
        .iter()
        .any(|action| matches!(action, Action::ApplyRevision { revision, .. } if *revision >= NEW));
    demand(position(&next.status).is_none() && !again, || {
        format!("{}: {:?}", next.why, next.actions)
    })
}

fn a_quiet_world_comes_to_rest(case: &Case, planned: &Plan) -> Result<(), String> {
    let mut path = vec![(position(&planned.status), planned.why.clone())];
    let mut status = planned.status.clone();
    for _ in 0..PASSES {
        let (rests, next) = case.after(&status);
        if rests {
            return Ok(());
        }
        status = next.status;
        path.push((position(&status), next.why));
    }
    Err(format!("{path:#?}"))
}

fn deletion_ends_once_nobody_is_left_to_ask_or_time_is_up(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let stopping = case.position() == Some((Delete, Step::Stopping));
    let nobody = case.old.is_gone() && !case.new.has_pods();
    let ends = position(&planned.status) == Some((Delete, Step::Removing));
    demand(!(stopping && (nobody || case.late)) || ends, || {
        "it waits".to_owned()
    })
}
