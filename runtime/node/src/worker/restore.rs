//! State of a checkpoint for the subtasks of one worker.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use streamkeeper_protocol::{
    compatibility::catalog,
    key_group::Assignment,
    manifest::{Manifest, OperatorState, StateDescriptor, StateRef},
    plan::{NodeId, StreamPlan},
};
use streamkeeper_state::{Entry, GroupSet, ObjectCache, load_state};
use streamkeeper_storage::ObjectStore;

use super::failure::Failure;
use streamkeeper_control::messages::Restore;

/// States read at once.
const PARALLEL: usize = 4;

/// One state with its entries.
#[derive(Debug)]
pub(super) struct RestoredState {
    /// Shape when it was written.
    pub(super) written: StateDescriptor,
    pub(super) entries: Vec<Entry>,
}

/// What a worker restores.
#[derive(Debug, Default)]
pub(super) struct RestoredStates {
    /// By node and subtask.
    pub(super) states: BTreeMap<(NodeId, u32), Vec<RestoredState>>,
    /// By subtask, then by node.
    pub(super) watermarks: BTreeMap<u32, Vec<Option<i64>>>,
    /// Number of entries.
    pub(super) entries: u64,
}

/// Reads every state that the plan keeps, for the key groups of these subtasks.
pub(super) async fn restore(
    store: &dyn ObjectStore,
    cache: &ObjectCache,
    plan: &StreamPlan,
    assignment: &Assignment,
    subtasks: &[u32],
    from: &Restore,
) -> Result<RestoredStates, Failure> {
    let kept = catalog(plan);
    let mut wanted: Vec<(NodeId, u32, String, StateRef)> = Vec::new();
    for node in &plan.nodes {
        let Some(written) = from
            .manifest
            .operators
            .iter()
            .find(|operator| operator.state_uid == node.state_uid)
        else {
            continue;
        };
        for state in &written.states {
            if kept.iter().any(|entry| {
                entry.state_uid == node.state_uid && entry.descriptor.name == state.descriptor.name
            }) {
                let state = placed(state, from.folder.as_deref());
                wanted.extend(
                    subtasks
                        .iter()
                        .map(|&subtask| (node.id, subtask, node.label.clone(), state.clone())),
                );
            }
        }
    }
    let mut reads: Vec<BoxFuture<'_, Result<_, Failure>>> = Vec::with_capacity(wanted.len());
    for (node, subtask, label, state) in wanted {
        let groups = GroupSet::of(assignment, subtask);
        let read = async move {
            let entries = load_state(store, &state, &groups, Some(cache)).await;
            let entries =
                entries.map_err(|error| Failure::state(&label, &state.descriptor.name, &error))?;
            Ok((
                node,
                subtask,
                RestoredState {
                    written: state.descriptor,
                    entries,
                },
            ))
        };
        reads.push(read.boxed());
    }
    let mut restored = RestoredStates {
        watermarks: subtasks
            .iter()
            .map(|&subtask| {
                (
                    subtask,
                    watermarks(&from.manifest, plan, assignment, subtask),
                )
            })
            .collect(),
        ..RestoredStates::default()
    };
    let mut reads = stream::iter(reads).buffer_unordered(PARALLEL);
    while let Some((node, subtask, state)) = reads.try_next().await? {
        restored.entries += state.entries.len() as u64;
        restored
            .states
            .entry((node, subtask))
            .or_default()
            .push(state);
    }
    Ok(restored)
}

/// Watermarks of a subtask, by node: its own if it reads what it read before, else the smallest of
/// all subtasks.
fn watermarks(
    manifest: &Manifest,
    plan: &StreamPlan,
    assignment: &Assignment,
    subtask: u32,
) -> Vec<Option<i64>> {
    let goes_on = manifest.assignment == *assignment;
    let of = |written: &OperatorState| {
        if !goes_on || written.watermarks.is_empty() {
            return written.watermark;
        }
        let own = written.watermarks.iter().find(|(of, _)| *of == subtask);
        own.map(|(_, watermark)| *watermark)
    };
    let operators = &manifest.operators;
    plan.nodes
        .iter()
        .map(|node| {
            let written = operators
                .iter()
                .find(|operator| operator.state_uid == node.state_uid);
            written.and_then(of)
        })
        .collect()
}

/// The state with full object keys.
fn placed(state: &StateRef, folder: Option<&str>) -> StateRef {
    let mut state = state.clone();
    if let Some(folder) = folder {
        for run in &mut state.runs {
            run.at.object = format!("{}/{}", folder.trim_end_matches('/'), run.at.object);
        }
    }
    state
}
