//! `/healthz`, `/readyz`, `/metrics`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{leader::Leadership, metrics::Metrics};

/// Whether the operator can do its work: its watches have seen the cluster once.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it can.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it said so.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug, Clone)]
struct Shared {
    readiness: Readiness,
    leadership: Leadership,
}

/// Serves until `stop`; without metrics there is no `/metrics`.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    leadership: Leadership,
    metrics: Option<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, routes(readiness, leadership, metrics))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

fn routes(readiness: Readiness, leadership: Leadership, metrics: Option<Metrics>) -> Router {
    let health = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Shared {
            readiness,
            leadership,
        });
    match metrics {
        Some(metrics) => health.route("/metrics", get(metrics_text).with_state(metrics)),
        None => health,
    }
}

/// A replica that stands by is ready too: it could take over at once.
async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    if shared.readiness.is_ready() {
        (
            StatusCode::OK,
            format!("ok: {}\n", shared.leadership.describe()),
        )
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the first list of StreamJobs and pods\n".to_owned(),
        )
    }
}

async fn metrics_text(State(metrics): State<Metrics>) -> impl IntoResponse {
    (
        [(
            "content-type",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        metrics.encode(),
    )
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get(router: &Router, path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_operator_is_alive_at_once_and_ready_once_it_has_seen_the_cluster() {
        let readiness = Readiness::default();
        let router = routes(
            readiness.clone(),
            Leadership::without_lease(),
            Some(Metrics::default()),
        );
        assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
        let (status, _, why) = get(&router, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(why.contains("waiting for"), "{why}");
        readiness.ready();
        let (status, _, what) = get(&router, "/readyz").await;
        assert_eq!((status, what.as_str()), (StatusCode::OK, "ok: leading\n"));
    }

    #[tokio::test]
    async fn a_replica_that_stands_by_is_ready_and_says_so() {
        let readiness = Readiness::default();
        readiness.ready();
        let router = routes(readiness, Leadership::standing_by(), None);
        let (status, _, what) = get(&router, "/readyz").await;
        assert_eq!(
            (status, what.as_str()),
            (StatusCode::OK, "ok: standing by\n")
        );
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let router = routes(
            Readiness::default(),
            Leadership::without_lease(),
            Some(Metrics::default()),
        );
        let (status, kind, text) = get(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(text.contains("streamjob_operator_build_info{"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn metrics_that_are_switched_off_are_not_served_and_probes_are() {
        let router = routes(Readiness::default(), Leadership::without_lease(), None);
        assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
}
