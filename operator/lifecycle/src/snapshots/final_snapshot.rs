//! The snapshot that a job leaves when it stops: its savepoint, or word that there is none.

use streamkeeper_api::v1alpha1::{OnTransition, Transition};
use streamkeeper_protocol::head::{Head, OperationResult};

use crate::snapshots::automatic;
use crate::{
    observed::facts::Fact,
    plan::{
        action::{EventKind, Trigger},
        ownership::Ownership,
        plan_builder::PlanBuilder,
    },
    revision::record::storage_of,
    snapshots::automatic::Saved,
};

/// Makes a StreamSnapshot of the savepoint that the stop has left, if one is wanted; says what is
/// waited for. HEAD remembers where it lies.
pub(crate) fn keep_savepoint(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    wanted: OnTransition,
    trigger: Trigger,
) -> Option<String> {
    if wanted == OnTransition::Skip {
        return None;
    }
    let uri = savepoint(plan, transition)?;
    match automatic::save(plan, transition, trigger, Some(uri)) {
        Saved::Begun(message) => Some(message),
        // On which server it lies, only the job knows before the object says so.
        Saved::Waiting(message)
            if trigger == Trigger::Delete
                && automatic::saved(plan, transition, trigger)
                    .is_none_or(|found| found.uri.is_none()) =>
        {
            Some(message)
        }
        // The savepoint is whole: what becomes of the object does not hold up the transition.
        Saved::Waiting(_) | Saved::Done | Saved::Failed(_) => None,
    }
}

/// The savepoint that the stop of this transition has left.
fn savepoint(plan: &PlanBuilder<'_>, transition: &Transition) -> Option<String> {
    let stem = format!("{}-stop-", transition.key);
    let head = head(plan)?;
    let mut operations = head.operations.iter();
    let taken = operations.find(|operation| operation.key.starts_with(&stem))?;
    match &taken.result {
        OperationResult::Done { uri, .. } => uri.clone(),
        OperationResult::Running | OperationResult::Failed { .. } => None,
    }
}

fn head<'a>(plan: &PlanBuilder<'a>) -> Option<&'a Head> {
    plan.input.observed.head.known()?.as_ref()
}

/// The checkpoint that the job goes on from, unless there is nothing to go on from, or it is
/// another job's.
fn restore_point(plan: &PlanBuilder<'_>) -> Option<u64> {
    match &plan.ownership {
        Ownership::Nothing | Ownership::Foreign { .. } | Ownership::Completed { .. } => None,
        Ownership::Unknown { .. }
        | Ownership::Runs { .. }
        | Ownership::HandingOver { .. }
        | Ownership::Stopped { .. }
        | Ownership::Released { .. } => match &plan.input.observed.head {
            Fact::Known(head) => Some(head.as_ref()?.last.as_ref()?.checkpoint),
            Fact::Unknown(_) => Some(plan.status.last_checkpoint.as_ref()?.id),
        },
    }
}

/// Whether a StreamSnapshot holds this checkpoint, or will: the savepoint of an earlier stop that
/// is being read.
fn is_held(plan: &PlanBuilder<'_>, checkpoint: u64) -> bool {
    let folders: Vec<&String> = head(plan)
        .into_iter()
        .flat_map(|head| &head.operations)
        .filter_map(|operation| match &operation.result {
            OperationResult::Done {
                checkpoint: Some(held),
                uri,
            } if *held == checkpoint => uri.as_ref(),
            OperationResult::Done { .. }
            | OperationResult::Running
            | OperationResult::Failed { .. } => None,
        })
        .collect();
    plan.input.observed.snapshots.iter().any(|found| {
        let comes =
            found.is_in_progress() && found.uri.as_ref().is_some_and(|uri| folders.contains(&uri));
        comes || (found.is_complete() && found.checkpoint == Some(checkpoint))
    })
}

/// Says that no snapshot is left though the spec asks for one, what is left instead, and the way to
/// one.
pub(crate) fn tell_of_none(
    plan: &mut PlanBuilder<'_>,
    transition: &Transition,
    trigger: Trigger,
    why: &str,
) {
    let asked = &plan.input.job.spec.snapshots;
    let (wanted, field) = match trigger {
        Trigger::Delete => (asked.on_delete, "onDelete"),
        Trigger::Suspend | Trigger::Schedule | Trigger::Upgrade | Trigger::Rescale => {
            (asked.on_suspend, "onSuspend")
        }
    };
    if wanted == OnTransition::Skip || automatic::saved(plan, transition, trigger).is_some() {
        return;
    }
    let none = format!("no snapshot was taken (spec.snapshots.{field})");
    let note = if let Some(folder) = savepoint(plan, transition) {
        format!(
            "{none}: its object could not be created; the savepoint lies in {folder}: create a StreamSnapshot with spec.importFrom.uri"
        )
    } else {
        let Some(checkpoint) = restore_point(plan).filter(|last| !is_held(plan, *last)) else {
            return;
        };
        let way = match trigger {
            Trigger::Delete => {
                "a StreamJob of the same name goes on from there: create it, take a StreamSnapshot of it, and delete it again"
            }
            Trigger::Suspend | Trigger::Schedule | Trigger::Upgrade | Trigger::Rescale => {
                "the job goes on from there: take a StreamSnapshot once it runs again"
            }
        };
        format!(
            "{none}: {why}; checkpoint {checkpoint} stays{}; {way}",
            place(plan)
        )
    };
    plan.emit_event(EventKind::Warning, "SnapshotFailed", note);
}

/// Where the state of the job lies, for a message.
fn place(plan: &PlanBuilder<'_>) -> String {
    let job = &plan.input.job.metadata;
    let (namespace, name) = (job.namespace.as_deref(), job.name.as_deref());
    let held = plan.current_record().map(|record| &record.storage);
    match storage_of(plan.input.job, plan.input.settings, held) {
        Ok(storage) => format!(
            " in {}/{}/{}",
            storage.uri.trim_end_matches('/'),
            namespace.unwrap_or_default(),
            name.unwrap_or_default()
        ),
        Err(_) => " in the storage".to_owned(),
    }
}
