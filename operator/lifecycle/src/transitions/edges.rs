//! Transitions, their steps and the legal edges between them.

use streamkeeper_api::v1alpha1::{
    Step::{
        self, HandingOver, Moving, Preparing, Promoting, Removing, Retiring, Scaling, Shrinking,
        Stopping, Verifying,
    },
    TransitionKind::{self, Delete, Deploy, Rescale, Restore, Resume, Rollback, Suspend, Upgrade},
};

/// A place on the map: no transition, or a step of one.
pub type Position = Option<(TransitionKind, Step)>;

/// All edges, besides staying where one is and `Delete`, which begins from anywhere.
pub const EDGES: &[(Position, Position)] = &[
    // First start. A corrected spec is prepared instead; suspension cancels.
    (None, Some((Deploy, Preparing))),
    (Some((Deploy, Preparing)), Some((Deploy, Promoting))),
    (Some((Deploy, Promoting)), Some((Deploy, Preparing))),
    (Some((Deploy, Preparing)), None),
    (Some((Deploy, Promoting)), None),
    // Going on where nothing runs.
    (None, Some((Resume, Preparing))),
    (Some((Resume, Preparing)), Some((Resume, Promoting))),
    (Some((Resume, Promoting)), Some((Resume, Preparing))),
    (Some((Resume, Preparing)), None),
    (Some((Resume, Promoting)), None),
    // A new revision takes over; it is cancelled or given up while the old one is sure to run on.
    (None, Some((Upgrade, Preparing))),
    (Some((Upgrade, Preparing)), None),
    (Some((Upgrade, Preparing)), Some((Upgrade, HandingOver))),
    (Some((Upgrade, HandingOver)), None),
    (Some((Upgrade, HandingOver)), Some((Upgrade, Preparing))),
    (Some((Upgrade, HandingOver)), Some((Upgrade, Verifying))),
    // The old revision cannot take a savepoint any more.
    (Some((Upgrade, HandingOver)), Some((Upgrade, Promoting))),
    (Some((Upgrade, Promoting)), Some((Upgrade, Verifying))),
    (Some((Upgrade, Promoting)), Some((Upgrade, Preparing))),
    (Some((Upgrade, Promoting)), None),
    (Some((Upgrade, Verifying)), None),
    (Some((Upgrade, Verifying)), Some((Upgrade, Retiring))),
    (Some((Upgrade, Verifying)), Some((Rollback, Preparing))),
    (Some((Upgrade, Retiring)), None),
    // The content before takes over again.
    (Some((Rollback, Preparing)), None),
    (Some((Rollback, Preparing)), Some((Rollback, Promoting))),
    (Some((Rollback, Promoting)), Some((Rollback, Retiring))),
    (Some((Rollback, Promoting)), None),
    (Some((Rollback, Retiring)), None),
    // Back, or over, to a snapshot; given up, nothing has changed.
    (None, Some((Restore, Preparing))),
    (Some((Restore, Preparing)), None),
    (Some((Restore, Preparing)), Some((Restore, Promoting))),
    (Some((Restore, Promoting)), Some((Restore, Retiring))),
    (Some((Restore, Promoting)), None),
    (Some((Restore, Retiring)), None),
    // Fewer workers need no scaling first.
    (None, Some((Rescale, Scaling))),
    (None, Some((Rescale, Moving))),
    (Some((Rescale, Scaling)), None),
    (Some((Rescale, Scaling)), Some((Rescale, Moving))),
    (Some((Rescale, Moving)), None),
    (Some((Rescale, Moving)), Some((Rescale, Scaling))),
    (Some((Rescale, Moving)), Some((Rescale, Shrinking))),
    (Some((Rescale, Shrinking)), None),
    (None, Some((Suspend, Stopping))),
    (Some((Suspend, Stopping)), Some((Suspend, Removing))),
    // It could not be stopped, and is not to be any more.
    (Some((Suspend, Stopping)), None),
    (Some((Suspend, Removing)), None),
    // It ends with the object.
    (Some((Delete, Stopping)), Some((Delete, Removing))),
];

/// First step of a transition.
pub const fn first_step(kind: TransitionKind) -> Step {
    match kind {
        Deploy | Upgrade | Resume | Rollback | Restore => Preparing,
        Rescale => Scaling,
        Suspend | Delete => Stopping,
    }
}

/// Whether a transition has a step.
pub fn has_step(kind: TransitionKind, step: Step) -> bool {
    let place = Some((kind, step));
    EDGES
        .iter()
        .any(|(from, to)| *from == place || *to == place)
}

/// Whether the operator may go from one place to another in one pass.
pub fn is_legal(from: Position, to: Position) -> bool {
    let deletion = to == Some((Delete, Stopping)) && from != Some((Delete, Removing));
    from == to || deletion || EDGES.contains(&(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_way_out() {
        for (_, place) in EDGES {
            let Some((kind, step)) = place else { continue };
            let ends_with_the_object = (*kind, *step) == (Delete, Removing);
            assert!(
                ends_with_the_object || EDGES.iter().any(|(from, _)| from == place),
                "{kind:?} {step:?}"
            );
        }
    }
}
