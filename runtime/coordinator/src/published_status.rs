//! What the coordinator shows to the Job API without being asked: its report, its preflight, its
//! operations.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use streamkeeper_protocol::{
    head::{Head, OperationResult},
    job_api::{
        CheckpointFailures, JobPhase, Operation, Preflight, PreflightVerdict, Report, SeenHead,
    },
};
use tokio::time::Instant;

use crate::config::JobIdentity;
use streamkeeper_control::clock;

/// Shared between the coordinator, which writes, and the HTTP routes, which read.
#[derive(Debug)]
pub struct PublishedStatus {
    report: Mutex<Report>,
    preflight: Mutex<Preflight>,
    /// Result of the check of a savepoint, once the operator asked about one.
    of_savepoint: Mutex<Option<Preflight>>,
    /// Bytes of that savepoint that were compared so far.
    checked_bytes: AtomicU64,
    operations: Mutex<BTreeMap<String, Operation>>,
    /// HEAD as it was last read or written, and when.
    head: Mutex<Option<(Instant, Option<Arc<Head>>)>>,
}

impl PublishedStatus {
    /// Returns the status of a coordinator that has not begun.
    pub fn new(job: &JobIdentity, workers: u32, slots: u32) -> Self {
        let report = Report {
            job_uid: job.uid.clone(),
            revision: job.revision,
            attempt: None,
            phase: JobPhase::Standby,
            parallelism: workers * slots,
            workers: Vec::new(),
            last_checkpoint: None,
            checkpoint_failures: CheckpointFailures::default(),
            restored_from: None,
            restarts: 0,
            last_failure: None,
            pauses: Vec::new(),
            records_in: 0,
            records_out: 0,
            records_in_attempt: 0,
            checkpoints_in_attempt: 0,
            error: None,
            plan_hash: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let preflight = Preflight {
            verdict: PreflightVerdict::Pending,
            revision: job.revision,
            message: "not checked yet".to_owned(),
            checked_against: None,
            from: None,
            states: Vec::new(),
            checked_bytes: None,
        };
        Self {
            report: Mutex::new(report),
            preflight: Mutex::new(preflight),
            of_savepoint: Mutex::new(None),
            checked_bytes: AtomicU64::new(0),
            operations: Mutex::new(BTreeMap::new()),
            head: Mutex::new(None),
        }
    }

    /// The report as it stands.
    pub fn report(&self) -> Report {
        locked(&self.report).clone()
    }

    /// Changes the report.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut locked(&self.report));
    }

    /// The preflight as it stands.
    pub fn preflight(&self) -> Preflight {
        locked(&self.preflight).clone()
    }

    pub(crate) fn set_preflight(&self, preflight: Preflight) {
        *locked(&self.preflight) = preflight;
    }

    /// The preflight of a start from the savepoint at `uri`, as it stands.
    pub fn preflight_from(&self, uri: &str) -> Preflight {
        let known = locked(&self.of_savepoint).clone();
        if let Some(mut known) = known.filter(|known| known.from.as_deref() == Some(uri)) {
            known.checked_bytes = (known.verdict == PreflightVerdict::Pending)
                .then(|| self.checked_bytes.load(Ordering::Relaxed));
            return known;
        }
        let general = self.preflight();
        let from = Some(uri.to_owned());
        if general.verdict == PreflightVerdict::InvalidSql {
            return Preflight { from, ..general };
        }
        Preflight {
            verdict: PreflightVerdict::Pending,
            revision: general.revision,
            message: "the savepoint is not checked yet".to_owned(),
            checked_against: None,
            from,
            states: Vec::new(),
            checked_bytes: None,
        }
    }

    pub(crate) fn set_preflight_from(&self, preflight: Preflight) {
        *locked(&self.of_savepoint) = Some(preflight);
    }

    /// Notes how many bytes of the savepoint were compared so far.
    pub(crate) fn set_checked_bytes(&self, bytes: u64) {
        self.checked_bytes.store(bytes, Ordering::Relaxed);
    }

    /// HEAD as this process knows it; none while it could not be read at all.
    pub fn head(&self) -> Option<SeenHead> {
        let (at, head) = locked(&self.head).clone()?;
        let age = clock::now().saturating_duration_since(at).as_millis();
        Some(SeenHead {
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
            head: head.as_deref().cloned(),
        })
    }

    /// Notes HEAD as it was just read or written; none: there is no such object.
    pub(crate) fn saw_head(&self, head: Option<Arc<Head>>) {
        *locked(&self.head) = Some((clock::now(), head));
    }

    /// The operation with this idempotency key.
    pub fn operation(&self, key: &str) -> Option<Operation> {
        locked(&self.operations).get(key).cloned()
    }

    pub(crate) fn set_operation(&self, operation: Operation) {
        locked(&self.operations).insert(operation.key.clone(), operation);
    }

    /// Takes over what HEAD remembers; what this process already knows to be finished stays.
    pub(crate) fn learn_operations(&self, head: &Head) {
        let mut operations = locked(&self.operations);
        for record in &head.operations {
            let known = operations.get(&record.key);
            if known.is_none_or(|known| known.result == OperationResult::Running) {
                let operation = Operation {
                    key: record.key.clone(),
                    kind: record.kind,
                    result: record.result.clone(),
                };
                operations.insert(record.key.clone(), operation);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data: a thread that panicked cannot have left it half changed in a way that matters to
    // a reader.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
