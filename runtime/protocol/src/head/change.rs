//! The next record of an owner.

use streamkeeper_guard::guard;

use super::{
    HEAD_FORMAT, HEAD_LIMIT, Head, HeadError, LastCheckpoint, OPERATIONS_KEPT, OperationKind,
    OperationRecord, OperationResult, RETAINED_KEPT, RetainedCheckpoint, RunState, SAVEPOINTS_KEPT,
    SavepointRecord,
};

/// Longest idempotency key and savepoint name in bytes.
const NAME_LIMIT: usize = 128;
/// Longest folder of a savepoint and key of a manifest in bytes.
pub(super) const KEY_LIMIT: usize = 512;
/// Longest reason of a failure in bytes; the rest is cut.
const WHY_LIMIT: usize = 240;

/// Several edits of a HEAD that become one write. Nothing changes before [`HeadChange::seal`].
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct HeadChange {
    head: Head,
}

/// Outcome of the begin of an operation.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is made, once per call"
)]
pub enum Begun {
    /// A new operation: write this, then work.
    New(HeadChange),
    /// HEAD knows the key: the caller returns this record and does nothing.
    Known(OperationRecord),
}

impl Head {
    /// Starts a change of this record by its owner.
    pub fn change(&self) -> HeadChange {
        HeadChange { head: self.clone() }
    }
}

impl HeadChange {
    /// The record as it would be written, but for its sequence number and nonce.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Makes the record to write: next sequence number, a nonce that was never used before. Forgets
    /// the oldest finished operations and complete savepoints if the record would exceed
    /// [`HEAD_LIMIT`].
    pub fn seal(mut self, nonce: &str) -> Result<Head, HeadError> {
        self.head.v = HEAD_FORMAT;
        self.head.min_reader = HEAD_FORMAT;
        self.head.seq += 1;
        nonce.clone_into(&mut self.head.nonce);
        loop {
            let bytes = self.head.encode().len();
            if bytes <= HEAD_LIMIT {
                return Ok(self.head);
            }
            if !(forget_operation(&mut self.head.operations) || self.forget_savepoint()) {
                return Err(HeadError::TooLarge { bytes });
            }
        }
    }

    /// Names a new restore point; its number must not have been used before, and the sink output of
    /// the one before must be committed. Keeps `retain` of the older checkpoints (at most
    /// [`RETAINED_KEPT`]) and returns those that are no longer kept.
    pub fn publish(
        mut self,
        last: LastCheckpoint,
        plan_hash: &str,
        retain: usize,
    ) -> Result<(Self, Vec<RetainedCheckpoint>), HeadError> {
        self.must_run("publish a checkpoint")?;
        self.must_be_committed("publish a checkpoint")?;
        if !guard!("a checkpoint number is used once": last.checkpoint >= self.head.next_checkpoint)
        {
            let next = self.head.next_checkpoint;
            return Err(HeadError::CheckpointBehind {
                checkpoint: last.checkpoint,
                next,
            });
        }
        limit("the manifest's key", &last.manifest, KEY_LIMIT)?;
        self.head.next_checkpoint = last.checkpoint + 1;
        plan_hash.clone_into(&mut self.head.plan_hash);
        if let Some(before) = self.head.last.replace(last) {
            let kept = RetainedCheckpoint {
                checkpoint: before.checkpoint,
                manifest: before.manifest,
            };
            self.head.retained.insert(0, kept);
        }
        let keep = retain.min(RETAINED_KEPT).min(self.head.retained.len());
        let dropped = self.head.retained.split_off(keep);
        Ok((self, dropped))
    }

    /// Notes that all sink output of the restore point is committed. Noting it twice is fine.
    pub fn committed(mut self, checkpoint: u64) -> Result<Self, HeadError> {
        match &mut self.head.last {
            Some(last) if guard!("only the restore point is committed": last.checkpoint == checkpoint) =>
            {
                last.committed = true;
                Ok(self)
            }
            _ => Err(HeadError::NotLast { checkpoint }),
        }
    }

    /// Hands the job over to revision `to`. There must be a restore point, with all its output
    /// committed.
    pub fn hand_over(mut self, to: u64) -> Result<Self, HeadError> {
        self.must_run("hand over")?;
        if !guard!("a successor is greater": to > self.head.revision) {
            return Err(HeadError::NotASuccessor {
                to,
                revision: self.head.revision,
            });
        }
        if !guard!("nothing is handed over without a restore point": self.head.last.is_some()) {
            return Err(HeadError::NothingToRestore {
                action: "hand over",
            });
        }
        self.must_be_committed("hand over")?;
        self.head.state = RunState::HandingOver { to };
        Ok(self)
    }

    /// Ends the job so that it can be resumed, or, with `release`, taken over by another StreamJob.
    /// A stopped job may be released later.
    pub fn stop(mut self, release: bool) -> Result<Self, HeadError> {
        if !(release && self.head.state == RunState::Stopped) {
            self.must_run("stop")?;
        }
        self.must_be_committed("stop")?;
        self.head.state = if release {
            RunState::Released
        } else {
            RunState::Stopped
        };
        Ok(self)
    }

    /// Ends the job for good: all input was read and all output committed.
    pub fn complete(mut self) -> Result<Self, HeadError> {
        self.must_run("complete")?;
        self.must_be_committed("complete")?;
        self.head.state = RunState::Completed;
        Ok(self)
    }

    /// Starts the graph again under the next attempt: after a worker was lost, or at a rescale.
    /// `token` was never used before.
    pub fn new_attempt(mut self, token: &str) -> Result<Self, HeadError> {
        self.must_run("start another attempt")?;
        self.head.attempt += guard!("every start is a new attempt": 1, else 0);
        token.clone_into(&mut self.head.token);
        Ok(self)
    }

    /// Records the number of workers for the next attempt, so that a restart uses it.
    pub fn on_workers(mut self, workers: u32) -> Self {
        self.head.workers = workers;
        self
    }

    /// Begins a mutating call, or returns the operation that its key already stands for.
    pub fn begin_operation(mut self, key: &str, kind: OperationKind) -> Result<Begun, HeadError> {
        limit("the idempotency key", key, NAME_LIMIT)?;
        match self.head.operation(key) {
            Some(known) if guard!("a key stands for one call": known.kind == kind) => {
                return Ok(Begun::Known(known.clone()));
            }
            Some(known) => {
                return Err(HeadError::KeyReused {
                    key: key.to_owned(),
                    kind: known.kind,
                });
            }
            None => {}
        }
        let record = OperationRecord {
            key: key.to_owned(),
            kind,
            result: OperationResult::Running,
            release: false,
        };
        remember_operation(&mut self.head.operations, record)?;
        Ok(Begun::New(self))
    }

    /// Begins a stop whose savepoint is [added](Self::add_savepoint) by the same write. A
    /// coordinator that starts after it finds the stop in HEAD and [finishes](Head::open_stop) it.
    /// A stop that has already begun stays as it is.
    pub fn begin_stop(self, key: &str, release: bool) -> Result<Self, HeadError> {
        match self.clone().begin_operation(key, OperationKind::Stop)? {
            Begun::New(mut change) => {
                if let Some(begun) = change.head.operations.first_mut() {
                    begun.release = release;
                }
                Ok(change)
            }
            Begun::Known(known) if known.result == OperationResult::Running => Ok(self),
            Begun::Known(known) => Err(HeadError::KeyReused {
                key: known.key,
                kind: known.kind,
            }),
        }
    }

    /// Notes how a call ended. Keeps a result that is already recorded.
    pub fn finish_operation(
        mut self,
        key: &str,
        mut result: OperationResult,
    ) -> Result<Self, HeadError> {
        match &mut result {
            OperationResult::Failed { why } => cut(why, WHY_LIMIT),
            OperationResult::Done { uri: Some(uri), .. } => {
                limit("the savepoint's folder", uri, KEY_LIMIT)?;
            }
            OperationResult::Done { uri: None, .. } | OperationResult::Running => {}
        }
        let known = self
            .head
            .operations
            .iter_mut()
            .find(|operation| operation.key == key);
        let known = known.ok_or_else(|| HeadError::Unknown {
            what: "operation",
            name: key.to_owned(),
        })?;
        if guard!("a result that stands stays": known.result == OperationResult::Running) {
            known.result = result;
        }
        Ok(self)
    }

    /// Pins the restore point as savepoint `name`, to be copied to `folder`. A repeated call with
    /// the same name and key changes nothing, unless the restore point has moved: then the older
    /// savepoint is not the requested one.
    pub fn add_savepoint(mut self, name: &str, key: &str, folder: &str) -> Result<Self, HeadError> {
        limit("the savepoint's name", name, NAME_LIMIT)?;
        limit("the idempotency key", key, NAME_LIMIT)?;
        limit("the savepoint's folder", folder, KEY_LIMIT)?;
        if let Some(known) = self
            .head
            .savepoints
            .iter()
            .find(|savepoint| savepoint.name == name)
        {
            let same = self.head.last.as_ref().is_some_and(|last| {
                guard!("a savepoint that is asked for holds the restore point": last.checkpoint == known.checkpoint)
            });
            if known.key == key && same {
                return Ok(self);
            }
            return Err(HeadError::KeyReused {
                key: known.key.clone(),
                kind: OperationKind::Savepoint,
            });
        }
        let Some(last) = &self.head.last else {
            return Err(HeadError::NothingToRestore {
                action: "take a savepoint",
            });
        };
        let record = SavepointRecord {
            name: name.to_owned(),
            key: key.to_owned(),
            uri: folder.to_owned(),
            checkpoint: last.checkpoint,
            manifest: last.manifest.clone(),
            complete: false,
        };
        if self.head.savepoints.len() >= SAVEPOINTS_KEPT && !self.forget_savepoint() {
            return Err(HeadError::Busy { what: "savepoints" });
        }
        self.head.savepoints.insert(0, record);
        Ok(self)
    }

    /// Notes that a savepoint's folder is self-contained, which ends its pin.
    pub fn finish_savepoint(mut self, name: &str) -> Result<Self, HeadError> {
        let known = self
            .head
            .savepoints
            .iter_mut()
            .find(|savepoint| savepoint.name == name);
        let known = known.ok_or_else(|| HeadError::Unknown {
            what: "savepoint",
            name: name.to_owned(),
        })?;
        known.complete = true;
        Ok(self)
    }

    /// Gives up a savepoint that could not be copied, which ends its pin. One that is complete, or
    /// unknown, stays as it is.
    pub fn abandon_savepoint(mut self, name: &str) -> Self {
        self.head.savepoints.retain(|savepoint| {
            guard!("a complete savepoint is not given up": savepoint.complete, else false)
                || savepoint.name != name
        });
        self
    }

    fn must_run(&self, action: &'static str) -> Result<(), HeadError> {
        let state = self.head.state;
        if guard!("only a job that runs is changed": state == RunState::Running) {
            return Ok(());
        }
        Err(HeadError::NotRunning {
            action,
            state: state.describe(),
        })
    }

    fn must_be_committed(&self, action: &'static str) -> Result<(), HeadError> {
        match &self.head.last {
            Some(last) if !guard!("nothing goes on before the sinks committed": !last.needs_commit || last.committed) => {
                Err(HeadError::CommitPending {
                    action,
                    checkpoint: last.checkpoint,
                })
            }
            _ => Ok(()),
        }
    }

    fn forget_savepoint(&mut self) -> bool {
        let oldest = self.head.savepoints.iter().rposition(
            |savepoint| guard!("a savepoint under way is not forgotten": savepoint.complete),
        );
        oldest.map(|at| self.head.savepoints.remove(at)).is_some()
    }
}

/// Puts an operation first and forgets the oldest finished ones beyond [`OPERATIONS_KEPT`].
pub(super) fn remember_operation(
    operations: &mut Vec<OperationRecord>,
    record: OperationRecord,
) -> Result<(), HeadError> {
    while operations.len() >= OPERATIONS_KEPT {
        if !forget_operation(operations) {
            return Err(HeadError::Busy { what: "operations" });
        }
    }
    operations.insert(0, record);
    Ok(())
}

fn forget_operation(operations: &mut Vec<OperationRecord>) -> bool {
    let oldest = operations
        .iter()
        .rposition(|record| guard!("a call under way is not forgotten": record.result != OperationResult::Running));
    oldest.map(|at| operations.remove(at)).is_some()
}

pub(super) fn limit(what: &'static str, text: &str, limit: usize) -> Result<(), HeadError> {
    let length = text.len();
    if length > limit {
        Err(HeadError::TooLong {
            what,
            length,
            limit,
        })
    } else {
        Ok(())
    }
}

fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit - '…'.len_utf8())
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}
