//! The restore point that HEAD names: its manifest, and whether this plan can go on from it.

use std::{fmt, sync::Arc};

use streamkeeper_engine::{operator::Place, operators, task::splits_of};
use streamkeeper_protocol::{
    compatibility::{StateVerdict, catalog, check, summary},
    head::LastCheckpoint,
    key_group::Assignment,
    manifest::{Manifest, RunRef, StateRef},
    plan::{Operator, PlanNode, StreamPlan},
};
use streamkeeper_state::{GroupSet, StateError, load_state};
use streamkeeper_storage::{ObjectStore, StorageError, read_manifest};

use crate::{
    attempt_failure::AttemptFailure, compiled_job::CompiledJob, config::CoordinatorConfig,
};

/// A checkpoint that this plan can go on from.
#[derive(Debug, Clone)]
pub(crate) struct RestorePoint {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) states: Vec<StateVerdict>,
}

/// Why the restore point will not do.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unfit {
    /// It cannot be read.
    #[error("reading checkpoint {checkpoint}: {source}")]
    Storage {
        checkpoint: u64,
        source: StorageError,
    },
    /// The plan cannot go on from it.
    #[error("{message}")]
    Incompatible {
        message: String,
        states: Vec<StateVerdict>,
    },
}

impl From<Unfit> for AttemptFailure {
    fn from(unfit: Unfit) -> Self {
        match &unfit {
            Unfit::Storage { source, .. } => Self::because(
                super::attempt_failure::storage_reason(source),
                unfit.to_string(),
            ),
            Unfit::Incompatible { .. } => Self::because("StateIncompatible", unfit.to_string()),
        }
    }
}

/// Reads the manifest of `last` and checks the plan's states against it.
pub(crate) async fn read(
    config: &CoordinatorConfig,
    last: &LastCheckpoint,
    job: &CompiledJob,
) -> Result<RestorePoint, Unfit> {
    let manifest = read_manifest(&*config.store, &last.manifest)
        .await
        .map_err(|source| Unfit::Storage {
            checkpoint: last.checkpoint,
            source,
        })?;
    fit(config, manifest, job)
}

/// Checks the plan's states against a manifest.
pub(crate) fn fit(
    config: &CoordinatorConfig,
    manifest: Manifest,
    job: &CompiledJob,
) -> Result<RestorePoint, Unfit> {
    let states = check(&job.catalog, config.max_parallelism, &manifest);
    match summary(&states, config.may_drop_state) {
        Ok(()) => Ok(RestorePoint {
            manifest: Arc::new(manifest),
            states,
        }),
        Err(why) => Err(Unfit::Incompatible {
            message: cannot_go_on(manifest.checkpoint, &why),
            states,
        }),
    }
}

/// Reads a block of each state and gives it to the operator that would restore it: what the check
/// of shapes cannot see shows here, while the old revision still runs.
pub(crate) async fn verify_readable(
    store: &dyn ObjectStore,
    point: &RestorePoint,
    plan: &StreamPlan,
) -> Result<(), Unfit> {
    let manifest = &*point.manifest;
    let place = Place {
        subtask: 0,
        assignment: Arc::new(Assignment::even(manifest.max_parallelism, 1)),
    };
    let unfit = |node: &PlanNode, state: &str, why: &dyn fmt::Display| Unfit::Incompatible {
        message: cannot_go_on(
            manifest.checkpoint,
            &format!("state '{state}' of {}: {why}", node.label),
        ),
        states: point.states.clone(),
    };
    let planned = catalog(plan);
    for node in &plan.nodes {
        let written = manifest.operators.iter();
        let written = written.filter(|operator| operator.state_uid == node.state_uid);
        for state in written.flat_map(|operator| &operator.states) {
            let descriptor = &state.descriptor;
            let kept = planned.iter().any(|entry| {
                entry.state_uid == node.state_uid && entry.descriptor.name == descriptor.name
            });
            if !kept {
                continue;
            }
            let entries = match load_state(
                store,
                &first_block(state),
                &GroupSet::all(manifest.max_parallelism),
                None,
            )
            .await
            {
                Ok(entries) => entries,
                Err(StateError::Storage(source)) => {
                    let checkpoint = manifest.checkpoint;
                    return Err(Unfit::Storage { checkpoint, source });
                }
                Err(error) => return Err(unfit(node, &descriptor.name, &error)),
            };
            let restored = match &node.operator {
                Operator::Source(_) => splits_of(&node.label, entries).map(|_| ()),
                _ => operators::build(node, plan, &place).and_then(|mut operator| {
                    operator.restore(&descriptor.name, descriptor, entries)
                }),
            };
            restored.map_err(|error| unfit(node, &descriptor.name, &error))?;
        }
    }
    Ok(())
}

/// The state as if its newest run with rows had one block only.
fn first_block(state: &StateRef) -> StateRef {
    let run = state.runs.iter().rev().find(|run| !run.blocks.is_empty());
    let runs = run.map(|run| RunRef {
        blocks: run.blocks.iter().take(1).cloned().collect(),
        ..run.clone()
    });
    StateRef {
        runs: runs.into_iter().collect(),
        ..state.clone()
    }
}

fn cannot_go_on(checkpoint: u64, why: &str) -> String {
    format!("the query cannot go on from checkpoint {checkpoint}: {why}")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use streamkeeper_protocol::{compatibility::Fit, manifest::Guarantee, paths::StatePaths};
    use streamkeeper_storage::{Condition, MemoryStore, StorageConfig, read_head};

    use super::*;
    use crate::{
        compiled_job::{JobText, compile},
        config::{BackOff, CheckpointPolicy, JobIdentity, StandbyScope, StartMode},
    };
    use streamkeeper_control::transport::Transport;
    // The job runs on the library as the node links it, which is another build than these tests.
    use streamkeeper_coordinator::{CoordinatorEnd, compile as compile_for_node};
    use streamkeeper_node::solo::Solo;
    use streamkeeper_tables::stores::UriStores;

    pub(crate) const SQL: &str =
        "CREATE TABLE a (k INT, v INT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000',
          'fields.k.min' = '1', 'fields.k.max' = '50');
        CREATE TABLE b (k INT, n BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO b SELECT k, COUNT(*) AS n FROM a GROUP BY k;";

    pub(crate) fn config(store: MemoryStore, may_drop_state: bool) -> CoordinatorConfig {
        let patience = Duration::from_secs(1);
        CoordinatorConfig {
            job: JobIdentity {
                namespace: "n".into(),
                name: "j".into(),
                uid: "u".into(),
                revision: 1,
                pod: String::new(),
            },
            store: Arc::new(store),
            paths: StatePaths::new("", "local", "job"),
            stores: Arc::new(UriStores::new(StorageConfig::default())),
            transport: Transport::Plain,
            on_loopback: true,
            text: JobText::Sql {
                name: String::new(),
                text: String::new(),
            },
            workers: 1,
            slots: 1,
            max_parallelism: 8,
            checkpoints: CheckpointPolicy {
                interval: None,
                timeout: patience,
                retain: 1,
                guarantee: Guarantee::ExactlyOnce,
            },
            back_off: BackOff {
                initial: patience,
                max: patience,
            },
            may_drop_state,
            worker_silence: patience,
            deploy_timeout: patience,
            commit_timeout: patience,
            rescale_timeout: patience,
            start: StartMode::Standby,
            standby: StandbyScope::Full,
        }
    }

    /// A store with a checkpoint of [`SQL`], made by the job itself.
    pub(crate) async fn checkpointed() -> (MemoryStore, LastCheckpoint) {
        let store = MemoryStore::new();
        let solo = Solo {
            name: "job".to_owned(),
            compiled: Arc::new(compile_for_node(SQL).unwrap()),
            slots: 1,
            max_parallelism: 8,
            checkpoint_interval: None,
            may_drop_state: false,
            store: Arc::new(store.clone()),
            prefix: String::new(),
            tables: Arc::new(UriStores::new(StorageConfig::default())),
        };
        let mut job = solo.start().await.unwrap();
        tokio::time::timeout(Duration::from_mins(1), async {
            while job.report().records_in == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("records to flow");
        job.terminate();
        assert_eq!(job.ended().await, Ok(CoordinatorEnd::Terminated));
        job.close().await;
        let paths = StatePaths::new("", "local", "job");
        let (head, _) = read_head(&store, &paths).await.unwrap().unwrap();
        (store, head.last.unwrap())
    }

    async fn judge(
        store: &MemoryStore,
        last: &LastCheckpoint,
        sql: &str,
        may_drop: bool,
    ) -> Result<Vec<Fit>, String> {
        let (config, job) = (config(store.clone(), may_drop), compile(sql).unwrap());
        let point = read(&config, last, &job).await.map_err(|e| e.to_string())?;
        let proven = verify_readable(store, &point, &job.plan).await;
        proven.map_err(|error| error.to_string())?;
        Ok(point.states.into_iter().map(|state| state.fit).collect())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_query_is_held_against_the_state_of_the_checkpoint_it_would_go_on_from() {
        let (store, last) = checkpointed().await;
        let same = judge(&store, &last, SQL, false).await.unwrap();
        assert!(same.iter().all(|fit| *fit == Fit::Exact), "{same:?}");
        let more = SQL
            .replace("n BIGINT", "n BIGINT, s INT")
            .replace("AS n", "AS n, SUM(v) AS s");
        let evolved = judge(&store, &last, &more, false).await.unwrap();
        let evolves = |fit: &Fit| matches!(fit, Fit::Evolve { .. });
        assert!(evolved.iter().any(evolves), "{evolved:?}");
        let other = SQL.replace("SELECT k", "SELECT v").replace("BY k", "BY v");
        let refused = judge(&store, &last, &other, false).await.unwrap_err();
        assert!(refused.contains("would be lost"), "{refused}");
        let allowed = judge(&store, &last, &other, true).await.unwrap();
        assert!(allowed.contains(&Fit::Dropped), "{allowed:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn state_that_cannot_be_decoded_is_found_before_anything_stops() {
        let (store, last) = checkpointed().await;
        for key in store.keys().iter().filter(|key| key.contains("/data/")) {
            let length = store.get(key).await.unwrap().bytes.len();
            let garbage = Bytes::from(vec![0x5a; length]);
            store.put(key, garbage, Condition::Always).await.unwrap();
        }
        let refused = judge(&store, &last, SQL, false).await.unwrap_err();
        assert!(
            refused.contains("cannot go on from checkpoint"),
            "{refused}"
        );
    }
}
