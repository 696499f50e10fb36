//! Revisions that nobody needs any more.

use super::{action::Action, draft::Draft, situation::Standing};
use crate::api::v1alpha1::{Step, TransitionKind};

/// Deletes the pods of every revision that neither has the job nor a part in the transition. With the owner unknown nothing is deleted.
pub(super) fn sweep(draft: &mut Draft<'_>) {
    if draft.input.job.metadata.deletion_timestamp.is_some() {
        return;
    }
    let owners = match &draft.standing {
        Standing::Unknown { .. } => return,
        Standing::Runs { revision } => vec![*revision],
        Standing::HandingOver { to, .. } => vec![*to],
        Standing::Nothing
        | Standing::Foreign { .. }
        | Standing::Stopped { .. }
        | Standing::Completed { .. }
        | Standing::Released { .. } => Vec::new(),
    };
    let part: Vec<u64> = match &draft.status.transition {
        None => draft.current().into_iter().collect(),
        Some(transition) => match (transition.kind, transition.step) {
            // It removes what there is, in its own time.
            (TransitionKind::Suspend | TransitionKind::Delete, _) => return,
            // What was replaced makes room.
            (TransitionKind::Rollback, _) | (_, Step::Retiring) => {
                transition.to.into_iter().collect()
            }
            (
                TransitionKind::Deploy
                | TransitionKind::Upgrade
                | TransitionKind::Rescale
                | TransitionKind::Resume
                | TransitionKind::Restore,
                Step::Preparing
                | Step::HandingOver
                | Step::Promoting
                | Step::Verifying
                | Step::Scaling
                | Step::Moving
                | Step::Shrinking
                | Step::Stopping
                | Step::Removing,
            ) => transition.from.into_iter().chain(transition.to).collect(),
        },
    };
    let unneeded: Vec<u64> = draft
        .input
        .observed
        .revisions
        .iter()
        .filter(|(number, facts)| {
            facts.is_deletable() && !owners.contains(number) && !part.contains(number)
        })
        .map(|(&number, _)| number)
        .collect();
    for revision in unneeded {
        draft.act(Action::DeleteRevision { revision });
    }
}

impl Draft<'_> {
    /// Whether no other revision has pods or objects left.
    pub(super) fn others_gone(&self, kept: u64) -> bool {
        self.input
            .observed
            .revisions
            .iter()
            .all(|(&number, facts)| number == kept || facts.is_gone())
    }
}
