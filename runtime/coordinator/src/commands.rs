//! Calls of the Job API on their way to the coordinator, and how they are refused.

use streamkeeper_protocol::{
    head::HeadError,
    job_api::{ApiError, JobCall, Operation},
};
use tokio::sync::oneshot;

/// A mutating call with the place where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked for.
    pub command: JobCall,
    /// Takes the answer.
    pub reply: oneshot::Sender<Result<Operation, Refusal>>,
}

/// Why a call is refused: becomes an [`ApiError`] with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: &'static str,
    message: String,
    /// Reason as in conditions, where it says more than the code.
    reason: Option<&'static str>,
}

impl Refusal {
    /// A refusal with one of the codes of [`ApiError`].
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: None,
        }
    }

    /// The same with its reason as in conditions.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    /// Its reason as in conditions.
    pub(crate) fn reason(&self) -> &'static str {
        self.reason.unwrap_or(self.code)
    }

    /// The body or path is wrong.
    pub fn bad_request(detail: &str) -> Self {
        Self::new("BadRequest", detail)
    }

    /// No such path.
    pub fn no_such_route() -> Self {
        Self::new(
            "NotFound",
            "no such call; Job API v1 has /v1/report, /v1/preflight, /v1/promote, /v1/savepoint, /v1/hand-over, /v1/stop, /v1/rescale, /v1/operations/{key}",
        )
    }

    /// This pod has no coordinator.
    pub fn not_the_coordinator() -> Self {
        Self::new(
            "NotFound",
            "this pod runs a worker only; the coordinator is in the pod with ordinal 0",
        )
    }

    /// No call had this key.
    pub fn unknown_operation(key: &str) -> Self {
        Self::new("NotFound", format!("no operation has the key '{key}'"))
    }

    /// The process ends.
    pub fn leaving() -> Self {
        Self::new(
            "NotRunning",
            "the coordinator is about to exit; ask its next process",
        )
    }

    /// Its machine-readable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What to tell people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status for it.
    pub fn status(&self) -> u16 {
        match self.code {
            "BadRequest" => 400,
            "NotFound" => 404,
            "StorageUnavailable" => 503,
            _ => 409,
        }
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.to_owned(),
            message: refusal.message,
        }
    }
}
