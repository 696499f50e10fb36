//! The Job API, called as the operator calls it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::{Serialize, de::DeserializeOwned};

/// A process that was stopped accepts calls and never answers.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn get<T: DeserializeOwned>(address: &str, path: &str) -> Result<T, String> {
    call(address, Method::GET, path, Bytes::new()).await
}

pub(crate) async fn post<T: DeserializeOwned>(
    address: &str,
    path: &str,
    body: &impl Serialize,
) -> Result<T, String> {
    let body = serde_json::to_vec(body).unwrap();
    call(address, Method::POST, path, body.into()).await
}

async fn call<T: DeserializeOwned>(
    address: &str,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, String> {
    let what = format!("{method} http://{address}{path}");
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header("content-type", "application/json")
        .body(Full::new(body))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = async {
        let answer = client.request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|e| e.to_string())?
            .to_bytes();
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|e| e.to_string())
        } else {
            Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
        }
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer within {PATIENCE:?}")),
    }
}
