//! Why an attempt ends early, and what is told about it.

use streamkeeper_connectors::ConnectorError;
use streamkeeper_protocol::{head::Owner, job_api::JobError};
use streamkeeper_storage::StorageError;

use crate::head_writer::HeadWriteError;
use streamkeeper_control::messages::FailureKind;

/// Ends what the owner of HEAD is doing.
#[derive(Debug)]
pub(crate) enum AttemptExit {
    /// The attempt failed; another one may go better.
    Failed(AttemptFailure),
    /// HEAD belongs to another coordinator.
    Fenced(String),
    /// The process must end.
    Terminate,
    /// An operation that ends or changes the attempt was asked for while no record flows.
    Asked,
    /// Nothing failed, but the graph must be deployed again from HEAD's restore point.
    Again,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttemptFailure {
    /// Worker to blame, if one is.
    pub(crate) worker: Option<u32>,
    /// What happened, for people.
    pub(crate) message: String,
    /// Reason as in conditions, when only a change from outside can cure it.
    pub(crate) reason: Option<&'static str>,
    /// Whether nothing broke: the worker's pod was asked to end.
    pub(crate) terminated: bool,
}

impl AttemptFailure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            worker: None,
            message: message.into(),
            reason: None,
            terminated: false,
        }
    }

    pub(crate) fn because(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(message)
        }
    }

    pub(crate) fn of_worker(worker: u32, message: impl Into<String>) -> Self {
        Self {
            worker: Some(worker),
            ..Self::new(message)
        }
    }

    /// A worker whose pod was asked to end; `checkpoint` was taken for it, if there was time.
    pub(crate) fn left(worker: u32, checkpoint: Option<u64>) -> Self {
        let asked =
            format!("the pod of worker {worker} was asked to end (evicted, drained or deleted)");
        let message = match checkpoint {
            Some(checkpoint) => {
                format!("{asked}; it left after checkpoint {checkpoint}, nothing is read again")
            }
            None => format!("{asked}; it left before a final checkpoint was complete"),
        };
        Self {
            terminated: true,
            ..Self::of_worker(worker, message)
        }
    }

    /// What a worker said about its failed tasks.
    pub(crate) fn of_tasks(worker: u32, message: String, kind: FailureKind) -> Self {
        let reason = match kind {
            FailureKind::Transient | FailureKind::Internal => None,
            FailureKind::StorageAccess => Some("StorageAccessDenied"),
            FailureKind::Data => Some("BadRecord"),
            FailureKind::State => Some("RestoreFailed"),
            FailureKind::Configuration => Some("InvalidSpec"),
        };
        Self {
            reason,
            ..Self::of_worker(worker, message)
        }
    }

    pub(crate) fn storage(what: &str, error: &StorageError) -> Self {
        Self::because(storage_reason(error), format!("{what}: {error}"))
    }

    /// What a person has to know of it, after so many failures at the same checkpoint.
    pub(crate) fn job_error(&self, (times, at): (u32, Option<u64>)) -> Option<JobError> {
        let again = match at {
            _ if times < 2 => String::new(),
            Some(checkpoint) => format!(" ({times} times in a row from checkpoint {checkpoint})"),
            None => format!(" ({times} times in a row from the beginning)"),
        };
        self.reason.map(|reason| JobError {
            reason: reason.to_owned(),
            message: format!("{}{again}", self.message),
        })
    }
}

impl From<AttemptFailure> for AttemptExit {
    fn from(failure: AttemptFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<HeadWriteError> for AttemptExit {
    fn from(error: HeadWriteError) -> Self {
        match error {
            HeadWriteError::Fenced(by) => Self::Fenced(fenced_by(&by)),
            HeadWriteError::Gone => Self::Fenced("HEAD was removed under its owner".to_owned()),
            HeadWriteError::Refused(error) => Self::Failed(AttemptFailure::new(error.to_string())),
        }
    }
}

/// For people: who won.
pub(crate) fn fenced_by(by: &Owner) -> String {
    format!("HEAD belongs to {by} (token {})", by.token)
}

/// The condition's reason for a failure of the store.
pub(crate) fn storage_reason(error: &StorageError) -> &'static str {
    match error {
        StorageError::AccessDenied { .. } | StorageError::NoSuchBucket { .. } => {
            "StorageAccessDenied"
        }
        StorageError::Unsupported { .. } => "InvalidSpec",
        StorageError::Invalid { .. }
        | StorageError::NotFound { .. }
        | StorageError::TooLarge { .. }
        | StorageError::OverMemoryLimit { .. } => "RestoreFailed",
        StorageError::Precondition { .. }
        | StorageError::Conflict { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Unknown { .. } => "StorageUnreachable",
    }
}

/// The Job API's code for a call that a failure of the store keeps from being done; what the store
/// never does is no matter of waiting.
pub(crate) fn storage_code(error: &StorageError) -> &'static str {
    match error {
        StorageError::Unsupported { .. } => storage_reason(error),
        _ => "StorageUnavailable",
    }
}

/// The condition's reason for a sink that does not commit.
pub(crate) fn commit_reason(error: &ConnectorError) -> Option<&'static str> {
    match error {
        ConnectorError::Storage { source, .. } => Some(storage_reason(source)),
        ConnectorError::Option { .. } => Some("InvalidSpec"),
        ConnectorError::Record { .. } | ConnectorError::Write { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_conditional_writes_is_not_one_that_does_not_answer() {
        let (action, at, detail) = ("PutObject", "s3://b/probe".to_owned(), String::new());
        let careless = StorageError::Unsupported {
            action,
            at: at.clone(),
            detail: detail.clone(),
        };
        let down = StorageError::Unavailable { action, at, detail };
        let told = [&careless, &down].map(|error| (storage_reason(error), storage_code(error)));
        assert_eq!(
            told,
            [
                ("InvalidSpec", "InvalidSpec"),
                ("StorageUnreachable", "StorageUnavailable")
            ]
        );
    }
}
