//! From a `Deploy` to subtasks that are ready to run.

use std::{collections::BTreeMap, sync::Arc};

use streamkeeper_connectors::sink::SinkContext;
use streamkeeper_engine::task::{Counters, SystemClock};
use streamkeeper_protocol::plan::{NodeId, Operator};
use streamkeeper_state::{Continuation, ObjectCache, RunHistory};
use tokio::runtime::Handle;

use super::{
    WorkerConfig,
    assembly::Assembly,
    channels::Channels,
    checkpoint::{Checkpoints, Writer},
    commit::Commits,
    events::EventSender,
    failure::Failure,
    graph::Built,
    layout::Layout,
    memory,
    restore::{RestoredStates, restore},
};
use crate::data_plane::{DataPlane, Mesh, PeerId, Streams};
use streamkeeper_control::messages::{Deploy, FailureKind, Restore};
use streamkeeper_tables::variables;

/// What outlives deployments.
#[derive(Debug)]
pub(super) struct WorkerResources {
    pub(super) config: WorkerConfig,
    pub(super) data_plane: DataPlane,
    pub(super) cache: ObjectCache,
}

/// Builds everything; nothing runs yet, but every data connection of this worker stands. Takes as
/// long as the slowest peer: drop it to give up.
pub(super) async fn build(
    resources: Arc<WorkerResources>,
    deploy: Deploy,
    events: EventSender,
) -> Result<Built, Failure> {
    let config = &resources.config;
    let me = PeerId {
        job_uid: deploy.job_uid.clone(),
        attempt: deploy.attempt,
        plan_hash: deploy.plan_hash.clone(),
        worker: config.worker,
    };
    let layout = Arc::new(Layout::of(&deploy, config)?);
    let arrivals = resources.data_plane.expect(me.clone());
    let (transport, workers) = (config.transport.clone(), deploy.workers.clone());
    let connecting = async move {
        Streams::connect(&transport, me, workers, arrivals)
            .await
            .map_err(|why| {
                Failure::new(
                    FailureKind::Transient,
                    format!("connecting the data plane: {why}"),
                )
            })
    };
    let restoring = async {
        match &deploy.restore {
            None => Ok(RestoredStates::default()),
            Some(from) => {
                restore(
                    &*config.store,
                    &resources.cache,
                    &layout.plan,
                    &layout.assignment,
                    &layout.mine,
                    from,
                )
                .await
            }
        }
    };
    let (streams, restored) = futures::future::try_join(connecting, restoring).await?;
    let entries = restored.entries;
    let sinks = sinks(&layout, config, &deploy.lineage)?;
    let history = history(deploy.restore.as_deref(), &layout);
    let writer = Writer {
        attempt: deploy.attempt,
        worker: config.worker,
        root: deploy.root.clone(),
    };
    let checkpoints = Checkpoints::new(
        layout.plan.clone(),
        writer,
        layout.mine.iter().copied().collect(),
        history,
    );

    let (channels, queues) = Channels::new(&layout);
    let routes = channels.routes(&layout);
    let counters: Vec<Arc<Counters>> = layout
        .mine
        .iter()
        .map(|_| Arc::new(Counters::new(&layout.plan)))
        .collect();
    let assembly = Assembly {
        layout: layout.clone(),
        channels,
        counters: counters.clone(),
        sinks: sinks.clone(),
        sink_buffer_bytes: memory::sink_buffer(memory::limit(), layout.slots, sinks.len()),
        stores: config.stores.clone(),
        runtime: Handle::current(),
        clock: Arc::new(SystemClock::start()),
    };
    let by_subtask = layout.mine.iter().copied().zip(counters.clone()).collect();
    let attempt = deploy.attempt;
    let subtask_events = events.clone();
    // Giving state back to operators takes as long as there is state.
    let subtasks =
        tokio::task::spawn_blocking(move || assembly.build(restored, attempt, &subtask_events));
    let subtasks = subtasks.await.map_err(|error| {
        Failure::new(FailureKind::Internal, format!("building subtasks: {error}"))
    })??;
    let mesh = Mesh::start(streams, queues, routes, move |worker, why| {
        events.peer_lost(attempt, worker, why);
    });
    Ok(Built {
        attempt,
        plan: layout.plan.clone(),
        subtasks,
        counters,
        checkpoints,
        commits: Commits::new(sinks, by_subtask),
        mesh,
        entries,
    })
}

/// Sinks of the plan, as subtask 0 would open them.
fn sinks(
    layout: &Layout,
    config: &WorkerConfig,
    lineage: &str,
) -> Result<BTreeMap<NodeId, SinkContext>, Failure> {
    let mut sinks = BTreeMap::new();
    for node in &layout.plan.nodes {
        if let Operator::Sink(table) = &node.operator {
            let table = variables::expand_here(table)?;
            let context = SinkContext {
                table,
                sink_uid: node.state_uid.clone(),
                lineage: lineage.to_owned(),
                subtask: 0,
                parallelism: layout.parallelism,
                changelog: node.changelog,
                stores: config.stores.clone(),
            };
            sinks.insert(node.id, context);
        }
    }
    Ok(sinks)
}

/// Runs of the restored checkpoint go on if the subtasks here own the same key groups as then;
/// otherwise they will write everything anew.
fn history(restore: Option<&Restore>, layout: &Layout) -> RunHistory {
    let Some(Restore { manifest, folder }) = restore else {
        return RunHistory::new();
    };
    let (before, now) = (&manifest.assignment, &layout.assignment);
    let same = |subtask: &u32| before.groups_of(*subtask).eq(now.groups_of(*subtask));
    let goes_on =
        folder.is_none() && before.owner.len() == now.owner.len() && layout.mine.iter().all(same);
    let continuation = if goes_on {
        Continuation::Same
    } else {
        Continuation::Rewrite
    };
    RunHistory::restored(
        manifest,
        continuation,
        &layout.mine.iter().copied().collect(),
    )
}
