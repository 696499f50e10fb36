//! From the SDK's errors to [`StorageError`].

use std::error::Error;

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::StorageError;

/// One action on one key, for messages.
pub(super) struct Attempt<'a> {
    pub(super) action: &'static str,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// Server of the request, when it is not AWS.
    pub(super) endpoint: Option<&'a str>,
}

/// Codes for refused credentials under a status that does not show it.
const CREDENTIAL_CODES: [&str; 5] = [
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidAccessKeyId",
    "RequestExpired",
];

impl Attempt<'_> {
    /// The object in messages.
    pub(super) fn at(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// Error for a response that no S3 server gives.
    pub(super) fn not_s3(&self, answer: &str) -> StorageError {
        StorageError::Invalid {
            action: self.action,
            at: self.at(),
            detail: format!(
                "this is not S3: {} answered with {answer}; set the endpoint to the address of the S3 \
                 API, not to that of a console or a web server",
                self.endpoint.unwrap_or("the server")
            ),
        }
    }

    /// The error of an action that is harmless to repeat.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StorageError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (action, at) = (self.action, self.at());
        let Some((status, code, message)) = answer(error) else {
            let detail = cause(error);
            // Without credentials nothing is sent; the SDK has no kind of error for it.
            if detail.contains("no credentials found") {
                let detail = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                              give the pod a web identity or the instance a role"
                    .to_owned();
                return StorageError::AccessDenied { action, at, detail };
            }
            if detail.to_ascii_lowercase().contains("credential") {
                return StorageError::AccessDenied { action, at, detail };
            }
            return StorageError::Unavailable { action, at, detail };
        };
        let detail = match (code.is_empty(), message.is_empty()) {
            (true, _) => format!("status {status}"),
            (false, true) => code.clone(),
            (false, false) => format!("{code}: {message}"),
        };
        if code.is_empty() && is_page(error) {
            match status {
                // A proxy in front of a store returns these while the store is away.
                401 | 403 | 408 | 429 | 500.. => {}
                _ => return self.not_s3(&format!("an HTML page (status {status})")),
            }
        }
        match (status, code.as_str()) {
            (_, "NoSuchBucket") => {
                let at = format!("s3://{}", self.bucket);
                StorageError::NoSuchBucket { action, at }
            }
            (401 | 403, _) => StorageError::AccessDenied { action, at, detail },
            (_, code) if CREDENTIAL_CODES.contains(&code) => {
                StorageError::AccessDenied { action, at, detail }
            }
            (404, _) => StorageError::NotFound { action, at },
            (409, _) => StorageError::Conflict { action, at },
            (412, _) => StorageError::Precondition { action, at },
            (501, _) | (_, "NotImplemented") => StorageError::Unsupported { action, at, detail },
            (408 | 429 | 500.., _) | (_, "RequestTimeout" | "SlowDown") => {
                StorageError::Unavailable { action, at, detail }
            }
            _ => StorageError::Invalid { action, at, detail },
        }
    }

    /// The error of a write that must not be repeated blindly: unless the store plainly refused it,
    /// it may have been carried out.
    pub(super) fn failed_conditionally<E>(&self, error: &SdkError<E, HttpResponse>) -> StorageError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match self.failed(error) {
            StorageError::Unavailable { action, at, detail } => {
                StorageError::Unknown { action, at, detail }
            }
            other => other,
        }
    }

    /// The error of a body that ended early.
    pub(super) fn interrupted(&self, error: &dyn Error) -> StorageError {
        let detail = format!("the answer ended early: {}", DisplayErrorContext(error));
        StorageError::Unavailable {
            action: self.action,
            at: self.at(),
            detail,
        }
    }
}

/// Whether the response is a web page.
fn is_page<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let kind = error
        .raw_response()
        .and_then(|response| response.headers().get("content-type"));
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

/// Status, code and message of the response, if there was one.
fn answer<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> Option<(u16, String, String)> {
    let status = error.raw_response()?.status().as_u16();
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    Some((status, text(error.code()), text(error.message())))
}

/// The innermost causes, without the SDK's debug output.
fn cause<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        source = inner.source();
    }
    parts.join(": ")
}
