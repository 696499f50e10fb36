//! How far an object was read, as state.

use serde::{Deserialize, Serialize};
use streamkeeper_protocol::key_group::key_group;

use crate::{ConnectorError, format::Mark, source::SplitState};

const POSITION_FORMAT: u32 = 1;

/// Name of the split that records that the objects of a key group were listed. No key starts with a
/// slash.
const LISTED: &str = "//listed";

/// How far an object was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) v: u32,
    /// Version that was read; empty before the first row.
    pub(super) etag: String,
    /// Rows handed out.
    pub(super) rows: u64,
    /// Bytes read, after decompression.
    pub(super) offset: u64,
    /// Lines read.
    pub(super) line: u64,
    /// Nothing is left.
    pub(super) finished: bool,
}

impl Position {
    /// Before the first row.
    pub(super) fn start() -> Self {
        Self {
            v: POSITION_FORMAT,
            ..Self::default()
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            offset: self.offset,
            line: self.line,
        }
    }

    pub(super) fn to_state(&self, key: &str, max_parallelism: u16) -> SplitState {
        SplitState {
            split: key.to_owned(),
            key_group: key_group(key.as_bytes(), max_parallelism),
            // A record of numbers and text always has a JSON form.
            position: serde_json::to_vec(self).unwrap_or_default(),
        }
    }
}

/// A restored split.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// An object and how far it was read.
    Object(Position),
    /// The objects of this key group were listed before.
    Listed,
}

/// State that records that the objects of a key group were listed.
pub(super) fn listed(key_group: u16) -> SplitState {
    SplitState {
        split: LISTED.to_owned(),
        key_group,
        position: b"{\"v\":1}".to_vec(),
    }
}

/// Reads the state of a split.
pub(super) fn restore(table: &str, state: &SplitState) -> Result<Restored, ConnectorError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let unreadable = |detail: String| ConnectorError::Option {
        table: table.to_owned(),
        option: None,
        detail: format!("the stored position of '{}' {detail}", state.split),
    };
    let malformed = |error| unreadable(format!("cannot be read: {error}"));
    let version: Version = serde_json::from_slice(&state.position).map_err(malformed)?;
    if version.v > POSITION_FORMAT {
        return Err(unreadable(format!(
            "has format {}, newer than this version",
            version.v
        )));
    }
    if state.split == LISTED {
        return Ok(Restored::Listed);
    }
    serde_json::from_slice(&state.position)
        .map(Restored::Object)
        .map_err(malformed)
}
