//! Stores and their users: the contract that every store keeps, HEAD under faults, savepoints,
//! garbage. S3 takes part when `STREAMKEEPER_TEST_S3_ENDPOINT` and `STREAMKEEPER_TEST_S3_BUCKET`
//! name a server (`dev/s3/local -- cargo test -p streamkeeper-storage`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod contract;
mod egress;
mod garbage;
mod head;
mod import;
mod manifest_outline;
mod records;
mod s3;
mod savepoint;
mod transfer;
mod verify;

use std::sync::Arc;

use streamkeeper_storage::{DirStore, MemoryStore, ObjectStore, StorageConfig, open};

/// S3 of the environment with a prefix of its own; none, with a printed line, when there is none.
fn s3(test: &str) -> Option<(Arc<dyn ObjectStore>, String)> {
    let Some((endpoint, bucket)) = s3_server() else {
        eprintln!(
            "skipped: {test} on S3: STREAMKEEPER_TEST_S3_ENDPOINT and STREAMKEEPER_TEST_S3_BUCKET are not set"
        );
        return None;
    };
    let config = StorageConfig {
        endpoint: Some(endpoint),
        region: None,
        ..StorageConfig::default()
    };
    let uri = format!("s3://{bucket}/{test}-{}", ulid::Ulid::generate());
    Some(open(&uri, &config).unwrap())
}

fn s3_server() -> Option<(String, String)> {
    Some((
        std::env::var("STREAMKEEPER_TEST_S3_ENDPOINT").ok()?,
        std::env::var("STREAMKEEPER_TEST_S3_BUCKET").ok()?,
    ))
}

/// Every store there is, with a prefix to work below, and what keeps it alive.
fn stores(test: &str) -> Vec<(Arc<dyn ObjectStore>, String, Option<tempfile::TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<(Arc<dyn ObjectStore>, String, Option<tempfile::TempDir>)> = vec![
        (Arc::new(MemoryStore::new()), "base".to_owned(), None),
        (
            Arc::new(DirStore::new(dir.path().join("made/later"))),
            "base".to_owned(),
            Some(dir),
        ),
    ];
    all.extend(s3(test).map(|(store, prefix)| (store, prefix, None)));
    all
}

async fn clean(store: &dyn ObjectStore, prefix: &str) {
    for entry in store.list(prefix).await.unwrap() {
        store.delete(&entry.key).await.unwrap();
    }
}
