//! What a pod serves over HTTP: Job API v1 (pod 0), health and metrics (every pod).
//!
//! * [`job_api`]: the routes of the coordinator and their refusals.
//! * [`client`]: a call from one pod to another.
//! * [`health`]: `/healthz`, `/readyz`, `/metrics`.

pub mod client;
pub mod health;
pub mod job_api;

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use health::Vitals;
pub use job_api::CoordinatorApi;

/// Serves until `stop` is cancelled; `coordinator` is there in pod 0 only.
pub async fn serve(
    listener: TcpListener,
    vitals: Arc<Vitals>,
    coordinator: Option<CoordinatorApi>,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = match coordinator {
        Some(api) => job_api::routes(api),
        None => job_api::routes_without_coordinator(),
    };
    let app: Router = routes.merge(health::routes(vitals));
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Binds a listener; the error names the address and what it is for.
pub async fn bind(address: &str, purpose: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let explain = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address} for {purpose}: {error}"),
        )
    };
    let listener = TcpListener::bind(address).await.map_err(explain)?;
    let at = listener.local_addr().map_err(explain)?;
    Ok((listener, at))
}
