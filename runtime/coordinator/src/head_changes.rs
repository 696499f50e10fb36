//! Changes of HEAD that several writes share: the commit of its restore point, the result of an
//! operation, the savepoint that an operation pinned.

use streamkeeper_protocol::head::{
    Begun, Head, HeadChange, HeadError, OperationKind, OperationResult, SavepointRecord,
};

/// Notes that all output of the restore point is committed, which the caller knows.
pub(crate) fn confirm_commit(change: HeadChange) -> Result<HeadChange, HeadError> {
    match change.head().last.as_ref().map(|last| last.checkpoint) {
        Some(checkpoint) => change.committed(checkpoint),
        None => Ok(change),
    }
}

/// Adds the result of the operation that makes the change.
pub(crate) fn with_result(
    change: HeadChange,
    key: &str,
    kind: OperationKind,
    result: &OperationResult,
) -> Result<HeadChange, HeadError> {
    let change = if change.head().operation(key).is_some() {
        change
    } else {
        match change.begin_operation(key, kind)? {
            Begun::New(change) => change,
            Begun::Known(known) => {
                return Err(HeadError::KeyReused {
                    key: known.key,
                    kind: known.kind,
                });
            }
        }
    };
    change.finish_operation(key, result.clone())
}

/// Returns the savepoint that an operation asked for, if HEAD names it.
pub(crate) fn pinned(head: &Head, key: &str) -> Option<SavepointRecord> {
    head.savepoints
        .iter()
        .find(|record| record.key == key)
        .cloned()
}
