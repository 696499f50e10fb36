//! Calls from one pod to another.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// The other side sees HEAD anyway: not worth a long wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells the coordinator at `address` (`host:port`) to look at HEAD now.
pub async fn poke(address: String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/v1/poke"));
    let request = match request.body(Empty::new()) {
        Ok(request) => request,
        Err(error) => return tracing::debug!(address, %error, "not an address"),
    };
    match tokio::time::timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(answer)) => {
            tracing::debug!(address, status = answer.status().as_u16(), "successor told");
        }
        Ok(Err(error)) => tracing::debug!(address, %error, "successor not reached"),
        Err(_) => tracing::debug!(address, "successor did not answer"),
    }
}
