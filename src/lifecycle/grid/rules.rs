//! What holds in every case.

use streamkeeper_protocol::{head::RunState, job_api::PromoteFrom};

use super::{
    super::{
        action::{Action, JobCall, Plan},
        state::is_legal,
    },
    cases::{self, Asked, Case, NEW, OLD},
    facts::CurrentRevision,
    place,
};
use crate::api::{
    condition::{self, kind},
    v1alpha1::{
        Step,
        TransitionKind::{self, Delete},
    },
};

/// A job comes to rest within this many passes.
const PASSES: usize = 8;

type Rule = fn(&Case, &Plan) -> Result<(), String>;

macro_rules! rules {
    ($($name:ident),+ $(,)?) => {
        /// Every rule, by its name.
        pub(super) const ALL: &[(&str, Rule)] = &[$((stringify!($name), $name)),+];
    };
}

rules![
    only_edges_that_are_drawn_are_taken,
    conditions_keep_the_rules_of_kstatus,
    what_cannot_be_undone_is_written_down_a_pass_before,
    nothing_is_started_from_nothing_unless_the_store_said_that_there_is_nothing,
    the_pods_of_whoever_has_the_job_are_deleted_only_by_a_suspension,
    an_unknown_owner_costs_nobody_his_pods,
    a_running_revision_is_not_touched_before_its_successor_is_ready,
    a_revision_that_was_given_up_is_not_tried_again,
    a_quiet_world_comes_to_rest,
    deletion_ends_once_nobody_is_left_to_ask_or_time_is_up,
];

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn only_edges_that_are_drawn_are_taken(case: &Case, planned: &Plan) -> Result<(), String> {
    let (from, to) = (case.place(), place(&planned.status));
    demand(is_legal(from, to), || format!("{from:?} -> {to:?}"))
}

fn conditions_keep_the_rules_of_kstatus(_: &Case, planned: &Plan) -> Result<(), String> {
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
    let removing = case.deleting && case.place() == Some((Delete, Step::Removing));
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
    let Some(head) = case.head.record().filter(|head| head.job_uid == cases::UID) else {
        return Ok(());
    };
    let owner = match head.state {
        RunState::Running => head.revision,
        RunState::HandingOver { to } => to,
        RunState::Stopped | RunState::Completed | RunState::Released => return Ok(()),
    };
    let suspending = case.place() == Some((TransitionKind::Suspend, Step::Removing));
    // A coordinator with a later attempt than the HEAD that was read knows better.
    let outdated = case.new.leads();
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
    let suspending = case.place() == Some((TransitionKind::Suspend, Step::Removing));
    let deletes = planned
        .actions
        .iter()
        .any(|action| matches!(action, Action::DeleteRevision { .. }));
    demand(!(unknown && nobody_says && deletes) || suspending, || {
        format!("{:?}", planned.actions)
    })
}

fn a_running_revision_is_not_touched_before_its_successor_is_ready(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    if case.place() != Some((TransitionKind::Upgrade, Step::Preparing)) || case.deleting {
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
    let given_up = case.place() == Some((TransitionKind::Upgrade, Step::Preparing))
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
    demand(place(&next.status).is_none() && !again, || {
        format!("{}: {:?}", next.why, next.actions)
    })
}

fn a_quiet_world_comes_to_rest(case: &Case, planned: &Plan) -> Result<(), String> {
    let mut path = vec![(place(&planned.status), planned.why.clone())];
    let mut status = planned.status.clone();
    for _ in 0..PASSES {
        let (rests, next) = case.after(&status);
        if rests {
            return Ok(());
        }
        status = next.status;
        path.push((place(&status), next.why));
    }
    Err(format!("{path:#?}"))
}

fn deletion_ends_once_nobody_is_left_to_ask_or_time_is_up(
    case: &Case,
    planned: &Plan,
) -> Result<(), String> {
    let stopping = case.place() == Some((Delete, Step::Stopping));
    let nobody = case.old == CurrentRevision::Gone && !case.new.has_pods();
    let ends = place(&planned.status) == Some((Delete, Step::Removing));
    demand(!(stopping && (nobody || case.late)) || ends, || {
        "it waits".to_owned()
    })
}
