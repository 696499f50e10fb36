//! Whole objects in, rows out, and back.

mod damage;
mod reading;
mod records;
mod versions;
mod writing;

use std::sync::Arc;

use arrow_array::{Array as _, RecordBatch, cast::AsArray as _, types::Int64Type};
use streamkeeper_protocol::{plan::TableRef, types::DataType};
use streamkeeper_storage::{Condition, MemoryStore, ObjectStore};

use crate::testing::table;

/// `t(id BIGINT, word STRING)` over `s3://bucket/in`.
fn words(format: &str) -> TableRef {
    table(
        "filesystem",
        &[("id", DataType::BigInt), ("word", DataType::STRING)],
        &[("path", "s3://bucket/in/"), ("format", format)],
    )
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let columns = batches
        .iter()
        .map(|batch| batch.column(0).as_primitive::<Int64Type>());
    columns
        .flat_map(|column| column.values().to_vec())
        .collect()
}

fn strings(batches: &[RecordBatch], column: usize) -> Vec<Option<String>> {
    let columns = batches
        .iter()
        .map(|batch| batch.column(column).as_string::<i32>());
    columns
        .flat_map(|column| {
            (0..column.len())
                .map(|row| column.is_valid(row).then(|| column.value(row).to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A store in memory with these objects.
fn store_of(objects: &[(&str, &[u8])], runtime: &tokio::runtime::Handle) -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    for (key, bytes) in objects {
        put(&store, key, bytes, runtime);
    }
    store
}

fn put(store: &Arc<dyn ObjectStore>, key: &str, bytes: &[u8], runtime: &tokio::runtime::Handle) {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    runtime
        .block_on(store.put(key, bytes, Condition::Always))
        .unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
