//! `/healthz`: the event loop turns. `/readyz`: the process serves its role, standby counts;
//! neither depends on a store or on other pods. `/metrics`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::{clock, metrics::Metrics};

/// An event loop that has not turned for this long is stuck.
const STUCK_AFTER_MS: i64 = 15_000;

/// What the probes and the metrics endpoint read.
#[derive(Debug, Default)]
pub struct Liveness {
    /// Last turn of the coordinator's event loop, milliseconds since the epoch; 0 where no
    /// coordinator runs.
    turned_ms: AtomicI64,
    leaving: AtomicBool,
    /// What `/metrics` shows.
    pub metrics: Metrics,
}

impl Liveness {
    /// Liveness of a process with these metrics.
    pub fn of(metrics: Metrics) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Notes that the event loop turned.
    pub fn turn(&self) {
        self.turned_ms.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// Notes that the process is about to exit: not ready any more.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn stuck_for_ms(&self, now_ms: i64) -> Option<i64> {
        let turned = self.turned_ms.load(Ordering::Relaxed);
        let silent = now_ms - turned;
        (turned != 0 && silent > STUCK_AFTER_MS).then_some(silent)
    }
}

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
    if liveness.leaving.load(Ordering::Relaxed) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_noticed_and_no_loop_is_fine() {
        let liveness = Liveness::default();
        assert_eq!(liveness.stuck_for_ms(clock::now_ms()), None);
        liveness.turn();
        let turned = liveness.turned_ms.load(Ordering::Relaxed);
        assert_eq!(liveness.stuck_for_ms(turned + STUCK_AFTER_MS), None);
        assert_eq!(
            liveness.stuck_for_ms(turned + STUCK_AFTER_MS + 1),
            Some(STUCK_AFTER_MS + 1)
        );
    }
}
