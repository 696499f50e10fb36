//! The world in a few bytes: what the API server holds, what runs, what HEAD says, what the
//! operator is about to do.

use streamkeeper_api::v1alpha1::{Step, TransitionKind};
use streamkeeper_protocol::head::{OperationKind, RunState};

/// Revision numbers that there can be: `1..=REVISIONS`.
pub(super) const REVISIONS: usize = 5;
/// Pods of a revision at most.
pub(super) const PODS: usize = 2;
/// What a spec can ask for: two that work, one that does not compile, one that fails once it runs.
pub(super) const CONTENTS: u8 = 4;

/// Whether the query of a content compiles.
pub(super) const fn compiles(content: u8) -> bool {
    content != 2
}

/// Whether a content runs.
pub(super) const fn works(content: u8) -> bool {
    content < 2
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Spec {
    pub(super) content: u8,
    pub(super) workers: u8,
    pub(super) suspended: bool,
}

/// An idempotency key: which transition, and the rest of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) transition: u8,
    pub(super) rest: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Underway {
    pub(super) kind: TransitionKind,
    pub(super) step: Step,
    pub(super) id: u8,
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) workers: u8,
    pub(super) retries: u8,
    /// Whether every deadline that counts from the beginning is over.
    pub(super) late: bool,
    /// Whether every deadline that counts from the step is over.
    pub(super) step_late: bool,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Said {
    #[default]
    Nothing,
    Running,
    Suspended,
    Completed,
    Reconciling,
    Stalled,
}

/// What decisions read of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Status {
    pub(super) transition: Option<Underway>,
    /// 0: none.
    pub(super) current: u8,
    pub(super) latest: u8,
    pub(super) checkpoint: bool,
    pub(super) rejected: Option<u8>,
    pub(super) said: Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Pod {
    #[default]
    Absent,
    Starting,
    Up,
    /// It crash loops.
    Sick,
    Leaving,
    /// Its node cannot be reached.
    Lost,
    /// And has not been for long.
    LostLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Standby,
    Waiting,
    Running,
    Stopped,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Running,
    Done,
    Failed,
}

/// Where a promoted revision starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Empty,
    Head,
    TakeOver,
}

/// What a coordinator was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Promote { from: Origin, workers: u8 },
    HandOver { to: u8 },
    Stop { release: bool },
    Rescale { workers: u8 },
}

/// A coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) role: Role,
    /// The attempt that it believes to own; 0: none.
    pub(super) attempt: u8,
    pub(super) workers: u8,
    /// Whether it completed a checkpoint in this attempt.
    pub(super) saved: bool,
    /// The last operation it remembers.
    pub(super) operation: Option<(Key, Outcome)>,
    /// What it has still to do.
    pub(super) asked: Option<Call>,
}

impl Process {
    pub(super) const NEW: Self = Self {
        role: Role::Standby,
        attempt: 0,
        workers: 0,
        saved: false,
        operation: None,
        asked: None,
    };

    pub(super) const fn leads(&self) -> bool {
        matches!(self.role, Role::Waiting | Role::Running)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Revision {
    /// Content in its ControllerRevision.
    pub(super) record: Option<u8>,
    /// Whether its Service and ConfigMap are there.
    pub(super) extras: bool,
    /// Replicas of its StatefulSet.
    pub(super) set: Option<u8>,
    pub(super) pods: [Pod; PODS],
    /// What runs in pod 0.
    pub(super) process: Option<Process>,
}

impl Revision {
    pub(super) fn is_gone(&self) -> bool {
        !self.extras && self.set.is_none() && self.pods == [Pod::Absent; PODS]
    }
}

/// Operations that HEAD remembers; those of forgotten transitions are forgotten.
pub(super) const REMEMBERED: usize = 3;

/// HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) revision: u8,
    pub(super) attempt: u8,
    pub(super) state: Stands,
    pub(super) workers: u8,
    /// Whether there is a restore point.
    pub(super) saved: bool,
    pub(super) operations: [Option<(Key, Kind, Outcome)>; REMEMBERED],
}

/// [`RunState`], to be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stands {
    Running,
    HandingOver(u8),
    Stopped,
    Completed,
    Released,
}

impl Stands {
    pub(super) fn of(state: RunState) -> Self {
        match state {
            RunState::Running => Self::Running,
            RunState::HandingOver { to } => Self::HandingOver(small(to)),
            RunState::Stopped => Self::Stopped,
            RunState::Completed => Self::Completed,
            RunState::Released => Self::Released,
        }
    }

    pub(super) fn state(self) -> RunState {
        match self {
            Self::Running => RunState::Running,
            Self::HandingOver(to) => RunState::HandingOver { to: to.into() },
            Self::Stopped => RunState::Stopped,
            Self::Completed => RunState::Completed,
            Self::Released => RunState::Released,
        }
    }
}

/// [`OperationKind`], to be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Promote,
    HandOver,
    Stop,
    Rescale,
}

impl Kind {
    pub(super) fn of(kind: OperationKind) -> Self {
        match kind {
            OperationKind::Promote | OperationKind::Savepoint => Self::Promote,
            OperationKind::HandOver => Self::HandOver,
            OperationKind::Stop => Self::Stop,
            OperationKind::Rescale => Self::Rescale,
        }
    }

    pub(super) fn kind(self) -> OperationKind {
        match self {
            Self::Promote => OperationKind::Promote,
            Self::HandOver => OperationKind::HandOver,
            Self::Stop => OperationKind::Stop,
            Self::Rescale => OperationKind::Rescale,
        }
    }
}

/// An effect that the operator has still to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Act {
    AddFinalizer,
    RemoveFinalizer,
    Apply {
        revision: u8,
        content: u8,
        workers: u8,
    },
    Scale {
        revision: u8,
        workers: u8,
    },
    Delete {
        revision: u8,
    },
    Forget {
        revision: u8,
    },
    Force {
        revision: u8,
        pod: u8,
    },
    Call {
        revision: u8,
        key: Key,
        call: Call,
    },
}

/// The StreamJob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Job {
    pub(super) spec: Spec,
    pub(super) deleting: bool,
    pub(super) finalizer: bool,
    pub(super) status: Status,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct World {
    /// None once it is deleted.
    pub(super) job: Option<Job>,
    pub(super) revisions: [Revision; REVISIONS],
    pub(super) head: Option<Record>,
    /// A coordinator on a lost node, and its revision.
    pub(super) zombie: Option<(u8, Process)>,
    /// What the caches of another operator hold, which do not follow.
    pub(super) frozen: Option<Box<(Job, [Revision; REVISIONS])>>,
    /// What the operator still has to do in this pass.
    pub(super) pending: Vec<Act>,
    /// The last refusal that the operator remembers, and why.
    pub(super) refusal: Option<(Key, bool)>,
    /// A request of an operator that is gone, still on its way.
    pub(super) late: Option<Act>,
    pub(super) storage_down: bool,
    /// Revision whose coordinator does not answer; 0: none.
    pub(super) deaf: u8,
    /// Whether the job ever had a HEAD.
    pub(super) began: bool,
    /// Content + 1 that a number stands for.
    pub(super) used: [u8; REVISIONS],
    /// Edits of the spec that may still come.
    pub(super) edits: u8,
    /// Faults that may still come.
    pub(super) faults: u8,
}

impl World {
    /// A StreamJob that was just created.
    pub(super) fn new(edits: u8, faults: u8) -> Self {
        Self {
            job: Some(Job {
                spec: Spec {
                    content: 0,
                    workers: 1,
                    suspended: false,
                },
                ..Job::default()
            }),
            edits,
            faults,
            ..Self::default()
        }
    }

    pub(super) fn revision(&mut self, number: u8) -> &mut Revision {
        &mut self.revisions[usize::from(number) - 1]
    }

    /// Brings it into the one form that all worlds have that go on alike: attempts count from 1,
    /// what no transition asks for is forgotten.
    pub(super) fn normalise(&mut self) {
        let mut attempts: Vec<u8> = self.head.iter().map(|head| head.attempt).collect();
        attempts.extend(
            self.processes()
                .map(|(_, process)| process.attempt)
                .filter(|attempt| *attempt > 0),
        );
        attempts.sort_unstable();
        attempts.dedup();
        let rank = |attempt: u8| {
            attempts
                .iter()
                .position(|known| *known == attempt)
                .map_or(0, |at| small(at as u64 + 1))
        };
        let known = self.known_transitions();
        let asked_for = |key: Key| known.contains(&key.transition);
        if let Some(head) = &mut self.head {
            head.attempt = rank(head.attempt);
            let mut kept = [None; REMEMBERED];
            let all = head.operations.iter().flatten();
            for (slot, operation) in kept.iter_mut().zip(all.filter(|known| asked_for(known.0))) {
                *slot = Some(*operation);
            }
            head.operations = kept;
        }
        let zombie = self.zombie.iter_mut().map(|(_, process)| process);
        let processes = self
            .revisions
            .iter_mut()
            .filter_map(|revision| revision.process.as_mut());
        for process in zombie.chain(processes) {
            process.attempt = rank(process.attempt);
            if process.asked.is_none() {
                process.operation = process.operation.filter(|known| asked_for(known.0));
            }
        }
        self.refusal = self.refusal.filter(|(key, _)| asked_for(*key));
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = (u8, &Process)> {
        let inside = self.revisions.iter().enumerate().filter_map(|(at, known)| {
            let process = known.process.as_ref()?;
            Some((small(at as u64 + 1), process))
        });
        inside.chain(
            self.zombie
                .iter()
                .map(|(number, process)| (*number, process)),
        )
    }

    /// Transitions that a call or a status may still name.
    pub(super) fn known_transitions(&self) -> Vec<u8> {
        let of_job = |job: &Job| job.status.transition.map(|known| known.id);
        let of_act = |act: &Act| match act {
            Act::Call { key, .. } => Some(key.transition),
            _ => None,
        };
        let mut all: Vec<u8> = self.job.iter().filter_map(of_job).collect();
        all.extend(self.frozen.iter().filter_map(|frozen| of_job(&frozen.0)));
        all.extend(self.pending.iter().chain(&self.late).filter_map(of_act));
        let asked = self
            .processes()
            .filter(|(_, process)| process.asked.is_some());
        all.extend(asked.filter_map(|(_, process)| Some(process.operation?.0.transition)));
        all
    }
}

/// Numbers in this world are small.
pub(super) fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
