//! Does a store keep the promise that everything stands on?

use bytes::Bytes;

use crate::{Condition, ObjectStore, StorageError};

/// Creates an object below `prefix` twice and replaces a version it never had: a store that lets
/// either happen would let two processes own one job, and is refused. Leaves nothing behind.
pub async fn probe(store: &dyn ObjectStore, prefix: &str) -> Result<(), StorageError> {
    let prefix = prefix.trim_matches('/');
    let name = format!("probe-{}", ulid::Ulid::generate());
    let key = if prefix.is_empty() {
        name
    } else {
        format!("{prefix}/{name}")
    };
    let answer = check(store, &key).await;
    let removed = store.delete(&key).await;
    answer.and(removed)
}

async fn check(store: &dyn ObjectStore, key: &str) -> Result<(), StorageError> {
    let probe = || Bytes::from_static(b"probe");
    let first = store.put(key, probe(), Condition::Absent).await;
    if let Err(StorageError::Unsupported { detail, .. }) = first {
        let did = format!("answered '{detail}' to");
        return Err(unfit(store, key, "a creation with If-None-Match", &did));
    }
    first?;
    let again = store.put(key, probe(), Condition::Absent).await;
    must_be_refused(
        store,
        key,
        "a second creation of the same object with If-None-Match",
        again,
    )?;
    let wrong = Condition::Matches("\"00000000000000000000000000000000\"".to_owned());
    let replaced = store.put(key, probe(), wrong).await;
    must_be_refused(
        store,
        key,
        "a replacement of a version that never was with If-Match",
        replaced,
    )
}

fn must_be_refused(
    store: &dyn ObjectStore,
    key: &str,
    what: &str,
    answer: Result<String, StorageError>,
) -> Result<(), StorageError> {
    match answer {
        Err(StorageError::Precondition { .. }) => Ok(()),
        Err(StorageError::Invalid { detail, .. } | StorageError::Unsupported { detail, .. }) => {
            Err(unfit(store, key, what, &format!("answered '{detail}' to")))
        }
        Err(error) => Err(error),
        Ok(_) => Err(unfit(store, key, what, "accepted")),
    }
}

fn unfit(store: &dyn ObjectStore, key: &str, what: &str, did: &str) -> StorageError {
    StorageError::Unsupported {
        action: "PutObject",
        at: format!("{}/{key}", store.describe()),
        detail: format!(
            "the store {did} {what}: it does not do conditional writes, so two processes could own \
             one job; set spec.storage.s3 to a store that answers 412 to a PutObject whose \
             If-None-Match or If-Match does not hold"
        ),
    }
}
