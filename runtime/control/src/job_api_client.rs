//! Calls from one pod to another, and to itself.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::transport::Transport;

/// The other side sees HEAD anyway: not worth a long wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer is larger.
const ANSWER_LIMIT: usize = 1 << 20;

/// Tells the coordinator at `address` (`host:port`) to look at HEAD now.
pub async fn poke(transport: Transport, address: String) {
    match call(&transport, Method::POST, &address, "/v1/poke").await {
        Ok((status, _)) => tracing::debug!(address, status = status.as_u16(), "successor told"),
        Err(error) => tracing::debug!(address, %error, "successor not reached"),
    }
}

/// One call without a body.
pub async fn call(
    transport: &Transport,
    method: Method,
    address: &str,
    path: &str,
) -> io::Result<(StatusCode, Bytes)> {
    timeout(PATIENCE, exchange(transport, method, address, path))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn exchange(
    transport: &Transport,
    method: Method,
    address: &str,
    path: &str,
) -> io::Result<(StatusCode, Bytes)> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address);
    if let Some(identity) = transport.identity() {
        let token = identity.token().map_err(io::Error::other)?;
        request = request.header(header::AUTHORIZATION, token.header());
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let wire = transport.dial(address, PATIENCE).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
        .await
        .map_err(io::Error::other)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
        .collect()
        .await
        .map_err(io::Error::other)?;
    Ok((status, body.to_bytes()))
}
