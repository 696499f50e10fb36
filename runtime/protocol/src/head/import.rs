//! A claim that imports its restore point: a savepoint, copied among the job's own checkpoints.

use streamkeeper_guard::guard;

use super::{
    Head, HeadError, LastCheckpoint, OperationResult, RetainedCheckpoint,
    change::{KEY_LIMIT, limit},
};

/// Permission to start from a savepoint: which checkpoint its copy becomes, and the record that
/// will name it.
///
/// Nothing happens before that one write, so a crash leaves only objects that no manifest names.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Import {
    next: Head,
    creates: bool,
}

impl Import {
    /// `next` follows a HEAD that exists; it names no restore point yet.
    pub(super) fn into_head(next: Head) -> Self {
        Self {
            next,
            creates: false,
        }
    }

    /// `next` is the first HEAD.
    pub(super) fn with_new_head(next: Head) -> Self {
        Self {
            next,
            creates: true,
        }
    }

    /// Whether there is no HEAD: write with `If-None-Match: *`, else with `If-Match`.
    pub fn creates(&self) -> bool {
        self.creates
    }

    /// Number of the checkpoint that the copy becomes.
    pub fn checkpoint(&self) -> u64 {
        self.next.next_checkpoint
    }

    /// Owner, lineage and attempt that the copy belongs to.
    pub fn head(&self) -> &Head {
        &self.next
    }

    /// The record to write, now that the copy is whole. What HEAD named before is kept as
    /// [`Head::left`].
    pub fn with(self, last: LastCheckpoint, plan_hash: &str) -> Result<Head, HeadError> {
        let mut next = self.next;
        if !guard!("a copy has the number that was given": last.checkpoint == next.next_checkpoint)
        {
            return Err(HeadError::CheckpointBehind {
                checkpoint: last.checkpoint,
                next: next.next_checkpoint,
            });
        }
        limit("the manifest's key", &last.manifest, KEY_LIMIT)?;
        next.next_checkpoint = last.checkpoint + 1;
        plan_hash.clone_into(&mut next.plan_hash);
        // The promotion that requested the import is the first operation.
        if let Some(promotion) = next.operations.first_mut() {
            promotion.result = OperationResult::Done {
                checkpoint: Some(last.checkpoint),
                uri: None,
            };
        }
        next.last = Some(last);
        Ok(next)
    }
}

/// Retires the restore point. It is kept, independently of older checkpoints, until another one is
/// retired.
pub(super) fn retire_restore_point(head: &mut Head) {
    let Some(last) = head.last.take() else {
        return;
    };
    head.left = Some(RetainedCheckpoint {
        checkpoint: last.checkpoint,
        manifest: last.manifest,
    });
}
