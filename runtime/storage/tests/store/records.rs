//! Manifests with data behind them.

use bytes::Bytes;
use streamkeeper_protocol::{
    head::{Head, LastCheckpoint},
    key_group::{Assignment, KEY_HASH},
    manifest::{
        CheckpointKind, CommittableRef, MANIFEST_FORMAT, Manifest, ObjectRange, OperatorState,
        RunKind, RunRef, StateDescriptor, StateKind, StateRef,
    },
    paths::StatePaths,
    plan::{PLAN_FORMAT, Settings, StreamPlan},
};
use streamkeeper_storage::{
    Condition, ObjectStore, StorageError, read_manifest, read_plan, write_manifest, write_plan,
};

use crate::{clean, stores};

pub(crate) fn plan() -> StreamPlan {
    StreamPlan {
        format: PLAN_FORMAT,
        nodes: Vec::new(),
        settings: Settings::default(),
    }
}

/// What [`data`] writes to the object with this key.
fn content(object: &str) -> String {
    let name = object.rsplit('/').next().unwrap();
    let mut words = name.split('-');
    let checkpoint: u64 = words.next().unwrap().parse().unwrap_or(0);
    format!("{checkpoint}{}", words.next_back().unwrap_or(""))
}

/// All of an object that [`data`] wrote.
pub(crate) fn range(object: &str) -> ObjectRange {
    let content = content(object);
    ObjectRange {
        object: object.to_owned(),
        offset: 0,
        len: content.len() as u64,
        crc32c: crc32c::crc32c(content.as_bytes()),
    }
}

/// A manifest whose runs are these objects, and whose staged rows are in the last of them.
pub(crate) fn manifest(checkpoint: u64, attempt: u64, objects: &[String]) -> Manifest {
    let run = |object: &String| RunRef {
        at: range(object),
        kind: RunKind::Base,
        key_groups: (0, 0),
        rows: 1,
        tombstones: 0,
        blocks: Vec::new(),
        checkpoint,
        subtask: 0,
    };
    let descriptor = StateDescriptor {
        name: "groups".to_owned(),
        kind: StateKind::Groups,
        key: Vec::new(),
        value: Vec::new(),
        accumulators: Vec::new(),
        version: 1,
    };
    let state = StateRef {
        descriptor,
        runs: objects.iter().map(run).collect(),
    };
    let committable = |object: &String| CommittableRef {
        sink_uid: "sink".to_owned(),
        table: "t".to_owned(),
        subtask: 0,
        meta: serde_json::Value::Null,
        staged: Some(range(object)),
    };
    Manifest {
        format: MANIFEST_FORMAT,
        min_reader: MANIFEST_FORMAT,
        job_uid: "job".to_owned(),
        lineage: "lineage".to_owned(),
        revision: 1,
        attempt,
        checkpoint,
        kind: CheckpointKind::Periodic,
        started_ms: 0,
        completed_ms: 7,
        max_parallelism: 1,
        key_hash: KEY_HASH.to_owned(),
        assignment: Assignment::even(1, 1),
        plan_hash: plan().hash(),
        operators: vec![OperatorState {
            state_uid: "op".to_owned(),
            label: "Op".to_owned(),
            watermark: None,
            watermarks: Vec::new(),
            states: vec![state],
        }],
        committables: objects.last().map(committable).into_iter().collect(),
        records_in: 0,
        records_out: 0,
        last_record_ms: None,
    }
}

/// Writes a data object of one worker and returns its key.
pub(crate) async fn data(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    checkpoint: u64,
    attempt: u64,
    unique: &str,
) -> String {
    let key = paths.data(checkpoint, attempt, 0, unique);
    store
        .put(&key, Bytes::from(content(&key)), Condition::Always)
        .await
        .unwrap();
    key
}

/// Writes the manifest and makes it the restore point.
pub(crate) async fn publish(
    store: &dyn ObjectStore,
    paths: &StatePaths,
    head: &Head,
    manifest: &Manifest,
    retain: usize,
) -> Head {
    let key = write_manifest(store, paths, manifest).await.unwrap();
    let last = LastCheckpoint {
        checkpoint: manifest.checkpoint,
        manifest: key,
        needs_commit: false,
        committed: false,
        completed_ms: 0,
        written_bytes: 0,
        total_bytes: 0,
        duration_ms: 0,
    };
    head.change()
        .publish(last, &manifest.plan_hash, retain)
        .unwrap()
        .0
        .seal("n")
        .unwrap()
}

#[tokio::test]
async fn manifests_and_plans_come_back_and_damaged_ones_are_named() {
    for (store, prefix, _keep) in stores("records") {
        let paths = StatePaths::at(&prefix);
        let written = manifest(3, 2, &[paths.data(3, 2, 0, "a")]);
        let key = write_manifest(&*store, &paths, &written).await.unwrap();
        assert_eq!(key, paths.manifest(3, 2));
        assert_eq!(read_manifest(&*store, &key).await.unwrap(), written);
        let hash = write_plan(&*store, &paths, &plan()).await.unwrap();
        assert_eq!(read_plan(&*store, &paths, &hash).await.unwrap(), plan());
        assert!(matches!(
            read_plan(&*store, &paths, "none").await,
            Err(StorageError::NotFound { .. })
        ));
        store
            .put(
                &key,
                Bytes::from_static(b"{\"format\": 1"),
                Condition::Always,
            )
            .await
            .unwrap();
        let error = read_manifest(&*store, &key).await.unwrap_err().to_string();
        assert!(
            error.contains(&key) && error.contains("the manifest cannot be read"),
            "{error}"
        );
        clean(&*store, &prefix).await;
    }
}
