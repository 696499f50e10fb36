//! What a pod serves over HTTP: Job API v1 (pod 0), health and metrics (every pod).
//!
//! * [`job_api`]: the routes of the coordinator and their refusals; `guard`: who may call them.
//! * [`client`]: a call from one pod to another.
//! * [`health`]: `/healthz`, `/readyz`, `/metrics`.

pub mod client;
mod guard;
pub mod health;
pub mod job_api;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use health::Vitals;
pub use job_api::CoordinatorApi;

use crate::transport::{Caller, Door, Transport, Wire};

/// What a caller of the Job API without TLS is told.
const PLAINTEXT: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 120\r\n\r\n{\"code\":\"BadRequest\",\"message\":\"this port speaks TLS 1.3 and asks for a certificate of the job; health is on port 8082\"}";

/// Serves the Job API until `stop` is cancelled; `coordinator` is there in pod 0 only. Without TLS it serves health and metrics beside it.
pub async fn serve(
    listener: TcpListener,
    vitals: Arc<Vitals>,
    coordinator: Option<CoordinatorApi>,
    transport: Transport,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = match coordinator {
        Some(api) => job_api::routes(api),
        None => job_api::routes_without_coordinator(),
    };
    let Transport::Tls(identity) = &transport else {
        return plain(listener, routes.merge(health::routes(vitals)), stop).await;
    };
    let app = guard::guarded(routes, identity.clone());
    let door = Door::new(transport, "the Job API").answering(PLAINTEXT);
    axum::serve(
        Admitted::behind(door, listener)?,
        app.into_make_service_with_connect_info::<Caller>(),
    )
    .with_graceful_shutdown(stop.cancelled_owned())
    .await
}

/// Serves health and metrics alone, to whoever asks.
pub async fn serve_health(
    listener: TcpListener,
    vitals: Arc<Vitals>,
    stop: CancellationToken,
) -> io::Result<()> {
    plain(listener, health::routes(vitals), stop).await
}

async fn plain(listener: TcpListener, app: Router, stop: CancellationToken) -> io::Result<()> {
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Connections whose callers are known.
struct Admitted {
    at: SocketAddr,
    arrivals: mpsc::Receiver<(Wire, Caller)>,
    _accepting: AbortOnDropHandle<()>,
}

impl Admitted {
    fn behind(door: Door, listener: TcpListener) -> io::Result<Self> {
        let at = listener.local_addr()?;
        let (admitted, arrivals) = mpsc::channel(16);
        let accepting = async move {
            loop {
                let arrival = door.next(&listener).await;
                let (door, admitted) = (door.clone(), admitted.clone());
                // One that is slow to introduce itself keeps nobody waiting.
                tokio::spawn(async move {
                    if let Some(known) = door.admit(arrival).await {
                        let _ = admitted.send(known).await;
                    }
                });
            }
        };
        Ok(Self {
            at,
            arrivals,
            _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)),
        })
    }
}

impl Listener for Admitted {
    type Io = Wire;
    type Addr = Caller;

    async fn accept(&mut self) -> (Wire, Caller) {
        match self.arrivals.recv().await {
            Some(known) => known,
            // Its sender lives in a task of our own, which does not end.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller {
            role: None,
            peer: self.at,
        })
    }
}

impl Connected<IncomingStream<'_, Admitted>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Admitted>) -> Self {
        *stream.remote_addr()
    }
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
