//! What tests of connectors share: tables, stores, and subtasks that are polled, stopped and
//! restored.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use arrow_array::RecordBatch;
use streamkeeper_protocol::{
    key_group::Assignment,
    plan::{ChangelogMode, TableRef},
    types::{DataType, Field, LogicalType, Schema},
};
use streamkeeper_storage::ObjectStore;

use crate::{
    ConnectorError, open_source,
    sink::SinkContext,
    source::{Polled, Source, SourceContext, SplitState, Stores},
};

/// Key groups of test jobs.
pub(crate) const GROUPS: u16 = 16;

/// A table with nullable columns.
pub(crate) fn table(
    connector: &str,
    columns: &[(&str, DataType)],
    options: &[(&str, &str)],
) -> TableRef {
    let fields = columns
        .iter()
        .map(|(name, data)| Field::new(*name, LogicalType::nullable(data.clone())))
        .collect();
    TableRef {
        name: "t".to_owned(),
        connector: connector.to_owned(),
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        schema: Schema::new(fields),
        primary_key: Vec::new(),
    }
}

/// Returns the table with one more option.
pub(crate) fn with(mut table: TableRef, option: &str, value: &str) -> TableRef {
    table.options.insert(option.to_owned(), value.to_owned());
    table
}

/// Opens `s3://any/key` as `key` of one store.
pub(crate) struct OneStore(pub(crate) Arc<dyn ObjectStore>);

impl Stores for OneStore {
    fn open(&self, uri: &str) -> Result<(Arc<dyn ObjectStore>, String), ConnectorError> {
        let rest = uri.strip_prefix("s3://").unwrap();
        let key = rest.split_once('/').map_or("", |(_, key)| key);
        Ok((self.0.clone(), key.to_owned()))
    }
}

/// A runtime for tests.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Counts wakes, so that a test waits for one that came before it looked.
#[derive(Default)]
pub(crate) struct Waker {
    woken: Mutex<u64>,
    changed: Condvar,
}

impl Waker {
    fn wake(&self) {
        *self.woken.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn seen(&self) -> u64 {
        *self.woken.lock().unwrap()
    }

    fn wait_after(&self, seen: u64) {
        let guard = self.woken.lock().unwrap();
        let limit = Duration::from_mins(1);
        let waited = self
            .changed
            .wait_timeout_while(guard, limit, |woken| *woken <= seen)
            .unwrap();
        assert!(
            !waited.1.timed_out(),
            "nothing woke the slot within {limit:?}"
        );
    }
}

/// Stored state of all splits.
pub(crate) type State = BTreeMap<(u16, String), Vec<u8>>;

/// A source in all subtasks of a job.
pub(crate) struct Job {
    pub(crate) sources: Vec<Box<dyn Source>>,
    ended: Vec<bool>,
    waker: Arc<Waker>,
}

/// A job's round over all subtasks.
pub(crate) enum Round {
    Rows(Vec<RecordBatch>),
    /// Every subtask is idle or at its end.
    Idle,
    End,
}

impl Job {
    pub(crate) fn start(
        table: &TableRef,
        store: &Arc<dyn ObjectStore>,
        runtime: &tokio::runtime::Handle,
        assignment: &Assignment,
        state: &State,
    ) -> Self {
        let waker = Arc::new(Waker::default());
        let parallelism = assignment.owner.iter().max().unwrap() + 1;
        let sources = (0..parallelism)
            .map(|subtask| {
                let owned = |group: u16| assignment.owner[usize::from(group)] == subtask;
                let restored = state.iter().filter(|((group, _), _)| owned(*group));
                let wake = waker.clone();
                open_source(SourceContext {
                    table: table.clone(),
                    subtask,
                    assignment: Arc::new(assignment.clone()),
                    restored: restored
                        .map(|((group, split), position)| SplitState {
                            split: split.clone(),
                            key_group: *group,
                            position: position.clone(),
                        })
                        .collect(),
                    now_ms: 1_357_016_400_000,
                    stores: Arc::new(OneStore(store.clone())),
                    runtime: runtime.clone(),
                    wake: Arc::new(move || wake.wake()),
                })
                .unwrap()
            })
            .collect::<Vec<_>>();
        Self {
            ended: vec![false; sources.len()],
            sources,
            waker,
        }
    }

    /// Polls every subtask; waits when all that are not at their end wait.
    pub(crate) fn round(&mut self, max_rows: usize) -> Result<Round, ConnectorError> {
        loop {
            let seen = self.waker.seen();
            let (mut batches, mut pending) = (Vec::new(), false);
            for (source, ended) in self.sources.iter_mut().zip(&mut self.ended) {
                match source.poll(max_rows)? {
                    Polled::Rows(batch) => {
                        assert!(batch.len() <= max_rows && !batch.is_empty());
                        batches.push(batch.rows);
                    }
                    Polled::Pending => pending = true,
                    Polled::Idle => {}
                    Polled::End => *ended = true,
                }
            }
            if !batches.is_empty() {
                return Ok(Round::Rows(batches));
            }
            if self.ended.iter().all(|ended| *ended) {
                return Ok(Round::End);
            }
            if !pending {
                return Ok(Round::Idle);
            }
            self.waker.wait_after(seen);
        }
    }

    /// Takes a checkpoint.
    pub(crate) fn checkpoint(&mut self, state: &mut State) {
        for source in &mut self.sources {
            for split in source.changed_splits() {
                state.insert((split.key_group, split.split), split.position);
            }
        }
    }

    /// Everything until the source is idle or at its end.
    pub(crate) fn drain(&mut self) -> Result<Vec<RecordBatch>, ConnectorError> {
        let mut all = Vec::new();
        while let Round::Rows(batches) = self.round(1_000)? {
            all.extend(batches);
        }
        Ok(all)
    }
}

/// Reads a table with one subtask to its end.
pub(crate) fn read_all(
    table: &TableRef,
    store: &Arc<dyn ObjectStore>,
    runtime: &tokio::runtime::Handle,
) -> Result<Vec<RecordBatch>, ConnectorError> {
    Job::start(
        table,
        store,
        runtime,
        &Assignment::even(GROUPS, 1),
        &State::new(),
    )
    .drain()
}

/// What a sink gets.
pub(crate) fn sink_context(table: &TableRef, store: &Arc<dyn ObjectStore>) -> SinkContext {
    SinkContext {
        table: table.clone(),
        sink_uid: "0123456789abcdef".to_owned(),
        lineage: "01JABCDEFGHJKMNPQRSTVWXYZ0".to_owned(),
        subtask: 2,
        parallelism: 3,
        changelog: ChangelogMode::InsertOnly,
        stores: Arc::new(OneStore(store.clone())),
    }
}
