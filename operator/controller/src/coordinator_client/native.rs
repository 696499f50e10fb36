//! The Job API of our own runtime over HTTP.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use streamkeeper_lifecycle::JobCall;
use streamkeeper_protocol::job_api::{ApiError, Operation, Preflight, Report, SeenHead};
use streamkeeper_security::OperatorIdentity;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::coordinator_client::{Answer, CallError, Channel, Coordinator, JobApi};

/// A coordinator answers from memory or after one write to S3.
const DEADLINE: Duration = Duration::from_secs(5);
/// A pod that is there takes a connection at once.
const CONNECT: Duration = Duration::from_secs(1);
/// No answer is larger: reports are a few KiB, and a HEAD is at most 1 MiB.
const ANSWER_LIMIT: usize = (1 << 20) + (64 << 10);
/// Longest text in an answer.
const TEXT_LIMIT: usize = 8 << 10;

/// HTTP client of the Job API. A connection for every call: pods come and go with their addresses,
/// and a kept connection would vouch for the pod that had the address before.
#[derive(Debug, Clone, Default)]
pub struct NativeJobApi;

async fn call<B: Serialize + Sync, T: DeserializeOwned>(
    method: Method,
    of: &Coordinator,
    path: &str,
    body: Option<&B>,
) -> Result<Option<T>, CallError> {
    let address = &of.address;
    let no_answer = |detail: String| CallError::NoAnswer {
        address: address.clone(),
        detail,
    };
    let garbled = |detail: String| CallError::Garbled {
        address: address.clone(),
        detail,
    };
    let payload = body
        .map(serde_json::to_vec)
        .transpose()
        .map_err(|error| garbled(error.to_string()))?
        .unwrap_or_default();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, "application/json");
    if let Channel::Token(identity) | Channel::Tls(identity) = &of.channel {
        let token = identity.token().map_err(|e| no_answer(e.to_string()))?;
        request = request.header(header::AUTHORIZATION, token.header());
    }
    let request = request
        .body(Full::new(Bytes::from(payload)))
        .map_err(|error| garbled(error.to_string()))?;
    let (status, body) = timeout(DEADLINE, exchange(of, request))
        .await
        .map_err(|_| no_answer(format!("nothing within {} s", DEADLINE.as_secs())))?
        .map_err(|error| no_answer(with_causes(&*error)))?;
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
    let read = serde_json::from_slice(&body).and_then(|mut answer| {
        shorten(&mut answer);
        serde_json::from_value(answer)
    });
    read.map(Some).map_err(|error| garbled(error.to_string()))
}

/// Cuts texts in an answer that are longer than any that is meant to be read: they become part of a
/// status, and a status that is too large is refused as a whole.
fn shorten(answer: &mut Value) {
    match answer {
        Value::String(text) if text.len() > TEXT_LIMIT => {
            let end = (0..=TEXT_LIMIT)
                .rev()
                .find(|&end| text.is_char_boundary(end));
            text.truncate(end.unwrap_or(0));
            text.push_str("...");
        }
        Value::Array(all) => all.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn get<T: DeserializeOwned>(of: &Coordinator, path: &str) -> Result<T, CallError> {
    let missing = || CallError::Garbled {
        address: of.address.clone(),
        detail: format!("HTTP 404 for {path}"),
    };
    call::<(), T>(Method::GET, of, path, None)
        .await?
        .ok_or_else(missing)
}

async fn post<B: Serialize + Sync>(
    of: &Coordinator,
    path: &str,
    body: &B,
) -> Result<Operation, CallError> {
    let missing = || CallError::Garbled {
        address: of.address.clone(),
        detail: format!("HTTP 404 for {path}"),
    };
    call(Method::POST, of, path, Some(body))
        .await?
        .ok_or_else(missing)
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Connects, in the way the coordinator wants it, and makes one call.
async fn exchange(
    of: &Coordinator,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), AnyError> {
    let identity = match &of.channel {
        Channel::Plain | Channel::Token(_) => None,
        Channel::Tls(identity) => Some(identity),
        Channel::Unknown { master_key } => {
            return Err(format!(
                "it was started under the master key {master_key}, which this operator does not have; give that key to the operator too (--previous-master-key-file)"
            )
            .into());
        }
    };
    let connected = async {
        let stream = TcpStream::connect(&of.address).await?;
        stream.set_nodelay(true)?;
        Ok::<_, AnyError>(match identity {
            None => Box::new(stream) as Box<dyn Wire>,
            Some(identity) => secured(stream, identity).await?,
        })
    };
    let wire = timeout(CONNECT, connected)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = match sender.send_request(request).await {
        Ok(answer) => answer,
        // With TLS 1.3 a caller learns only now that its certificate was not taken; the connection
        // knows why.
        Err(error) => {
            driver.await??;
            return Err(error.into());
        }
    };
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
        .collect()
        .await?;
    Ok((status, body.to_bytes()))
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

async fn secured(
    stream: TcpStream,
    identity: &OperatorIdentity,
) -> Result<Box<dyn Wire>, AnyError> {
    let connector = TlsConnector::from(identity.client()?);
    let stream = connector.connect(identity.server_name()?, stream).await?;
    Ok(Box::new(stream))
}

impl JobApi for NativeJobApi {
    fn report<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, Report> {
        Box::pin(get(of, "/v1/report"))
    }

    fn head<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, SeenHead> {
        Box::pin(get(of, "/v1/head"))
    }

    fn preflight<'a>(
        &'a self,
        of: &'a Coordinator,
        from: Option<&'a str>,
    ) -> Answer<'a, Preflight> {
        let query = from.map_or_else(String::new, |uri| {
            format!("?from={}", utf8_percent_encode(uri, NON_ALPHANUMERIC))
        });
        Box::pin(async move { get(of, &format!("/v1/preflight{query}")).await })
    }

    fn operation<'a>(&'a self, of: &'a Coordinator, key: &'a str) -> Answer<'a, Option<Operation>> {
        Box::pin(async move {
            call::<(), _>(Method::GET, of, &format!("/v1/operations/{key}"), None).await
        })
    }

    fn command<'a>(&'a self, of: &'a Coordinator, call: &'a JobCall) -> Answer<'a, Operation> {
        Box::pin(async move {
            match call {
                JobCall::Promote(request) => post(of, "/v1/promote", request).await,
                JobCall::Savepoint(request) => post(of, "/v1/savepoint", request).await,
                JobCall::HandOver(request) => post(of, "/v1/hand-over", request).await,
                JobCall::Stop(request) => post(of, "/v1/stop", request).await,
                JobCall::Rescale(request) => post(of, "/v1/rescale", request).await,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_a_pod_are_cut_before_they_make_a_status_too_large() {
        let mut answer = json!({ "error": { "message": "é".repeat(TEXT_LIMIT) }, "of": ["short"] });
        shorten(&mut answer);
        let cut = answer["error"]["message"].as_str().unwrap();
        assert!(cut.len() <= TEXT_LIMIT + 3 && cut.ends_with("é..."));
        assert_eq!(answer["of"], json!(["short"]));
    }
}
