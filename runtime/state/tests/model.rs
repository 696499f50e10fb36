//! Tables, runs, history and restore together, against a map: random changes, checkpoints, failed
//! checkpoints, restarts and rescales, and nothing may be lost, come back, or move.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use streamkeeper_protocol::{
    key_group::{Assignment, KEY_HASH},
    manifest::{CheckpointKind, MANIFEST_FORMAT, Manifest, RunKind, StateDescriptor, StateKind},
};
use streamkeeper_state::{
    Continuation, FrozenState, GroupSet, KeyRef, ObjectCache, ObjectWriter, Part, RunHistory,
    StateReport, StateTable, StateValue, encode_run, load_state,
};
use streamkeeper_storage::MemoryStore;

const GROUPS: u16 = 12;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Number(u32);

impl StateValue for Number {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        bytes
            .try_into()
            .map(|bytes| Self(u32::from_be_bytes(bytes)))
            .map_err(|_| "not four bytes".to_owned())
    }
}

#[derive(Debug, Clone)]
enum Change {
    Put(u8, u32),
    Add(u8, u32),
    Remove(u8),
}

#[derive(Debug, Clone)]
enum Step {
    Change(Change),
    /// These changes are made while the state of the barrier is frozen, slice by slice.
    Checkpoint(Vec<Change>),
    FailedCheckpoint,
    Restart,
    Rescale(u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..40_u8, any::<u32>()).prop_map(|(key, value)| Change::Put(key, value)),
        4 => (0..40_u8, 0..9_u32).prop_map(|(key, value)| Change::Add(key, value)),
        5 => (0..40_u8).prop_map(Change::Remove),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        15 => change().prop_map(Step::Change),
        4 => prop::collection::vec(change(), 0..20).prop_map(Step::Checkpoint),
        1 => Just(Step::FailedCheckpoint),
        1 => Just(Step::Restart),
        1 => (1..5_u32).prop_map(Step::Rescale),
    ]
}

/// Writes a number, as [`StateValue`] does.
fn encode(part: &Part<'_, Number>, out: &mut Vec<u8>) {
    part.value.encode(out);
}

fn descriptor() -> StateDescriptor {
    StateDescriptor {
        name: "groups".to_owned(),
        kind: StateKind::Groups,
        key: Vec::new(),
        value: Vec::new(),
        accumulators: Vec::new(),
        version: 1,
    }
}

struct Job {
    store: MemoryStore,
    cache: ObjectCache,
    assignment: Assignment,
    parallelism: u32,
    tables: Vec<StateTable<Number>>,
    history: RunHistory,
    model: BTreeMap<u8, u32>,
    /// The restore point: its manifest, and what the model was then.
    durable: (Manifest, BTreeMap<u8, u32>),
    next: u64,
}

impl Job {
    fn new(parallelism: u32) -> Self {
        let assignment = Assignment::even(GROUPS, parallelism);
        let manifest = manifest(0, &assignment, &RunHistory::new());
        Self {
            store: MemoryStore::new(),
            cache: ObjectCache::new(4096),
            tables: tables(parallelism),
            assignment,
            parallelism,
            history: RunHistory::new(),
            model: BTreeMap::new(),
            durable: (manifest, BTreeMap::new()),
            next: 1,
        }
    }

    fn table(&mut self, key: u8) -> &mut StateTable<Number> {
        let group = KeyRef::new(&[key]).key_group(GROUPS);
        &mut self.tables[self.assignment.owner[usize::from(group)] as usize]
    }

    fn change(&mut self, change: &Change) -> Result<(), TestCaseError> {
        let (Change::Put(key, _) | Change::Add(key, _) | Change::Remove(key)) = *change;
        self.table(key)
            .preserve(KeyRef::new(&[key]), |part, out, _| encode(&part, out));
        match *change {
            Change::Put(key, value) => {
                let before = self.table(key).insert(KeyRef::new(&[key]), Number(value));
                prop_assert_eq!(before.map(|number| number.0), self.model.insert(key, value));
            }
            Change::Add(key, value) => {
                let number = self.table(key).upsert(KeyRef::new(&[key]), || Number(0));
                number.0 = number.0.wrapping_add(value);
                let expected = self.model.entry(key).or_insert(0);
                *expected = expected.wrapping_add(value);
                self.table(key).get_mut(KeyRef::new(&[key])).unwrap().0 ^= 1;
                *self.model.get_mut(&key).unwrap() ^= 1;
            }
            Change::Remove(key) => {
                let before = self.table(key).remove(KeyRef::new(&[key]));
                prop_assert_eq!(before.map(|number| number.0), self.model.remove(&key));
            }
        }
        Ok(())
    }

    /// Freezes all tables, with these changes between the slices; returns what was frozen, and the
    /// model at the beginning.
    fn freeze(
        &mut self,
        meanwhile: &[Change],
    ) -> Result<(Vec<FrozenState>, BTreeMap<u8, u32>), TestCaseError> {
        let model = self.model.clone();
        for (subtask, table) in (0..).zip(&mut self.tables) {
            table.begin_freeze(self.history.must_be_full("op", &descriptor(), subtask));
        }
        let mut frozen: Vec<Option<FrozenState>> = vec![None; self.tables.len()];
        let mut changes = meanwhile.iter();
        while frozen.iter().any(Option::is_none) {
            for (table, frozen) in self.tables.iter_mut().zip(&mut frozen) {
                let next = table.advance_freeze(2, |part, out, _| encode(&part, out));
                if next.is_some() {
                    *frozen = next;
                }
            }
            if let Some(change) = changes.next() {
                self.change(change)?;
            }
        }
        for change in changes {
            self.change(change)?;
        }
        Ok((frozen.into_iter().flatten().collect(), model))
    }

    async fn checkpoint(&mut self, fails: bool, meanwhile: &[Change]) -> Result<(), TestCaseError> {
        let number = self.next;
        self.next += 1;
        let mut reports = Vec::new();
        let full: Vec<bool> = (0..self.parallelism)
            .map(|subtask| self.history.must_be_full("op", &descriptor(), subtask))
            .collect();
        let (frozen, model) = self.freeze(meanwhile)?;
        for ((subtask, frozen), full) in (0..).zip(frozen).zip(full) {
            let kind = frozen.kind;
            assert_eq!(kind == RunKind::Base, full);
            let mut object = ObjectWriter::new(format!("data/{number}-{subtask}"));
            object.push_bytes(b"rows of a sink");
            let run = encode_run(frozen)
                .unwrap()
                .map(|run| object.push_run(run, number, subtask));
            object.upload(&self.store).await.unwrap();
            let (state_uid, label) = ("op".to_owned(), "Op".to_owned());
            reports.push(StateReport {
                state_uid,
                label,
                descriptor: descriptor(),
                subtask,
                kind,
                run,
            });
        }
        if fails {
            self.history = std::mem::take(&mut self.history).after_failure();
            return Ok(());
        }
        self.history = self
            .history
            .advance(reports, &(0..self.parallelism).collect())
            .unwrap();
        self.durable = (manifest(number, &self.assignment, &self.history), model);
        Ok(())
    }

    async fn restore(&mut self, assignment: Assignment, parallelism: u32) {
        let same = assignment == self.durable.0.assignment;
        let continuation = if same {
            Continuation::Same
        } else {
            Continuation::Rewrite
        };
        self.history =
            RunHistory::restored(&self.durable.0, continuation, &(0..parallelism).collect());
        self.tables = tables(parallelism);
        for subtask in 0..parallelism {
            for operator in &self.durable.0.operators {
                let groups = GroupSet::of(&assignment, subtask);
                let entries =
                    load_state(&self.store, &operator.states[0], &groups, Some(&self.cache))
                        .await
                        .unwrap();
                self.tables[subtask as usize].load(entries).unwrap();
            }
        }
        (self.assignment, self.parallelism) = (assignment, parallelism);
        self.model = self.durable.1.clone();
    }

    async fn rescale(&mut self, parallelism: u32) -> Result<(), TestCaseError> {
        self.checkpoint(false, &[]).await?;
        let after = self.assignment.rescaled(parallelism);
        // Survivors keep what they own and read only what they gain.
        let mut tables = tables(parallelism);
        for subtask in 0..parallelism {
            let gained = GroupSet::gained(&self.assignment, &after, subtask);
            let kept = GroupSet::of(&after, subtask);
            if let Some(old) = self.tables.get(subtask as usize) {
                tables[subtask as usize] = old.clone();
                tables[subtask as usize].retain_groups(|group| kept.contains(group));
            }
            for operator in &self.durable.0.operators {
                let entries = load_state(&self.store, &operator.states[0], &gained, None)
                    .await
                    .unwrap();
                tables[subtask as usize].load(entries).unwrap();
            }
        }
        self.history = RunHistory::restored(
            &self.durable.0,
            Continuation::Rewrite,
            &(0..parallelism).collect(),
        );
        (self.tables, self.assignment, self.parallelism) = (tables, after, parallelism);
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let count: usize = self.tables.iter().map(StateTable::len).sum();
        prop_assert_eq!(count, self.model.len());
        for key in 0..40_u8 {
            let expected = self.model.get(&key).map(|value| Number(*value));
            let found = self.table(key).get(KeyRef::new(&[key])).copied();
            prop_assert_eq!(found, expected, "key {}", key);
        }
        for table in &self.tables {
            prop_assert_eq!(table.iter().count(), table.len());
        }
        Ok(())
    }
}

fn tables(parallelism: u32) -> Vec<StateTable<Number>> {
    (0..parallelism)
        .map(|_| StateTable::new(descriptor(), GROUPS))
        .collect()
}

fn manifest(checkpoint: u64, assignment: &Assignment, history: &RunHistory) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        min_reader: MANIFEST_FORMAT,
        job_uid: "job".to_owned(),
        lineage: "lineage".to_owned(),
        revision: 1,
        attempt: 1,
        checkpoint,
        kind: CheckpointKind::Periodic,
        started_ms: 0,
        completed_ms: 0,
        max_parallelism: GROUPS,
        key_hash: KEY_HASH.to_owned(),
        assignment: assignment.clone(),
        plan_hash: String::new(),
        operators: history.operators(|_| None),
        committables: Vec::new(),
        records_in: 0,
        records_out: 0,
        last_record_ms: None,
    }
}

async fn run(parallelism: u32, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut job = Job::new(parallelism);
    for step in steps {
        match step {
            Step::Change(change) => job.change(&change)?,
            Step::Checkpoint(meanwhile) => job.checkpoint(false, &meanwhile).await?,
            Step::FailedCheckpoint => job.checkpoint(true, &[]).await?,
            Step::Restart => {
                job.restore(
                    job.durable.0.assignment.clone(),
                    subtasks(&job.durable.0.assignment),
                )
                .await;
            }
            Step::Rescale(parallelism) => {
                job.rescale(parallelism).await?;
                job.check()?;
                // The other way to that state: from the store alone, under the new assignment.
                let live = job.model.clone();
                job.restore(job.assignment.clone(), parallelism).await;
                prop_assert_eq!(&job.model, &live);
            }
        }
        job.check()?;
        for operator in &job.durable.0.operators {
            // A restore never reads more than a base and seventeen deltas of each subtask.
            prop_assert!(operator.states[0].runs.len() <= 18 * 5);
        }
    }
    job.restore(job.assignment.clone(), job.parallelism).await;
    job.check()
}

fn subtasks(assignment: &Assignment) -> u32 {
    assignment.owner.iter().max().map_or(1, |last| last + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_by_checkpoints_failures_restarts_and_rescales(
        parallelism in 1..4_u32,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(parallelism, steps))?;
    }
}
