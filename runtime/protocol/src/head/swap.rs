//! Interprets a write of HEAD that was refused or got no response.

use streamkeeper_guard::guard;

use super::Head;

/// Owner of a HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Uid of its StreamJob.
    pub job_uid: String,
    /// Its revision.
    pub revision: u64,
    /// Its attempt.
    pub attempt: u64,
    /// Its token.
    pub token: String,
}

impl Owner {
    /// Returns the owner of `head`.
    pub fn of(head: &Head) -> Self {
        Self {
            job_uid: head.job_uid.clone(),
            revision: head.revision,
            attempt: head.attempt,
            token: head.token.clone(),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "revision {} attempt {} of {}",
            self.revision, self.attempt, self.job_uid
        )
    }
}

/// What became of a write of HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapOutcome {
    /// The write is in the store; only the response was lost.
    Won,
    /// The write is not in the store, and the record there allows another try: decide again from
    /// that record.
    Retry,
    /// Another process owns the job: end this process.
    Fenced {
        /// The owner.
        by: Owner,
    },
}

/// Decides what became of a write of `ours` that was refused (412) or got no response, from the
/// record `found` since.
///
/// Attempts grow over the whole life of a HEAD, also when one job takes it over from another, so
/// the attempt alone orders owners. One attempt with two tokens means that two processes raced for
/// it and the other one won.
pub fn after_lost_swap(ours: &Head, found: &Head) -> SwapOutcome {
    if guard!("a lost answer is told from a lost race": found.nonce == ours.nonce, else false) {
        return SwapOutcome::Won;
    }
    let fenced = guard!("another lineage fences": found.lineage != ours.lineage, else false)
        || guard!("a later attempt fences": found.attempt > ours.attempt, else false)
        || guard!("another token fences": found.attempt == ours.attempt && found.token != ours.token, else false);
    if fenced {
        SwapOutcome::Fenced {
            by: Owner::of(found),
        }
    } else {
        SwapOutcome::Retry
    }
}
