//! Which runs are live, and which subtasks must write a new base.
//!
//! Per state and subtask a base run and the deltas after it are live. A subtask writes everything
//! (a base) when its deltas weigh as much as its base or are more than [`DELTAS`], so what is
//! written is at most about twice what changed, and what a restore reads about twice what is live.
//! After a restore under another assignment the old runs cover key groups of several subtasks, so
//! every subtask writes a base at the next checkpoint, and none of the old runs is in it.
//!
//! A history covers some subtasks: all of a job, or those of one worker. Then it is that worker's
//! part of the manifest.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_protocol::manifest::{
    Manifest, OperatorState, RunKind, RunRef, StateDescriptor, StateRef,
};

use crate::StateError;

/// Deltas of a subtask that are kept before it writes a base.
pub const DELTAS: usize = 16;

/// What one subtask wrote of one state for a checkpoint. Every subtask reports every state it has,
/// also when nothing of it changed.
#[derive(Debug, Clone, PartialEq)]
pub struct StateReport {
    /// Operator.
    pub state_uid: String,
    /// Label of the operator, for people.
    pub label: String,
    /// Shape of the state, which names it.
    pub descriptor: StateDescriptor,
    /// Subtask.
    pub subtask: u32,
    /// Whether it wrote everything, or what changed since its last report.
    pub kind: RunKind,
    /// Where; none when there was nothing to write.
    pub run: Option<RunRef>,
}

/// How a graph continues from a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// Job, assignment and shapes are unchanged: deltas may continue.
    Same,
    /// Another assignment, another shape, or a savepoint whose files may be removed: the next
    /// checkpoint writes everything.
    Rewrite,
}

/// Live runs by operator and state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunHistory {
    states: BTreeMap<(String, String), History>,
    rewrite: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct History {
    label: String,
    descriptor: StateDescriptor,
    /// Oldest first.
    runs: Vec<RunRef>,
    /// Subtasks with a base of their own, perhaps an empty one.
    based: BTreeSet<u32>,
}

impl RunHistory {
    /// Makes the history of a job that starts empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the history of these subtasks of a job that was restored from `manifest`.
    pub fn restored(
        manifest: &Manifest,
        continuation: Continuation,
        subtasks: &BTreeSet<u32>,
    ) -> Self {
        let mut states = BTreeMap::new();
        for operator in &manifest.operators {
            for state in &operator.states {
                let history = History {
                    label: operator.label.clone(),
                    descriptor: state.descriptor.clone(),
                    runs: state
                        .runs
                        .iter()
                        .filter(|run| subtasks.contains(&run.subtask))
                        .cloned()
                        .collect(),
                    based: subtasks.clone(),
                };
                states.insert(
                    (operator.state_uid.clone(), state.descriptor.name.clone()),
                    history,
                );
            }
        }
        Self {
            states,
            rewrite: continuation == Continuation::Rewrite,
        }
    }

    /// Whether a subtask must write all of a state at the next checkpoint. A change of shape is a
    /// reason, too.
    pub fn must_be_full(&self, state_uid: &str, state: &StateDescriptor, subtask: u32) -> bool {
        let Some(history) = self.states.get(&(state_uid.to_owned(), state.name.clone())) else {
            return true;
        };
        if self.rewrite || history.descriptor != *state || !history.based.contains(&subtask) {
            return true;
        }
        let mine = || history.runs.iter().filter(|run| run.subtask == subtask);
        let bytes = |kind: RunKind| -> u64 {
            mine()
                .filter(|run| run.kind == kind)
                .map(|run| run.at.len)
                .sum()
        };
        let deltas = mine().filter(|run| run.kind == RunKind::Delta).count();
        deltas > DELTAS || (deltas > 0 && bytes(RunKind::Delta) >= bytes(RunKind::Base))
    }

    /// Notes that frozen changes were lost, because their run could not be stored. They are in no
    /// live run, so the next checkpoint writes everything. (A checkpoint that is stored but does
    /// not become the restore point loses nothing: its runs are live, and go into the next
    /// manifest.)
    #[must_use]
    pub fn after_failure(mut self) -> Self {
        self.rewrite = true;
        self
    }

    /// Returns the history with the runs of a checkpoint, once they are stored. Each of `subtasks`
    /// must have reported each of its states.
    pub fn advance(
        &self,
        reports: Vec<StateReport>,
        subtasks: &BTreeSet<u32>,
    ) -> Result<Self, StateError> {
        let mut by_state: BTreeMap<(String, String), Vec<StateReport>> = BTreeMap::new();
        for report in reports {
            let name = (report.state_uid.clone(), report.descriptor.name.clone());
            by_state.entry(name).or_default().push(report);
        }
        let mut states = BTreeMap::new();
        for (name, reports) in by_state {
            let wrong = |detail: String| {
                let (state_uid, state) = name.clone();
                StateError::Reports {
                    state_uid,
                    state,
                    detail,
                }
            };
            let next = self
                .merge(self.states.get(&name), reports, subtasks)
                .map_err(wrong)?;
            states.insert(name, next);
        }
        Ok(Self {
            states,
            rewrite: false,
        })
    }

    fn merge(
        &self,
        before: Option<&History>,
        reports: Vec<StateReport>,
        subtasks: &BTreeSet<u32>,
    ) -> Result<History, String> {
        let reporting: BTreeSet<u32> = reports.iter().map(|report| report.subtask).collect();
        if reporting.len() != reports.len() || reporting != *subtasks {
            return Err(format!(
                "reported by subtasks {reporting:?} in {} reports, expected one of each of {subtasks:?}",
                reports.len()
            ));
        }
        let Some(first) = reports.first() else {
            return Err("no report".to_owned());
        };
        let (label, descriptor) = (first.label.clone(), first.descriptor.clone());
        if reports.iter().any(|report| report.descriptor != descriptor) {
            return Err("its subtasks report different shapes".to_owned());
        }
        let all_based = reports.iter().all(|report| report.kind == RunKind::Base);
        let continues = before.filter(|before| !self.rewrite && before.descriptor == descriptor);
        let mut runs = match continues {
            // Runs of other subtasks are dropped together, when nothing needs them any more.
            _ if all_based => Vec::new(),
            Some(before) => before.runs.clone(),
            None => {
                let late = reports.iter().find(|report| report.kind == RunKind::Delta);
                let late = late.map_or(0, |report| report.subtask);
                return Err(format!(
                    "subtask {late} wrote changes where everything was due"
                ));
            }
        };
        let mut based = continues
            .map(|before| before.based.clone())
            .unwrap_or_default();
        for report in reports {
            let subtask = report.subtask;
            match report.kind {
                RunKind::Base => {
                    runs.retain(|run| run.subtask != subtask);
                    based.insert(subtask);
                }
                RunKind::Delta if !based.contains(&subtask) => {
                    return Err(format!(
                        "subtask {subtask} wrote changes before it wrote everything"
                    ));
                }
                RunKind::Delta => {}
            }
            if let Some(run) = report.run {
                if run.subtask != subtask || run.kind != report.kind {
                    return Err(format!(
                        "the run of subtask {subtask} says subtask {} and {:?}",
                        run.subtask, run.kind
                    ));
                }
                runs.push(run);
            }
        }
        Ok(History {
            label,
            descriptor,
            runs,
            based,
        })
    }

    /// The operators of a manifest, each with the watermark that `watermark` returns for it;
    /// operators without keyed state are not among them.
    pub fn operators(&self, watermark: impl Fn(&str) -> Option<i64>) -> Vec<OperatorState> {
        let mut operators: Vec<OperatorState> = Vec::new();
        for ((state_uid, _), history) in &self.states {
            let state = StateRef {
                descriptor: history.descriptor.clone(),
                runs: history.runs.clone(),
            };
            match operators.last_mut() {
                Some(last) if last.state_uid == *state_uid => last.states.push(state),
                _ => operators.push(OperatorState {
                    state_uid: state_uid.clone(),
                    label: history.label.clone(),
                    watermark: watermark(state_uid),
                    watermarks: Vec::new(),
                    states: vec![state],
                }),
            }
        }
        operators
    }
}
