//! What a pod serves over HTTP: Job API v1 (pod 0), health and metrics (every pod).
//!
//! * [`job_api`]: the routes of the coordinator and their refusals; `authorization`: who may call
//!   them.
//! * `server`: connections, heads and waits are bounded.
//! * [`health`]: `/healthz`, `/readyz`, `/metrics`.

mod authorization;
pub mod health;
pub mod job_api;
mod server;

use std::{io, net::SocketAddr, sync::Arc};

use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use streamkeeper_coordinator::liveness::Liveness;

pub use job_api::CoordinatorApi;

use streamkeeper_control::transport::{Acceptor, Transport};

/// Longest body of a call: commands are a few hundred bytes.
const BODY_LIMIT: usize = 64 << 10;
/// What a caller of the Job API without TLS is told.
const PLAINTEXT: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 120\r\n\r\n{\"code\":\"BadRequest\",\"message\":\"this port speaks TLS 1.3 and asks for a certificate of the job; health is on port 8082\"}";

/// Serves the Job API until `stop` is cancelled; `coordinator` is there in pod 0 only. A process on
/// loopback, without keys, serves health and metrics beside it.
pub async fn serve(
    listener: TcpListener,
    liveness: Arc<Liveness>,
    coordinator: Option<CoordinatorApi>,
    transport: Transport,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = match coordinator {
        Some(api) => job_api::routes(api),
        None => job_api::routes_without_coordinator(),
    };
    let routes = routes.layer(DefaultBodyLimit::max(BODY_LIMIT));
    let app = match &transport {
        Transport::Plain => routes.merge(health::routes(liveness)),
        Transport::Token(identity) | Transport::Tls(identity) => {
            authorization::require_token(routes, identity.clone())
        }
    };
    let acceptor = Acceptor::new(transport, "the Job API").answering(PLAINTEXT);
    server::serve(listener, acceptor, app, stop).await
}

/// Serves health and metrics alone, to every caller.
pub async fn serve_health(
    listener: TcpListener,
    liveness: Arc<Liveness>,
    stop: CancellationToken,
) -> io::Result<()> {
    let acceptor = Acceptor::new(Transport::Plain, "health and metrics");
    server::serve(listener, acceptor, health::routes(liveness), stop).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_caller_without_tls_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAINTEXT).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        serde_json::from_str::<streamkeeper_protocol::job_api::ApiError>(body).unwrap();
    }
}
