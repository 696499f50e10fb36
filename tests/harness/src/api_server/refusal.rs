//! Refusals.

use serde_json::{Value, json};

/// How long an API server with too much to do asks to be left alone, in seconds.
pub const RETRY_AFTER: &str = "3";

/// A `Status` of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP code.
    pub code: u16,
    /// CamelCase reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub fn not_found(what: &str) -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: format!("{what} not found"),
        }
    }

    pub fn already_exists(what: &str) -> Self {
        Self {
            code: 409,
            reason: "AlreadyExists",
            message: format!("{what} already exists"),
        }
    }

    pub fn conflict(what: &str, why: &str) -> Self {
        Self {
            code: 409,
            reason: "Conflict",
            message: format!("Operation cannot be fulfilled on {what}: {why}"),
        }
    }

    pub fn forbidden(what: &str, why: &str) -> Self {
        Self {
            code: 403,
            reason: "Forbidden",
            message: format!("{what} is forbidden: {why}"),
        }
    }

    pub fn invalid(what: &str, why: &str) -> Self {
        Self {
            code: 422,
            reason: "Invalid",
            message: format!("{what} is invalid: {why}"),
        }
    }

    pub fn bad_request(why: &str) -> Self {
        Self {
            code: 400,
            reason: "BadRequest",
            message: why.to_owned(),
        }
    }

    /// Refuses a watch from a version that is older than the oldest `known` one.
    pub fn expired(version: u64, known: u64) -> Self {
        Self {
            code: 410,
            reason: "Expired",
            message: format!("too old resource version: {version} ({known})"),
        }
    }

    /// Refuses a request among too many. It is the only refusal that is no `Status`: requests are
    /// counted before they are parsed.
    pub fn too_many_requests() -> Self {
        Self {
            code: 429,
            reason: "",
            message: "Too many requests, please try again later.\n".to_owned(),
        }
    }

    pub fn internal_error() -> Self {
        Self {
            code: 500,
            reason: "InternalError",
            message: "an error on the server has prevented the request from succeeding".to_owned(),
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}
