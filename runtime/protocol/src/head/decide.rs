//! Decisions over HEAD.

/// Placeholder for the decision functions.
pub(super) const _TODO: () = ();
