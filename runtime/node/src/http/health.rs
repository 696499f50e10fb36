//! `/healthz`: the event loop turns. `/readyz`: the process serves its role, standby counts;
//! neither depends on a store or on other pods. `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use streamkeeper_control::clock;
use streamkeeper_coordinator::liveness::Liveness;

/// The routes.
pub fn routes(liveness: Arc<Liveness>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(liveness)
}

async fn healthz(State(liveness): State<Arc<Liveness>>) -> (StatusCode, String) {
    match liveness.stuck_for_ms(clock::now_ms()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(silent) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the coordinator's event loop has not turned for {silent} ms\n"),
        ),
    }
}

async fn readyz(State(liveness): State<Arc<Liveness>>) -> (StatusCode, &'static str) {
    if liveness.is_leaving() {
        (StatusCode::SERVICE_UNAVAILABLE, "about to exit\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn metrics(State(liveness): State<Arc<Liveness>>) -> impl IntoResponse {
    match liveness.metrics.text() {
        Ok(text) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
