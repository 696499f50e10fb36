//! Reading and swapping `HEAD.json`.

use std::time::Duration;

use streamkeeper_protocol::{
    head::{Head, HeadError, Owner, SwapOutcome, after_lost_swap},
    paths::StatePaths,
};

use crate::{Condition, ObjectStore, StorageError, manifests::HEAD_READ_LIMIT};

/// Times one write is sent and read back before its outcome is left open.
const TRIES: u32 = 6;

/// Why HEAD could not be read or swapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadAccessError {
    /// The store failed. After a swap this leaves open whether it happened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is stored is not a HEAD this release understands.
    #[error("{at}: {source}")]
    Head {
        /// The object.
        at: String,
        /// What is wrong with it.
        source: HeadError,
    },
}

/// What became of a swap.
#[derive(Debug, Clone, PartialEq)]
pub enum SwapResult {
    /// The written record is HEAD.
    Won {
        /// Its version, for the next swap.
        etag: String,
    },
    /// The written record is not HEAD and never will be. The record found there allows another try.
    Lost {
        /// What is there.
        found: Box<Head>,
        /// Its version.
        etag: String,
    },
    /// Another process owns the job: end this process.
    Fenced {
        /// The owner.
        by: Owner,
    },
    /// HEAD was removed under its owner: end this process.
    Gone,
}

/// Reads HEAD and its version; none when there is no such object.
pub async fn read_head(
    store: &dyn ObjectStore,
    paths: &StatePaths,
) -> Result<Option<(Head, String)>, HeadAccessError> {
    let key = paths.head();
    match store.get_at_most(&key, HEAD_READ_LIMIT).await {
        Ok(object) => match Head::parse(&object.bytes) {
            Ok(head) => Ok(Some((head, object.etag))),
            Err(source) => {
                let at = format!("{}/{key}", store.describe());
                Err(HeadAccessError::Head { at, source })
            }
        },
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes `ours` under `condition` and finds out what became of it, also when the response is lost.
///
/// After an error the outcome is open: until a later call with the same arguments has settled it,
/// the caller may neither act as the owner of `ours` nor assume that another process is the owner.
pub async fn swap_head(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    ours: &Head,
    condition: Condition,
) -> Result<SwapResult, HeadAccessError> {
    let key = paths.head();
    let bytes = bytes::Bytes::from(ours.encode());
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match store.put(&key, bytes.clone(), condition.clone()).await {
            Ok(etag) => return Ok(SwapResult::Won { etag }),
            // Refused: HEAD is not the expected version, perhaps because `ours` is already there.
            Err(error @ (StorageError::Precondition { .. } | StorageError::NotFound { .. })) => {
                if let Some(result) = settle(store, paths, ours, &condition, true).await? {
                    return Ok(result);
                }
                error
            }
            // No response: reading HEAD decides, unless the write is still under way. Then it is
            // safe to repeat the write, because only one of the two can meet the condition.
            Err(error @ StorageError::Unknown { .. }) => {
                if let Some(result) = settle(store, paths, ours, &condition, false).await? {
                    return Ok(result);
                }
                error
            }
            Err(error @ StorageError::Conflict { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if tries == TRIES {
            return Err(error.into());
        }
        tracing::debug!(%error, tries, "HEAD swap undecided, trying again");
        tokio::time::sleep(Duration::from_millis(20 << tries)).await;
    }
}

/// Decides the outcome of the write from what the store holds; none while that is open.
async fn settle(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    ours: &Head,
    condition: &Condition,
    refused: bool,
) -> Result<Option<SwapResult>, HeadAccessError> {
    let Some((found, etag)) = read_head(store, paths).await? else {
        let gone = refused && matches!(condition, Condition::Matches(_));
        return Ok(gone.then_some(SwapResult::Gone));
    };
    match after_lost_swap(ours, &found) {
        SwapOutcome::Won => Ok(Some(SwapResult::Won { etag })),
        // Still the version to be replaced, perhaps of another lineage: the write may still arrive.
        SwapOutcome::Fenced { .. } | SwapOutcome::Retry
            if !refused && *condition == Condition::Matches(etag.clone()) =>
        {
            Ok(None)
        }
        SwapOutcome::Fenced { by } => Ok(Some(SwapResult::Fenced { by })),
        SwapOutcome::Retry => Ok(Some(SwapResult::Lost {
            found: Box::new(found),
            etag,
        })),
    }
}
