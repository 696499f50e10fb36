//! Who may call what of the Job API, with and without TLS.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use streamkeeper_protocol::job_api::ApiError;
use streamkeeper_security::{Role, WorkerIdentity};

use streamkeeper_control::transport::Caller;

/// The one call that changes nothing but when HEAD is looked at: a predecessor's coordinator makes
/// it.
const POKE: &str = "/v1/poke";

/// Wraps `routes` in a check of the caller's role and token.
pub(super) fn require_token(routes: Router, identity: Arc<WorkerIdentity>) -> Router {
    routes.layer(middleware::from_fn_with_state(identity, check))
}

async fn check(
    State(identity): State<Arc<WorkerIdentity>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    // Without the time, no caller can be checked.
    let known = shown.is_some_and(|shown| identity.knows(shown.as_bytes()).unwrap_or(false));
    let (method, uri) = (request.method(), request.uri());
    match objection(caller.role, method, uri.path(), known) {
        None => next.run(request).await,
        Some((status, code, message)) => {
            tracing::warn!(peer = %caller.peer, %method, path = uri.path(), code, "call refused");
            let error = ApiError {
                code: code.to_owned(),
                message: message.to_owned(),
            };
            (status, Json(error)).into_response()
        }
    }
}

/// Why a call is not made, if so. Every caller shows the token. Without TLS there is no role, and
/// the token alone says that the caller has the keys of the job.
fn objection(
    role: Option<Role>,
    method: &Method,
    path: &str,
    token_known: bool,
) -> Option<(StatusCode, &'static str, &'static str)> {
    let reads = [Method::GET, Method::HEAD].contains(method);
    if role == Some(Role::Worker) && !reads && path != POKE {
        return Some((
            StatusCode::FORBIDDEN,
            "Forbidden",
            "only the operator may ask for this; the certificate shown is not the operator's",
        ));
    }
    (!token_known).then_some((
        StatusCode::UNAUTHORIZED,
        "Unauthenticated",
        "show the job's token: Authorization: Bearer ...",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_call_what() {
        let (operator, worker) = (Some(Role::Operator), Some(Role::Worker));
        for (role, method, path, token, status) in [
            (operator, Method::GET, "/v1/report", true, None),
            (operator, Method::GET, "/v1/report", false, Some(401)),
            (operator, Method::GET, "/v1/head", false, Some(401)),
            (worker, Method::GET, "/v1/report", true, None),
            (worker, Method::GET, "/v1/report", false, Some(401)),
            (worker, Method::GET, "/v1/preflight", true, None),
            (operator, Method::POST, "/v1/stop", true, None),
            (operator, Method::POST, "/v1/stop", false, Some(401)),
            (worker, Method::POST, "/v1/stop", true, Some(403)),
            (worker, Method::POST, "/v1/promote", true, Some(403)),
            (worker, Method::DELETE, "/v1/report", true, Some(403)),
            (worker, Method::POST, "/v1/poke", true, None),
            (worker, Method::POST, "/v1/poke", false, Some(401)),
            (worker, Method::POST, "/v1/poke/", true, Some(403)),
            (operator, Method::POST, "/v1/poke", true, None),
            // Without TLS.
            (None, Method::GET, "/v1/report", false, Some(401)),
            (None, Method::GET, "/v1/report", true, None),
            (None, Method::GET, "/v1/head", false, Some(401)),
            (None, Method::GET, "/v1/operations/a", false, Some(401)),
            (None, Method::GET, "/v1/preflight", false, Some(401)),
            (None, Method::GET, "/v1/preflight", true, None),
            (None, Method::POST, "/v1/promote", false, Some(401)),
            (None, Method::POST, "/v1/savepoint", false, Some(401)),
            (None, Method::POST, "/v1/hand-over", false, Some(401)),
            (None, Method::POST, "/v1/stop", false, Some(401)),
            (None, Method::POST, "/v1/rescale", false, Some(401)),
            (None, Method::POST, "/v1/poke", false, Some(401)),
            (None, Method::POST, "/v1/stop", true, None),
        ] {
            let refused = objection(role, &method, path, token).map(|(status, _, _)| status);
            assert_eq!(
                refused.map(|status| status.as_u16()),
                status,
                "{role:?} {method} {path} {token}"
            );
        }
    }
}
