//! The committer, which writes staged files to their place.
//!
//! The name of a file is made of lineage, sink, subtask and checkpoint, so a repeated commit finds
//! the file and does nothing.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use streamkeeper_storage::{Condition, StorageError};

use crate::{
    ConnectorError, TableUse,
    options::Options,
    sink::{Committer, SinkContext},
};

use super::{options::FileOptions, table_store::open_store};

const META_FORMAT: u32 = 1;

/// What is needed to commit a file again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    v: u32,
    /// URI of the folder.
    path: String,
    /// The file in it.
    name: String,
}

impl Meta {
    pub(super) fn new(path: String, name: String) -> Self {
        Self {
            v: META_FORMAT,
            path,
            name,
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "v": self.v, "path": self.path, "name": self.name })
    }
}

/// Name of the file of one subtask and checkpoint.
pub(super) fn object_name(context: &SinkContext, checkpoint: u64, extension: &str) -> String {
    // The end of a lineage is the random part of it.
    let lineage: Vec<char> = context
        .lineage
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let lineage: String = lineage[lineage.len().saturating_sub(8)..].iter().collect();
    let sink: String = context
        .sink_uid
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    format!(
        "part-{lineage}-{sink}-{}-{checkpoint:012}.{extension}",
        context.subtask
    )
}

/// Opens the committer of a sink.
pub(crate) fn open(context: SinkContext) -> Result<Arc<dyn Committer>, ConnectorError> {
    FileOptions::parse(Options::new(&context.table), TableUse::Sink)?;
    Ok(Arc::new(FileCommitter { context }))
}

struct FileCommitter {
    context: SinkContext,
}

impl FileCommitter {
    fn storage(&self, source: StorageError) -> ConnectorError {
        ConnectorError::Storage {
            table: self.context.table.name.clone(),
            source,
        }
    }

    fn refused(&self, detail: String) -> ConnectorError {
        ConnectorError::Write {
            table: self.context.table.name.clone(),
            detail,
        }
    }

    async fn put(&self, meta: &serde_json::Value, staged: Bytes) -> Result<(), ConnectorError> {
        let meta: Meta = serde_json::from_value(meta.clone())
            .map_err(|error| self.refused(format!("a prepared file cannot be read: {error}")))?;
        if meta.v > META_FORMAT {
            let detail = format!(
                "a prepared file has format {}, newer than this version",
                meta.v
            );
            return Err(self.refused(detail));
        }
        let (store, folder) =
            open_store(&*self.context.stores, &meta.path, &self.context.table.name)?;
        let folder = folder.trim_end_matches('/');
        let key = if folder.is_empty() {
            meta.name.clone()
        } else {
            format!("{folder}/{}", meta.name)
        };
        let Err(refused) = store.put(&key, staged.clone(), Condition::Absent).await else {
            return Ok(());
        };
        let there = match &refused {
            // Committed before, or by a write whose response was lost: then it holds these bytes.
            StorageError::Precondition { .. } => store.get(&key).await,
            // The response to this write was lost. Its effect can be seen at once, unless it has
            // had none yet.
            StorageError::Unknown { .. } => store.get(&key).await.map_err(|_| refused),
            _ => Err(refused),
        };
        let there = there.map_err(|error| self.storage(error))?;
        if there.bytes == staged {
            return Ok(());
        }
        Err(self.refused(format!(
            "{}/{} already holds {} other bytes, not the {} of this job's checkpoint: two jobs \
             write to this path; give one of them another 'path'",
            meta.path,
            meta.name,
            there.bytes.len(),
            staged.len()
        )))
    }
}

impl Committer for FileCommitter {
    fn commit<'a>(
        &'a self,
        meta: &'a serde_json::Value,
        staged: Option<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<(), ConnectorError>> + Send + 'a>> {
        Box::pin(async move {
            match staged {
                Some(staged) => self.put(meta, staged).await,
                None => Err(self.refused(format!("a prepared file lost its rows: {meta}"))),
            }
        })
    }
}
