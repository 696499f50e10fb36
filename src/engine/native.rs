//! The Job API of our own runtime over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};
use streamkeeper_protocol::job_api::{ApiError, Operation, Preflight, Report};

use super::{Answer, CallError, JobApi};
use crate::lifecycle::JobCall;

/// A coordinator answers from memory or after one write to S3.
const DEADLINE: Duration = Duration::from_secs(5);
/// No answer is larger: reports are a few KiB.
const ANSWER_LIMIT: usize = 1 << 20;

/// HTTP client of the Job API.
#[derive(Debug, Clone)]
pub struct NativeJobApi {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for NativeJobApi {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        // Pods come and go with their addresses, and each is asked once in a while: thousands of idle connections would be kept for nothing.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self { client }
    }
}

impl NativeJobApi {
    async fn call<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        address: &str,
        path: &str,
        body: Option<&B>,
    ) -> Result<Option<T>, CallError> {
        let no_answer = |detail: String| CallError::NoAnswer {
            address: address.to_owned(),
            detail,
        };
        let garbled = |detail: String| CallError::Garbled {
            address: address.to_owned(),
            detail,
        };
        let payload = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| garbled(error.to_string()))?
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(payload)))
            .map_err(|error| garbled(error.to_string()))?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| no_answer(with_causes(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|error| no_answer(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(DEADLINE, exchange)
            .await
            .map_err(|_| no_answer(format!("nothing within {} s", DEADLINE.as_secs())))??;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let refusal: ApiError =
                serde_json::from_slice(&body).map_err(|_| garbled(format!("HTTP {status}")))?;
            return Err(CallError::Refused {
                code: refusal.code,
                message: refusal.message,
            });
        }
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| garbled(error.to_string()))
    }

    async fn get<T: DeserializeOwned>(&self, address: &str, path: &str) -> Result<T, CallError> {
        let missing = || CallError::Garbled {
            address: address.to_owned(),
            detail: format!("HTTP 404 for {path}"),
        };
        self.call::<(), T>(Method::GET, address, path, None)
            .await?
            .ok_or_else(missing)
    }

    async fn post<B: Serialize + Sync>(
        &self,
        address: &str,
        path: &str,
        body: &B,
    ) -> Result<Operation, CallError> {
        let missing = || CallError::Garbled {
            address: address.to_owned(),
            detail: format!("HTTP 404 for {path}"),
        };
        self.call(Method::POST, address, path, Some(body))
            .await?
            .ok_or_else(missing)
    }
}

impl JobApi for NativeJobApi {
    fn report<'a>(&'a self, address: &'a str) -> Answer<'a, Report> {
        Box::pin(self.get(address, "/v1/report"))
    }

    fn preflight<'a>(&'a self, address: &'a str) -> Answer<'a, Preflight> {
        Box::pin(self.get(address, "/v1/preflight"))
    }

    fn operation<'a>(&'a self, address: &'a str, key: &'a str) -> Answer<'a, Option<Operation>> {
        Box::pin(async move {
            self.call::<(), _>(Method::GET, address, &format!("/v1/operations/{key}"), None)
                .await
        })
    }

    fn command<'a>(&'a self, address: &'a str, call: &'a JobCall) -> Answer<'a, Operation> {
        Box::pin(async move {
            match call {
                JobCall::Promote(request) => self.post(address, "/v1/promote", request).await,
                JobCall::Savepoint(request) => self.post(address, "/v1/savepoint", request).await,
                JobCall::HandOver(request) => self.post(address, "/v1/hand-over", request).await,
                JobCall::Stop(request) => self.post(address, "/v1/stop", request).await,
                JobCall::Rescale(request) => self.post(address, "/v1/rescale", request).await,
            }
        })
    }
}

/// An error with its causes; hyper hides the reason one level down.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
