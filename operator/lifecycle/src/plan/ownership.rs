//! What the facts add up to: who has the job, what is asked for, how a revision does.

use streamkeeper_api::condition::Stalled;
use streamkeeper_guard::guard;
use streamkeeper_protocol::{
    head::{Head, RunState},
    job_api::{JobPhase, Report},
};

use crate::{
    observed::facts::Fact,
    plan::input::Input,
    revision::{record::RevisionRecord, storage::ResolvedStorage},
};

/// Who has the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It could not be found out.
    Unknown {
        /// Why.
        why: String,
        /// Why only a person can help, if so.
        denied: Option<Stalled>,
    },
    /// There is no HEAD: it never ran.
    Nothing,
    /// HEAD belongs to another StreamJob.
    Foreign {
        /// Its uid.
        uid: String,
        /// Whether that one still runs.
        running: bool,
        /// Its revision.
        revision: u64,
    },
    /// This revision runs it, or is about to restart it.
    Runs {
        /// Its number.
        revision: u64,
    },
    /// `from` has stopped and named its successor.
    HandingOver {
        /// Who stopped.
        from: u64,
        /// Who may claim.
        to: u64,
    },
    /// Stopped with everything committed.
    Stopped {
        /// Who ran last.
        revision: u64,
    },
    /// All input was read.
    Completed {
        /// Who ran last.
        revision: u64,
    },
    /// Given up by a deleted StreamJob with the same uid.
    Released {
        /// Who ran last.
        revision: u64,
    },
}

impl Ownership {
    /// Whether a revision runs the job, or will by itself.
    pub const fn is_run_by(&self, wanted: u64) -> bool {
        match self {
            Self::Runs { revision } => *revision == wanted,
            Self::HandingOver { to, .. } => *to == wanted,
            Self::Unknown { .. }
            | Self::Nothing
            | Self::Foreign { .. }
            | Self::Stopped { .. }
            | Self::Completed { .. }
            | Self::Released { .. } => false,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Desired {
    /// This revision.
    Known(Box<RevisionRecord>),
    /// The SQL text could not be read; it may come.
    Unknown(String),
    /// The spec cannot be rendered.
    Invalid(String),
}

impl Desired {
    /// The revision asked for, if it is known.
    pub fn record(&self) -> Option<&RevisionRecord> {
        match self {
            Self::Known(record) => Some(record),
            Self::Unknown(_) | Self::Invalid(_) => None,
        }
    }
}

/// What is asked for.
pub(crate) fn desired(input: &Input<'_>) -> Desired {
    match &input.observed.sql {
        Fact::Known(sql) => {
            match RevisionRecord::of(input.job, sql, input.settings, held_storage(input)) {
                Ok(record) => Desired::Known(Box::new(record)),
                Err(error) => Desired::Invalid(error.to_string()),
            }
        }
        Fact::Unknown(unknown) if unknown.denied.is_some() => Desired::Invalid(unknown.why.clone()),
        Fact::Unknown(unknown) => Desired::Unknown(unknown.why.clone()),
    }
}

/// Where the state of the job lies, if it has any.
fn held_storage<'a>(input: &Input<'a>) -> Option<&'a ResolvedStorage> {
    let current = input.job.status.as_ref()?.current_revision()?;
    Some(&input.revision(current).record.as_ref()?.storage)
}

/// Who has the job. HEAD decides; a coordinator that owns a later attempt than the HEAD that
/// was read knows better, and stands in for a HEAD that could not be read.
pub(crate) fn ownership(input: &Input<'_>) -> Ownership {
    let reported = input
        .observed
        .revisions
        .keys()
        .filter_map(|&number| input.report(number))
        .filter_map(|report| Some((report.attempt?, report)))
        .max_by_key(|(attempt, _)| guard!("the latest attempt has the job": *attempt, else u64::MAX - *attempt))
        // A coordinator with an earlier attempt has lost the job, also to one that has failed
        // since.
        .and_then(|(attempt, report)| Some((attempt, claimed(report)?)));
    match (&input.observed.head, reported) {
        (Fact::Known(head), reported) => {
            let attempt = head
                .as_ref()
                .filter(|head| head.job_uid == input.uid())
                .map_or(0, |head| head.attempt);
            match reported {
                Some((later, ownership)) if guard!("a late answer is not believed": later > attempt) => {
                    ownership
                }
                Some(_) | None => stands(input, head.as_ref()),
            }
        }
        (Fact::Unknown(_), Some((_, ownership))) => ownership,
        (Fact::Unknown(_), None) if let Some(revision) = completed(input) => {
            Ownership::Completed { revision }
        }
        (Fact::Unknown(unknown), None) => guard!(
            "unknown is not absent": Ownership::Unknown {
                why: unknown.why.clone(),
                denied: unknown.denied,
            },
            else Ownership::Nothing
        ),
    }
}

/// The revision that read all input, as the status remembers it.
fn completed(input: &Input<'_>) -> Option<u64> {
    let status = input.job.status.as_ref()?;
    status.completion_time.as_ref()?;
    if status.transition.is_some() {
        return None;
    }
    status.current_revision()
}

fn stands(input: &Input<'_>, head: Option<&Head>) -> Ownership {
    let Some(head) = head else {
        return Ownership::Nothing;
    };
    let revision = head.revision;
    if !guard!("HEAD of another job is not ours": head.job_uid == input.uid()) {
        let running = matches!(head.state, RunState::Running | RunState::HandingOver { .. });
        return Ownership::Foreign {
            uid: head.job_uid.clone(),
            running,
            revision,
        };
    }
    match head.state {
        RunState::Running => Ownership::Runs { revision },
        RunState::HandingOver { to } => Ownership::HandingOver { from: revision, to },
        RunState::Stopped => Ownership::Stopped { revision },
        RunState::Completed => Ownership::Completed { revision },
        RunState::Released => Ownership::Released { revision },
    }
}

/// What a coordinator that owns HEAD says about the job; none for one that does not.
fn claimed(report: &Report) -> Option<Ownership> {
    let revision = report.revision;
    match report.phase {
        JobPhase::WaitingForWorkers
        | JobPhase::Restoring
        | JobPhase::Running
        | JobPhase::Rescaling
        | JobPhase::Stopping
        | JobPhase::BackingOff => Some(Ownership::Runs { revision }),
        JobPhase::Completed => Some(Ownership::Completed { revision }),
        // Stopped says that it is over, but not for whose good: only HEAD knows.
        JobPhase::Standby | JobPhase::Stopped | JobPhase::Fenced | JobPhase::Failed => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{Observed, RevisionFacts, Settings};
    use streamkeeper_api::v1alpha1::StreamJob;

    fn report(revision: u64, attempt: u64, phase: JobPhase) -> RevisionFacts {
        let report = json!({
            "job_uid": "u", "revision": revision, "attempt": attempt, "phase": phase, "parallelism": 1, "workers": [],
            "checkpoint_failures": { "consecutive": 0 }, "restarts": 0, "pauses": [], "records_in": 1, "records_out": 1,
            "records_in_attempt": 1, "checkpoints_in_attempt": 0, "version": "0.1.0",
        });
        RevisionFacts {
            report: Fact::Known(serde_json::from_value(report).unwrap()),
            ..RevisionFacts::default()
        }
    }

    fn job() -> StreamJob {
        serde_json::from_value(json!({
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob",
            "metadata": { "name": "delays", "namespace": "flights", "uid": "u" }, "spec": { "sql": { "text": "SELECT 1" } },
        }))
        .unwrap()
    }

    #[test]
    fn who_lost_the_job_is_not_believed_because_who_took_it_failed_and_head_cannot_be_read() {
        let job = job();
        let stands = |second: JobPhase| {
            let observed = Observed {
                head: Fact::unknown("the store is down"),
                revisions: BTreeMap::from([
                    (1, report(1, 1, JobPhase::Running)),
                    (2, report(2, 2, second)),
                ]),
                ..Observed::default()
            };
            ownership(&Input {
                job: &job,
                observed: &observed,
                settings: &Settings::default(),
                now: Timestamp::UNIX_EPOCH,
            })
        };
        assert_eq!(
            stands(JobPhase::Running),
            Ownership::Runs { revision: 2 },
            "the latest attempt has the job"
        );
        for ended in [JobPhase::Failed, JobPhase::Stopped, JobPhase::Fenced] {
            let ownership = stands(ended);
            assert!(
                matches!(ownership, Ownership::Unknown { .. }),
                "{ownership:?}"
            );
        }
    }

    #[test]
    fn workers_are_not_guessed_while_the_slots_of_a_revision_are_unknown() {
        let job = job();
        let observed = Observed {
            head: Fact::unknown("not read"),
            revisions: BTreeMap::from([(1, report(1, 1, JobPhase::Running))]),
            ..Observed::default()
        };
        let input = Input {
            job: &job,
            observed: &observed,
            settings: &Settings::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(input.active_workers(1), None);
    }
}
