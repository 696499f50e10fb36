//! The Job API, called as the operator calls it, or as another client does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use serde::{Serialize, de::DeserializeOwned};
use streamkeeper_control::transport::Wire;
use streamkeeper_security::OperatorIdentity;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

/// A process that was stopped accepts calls and never answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who calls.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    /// What it shows and whom it trusts; without TLS when there is none.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What it shows besides.
    pub(crate) authorization: Option<String>,
}

impl Caller {
    /// The operator of a job.
    pub(crate) fn operator(identity: &OperatorIdentity) -> Self {
        Self {
            tls: Some((identity.client().unwrap(), identity.server_name().unwrap())),
            authorization: Some(identity.token().unwrap().header()),
        }
    }

    /// Connects, as far as TLS is concerned.
    pub(crate) async fn connect(&self, address: &str) -> std::io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        let Some((config, name)) = &self.tls else {
            return Ok(Wire::Plain(stream));
        };
        let connector = TlsConnector::from(config.clone());
        let stream = connector.connect(name.clone(), stream).await?;
        Ok(Wire::Tls(Box::new(TlsStream::Client(stream))))
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
    ) -> Result<T, String> {
        self.call(address, Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, String> {
        let body = serde_json::to_vec(body).unwrap();
        self.call(address, Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        address: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, String> {
        let what = format!("{method} {address}{path}");
        let answer = async {
            let text = self.text(address, method, path, body).await?;
            serde_json::from_slice(&text).map_err(|e| e.to_string())
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|error| format!("{what}: {error}")),
            Err(_) => Err(format!("{what}: no answer within {PATIENCE:?}")),
        }
    }

    /// The body of a good answer.
    pub(crate) async fn text(
        &self,
        address: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", address)
            .header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(body)).unwrap();
        let wire = self.connect(address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
            .await
            .map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let answer = match sender.send_request(request).await {
            Ok(answer) => answer,
            // What the other side had against it is what the connection ended with.
            Err(error) => {
                let ended = driver.await.map_err(|e| e.to_string())?;
                return Err(format!("{error}: {ended:?}"));
            }
        };
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
        }
    }
}
