//! A plan being made: the status to be, the actions, the events.

use std::time::Duration;

use streamkeeper_api::{
    condition::{Reconciling, Stalled},
    v1alpha1::{
        HistoryEntry, Outcome, Rejected, Step, StreamJobStatus, Transition, TransitionKind,
    },
};
use streamkeeper_guard::guard;

use crate::plan::reasons::{Problem, Settled, WaitingFor};
use crate::plan::units::time;
use crate::{
    plan::{
        action::{Action, Event, EventKind, JobCall},
        input::Input,
        ownership::{Desired, Ownership, desired, ownership},
    },
    revision::record::RevisionRecord,
    transitions::edges::first_step,
};

/// Past transitions kept.
pub(crate) const HISTORY: usize = 10;
/// How soon to look again while something is under way.
pub(crate) const SOON: Duration = Duration::from_secs(1);
/// How soon to look again after a step.
const AT_ONCE: Duration = Duration::from_millis(50);

/// What the pass comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// On the way.
    Reconciling(Reconciling, WaitingFor),
    /// Help is needed.
    Stalled(Stalled, Problem),
    /// As the spec says.
    Ready(Settled),
    /// Suspended as asked.
    Suspended(Settled),
    /// All input was read and committed.
    Completed(Settled),
}

/// A plan being made.
#[derive(Debug)]
pub(crate) struct PlanBuilder<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) ownership: Ownership,
    pub(crate) wanted: Desired,
    pub(crate) status: StreamJobStatus,
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    pub(crate) requeue: Duration,
}

impl<'a> PlanBuilder<'a> {
    pub(crate) fn new(input: Input<'a>) -> Self {
        Self {
            ownership: ownership(&input),
            wanted: desired(&input),
            status: input.job.status.clone().unwrap_or_default(),
            actions: Vec::new(),
            events: Vec::new(),
            requeue: SOON,
            input,
        }
    }

    /// The revision that runs, or ran last.
    pub(crate) fn current(&self) -> Option<u64> {
        self.status.current_revision()
    }

    /// Content of the revision that runs, or ran last.
    pub(crate) fn current_record(&self) -> Option<&'a RevisionRecord> {
        self.input.revision(self.current()?).record.as_ref()
    }

    /// Workers that the spec asks for.
    pub(crate) fn replicas(&self) -> u32 {
        self.input.job.spec.workers.replicas.max(1)
    }

    /// A revision number that was never used: greater than all that were given, seen, or are in
    /// HEAD.
    pub(crate) fn next_revision(&mut self) -> u64 {
        let given = self
            .status
            .revision
            .as_ref()
            .map_or(0, |revision| revision.latest);
        let seen = self
            .input
            .observed
            .revisions
            .keys()
            .next_back()
            .copied()
            .unwrap_or(0);
        let in_head = self
            .input
            .observed
            .head
            .known()
            .and_then(Option::as_ref)
            .map_or(0, |head| head.revision);
        let next = guard!("a number is above all that were given": given, else 0)
            .max(guard!("a number is above all that were seen": seen, else 0))
            .max(guard!("a number is above that of HEAD": in_head, else 0))
            + 1;
        self.status.revision.get_or_insert_default().latest = next;
        next
    }

    /// Begins a transition at its first step.
    pub(crate) fn begin(
        &mut self,
        kind: TransitionKind,
        from: Option<u64>,
        to: Option<u64>,
    ) -> Transition {
        let step = first_step(kind);
        self.status.completion_time = None;
        let now = self.input.now;
        let transition = Transition {
            kind,
            // The uid keeps the keys of another StreamJob with this name apart, whose results may
            // still stand in HEAD.
            key: format!(
                "{}-{}",
                self.input.uid().get(..8).unwrap_or_default(),
                now.as_millisecond()
            ),
            from,
            to,
            standby: None,
            restores: None,
            workers: None,
            step,
            since: time(now),
            step_since: time(now),
            checked: None,
            retries: 0,
            last_error: None,
        };
        self.set_transition(transition.clone());
        transition
    }

    /// Goes on to another step of the same transition.
    pub(crate) fn advance(&mut self, transition: &Transition, step: Step) -> Transition {
        let next = Transition {
            step,
            step_since: time(self.input.now),
            checked: None,
            retries: 0,
            last_error: None,
            ..transition.clone()
        };
        self.set_transition(next.clone());
        next
    }

    /// Writes a transition down.
    pub(crate) fn set_transition(&mut self, transition: Transition) {
        self.status.transition = Some(transition);
        self.requeue = AT_ONCE;
    }

    /// A call of this transition failed: counts it, so that the next one has another key.
    pub(crate) fn retry(&mut self, transition: &Transition, why: &str) -> Transition {
        let next = Transition {
            step_since: time(self.input.now),
            retries: transition.retries + 1,
            last_error: Some(why.to_owned()),
            ..transition.clone()
        };
        self.status.transition = Some(next.clone());
        next
    }

    /// Whether the back-off after the last failed call is over.
    pub(crate) fn may_call(&self, transition: &Transition) -> bool {
        let rested = self
            .input
            .passed(transition.step_since.0, back_off(transition.retries));
        guard!("a call that failed rests": rested)
    }

    /// Ends the transition, with an entry in history.
    pub(crate) fn finish(
        &mut self,
        transition: &Transition,
        result: Outcome,
        message: impl Into<String>,
    ) {
        self.status.history.insert(
            0,
            HistoryEntry {
                revision: self.current(),
                kind: transition.kind,
                started: transition.since.clone(),
                time: time(self.input.now),
                pause: None,
                restored_from: None,
                result,
                message: message.into(),
            },
        );
        self.status.history.truncate(HISTORY);
        self.status.transition = None;
        self.requeue = AT_ONCE;
    }

    /// Ends a transition that makes no sense as it was written down: the facts say what comes next.
    pub(crate) fn start_over(&mut self, transition: &Transition, reason: Reconciling) -> Verdict {
        self.finish(
            transition,
            Outcome::Cancelled,
            "it was written down incompletely",
        );
        Verdict::Reconciling(reason, WaitingFor::Start)
    }

    /// Whether a revision with this content was given up.
    pub(crate) fn is_rejected(&self, wanted: &RevisionRecord) -> bool {
        let rejected = self.status.rejected.as_ref();
        rejected.is_some_and(|rejected| rejected.hash == wanted.try_hash())
    }

    /// Remembers that a revision was given up, so that it is not tried again before the spec
    /// changes.
    pub(crate) fn reject(&mut self, revision: u64, reason: Stalled, message: &str) {
        let hash = self
            .input
            .revision(revision)
            .record
            .as_ref()
            .map(RevisionRecord::try_hash);
        if let Some(hash) = guard!("what failed is remembered": hash, else None) {
            self.status.rejected = Some(Rejected {
                hash,
                revision,
                reason: reason.as_str().to_owned(),
                message: message.to_owned(),
            });
        }
    }

    /// Adds an action.
    pub(crate) fn push_action(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Adds a call of a revision's coordinator.
    pub(crate) fn call(&mut self, revision: u64, call: JobCall) {
        self.actions.push(Action::Call { revision, call });
    }

    /// Takes back what this pass would have done for a transition that has just ended.
    pub(crate) fn take_back(&mut self) {
        self.actions.clear();
    }

    /// Adds an event.
    pub(crate) fn emit_event(
        &mut self,
        kind: EventKind,
        reason: &'static str,
        note: impl Into<String>,
    ) {
        self.events.push(Event {
            kind,
            reason,
            note: note.into(),
        });
    }
}

/// Wait before the next call after this many failures: 5 s, doubling, at most 5 min.
pub(crate) fn back_off(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        some => Duration::from_secs(5 << (some - 1).min(6)).min(Duration::from_mins(5)),
    }
}

/// Idempotency key of a call of a transition.
pub(crate) fn call_key(transition: &Transition, verb: &str) -> String {
    let to = transition.to.unwrap_or(0);
    format!("{}-{verb}-{to}-{}", transition.key, transition.retries)
}
