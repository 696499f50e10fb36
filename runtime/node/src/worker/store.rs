//! Frozen state and staged rows of one worker, encoded and written as one object.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use streamkeeper_protocol::{manifest::ObjectRange, paths::StatePaths};
use streamkeeper_state::{FrozenState, ObjectWriter, StateReport, encode_run};
use streamkeeper_storage::ObjectStore;
use ulid::Ulid;

use super::commit::PendingId;
use crate::{clock, failpoint};

/// A state of one subtask.
#[derive(Debug)]
pub(super) struct FrozenPart {
    pub(super) state_uid: String,
    pub(super) label: String,
    pub(super) subtask: u32,
    pub(super) frozen: FrozenState,
}

/// Everything a worker writes for one checkpoint.
#[derive(Debug)]
pub(super) struct ToStore {
    pub(super) attempt: u64,
    pub(super) checkpoint: u64,
    pub(super) worker: u32,
    pub(super) root: String,
    pub(super) parts: Vec<FrozenPart>,
    pub(super) staged: Vec<(PendingId, Bytes)>,
}

/// Where it is.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) reports: Vec<StateReport>,
    pub(super) staged: Vec<(PendingId, ObjectRange)>,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Encodes on a thread for blocking work, then uploads.
pub(super) async fn store(store: Arc<dyn ObjectStore>, what: ToStore) -> Result<Stored, String> {
    let began = clock::now();
    let encoded = tokio::task::spawn_blocking(move || encode(what))
        .await
        .map_err(|error| format!("encoding state: {error}"))?;
    let (writer, reports, staged) = encoded?;
    let key = writer.key().to_owned();
    let bytes = writer
        .upload(&*store)
        .await
        .map_err(|error| format!("writing {key}: {error}"))?;
    failpoint::pass(failpoint::CHECKPOINT_STORED);
    Ok(Stored {
        reports,
        staged,
        bytes,
        took: began.elapsed(),
    })
}

type Encoded = (
    ObjectWriter,
    Vec<StateReport>,
    Vec<(PendingId, ObjectRange)>,
);

fn encode(what: ToStore) -> Result<Encoded, String> {
    let key = StatePaths::at(&what.root).data(
        what.checkpoint,
        what.attempt,
        what.worker,
        &Ulid::generate().to_string(),
    );
    let mut writer = ObjectWriter::new(key);
    let mut reports = Vec::with_capacity(what.parts.len());
    for FrozenPart {
        state_uid,
        label,
        subtask,
        frozen,
    } in what.parts
    {
        let (descriptor, kind) = (frozen.descriptor.clone(), frozen.kind);
        let run = encode_run(frozen)
            .map_err(|error| format!("{label}: encoding state '{}': {error}", descriptor.name))?;
        let run = run.map(|run| writer.push_run(run, what.checkpoint, subtask));
        reports.push(StateReport {
            state_uid,
            label,
            descriptor,
            subtask,
            kind,
            run,
        });
    }
    let staged = what
        .staged
        .into_iter()
        .map(|(id, rows)| (id, writer.push_bytes(&rows)))
        .collect();
    Ok((writer, reports, staged))
}
