//! What the owner of HEAD does: waits for workers, runs, takes checkpoints, ends when asked.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::Timestamp;
use streamkeeper_lifecycle::JobCall;
use streamkeeper_protocol::{
    head::{Begun, Head, HeadChange, HeadError, LastCheckpoint, OperationKind, OperationResult},
    job_api::{
        CheckpointFailures, CheckpointReport, Failure, JobPhase, Pause, PauseReason,
        SavepointRequest, StopMode,
    },
};

use super::{
    Folder, JobName,
    process::{Passed, Process, Role, Surroundings, kind_of, passed},
};
use crate::kubelet::Exit;

/// From workers there to records flowing.
const RESTORE: Duration = Duration::from_millis(300);
/// A rescale waits this long for workers.
const RESCALE: Duration = Duration::from_mins(1);
/// Complete checkpoints kept beside the newest.
const RETAIN: usize = 2;

/// An attempt.
#[derive(Debug)]
pub struct Lead {
    pub attempt: u64,
    pub token: String,
    pub workers: u32,
    pub phase: JobPhase,
    since: Timestamp,
    next_checkpoint: Timestamp,
    pub last_checkpoint: Option<CheckpointReport>,
    pub restored_from: Option<u64>,
    pub checkpoints: u64,
    pub records: u64,
    /// Which lives of which pods the graph runs on.
    runs_on: BTreeMap<u32, (String, i32)>,
    reason: PauseReason,
}

impl Lead {
    pub fn new(head: &Head, reason: PauseReason, now: Timestamp) -> Self {
        Self {
            attempt: head.attempt,
            token: head.token.clone(),
            workers: head.workers,
            phase: JobPhase::WaitingForWorkers,
            since: now,
            next_checkpoint: now,
            last_checkpoint: reported(head),
            restored_from: head.last.as_ref().map(|last| last.checkpoint),
            checkpoints: 0,
            records: 0,
            runs_on: BTreeMap::new(),
            reason,
        }
    }
}

fn reported(head: &Head) -> Option<CheckpointReport> {
    head.last.as_ref().map(|last| CheckpointReport {
        id: last.checkpoint,
        completed_ms: last.completed_ms,
        duration_ms: last.duration_ms,
        total_bytes: last.total_bytes,
        manifest: last.manifest.clone(),
        committed: last.committed,
    })
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).expect("a near time")
}

impl Process {
    /// Does a step of the owner of HEAD. Returns how the process ended, if it did.
    pub(super) fn lead(&mut self, around: &mut Surroundings<'_>) -> Option<Exit> {
        let Role::Leading(lead) = &mut self.role else {
            return None;
        };
        if around.storage.trouble().is_some() {
            // It cannot write HEAD: it runs on, and its checkpoints age.
            self.failures.consecutive += 1;
            self.failures.last = around.storage.trouble().map(|trouble| trouble.message);
            return None;
        }
        let head = around.heads.get(&self.job).cloned();
        let Some(head) = head.filter(|head| head.is_owned_by(lead.attempt, &lead.token)) else {
            return Some(Exit::error(
                "fenced: somebody else owns HEAD; this process ends",
            ));
        };
        match lead.phase {
            JobPhase::WaitingForWorkers => {
                if head.open_stop().is_some() {
                    self.end_or_move(around, &head, false);
                } else if (0..lead.workers).all(|worker| self.registered.contains_key(&worker)) {
                    lead.runs_on = self
                        .registered
                        .iter()
                        .filter(|(worker, _)| **worker < lead.workers)
                        .map(|(worker, life)| (*worker, life.clone()))
                        .collect();
                    (lead.phase, lead.since) = (JobPhase::Restoring, around.now);
                } else if !self.asked.is_empty() {
                    self.end_or_move(around, &head, false);
                }
            }
            JobPhase::Restoring if passed(lead.since, RESTORE, around.now) == Passed::Yes => {
                (lead.phase, lead.next_checkpoint) =
                    (JobPhase::Running, later(around.now, around.interval));
                let pause = Pause {
                    reason: lead.reason,
                    last_before_ms: lead.since.as_millisecond(),
                    first_after_ms: Some(around.now.as_millisecond()),
                    restored_from: lead.restored_from,
                };
                if lead.restored_from.is_some() {
                    self.pauses.insert(0, pause);
                    self.pauses.truncate(16);
                }
            }
            JobPhase::Restoring => {}
            JobPhase::Running => return self.flow(around, &head),
            phase => panic!("an owner of HEAD is never {phase:?} in this simulation"),
        }
        None
    }

    fn flow(&mut self, around: &mut Surroundings<'_>, head: &Head) -> Option<Exit> {
        let Role::Leading(lead) = &mut self.role else {
            return None;
        };
        if let Some(exit) = &self.script.crash_once_running {
            return Some(exit.clone());
        }
        let lost = lead
            .runs_on
            .iter()
            .find(|(worker, life)| self.registered.get(worker) != Some(life))
            .map(|(worker, _)| *worker);
        if let Some(worker) = lost {
            let why = format!("worker {worker} is lost: connection reset");
            self.restart(around, head, Some(worker), why);
            return None;
        }
        if let Some((_, why)) = self.script.fails_with {
            if self.asked.is_empty() {
                self.restart(around, head, None, why.to_owned());
            } else {
                self.end_or_move(around, head, false);
            }
            return None;
        }
        if !self.script.no_input {
            lead.records += 100;
        }
        if self.script.input_ends && lead.records > 3000 {
            self.complete(around, head);
            return None;
        }
        if let Some(JobCall::Savepoint(request)) = self.asked.front().cloned() {
            let takes = self.script.savepoint_takes;
            if passed(self.asked_at, takes, around.now) == Passed::Yes {
                self.save(around, head, &request);
            }
        } else if let (Some(exit), Some(JobCall::Stop(request))) =
            (self.script.dies_saving_for_stop.clone(), self.asked.front())
        {
            let (key, release) = (request.key.clone(), request.release);
            let change = self
                .checkpoint(head.change(), around.now)
                .and_then(|change| change.add_savepoint(&key, &key, &format!("savepoints/{key}")))
                .and_then(|change| change.begin_stop(&key, release))
                .expect("the owner of a running HEAD may begin to stop");
            self.write(around, change);
            return Some(exit);
        } else if !self.asked.is_empty() {
            self.end_or_move(around, head, true);
        } else if lead.next_checkpoint <= around.now {
            lead.next_checkpoint = later(around.now, around.interval);
            if self.script.checkpoints_hang {
                return None;
            }
            if self.script.no_checkpoints {
                self.failures.consecutive += 1;
                self.failures.last =
                    Some("it took longer than spec.checkpoints.timeout".to_owned());
            } else {
                let change = self
                    .checkpoint(head.change(), around.now)
                    .expect("the owner of a running HEAD may publish");
                self.write(around, change);
                self.failures = CheckpointFailures::default();
            }
        }
        None
    }

    /// The graph goes back to the last checkpoint under a new attempt.
    fn restart(
        &mut self,
        around: &mut Surroundings<'_>,
        head: &Head,
        worker: Option<u32>,
        message: String,
    ) {
        let token = around.roll();
        let change = head
            .change()
            .new_attempt(&token)
            .expect("the owner of a running HEAD may start another attempt");
        self.graph_restarts += 1;
        self.last_failure = Some(Failure {
            at_ms: around.now.as_millisecond(),
            worker,
            message,
            restored_from: head.last.as_ref().map(|last| last.checkpoint),
            terminated: false,
            memory_bytes: Some(498 << 20),
        });
        let written = self.write(around, change);
        self.role = Role::Leading(Box::new(Lead::new(
            &written,
            PauseReason::Failure,
            around.now,
        )));
    }

    /// Carries out what was asked for.
    fn end_or_move(&mut self, around: &mut Surroundings<'_>, head: &Head, flowing: bool) {
        let Some(call) = self.asked.front().cloned() else {
            return;
        };
        let failed = |why: String| OperationResult::Failed { why };
        if let Some(why) = self
            .script
            .final_checkpoint_fails
            .clone()
            .filter(|_| flowing)
        {
            self.give_up(&call, failed(why));
            return;
        }
        if let JobCall::Rescale(request) = &call {
            let missing: Vec<u32> = (0..request.workers)
                .filter(|worker| !self.registered.contains_key(worker))
                .collect();
            if !missing.is_empty() {
                if passed(self.asked_at, RESCALE, around.now) == Passed::Yes {
                    self.give_up(
                        &call,
                        failed(format!("workers {missing:?} did not register within 60 s")),
                    );
                }
                return;
            }
        }
        let token = around.roll();
        match self.ending(head, &call, flowing, &token, around.now) {
            Ok(change) => {
                let written = self.write(around, change);
                self.asked.pop_front();
                around.folders.extend(self.saved.drain(..));
                let result = OperationResult::Done {
                    checkpoint: written.last.as_ref().map(|last| last.checkpoint),
                    uri: None,
                };
                self.note(call.key(), kind_of(&call), result);
                match call {
                    JobCall::Rescale(_) => {
                        self.role = Role::Leading(Box::new(Lead::new(
                            &written,
                            PauseReason::Rescale,
                            around.now,
                        )));
                    }
                    JobCall::HandOver(_)
                    | JobCall::Stop(_)
                    | JobCall::Promote(_)
                    | JobCall::Savepoint(_) => {
                        self.epitaph = Some(self.report());
                        self.role = Role::Idle(JobPhase::Stopped);
                    }
                }
            }
            Err(error) => self.give_up(&call, failed(error.to_string())),
        }
    }

    /// The one write that makes an operation true, with its result.
    fn ending(
        &mut self,
        head: &Head,
        call: &JobCall,
        flowing: bool,
        token: &str,
        now: Timestamp,
    ) -> Result<HeadChange, HeadError> {
        let mut change = head.change();
        if flowing {
            change = self.checkpoint(change, now)?;
        }
        let checkpoint = change.head().last.as_ref().map(|last| last.checkpoint);
        let change = match call {
            JobCall::HandOver(request) => change.hand_over(request.to_revision)?,
            JobCall::Stop(request) => change.stop(request.release)?,
            JobCall::Rescale(request) => change.on_workers(request.workers).new_attempt(token)?,
            JobCall::Promote(_) | JobCall::Savepoint(_) => change,
        };
        let folder = match call {
            JobCall::Stop(request) if request.mode == StopMode::Savepoint => {
                let (namespace, job) = &self.job;
                let folder = format!("{namespace}/{job}/savepoints/{}", request.key);
                Some(format!("{}/{folder}", self.storage))
            }
            _ => None,
        };
        let change = match change.clone().begin_operation(call.key(), kind_of(call))? {
            Begun::New(change) => change,
            Begun::Known(known) if known.result == OperationResult::Running => change,
            Begun::Known(known) => {
                return Err(HeadError::KeyReused {
                    key: known.key,
                    kind: known.kind,
                });
            }
        };
        let saves = |head: &Head| head.savepoints.iter().any(|saved| saved.key == call.key());
        let change = if saves(change.head()) {
            change.finish_savepoint(call.key())?
        } else {
            change
        };
        if let (Some(uri), Some(last)) = (&folder, &change.head().last) {
            self.saved.push((
                uri.clone(),
                Folder {
                    checkpoint: last.checkpoint,
                    completed_ms: last.completed_ms,
                    revision: self.revision,
                    job_uid: change.head().job_uid.clone(),
                    damaged: false,
                },
            ));
        }
        change.finish_operation(
            call.key(),
            OperationResult::Done {
                checkpoint,
                uri: folder,
            },
        )
    }

    /// All input was read: the last checkpoint, and HEAD says so.
    fn complete(&mut self, around: &mut Surroundings<'_>, head: &Head) {
        let change = self
            .checkpoint(head.change(), around.now)
            .and_then(HeadChange::complete)
            .expect("the owner of a running HEAD may complete");
        self.write(around, change);
        self.epitaph = Some(self.report());
        self.role = Role::Idle(JobPhase::Completed);
    }

    /// A savepoint beside the running job: a checkpoint, copied.
    fn save(&mut self, around: &mut Surroundings<'_>, head: &Head, request: &SavepointRequest) {
        if self.script.checkpoints_hang {
            return;
        }
        let call = JobCall::Savepoint(request.clone());
        if let Some(why) = self.script.savepoint_fails.clone() {
            self.give_up(&call, OperationResult::Failed { why });
            return;
        }
        let change = self
            .checkpoint(head.change(), around.now)
            .expect("the owner of a running HEAD may publish");
        let written = self.write(around, change);
        let last = written.last.clone().expect("a checkpoint was written");
        let folder = request.uri.as_deref().unwrap_or(&request.key);
        let uri = format!("s3://streams/{folder}");
        let held = Folder {
            checkpoint: last.checkpoint,
            completed_ms: last.completed_ms,
            revision: self.revision,
            job_uid: written.job_uid.clone(),
            damaged: false,
        };
        around.folders.insert(uri.clone(), held);
        let done = OperationResult::Done {
            checkpoint: Some(last.checkpoint),
            uri: Some(uri),
        };
        self.asked.pop_front();
        self.note(&request.key, OperationKind::Savepoint, done);
    }

    fn give_up(&mut self, call: &JobCall, result: OperationResult) {
        self.asked.pop_front();
        self.note(call.key(), kind_of(call), result);
    }

    /// A complete checkpoint, its output committed.
    fn checkpoint(&mut self, change: HeadChange, now: Timestamp) -> Result<HeadChange, HeadError> {
        let checkpoint = change.head().next_checkpoint;
        let last = LastCheckpoint {
            checkpoint,
            manifest: format!("chk/{checkpoint}/{}/manifest", change.head().attempt),
            needs_commit: true,
            committed: false,
            completed_ms: now.as_millisecond(),
            written_bytes: 1 << 20,
            total_bytes: 5 << 20,
            duration_ms: 40,
        };
        if let Role::Leading(lead) = &mut self.role {
            lead.checkpoints += 1;
        }
        let (change, _) = change.publish(last, &self.plan_hash, RETAIN)?;
        change.committed(checkpoint)
    }

    fn write(&mut self, around: &mut Surroundings<'_>, change: HeadChange) -> Head {
        let head = change.seal(&around.roll()).expect("HEAD stays small");
        around.heads.insert(self.job.clone(), head.clone());
        if let Role::Leading(lead) = &mut self.role {
            lead.last_checkpoint = reported(&head);
        }
        head
    }

    /// The pod is stopped from outside: one more checkpoint if records flow; HEAD goes on saying
    /// Running.
    pub fn terminate(
        &mut self,
        heads: &mut BTreeMap<JobName, Head>,
        dice: &mut u64,
        now: Timestamp,
    ) {
        let Role::Leading(lead) = &self.role else {
            return;
        };
        let Some(head) = heads
            .get(&self.job)
            .filter(|head| head.is_owned_by(lead.attempt, &lead.token))
            .cloned()
        else {
            return;
        };
        if lead.phase != JobPhase::Running || self.script.no_checkpoints {
            return;
        }
        *dice += 1;
        let change = self
            .checkpoint(head.change(), now)
            .and_then(|change| change.seal(&format!("last-{dice}")));
        heads.insert(
            self.job.clone(),
            change.expect("the owner of a running HEAD may publish"),
        );
    }
}
