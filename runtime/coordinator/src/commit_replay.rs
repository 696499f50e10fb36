//! Commits of a restore point that its writer did not live to confirm: replayed before any source
//! starts.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use streamkeeper_connectors::{
    ConnectorError, open_committer,
    sink::{Committer, SinkContext},
    source::Stores,
};
use streamkeeper_protocol::{
    manifest::{CommittableRef, Manifest},
    plan::{Operator, StreamPlan},
};
use streamkeeper_storage::{ObjectStore, StorageError};

use crate::attempt_failure::{AttemptFailure, commit_reason, storage_reason};
use streamkeeper_tables::variables::{self, VariableError};

/// Why some output is not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// The checkpoint holds output of a sink that its plan does not have.
    #[error(
        "the checkpoint holds output of sink '{table}' ({sink_uid}), which its plan does not have"
    )]
    UnknownSink { table: String, sink_uid: String },
    /// An option cannot be expanded.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// Staged rows cannot be read.
    #[error("reading staged output of sink '{table}': {source}")]
    Staged { table: String, source: StorageError },
    /// Staged rows are not what was written.
    #[error(
        "staged output of sink '{table}' is damaged: {object} bytes {offset}+{len} have another checksum"
    )]
    Damaged {
        table: String,
        object: String,
        offset: u64,
        len: u64,
    },
    /// The sink refused.
    #[error("committing output of sink '{table}': {source}")]
    Sink {
        table: String,
        source: ConnectorError,
    },
}

impl From<CommitError> for AttemptFailure {
    fn from(error: CommitError) -> Self {
        let reason = match &error {
            CommitError::UnknownSink { .. } | CommitError::Damaged { .. } => Some("SinkCommitLost"),
            CommitError::Variable(_) => Some("InvalidSpec"),
            CommitError::Staged { source, .. } => Some(storage_reason(source)),
            CommitError::Sink { source, .. } => commit_reason(source),
        };
        Self {
            reason,
            ..Self::new(error.to_string())
        }
    }
}

/// Commits all output that `manifest` names, whether or not it is committed already.
pub(crate) async fn replay(
    manifest: &Manifest,
    plan: &StreamPlan,
    store: &dyn ObjectStore,
    stores: &Arc<dyn Stores>,
) -> Result<(), CommitError> {
    let mut committers: BTreeMap<&str, Arc<dyn Committer>> = BTreeMap::new();
    for committable in &manifest.committables {
        let committer = if let Some(known) = committers.get(committable.sink_uid.as_str()) {
            known.clone()
        } else {
            let committer = open(committable, manifest, plan, stores)?;
            committers.insert(&committable.sink_uid, committer.clone());
            committer
        };
        let staged = staged(committable, store).await?;
        committer
            .commit(&committable.meta, staged)
            .await
            .map_err(|source| CommitError::Sink {
                table: committable.table.clone(),
                source,
            })?;
    }
    Ok(())
}

fn open(
    committable: &CommittableRef,
    manifest: &Manifest,
    plan: &StreamPlan,
    stores: &Arc<dyn Stores>,
) -> Result<Arc<dyn Committer>, CommitError> {
    let node = plan
        .nodes
        .iter()
        .find(|node| node.state_uid == committable.sink_uid);
    let Some((node, Operator::Sink(table))) = node.map(|node| (node, &node.operator)) else {
        return Err(CommitError::UnknownSink {
            table: committable.table.clone(),
            sink_uid: committable.sink_uid.clone(),
        });
    };
    let subtasks = manifest
        .assignment
        .owner
        .iter()
        .max()
        .map_or(1, |last| last + 1);
    let context = SinkContext {
        table: variables::expand_here(table)?,
        sink_uid: committable.sink_uid.clone(),
        lineage: manifest.lineage.clone(),
        subtask: 0,
        parallelism: subtasks,
        changelog: node.changelog,
        stores: stores.clone(),
    };
    open_committer(context).map_err(|source| CommitError::Sink {
        table: committable.table.clone(),
        source,
    })
}

async fn staged(
    committable: &CommittableRef,
    store: &dyn ObjectStore,
) -> Result<Option<Bytes>, CommitError> {
    let Some(at) = &committable.staged else {
        return Ok(None);
    };
    let bytes = store
        .get_range(&at.object, at.offset..at.offset + at.len)
        .await
        .map_err(|source| CommitError::Staged {
            table: committable.table.clone(),
            source,
        })?;
    if crc32c::crc32c(&bytes) != at.crc32c {
        return Err(CommitError::Damaged {
            table: committable.table.clone(),
            object: at.object.clone(),
            offset: at.offset,
            len: at.len,
        });
    }
    Ok(Some(bytes))
}
