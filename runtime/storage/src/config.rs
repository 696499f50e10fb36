//! How to reach S3.

use std::fmt;

/// How to reach S3. Credentials are not part of it: they come from the environment, a web identity
/// token or the instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageConfig {
    /// URL of an S3-compatible server; addressed by path. None means AWS.
    pub endpoint: Option<String>,
    /// Region; none: that of the environment or the instance, `us-east-1` with an endpoint.
    pub region: Option<String>,
    /// How the store encrypts what is written; none: as the bucket is configured.
    pub sse: Option<SseKms>,
    /// Whether the content of writes is left out of their signature (`UNSIGNED-PAYLOAD`), which TLS
    /// protects then.
    pub unsigned_payload: bool,
}

/// Encryption by the store with a key of a key management service (SSE-KMS).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseKms {
    /// Id, ARN or alias of the key; none: the key that the service has for the store.
    pub key_id: Option<String>,
}

impl StorageConfig {
    /// `AWS_ENDPOINT_URL` and `AWS_REGION` of this process.
    pub fn from_env() -> Self {
        Self {
            endpoint: variable("AWS_ENDPOINT_URL"),
            region: variable("AWS_REGION"),
            ..Self::default()
        }
    }
}

/// Credentials that stand in the environment.
pub(crate) struct StaticCredentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticCredentials")
    }
}

impl StaticCredentials {
    pub(crate) fn from_env() -> Option<Self> {
        Some(Self {
            access_key: variable("AWS_ACCESS_KEY_ID")?,
            secret_key: variable("AWS_SECRET_ACCESS_KEY")?,
            session_token: variable("AWS_SESSION_TOKEN"),
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
