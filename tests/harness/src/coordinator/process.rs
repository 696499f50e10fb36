//! One coordinator process.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use streamkeeper_controller::coordinator_client::{CallError, Channel};
use streamkeeper_lifecycle::JobCall;
use streamkeeper_protocol::{
    head::{
        ClaimDecision, Claimant, Head, Ids, Import, LastCheckpoint, OperationKind, OperationResult,
        Order, RunState, claim,
    },
    job_api::{
        CheckpointFailures, Failure, JobError, JobPhase, Operation, Pause, PauseReason, Preflight,
        PreflightVerdict, PromoteFrom, PromoteRequest, Report, StopMode, StopRequest, WorkerReport,
    },
};

use super::{Folder, JobName, leading::Lead, port::Store};
use crate::{kubelet::Exit, script::Script};

/// How a process wants to be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Without keys, as pods from before jobs without TLS had any.
    Plain,
    /// With the token of its job.
    Token,
    /// With certificates and the token.
    Tls,
}

impl Speaks {
    /// By the flags of the pod, whose folder of keys must be mounted.
    pub fn of(pod: &Value) -> Self {
        let container = &pod["spec"]["containers"][0];
        let folder = |name: &str| {
            let flags = container["args"].as_array()?.iter();
            let mut flags = flags.filter_map(Value::as_str);
            let folder = flags.find_map(|flag| flag.strip_prefix(name))?;
            let mounts = container["volumeMounts"].as_array()?;
            mounts
                .iter()
                .any(|mount| mount["mountPath"] == folder)
                .then_some(())
        };
        if folder("--tls-folder=").is_some() {
            Self::Tls
        } else if folder("--token-folder=").is_some() {
            Self::Token
        } else {
            Self::Plain
        }
    }

    /// How this channel talks; none for one without a key.
    pub fn on(channel: &Channel) -> Option<Self> {
        match channel {
            Channel::Plain => Some(Self::Plain),
            Channel::Token(_) => Some(Self::Token),
            Channel::Tls(_) => Some(Self::Tls),
            Channel::Unknown { .. } => None,
        }
    }
}

/// What a process can see and change outside itself.
pub struct Surroundings<'a> {
    pub now: Timestamp,
    pub crew: &'a BTreeMap<u32, (String, i32)>,
    pub storage: &'a Store,
    pub interval: Duration,
    pub heads: &'a mut BTreeMap<JobName, Head>,
    pub folders: &'a mut BTreeMap<String, Folder>,
    pub dice: &'a mut u64,
}

impl Surroundings<'_> {
    /// A word that was never used before.
    pub fn roll(&mut self) -> String {
        *self.dice += 1;
        format!("dice-{}", self.dice)
    }
}

/// What a process is.
#[derive(Debug)]
pub enum Role {
    /// It watches HEAD; the phase says whether it ever led.
    Idle(JobPhase),
    /// It owns HEAD.
    Leading(Box<Lead>),
}

/// A coordinator process.
#[derive(Debug)]
pub struct Process {
    pub job: JobName,
    pub job_uid: String,
    /// URI of its storage.
    pub storage: String,
    pub revision: u64,
    /// Workers that it was started with.
    pub workers: u32,
    /// Subtasks of each.
    pub slots: u32,
    /// Whether it stands by without the others.
    pub first_only: bool,
    pub max_parallelism: u16,
    pub address: String,
    pub speaks: Speaks,
    pub node: String,
    /// Life of the container that it runs in.
    pub restarts: i32,
    pub script: Script,
    pub plan_hash: String,
    pub reachable: bool,
    pub started: Timestamp,
    pub role: Role,
    pub registered: BTreeMap<u32, (String, i32)>,
    pub operations: BTreeMap<String, Operation>,
    pub asked: VecDeque<JobCall>,
    pub asked_at: Timestamp,
    pub graph_restarts: u64,
    pub last_failure: Option<Failure>,
    pub failures: CheckpointFailures,
    pub pauses: Vec<Pause>,
    pub error: Option<JobError>,
    /// The report of the attempt that is over.
    pub epitaph: Option<Report>,
    /// Savepoints that the next write of HEAD names.
    pub saved: Vec<(String, Folder)>,
}

impl Process {
    /// A process that started now, of no job yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            job: JobName::default(),
            job_uid: String::new(),
            storage: String::new(),
            revision: 0,
            workers: 1,
            slots: 1,
            first_only: false,
            max_parallelism: 128,
            address: String::new(),
            speaks: Speaks::Plain,
            node: String::new(),
            restarts: 0,
            script: Script::default(),
            plan_hash: String::new(),
            reachable: true,
            started: now,
            role: Role::Idle(JobPhase::Standby),
            registered: BTreeMap::new(),
            operations: BTreeMap::new(),
            asked: VecDeque::new(),
            asked_at: now,
            graph_restarts: 0,
            last_failure: None,
            failures: CheckpointFailures::default(),
            pauses: Vec::new(),
            error: None,
            epitaph: None,
            saved: Vec::new(),
        }
    }

    /// Does a step. Returns how the process ended, if it did.
    pub fn step(&mut self, around: &mut Surroundings<'_>) -> Option<Exit> {
        self.registered.clone_from(around.crew);
        if let Some(exit) = &self.script.crash_at_start {
            return Some(exit.clone());
        }
        if self.has_invalid_sql() {
            return None;
        }
        self.error = around
            .storage
            .trouble()
            .or_else(|| self.script.error.clone());
        match &self.role {
            Role::Idle(_) => {
                self.look(around);
                None
            }
            Role::Leading(_) => self.lead(around),
        }
    }

    pub fn has_invalid_sql(&self) -> bool {
        matches!(
            &self.script.preflight,
            Some((PreflightVerdict::InvalidSql, _))
        )
    }

    /// Claims HEAD if it is given to this process.
    fn look(&mut self, around: &mut Surroundings<'_>) {
        if around.storage.trouble().is_some() {
            return;
        }
        let Some(head) = around.heads.get(&self.job).cloned() else {
            return;
        };
        for known in &head.operations {
            let operation = Operation {
                key: known.key.clone(),
                kind: known.kind,
                result: known.result.clone(),
            };
            self.operations.insert(known.key.clone(), operation);
        }
        let workers = self.workers;
        if let Err((code, message)) = self.try_claim(around, Some(&head), Order::None, workers)
            && code == "StateIncompatible"
        {
            self.error = Some(JobError {
                reason: code,
                message,
            });
        }
    }

    /// Asks the rules of HEAD, and takes what they give.
    fn try_claim(
        &mut self,
        around: &mut Surroundings<'_>,
        head: Option<&Head>,
        order: Order<'_>,
        workers: u32,
    ) -> Result<bool, (String, String)> {
        let (nonce, token, lineage) = (around.roll(), around.roll(), around.roll());
        let claimant = Claimant {
            job_uid: &self.job_uid,
            revision: self.revision,
            plan_hash: &self.plan_hash,
            max_parallelism: self.max_parallelism,
            workers,
            pod: "",
        };
        let next = match claim(
            head,
            &claimant,
            order,
            Ids {
                nonce: &nonce,
                token: &token,
                lineage: &lineage,
            },
        ) {
            ClaimDecision::Create(next) | ClaimDecision::Replace(next) => next,
            ClaimDecision::Import(import) => self.import(around, import, order)?,
            ClaimDecision::StandBy { .. } => return Ok(false),
            ClaimDecision::Refuse { code, why } => return Err((code.to_owned(), why)),
        };
        if let (Some((PreflightVerdict::Incompatible, why)), Some(_)) =
            (&self.script.preflight, &next.last)
        {
            return Err(("StateIncompatible".to_owned(), why.clone()));
        }
        // As the real one tells them apart.
        let reason = match head.map(|head| (head.state, head.revision == self.revision)) {
            Some((RunState::Running, true)) => PauseReason::CoordinatorRestart,
            Some((RunState::Running | RunState::HandingOver { .. }, _)) => PauseReason::HandOver,
            _ => PauseReason::Resume,
        };
        self.role = Role::Leading(Box::new(Lead::new(&next, reason, around.now)));
        // As the real one: it finishes the stop that another coordinator left, before any record
        // moves.
        self.asked.extend(next.open_stop().map(|stop| {
            JobCall::Stop(StopRequest {
                key: stop.key.clone(),
                mode: StopMode::Savepoint,
                release: stop.release,
            })
        }));
        around.heads.insert(self.job.clone(), next);
        Ok(true)
    }

    /// Brings a savepoint along, if it is there and fits.
    fn import(
        &self,
        around: &Surroundings<'_>,
        import: Import,
        order: Order<'_>,
    ) -> Result<Head, (String, String)> {
        let Order::Promoted {
            from: PromoteFrom::Savepoint { uri },
            ..
        } = order
        else {
            panic!("an import without a savepoint: {order:?}");
        };
        let held = held(around, uri)?;
        let last = LastCheckpoint {
            checkpoint: import.checkpoint(),
            manifest: format!("chk/{}/imported", import.checkpoint()),
            needs_commit: false,
            committed: true,
            completed_ms: held.completed_ms,
            written_bytes: 0,
            total_bytes: 5 << 20,
            duration_ms: 0,
        };
        import
            .with(last, &self.plan_hash)
            .map_err(|error| ("BadRequest".to_owned(), error.to_string()))
    }

    /// Handles a mutating call.
    pub fn command(
        &mut self,
        around: &mut Surroundings<'_>,
        call: &JobCall,
    ) -> Result<Operation, CallError> {
        let refused = |code: &str, message: String| {
            Err(CallError::Refused {
                code: code.to_owned(),
                message,
            })
        };
        let kind = kind_of(call);
        if let Some(known) = self.operations.get(call.key()) {
            return if known.kind == kind {
                Ok(known.clone())
            } else {
                refused(
                    "KeyReused",
                    format!("key {} was used for another call", call.key()),
                )
            };
        }
        if self.has_invalid_sql() {
            return refused("InvalidSql", "the SQL does not compile".to_owned());
        }
        match (call, &self.role) {
            (JobCall::Promote(request), _) if request.revision != self.revision => refused(
                "WrongRevision",
                format!(
                    "this is revision {}, not revision {}",
                    self.revision, request.revision
                ),
            ),
            (JobCall::Promote(request), Role::Idle(_)) => self.promote(around, request),
            (JobCall::Promote(request), Role::Leading(_)) => {
                let code = match request.from {
                    PromoteFrom::Empty | PromoteFrom::Fresh => Some("HeadExists"),
                    PromoteFrom::Savepoint { .. } => Some("WrongRevision"),
                    PromoteFrom::Head | PromoteFrom::TakeOver => None,
                };
                if let Some(code) = code {
                    return refused(code, "this revision runs the job already".to_owned());
                }
                Ok(self.note(
                    &request.key,
                    kind,
                    OperationResult::Done {
                        checkpoint: None,
                        uri: None,
                    },
                ))
            }
            (_, Role::Idle(_)) => refused(
                "NotRunning",
                format!("revision {} stands by", self.revision),
            ),
            (JobCall::HandOver(request), Role::Leading(_))
                if request.to_revision <= self.revision =>
            {
                refused(
                    "WrongRevision",
                    format!(
                        "revision {} cannot follow revision {}",
                        request.to_revision, self.revision
                    ),
                )
            }
            (_, Role::Leading(_)) if !self.asked.is_empty() => {
                refused("Busy", "another operation is in progress".to_owned())
            }
            (call, Role::Leading(_)) => {
                self.asked.push_back(call.clone());
                self.asked_at = around.now;
                Ok(self.note(call.key(), kind, OperationResult::Running))
            }
        }
    }

    fn promote(
        &mut self,
        around: &mut Surroundings<'_>,
        request: &PromoteRequest,
    ) -> Result<Operation, CallError> {
        let refused = |code: String, message: String| Err(CallError::Refused { code, message });
        if let Some(trouble) = around.storage.trouble() {
            return refused("StorageUnavailable".to_owned(), trouble.message);
        }
        if matches!(around.storage, Store::Careless) {
            let why = "claiming HEAD: PutObject s3://streams/prod/probe: the store does not do conditional writes";
            return refused("InvalidSpec".to_owned(), why.to_owned());
        }
        let head = around.heads.get(&self.job).cloned();
        let order = Order::Promoted {
            key: &request.key,
            from: &request.from,
            running_owner: request.running_owner.as_deref(),
        };
        match self.try_claim(
            around,
            head.as_ref(),
            order,
            request.workers.unwrap_or(self.workers),
        ) {
            Ok(true) => {
                let checkpoint = head.and_then(|head| head.last).map(|last| last.checkpoint);
                Ok(self.note(
                    &request.key,
                    OperationKind::Promote,
                    OperationResult::Done {
                        checkpoint,
                        uri: None,
                    },
                ))
            }
            Ok(false) => refused(
                "NotRunning".to_owned(),
                "HEAD gives the job to somebody else".to_owned(),
            ),
            Err((code, message)) => refused(code, message),
        }
    }

    /// Remembers how an operation stands.
    pub fn note(&mut self, key: &str, kind: OperationKind, result: OperationResult) -> Operation {
        let operation = Operation {
            key: key.to_owned(),
            kind,
            result,
        };
        self.operations.insert(key.to_owned(), operation.clone());
        operation
    }

    /// Whether this process could take over, or start from a savepoint.
    pub fn preflight(&self, around: &Surroundings<'_>, from: Option<&str>) -> Preflight {
        let (storage, now) = (around.storage, around.now);
        let checked_against = around
            .heads
            .get(&self.job)
            .filter(|_| from.is_none())
            .and_then(|head| head.last.as_ref())
            .map(|last| last.checkpoint);
        let answer = |verdict, message: String| Preflight {
            verdict,
            revision: self.revision,
            message,
            checked_against,
            from: from.map(str::to_owned),
            states: Vec::new(),
            checked_bytes: None,
        };
        if let Some((PreflightVerdict::InvalidSql, message)) = &self.script.preflight {
            return answer(PreflightVerdict::InvalidSql, message.clone());
        }
        if let Some(trouble) = storage.trouble() {
            return answer(PreflightVerdict::StorageUnavailable, trouble.message);
        }
        if passed(self.started, self.script.preflight_takes, now) == Passed::No {
            let seconds = now.duration_since(self.started).as_secs();
            let checked = u64::try_from(seconds).ok();
            return Preflight {
                checked_bytes: checked.filter(|_| from.is_some() && self.script.preflight_gets_on),
                ..answer(PreflightVerdict::Pending, "the check still runs".to_owned())
            };
        }
        if let Some((verdict, message)) = &self.script.preflight {
            return answer(*verdict, message.clone());
        }
        if let Some(Err((code, message))) = from.map(|uri| held(around, uri)) {
            let verdict = if code == "SnapshotNotFound" {
                PreflightVerdict::SnapshotNotFound
            } else {
                PreflightVerdict::RestoreFailed
            };
            return answer(verdict, message);
        }
        let missing: Vec<u32> = (0..self.workers)
            .filter(|worker| !self.registered.contains_key(worker))
            .collect();
        if missing.is_empty() || self.first_only {
            answer(
                PreflightVerdict::Compatible,
                "the plan fits, all workers are registered".to_owned(),
            )
        } else {
            answer(
                PreflightVerdict::Pending,
                format!("waiting for workers {missing:?} to register"),
            )
        }
    }

    fn failing(&self) -> Option<JobError> {
        let (reason, message) = self.script.fails_with?;
        let asks = matches!(self.role, Role::Leading(_)) && !reason.is_empty();
        asks.then(|| JobError {
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    }

    /// What it knows.
    pub fn report(&self) -> Report {
        let lead = match &self.role {
            Role::Leading(lead) => Some(lead),
            Role::Idle(_) => None,
        };
        let idle = match &self.role {
            Role::Idle(phase) => *phase,
            Role::Leading(_) => JobPhase::Standby,
        };
        if let (None, Some(epitaph)) = (lead, &self.epitaph) {
            return Report {
                phase: idle,
                ..epitaph.clone()
            };
        }
        let workers = lead.map_or(self.workers, |lead| lead.workers);
        Report {
            job_uid: self.job_uid.clone(),
            revision: self.revision,
            attempt: lead.map(|lead| lead.attempt),
            phase: if self.has_invalid_sql() {
                JobPhase::Failed
            } else if lead.is_some() && self.script.fails_with.is_some() {
                JobPhase::BackingOff
            } else {
                lead.map_or(idle, |lead| lead.phase)
            },
            parallelism: workers * self.slots,
            workers: (0..workers)
                .map(|index| WorkerReport {
                    index,
                    registered: self.registered.contains_key(&index),
                    memory_bytes: 64 << 20,
                })
                .collect(),
            last_checkpoint: lead.and_then(|lead| lead.last_checkpoint.clone()),
            checkpoint_failures: self.failures.clone(),
            restored_from: lead.and_then(|lead| lead.restored_from),
            restarts: self.graph_restarts,
            last_failure: self.last_failure.clone(),
            pauses: self.pauses.clone(),
            records_in: lead.map_or(0, |lead| lead.records),
            records_out: lead.map_or(0, |lead| lead.records),
            records_in_attempt: lead.map_or(0, |lead| lead.records),
            checkpoints_in_attempt: lead.map_or(0, |lead| lead.checkpoints),
            error: match &self.script.preflight {
                Some((PreflightVerdict::InvalidSql, message)) => Some(JobError {
                    reason: "InvalidSQL".to_owned(),
                    message: message.clone(),
                }),
                _ => self.failing().or_else(|| self.error.clone()),
            },
            plan_hash: Some(self.plan_hash.clone()),
            version: "0.1.0".to_owned(),
        }
    }
}

/// The savepoint at a URI, if it is whole.
fn held<'a>(around: &'a Surroundings<'_>, uri: &str) -> Result<&'a Folder, (String, String)> {
    let Some(held) = around.folders.get(uri) else {
        let why = format!("{uri} holds no savepoint");
        return Err(("SnapshotNotFound".to_owned(), why));
    };
    if held.damaged {
        let why = format!("{uri}/data/0001 is damaged");
        return Err(("RestoreFailed".to_owned(), why));
    }
    Ok(held)
}

/// Whether a time is over.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    Yes,
    No,
}

/// Whether `long` went by since `since`.
pub fn passed(since: Timestamp, long: Duration, now: Timestamp) -> Passed {
    let elapsed = now.as_millisecond() - since.as_millisecond();
    if u128::try_from(elapsed).unwrap_or(0) >= long.as_millis() {
        Passed::Yes
    } else {
        Passed::No
    }
}

pub fn kind_of(call: &JobCall) -> OperationKind {
    match call {
        JobCall::Promote(_) => OperationKind::Promote,
        JobCall::Savepoint(_) => OperationKind::Savepoint,
        JobCall::HandOver(_) => OperationKind::HandOver,
        JobCall::Stop(_) => OperationKind::Stop,
        JobCall::Rescale(_) => OperationKind::Rescale,
    }
}
