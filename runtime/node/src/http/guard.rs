//! Who may call what of the Job API, where callers show certificates.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use streamkeeper_protocol::job_api::ApiError;
use streamkeeper_security::{Role, WorkerIdentity};

use crate::transport::Caller;

/// The one call that changes nothing but when HEAD is looked at: a predecessor's coordinator makes it.
const POKE: &str = "/v1/poke";

/// The same routes, for callers that may use them.
pub(super) fn guarded(routes: Router, identity: Arc<WorkerIdentity>) -> Router {
    routes.layer(middleware::from_fn_with_state(identity, check))
}

async fn check(
    State(identity): State<Arc<WorkerIdentity>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    // A clock that does not tell the time knows nobody.
    let known = shown.is_some_and(|shown| identity.knows(shown.as_bytes()).unwrap_or(false));
    match objection(caller.role, request.method(), request.uri().path(), known) {
        None => next.run(request).await,
        Some((status, code, message)) => {
            tracing::warn!(peer = %caller.peer, method = %request.method(), path = request.uri().path(), code, "call refused");
            let error = ApiError {
                code: code.to_owned(),
                message: message.to_owned(),
            };
            (status, Json(error)).into_response()
        }
    }
}

/// Why a call is not made, if so.
fn objection(
    role: Option<Role>,
    method: &Method,
    path: &str,
    token_known: bool,
) -> Option<(StatusCode, &'static str, &'static str)> {
    if [Method::GET, Method::HEAD].contains(method) && role.is_some() {
        return None;
    }
    if role != Some(Role::Operator) && (role.is_none() || path != POKE) {
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
            (operator, Method::GET, "/v1/report", false, None),
            (worker, Method::GET, "/v1/report", false, None),
            (None, Method::GET, "/v1/report", true, Some(403)),
            (operator, Method::POST, "/v1/stop", true, None),
            (operator, Method::POST, "/v1/stop", false, Some(401)),
            (worker, Method::POST, "/v1/stop", true, Some(403)),
            (worker, Method::POST, "/v1/promote", true, Some(403)),
            (worker, Method::DELETE, "/v1/report", true, Some(403)),
            (worker, Method::POST, "/v1/poke", true, None),
            (worker, Method::POST, "/v1/poke", false, Some(401)),
            (worker, Method::POST, "/v1/poke/", true, Some(403)),
            (operator, Method::POST, "/v1/poke", true, None),
            (None, Method::POST, "/v1/poke", true, Some(403)),
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
