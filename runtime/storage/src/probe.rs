//! Checks that a store honours conditional writes.

use bytes::Bytes;

use crate::{Condition, ObjectStore, StorageError};

/// Creates an object below `prefix` several times at once, then once more, then replaces a version
/// that it never had. A store that lets two of these succeed would let two processes own one job,
/// and is refused. Leaves no object behind.
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
    race(store, key).await?;
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

/// Several creations at once: one must win. A store that checks first and then writes lets more
/// than one win.
async fn race(store: &dyn ObjectStore, key: &str) -> Result<(), StorageError> {
    let create = |side: &'static str| store.put(key, Bytes::from(side), Condition::Absent);
    let (one, two, three, four, five, six) = tokio::join!(
        create("probe 1"),
        create("probe 2"),
        create("probe 3"),
        create("probe 4"),
        create("probe 5"),
        create("probe 6"),
    );
    let (mut won, mut failed) = (0, None);
    for answer in [one, two, three, four, five, six] {
        match answer {
            Ok(_) => won += 1,
            Err(StorageError::Precondition { .. }) => {}
            Err(StorageError::Unsupported { detail, .. }) => {
                let did = format!("answered '{detail}' to");
                return Err(unfit(store, key, "a creation with If-None-Match", &did));
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match (won, failed) {
        (2.., _) => Err(unfit(
            store,
            key,
            "more than one of several creations of the same object with If-None-Match",
            "accepted",
        )),
        (_, Some(error @ StorageError::Conflict { .. })) if won == 0 => Err(error),
        (_, Some(StorageError::Conflict { .. })) | (1, None) => Ok(()),
        (_, Some(error)) => Err(error),
        (_, None) => Err(unfit(
            store,
            key,
            "every one of several creations of a new object with If-None-Match",
            "refused",
        )),
    }
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
